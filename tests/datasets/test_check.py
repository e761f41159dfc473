"""Problems that `check_annotations` finds in a data set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import PIL.Image
import pytest

from megavid.datasets.check import check_annotations
from megavid.datasets.table.annotations import AnnotationBuilder, Annotations
from megavid.datasets.table.problems import Kind
from tests.cli.helpers import write_video
from tests.datasets.formats.ilsvrc.ilsvrc_set import jpeg


@pytest.fixture
def data(tmp_path: Path) -> Annotations:
    """Make a data set without problems: two videos of three 96x64 images, with a box in each image."""
    builder = AnnotationBuilder(("a", "b"), root=tmp_path)
    for video in ("v", "ü"):
        builder.video(video)
        (tmp_path / video).mkdir()
        for number in range(5, 8):
            (tmp_path / video / f"{number}.jpg").write_bytes(jpeg())
            builder.frame(number, file=f"{video}/{number}.jpg", width=96, height=64)
            builder.box(1, 2, 30, 40, label=0, track=1)
    return builder.build()


def found(data: Annotations) -> list[tuple[Kind, str]]:
    return [(p.kind, str(p).replace(f"{data.root}/", "")) for p in check_annotations(data)]


def test_a_data_set_without_problems(data: Annotations) -> None:
    seen: list[tuple[int, int]] = []
    assert list(check_annotations(data, progress=lambda done, total: seen.append((done, total)))) == []
    assert seen == [(i, 6) for i in range(1, 7)]


def test_missing_and_broken_images_are_found(data: Annotations) -> None:
    (data.root / "v/5.jpg").unlink()
    path = data.root / "v/6.jpg"
    path.write_bytes(path.read_bytes()[:-300])
    (data.root / "v/7.jpg").write_bytes(jpeg(width=80))
    problems = found(data)
    assert [kind for kind, _ in problems] == [Kind.NO_IMAGE, Kind.BAD_IMAGE, Kind.IMAGE_SIZE]
    assert problems[0][1] == "v/5.jpg: no such file"
    assert problems[1][1].startswith("v/6.jpg: the image is damaged: ")
    assert problems[2][1] == "v/7.jpg: annotated as 96x64, but it is 80x64"


def test_missing_and_broken_videos_are_found(data: Annotations) -> None:
    builder = AnnotationBuilder(("a",), root=data.root)
    builder.video("v", source="v.mp4")
    builder.frame(0)
    builder.video("w")
    builder.frame(0)
    assert found(builder.build()) == [
        (Kind.NO_IMAGE, "v.mp4: no such file"),
        (Kind.NO_IMAGE, "w, frame 0: no image belongs to it"),
    ]
    [long, *_] = found(replace(builder.build(), sources=(f"{'v' * 5000}.mp4", "")))
    assert long[0] == Kind.NO_IMAGE
    (data.root / "v.mp4").touch()
    kind, message = found(builder.build())[0]
    assert kind == Kind.BAD_IMAGE
    assert message.startswith("v.mp4: cannot be read as a video: ")


def test_several_missing_images_of_a_video_are_one_problem(data: Annotations) -> None:
    for number in (5, 6, 7):
        (data.root / f"ü/{number}.jpg").unlink()
    assert found(data) == [(Kind.NO_IMAGE, "ü/5.jpg: no such file; 2 more images of the video are missing")]


def test_the_size_of_an_image_is_the_size_at_which_it_is_displayed(data: Annotations) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    path = data.root / "v/5.jpg"
    PIL.Image.new("RGB", (64, 96)).save(path, exif=exif)  # displayed as 96x64
    assert found(data) == []
    PIL.Image.new("RGB", (96, 64)).save(path, exif=exif)
    message = "v/5.jpg: annotated as 96x64, but it is 64x96: it is displayed rotated"
    assert found(data) == [(Kind.IMAGE_SIZE, message)]


@pytest.mark.parametrize("size", [(1920, 1080), (0, 0)])
def test_a_video_file_of_another_size_than_annotated_is_found(tmp_path: Path, size: tuple[int, int]) -> None:
    write_video(tmp_path / "v.mp4", [np.zeros((48, 64, 3), np.uint8)] * 3)
    builder = AnnotationBuilder(("a",), root=tmp_path)
    builder.video("v", source="v.mp4")
    for number in (0, 1):
        builder.frame(number, width=size[0], height=size[1])
        builder.box(900, 500, 1400, 1000, label=0)
    outside = "object 1: expected a box within 64x48: 900, 500, 1400, 1000"
    expected = [(Kind.OUTSIDE, f"v.mp4, frame {n}, {outside}") for n in (0, 1)]
    if size[0]:
        expected = [(Kind.IMAGE_SIZE, "v.mp4: annotated as 1920x1080, but it is 64x48")]
    assert found(builder.build()) == expected


def test_similar_class_names_are_found(data: Annotations) -> None:
    alike = replace(data, classes=("Traffic light ", "traffic_light"))
    message = "class 'traffic_light': differs from 'Traffic light ' by case or blanks only"
    assert found(alike) == [(Kind.SIMILAR_NAMES, message)]


@pytest.mark.parametrize(
    "name", ["v.mp4", "v.mkv", "v.ts"]
)  # of these containers, only .mp4 declares the number of frames
def test_frames_beyond_the_end_of_a_video_file_are_found(tmp_path: Path, name: str) -> None:
    write_video(tmp_path / "v.mp4", [np.zeros((32, 32, 3), np.uint8)] * 5)
    if name != "v.mp4":
        remux(tmp_path / "v.mp4", tmp_path / name)
    builder = AnnotationBuilder(("a",), root=tmp_path)
    builder.video("v", source=name)
    builder.frame(4)
    assert found(builder.build()) == []
    builder.frame(5)
    assert found(builder.build())[0] == (Kind.NO_FRAME, f"{name}, frame 5: the video has 5 frames")


def remux(path: Path, other: Path) -> None:
    with av.open(str(path)) as source, av.open(str(other), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)


def test_duplicate_frames_gaps_and_mixed_sizes_are_found(data: Annotations) -> None:
    number = np.array([5, 5, 7, 5, 6, 7])
    width = np.array([96, 96, 96, 96, 80, 80], np.int32)
    changed = replace(data, number=number, width=width, videos=("v", "ü", "none"), sources=("",) * 3)
    assert [p for p in found(changed) if p[0] != Kind.IMAGE_SIZE] == [
        (Kind.EMPTY_VIDEO, "video 'none': has no frames"),
        (Kind.DUPLICATE_FRAME, "v/6.jpg: frame 5 comes after frame 5"),
        (Kind.GAP, "v/7.jpg: frame 7 follows frame 5"),
        (Kind.MIXED_SIZES, "ü/6.jpg: is 80x64, the frame before 96x64"),
    ]


def test_an_image_that_is_used_twice_is_found(data: Annotations) -> None:
    files = data.files.to_pylist()
    files[4] = files[1]
    changed = replace(data, files=type(data.files).from_pandas(np.array(files, object)))
    assert found(changed) == [(Kind.DUPLICATE_FRAME, "v/6.jpg: is the image of frame 6 of video 'v', too")]


def test_inverted_boxes_and_boxes_outside_the_frame_are_found(data: Annotations) -> None:
    boxes = np.array(
        [[5, 5, 5, 9], [-3, 0, 9, 9], [0, 0, 97, 65], [0, 0, 98.5, 60], [9, 9, 3, 20], [1, 2, 30, 40]],
        np.float32,
    )
    assert found(replace(data, boxes=boxes)) == [
        (Kind.INVERTED, "v/5.jpg, object 1: expected x1 < x2 and y1 < y2: 5, 5, 5, 9"),
        (Kind.INVERTED, "ü/6.jpg, object 1: expected x1 < x2 and y1 < y2: 9, 9, 3, 20"),
        (Kind.OUTSIDE, "v/6.jpg, object 1: expected a box within 96x64: -3, 0, 9, 9"),
        (Kind.OUTSIDE, "ü/5.jpg, object 1: expected a box within 96x64: 0, 0, 98.5, 60"),
    ]


def test_duplicate_boxes_are_found(data: Annotations) -> None:
    builder = AnnotationBuilder(data.classes, root=data.root)
    builder.video("v")
    builder.frame(5, file="v/5.jpg", width=96, height=64)
    builder.box(1, 2, 3, 4, label=0)
    builder.box(1, 2, 3, 4, label=1)
    builder.box(1, 2, 3, 4, label=0)
    builder.box(1, 2, 3, 5, label=0, track=4)
    builder.box(1, 2, 3, 6, label=0, track=4)
    assert found(builder.build()) == [
        (Kind.DUPLICATE_BOX, "v/5.jpg, object 3: is in the frame twice: 1, 2, 3, 4"),
        (Kind.DUPLICATE_BOX, "v/5.jpg, object 5: track 4 has two boxes in the frame: 1, 2, 3, 6"),
    ]


def test_an_empty_data_set(tmp_path: Path) -> None:
    assert found(AnnotationBuilder((), root=tmp_path).build()) == []


def test_gaps_if_only_every_fifth_frame_is_annotated(tmp_path: Path) -> None:
    builder = AnnotationBuilder(("a",), root=tmp_path)
    for video, numbers in (("v", (0, 5, 10, 15, 25)), ("w", (0, 5))):
        builder.video(video)
        for number in numbers:
            builder.frame(number)
    gaps = [str(p) for p in check_annotations(builder.build()) if p.kind == Kind.GAP]
    assert gaps == ["v, frame 25: frame 25 follows frame 15", "w, frame 5: frame 5 follows frame 0"]
