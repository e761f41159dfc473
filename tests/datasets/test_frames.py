"""Reading annotated frames, and refusing bad files in every function that reads pixels."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from megavid.core.errors import InputError
from megavid.datasets.check import check_annotations
from megavid.datasets.formats.yolo.write_yolo import write_yolo
from megavid.datasets.frame_reader import FrameError, FrameReader, frame_size, read_frame
from megavid.datasets.open_video import open_video
from megavid.datasets.table.annotations import AnnotationBuilder, Annotations
from megavid.datasets.table.problems import Kind, Problem, Problems
from megavid.video.video_writer import VideoWriter


def write_video(path: Path, levels: range) -> None:
    """Write a gray frame of 64x48 pixels for each level of brightness."""
    with VideoWriter(path, rate=Fraction(25), width=64, height=48) as writer:
        for index, level in enumerate(levels):
            writer.write(np.full((48, 64, 3), level, np.uint8), index / 25)


def one_frame(root: Path, *, source: str = "", file: str | None = None, number: int = 0) -> Annotations:
    """Make a data set of one frame."""
    builder = AnnotationBuilder(("a",), root=root)
    builder.video("clip", source=source)
    builder.frame(number, file=file)
    return builder.build()


@pytest.fixture
def videos(tmp_path: Path) -> Annotations:
    """Make a data set of four videos: three video files with frames 1 and 3, and one image."""
    builder = AnnotationBuilder(("a",), root=tmp_path)
    for video in range(3):
        write_video(tmp_path / f"{video}.mp4", range(50 * video, 50 * video + 40, 10))
        builder.video(str(video), source=f"{video}.mp4")
        builder.frame(1)
        builder.frame(3)
    PIL.Image.new("RGB", (64, 48), (200, 200, 200)).save(tmp_path / "still.png")
    builder.video("still")
    builder.frame(0, file="still.png")
    return builder.build()


def test_frames_are_read_in_any_order(videos: Annotations) -> None:
    levels = [10, 30, 60, 80, 110, 130, 200]
    with FrameReader(videos, open_videos=2) as reader:
        for row in (5, 0, 3, 6, 1, 4, 2, 0):
            assert abs(reader.read(row).mean() - levels[row]) < 4
    assert abs(read_frame(videos, 5).mean() - levels[5]) < 4
    assert [frame_size(videos, row) for row in range(len(videos))] == [(64, 48)] * 7


def test_at_most_the_given_number_of_video_files_are_open(videos: Annotations) -> None:
    folder = Path("/proc/self/fd")
    if not folder.exists():
        pytest.skip("needs /proc")
    with FrameReader(videos, open_videos=2) as reader:
        for row in (0, 2, 4):
            reader.read(row)
        links = [path.readlink() for path in folder.iterdir() if path.is_symlink()]
        assert sorted(link.name for link in links if link.suffix == ".mp4") == ["1.mp4", "2.mp4"]


def test_a_pickled_error_keeps_its_problem() -> None:
    error = FrameError(Problem(Kind.BAD_IMAGE, "clip/1.png", "the image is damaged"))
    again = pickle.loads(pickle.dumps(error))
    assert (again.problem, str(again)) == (error.problem, "clip/1.png: the image is damaged")


def playlist(root: Path) -> Annotations:
    write_video(root / "real.mp4", range(3))
    (root / "clip.m3u8").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nreal.mp4\n")
    return one_frame(root, source="clip.m3u8")


def video_that_is_a_pipe(root: Path) -> Annotations:
    os.mkfifo(root / "clip.mp4")
    return one_frame(root, source="clip.mp4")


def image_that_is_a_pipe(root: Path) -> Annotations:
    os.mkfifo(root / "clip.png")
    return one_frame(root, file="clip.png")


def image_of_two_pictures(root: Path) -> Annotations:
    pictures = [PIL.Image.new("RGB", (64, 48), color) for color in ("red", "blue")]
    pictures[0].save(root / "clip.tif", save_all=True, append_images=pictures[1:])
    return one_frame(root, file="clip.tif")


def postscript_image(root: Path) -> Annotations:
    (root / "clip.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 48\n%%EndComments\n")
    return one_frame(root, file="clip.png")


def frame_beyond_the_end(root: Path) -> Annotations:
    write_video(root / "clip.mp4", range(3))
    return one_frame(root, source="clip.mp4", number=3)


def frame_without_an_image(root: Path) -> Annotations:
    return one_frame(root)


def missing_video(root: Path) -> Annotations:
    return one_frame(root, source="clip.mp4")


HAZARDS = [
    (playlist, Kind.BAD_IMAGE, "expected a file that holds a video, got a playlist"),
    (video_that_is_a_pipe, Kind.BAD_IMAGE, "got a pipe"),
    (image_that_is_a_pipe, Kind.BAD_IMAGE, "got a pipe"),
    (image_of_two_pictures, Kind.BAD_IMAGE, "expected one picture, got 2"),
    (postscript_image, Kind.BAD_IMAGE, "expected an image"),
    (frame_beyond_the_end, Kind.NO_FRAME, "the video has 3 frames"),
    (frame_without_an_image, Kind.NO_IMAGE, "no image belongs to it"),
    (missing_video, Kind.NO_IMAGE, "no such file"),
]


def read(data: Annotations) -> list[Problem]:
    with pytest.raises(FrameError) as caught:
        read_frame(data, 0)
    return [caught.value.problem]


def check(data: Annotations) -> list[Problem]:
    return list(check_annotations(data))


def export(data: Annotations) -> list[Problem]:
    problems = Problems(skip=True)
    write_yolo(data, data.root / "yolo", problems=problems)
    return problems.found


def open_all(data: Annotations) -> list[Problem]:
    problems = Problems(skip=True)
    try:
        with open_video(data, 0, problems=problems):
            return problems.found
    except FrameError as error:
        return [error.problem]


@pytest.mark.parametrize("use", [read, check, export, open_all])
@pytest.mark.parametrize(("hazard", "kind", "message"), HAZARDS)
def test_every_reader_of_pixels_refuses_bad_files(
    tmp_path: Path,
    use: Callable[[Annotations], list[Problem]],
    hazard: Callable[[Path], Annotations],
    kind: Kind,
    message: str,
) -> None:
    [problem] = use(hazard(tmp_path))
    assert problem.kind == kind
    assert message in problem.message


@pytest.mark.parametrize("hazard", [playlist, video_that_is_a_pipe, image_that_is_a_pipe, missing_video])
def test_frame_size_refuses_bad_files(tmp_path: Path, hazard: Callable[[Path], Annotations]) -> None:
    with pytest.raises(InputError, match=r"clip\."):
        frame_size(hazard(tmp_path), 0)
