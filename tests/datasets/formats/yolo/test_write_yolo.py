"""Writing data sets in YOLO's format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import yaml

from megavid.core.errors import InputError
from megavid.datasets.formats.yolo.read_yolo import read_yolo
from megavid.datasets.formats.yolo.write_yolo import Written, write_yolo
from megavid.datasets.table.annotations import NO_TRACK, AnnotationBuilder, Annotations
from megavid.datasets.table.problems import Kind, Problems
from megavid.video.images import read_image
from tests.cli.helpers import write_video


def images(root: Path, *, video: str = "v", size: tuple[int, int] = (64, 48)) -> Annotations:
    """Make frames 3 and 4 of a video; frame 3 also has a box partly outside, a box outside, and a crowd."""
    builder = AnnotationBuilder(("Käfer", "no: yaml"), root=root)
    builder.video(video)
    for number in (3, 4):
        path = root / "pictures" / f"{number}.PNG"
        path.parent.mkdir(exist_ok=True)
        PIL.Image.new("RGB", (64, 48)).save(path)
        builder.frame(number, file=f"pictures/{number}.PNG", width=size[0], height=size[1])
        if number == 3:
            builder.box(-8, 12, 32, 36, label=1, track=12)
            builder.box(70, 0, 80, 10, label=1, track=13)
            builder.box(0, 0, 60, 40, label=1, crowd=True)
    builder.box(16, 12, 17, 13, label=0)
    return builder.build()


@pytest.mark.parametrize("tracks", [True, False])
def test_a_written_data_set_is_read_back(tmp_path: Path, tracks: bool) -> None:
    table = images(tmp_path, video="set/v")
    out = tmp_path / "out"
    written = write_yolo(table, out, tracks=tracks, problems=Problems())
    assert written == Written(frames=2, boxes=2, difficult=1, outside=1)
    content = yaml.safe_load((out / "data.yaml").read_text())
    assert content == {
        "path": str(out),
        "train": "images",
        "val": "images",
        "names": {0: "Käfer", 1: "no: yaml"},
    }
    assert (out / "images/set/v/000003.png").readlink() == tmp_path / "pictures/3.PNG"
    assert (out / "labels/set/v/000003.txt").read_text() == "1 0.25 0.5 0.5 0.5" + " 12" * tracks + "\n"
    read = read_yolo(out, problems=Problems())
    assert (read.classes, read.videos, read.number.tolist()) == (table.classes, ("set/v",), [3, 4])
    np.testing.assert_allclose(read.boxes, [[0, 12, 32, 36], [16, 12, 17, 13]], atol=1e-5)
    assert read.labels.tolist() == [1, 0]
    assert read.tracks.tolist() == [12 if tracks else NO_TRACK, NO_TRACK]
    out.rename(tmp_path / "moved")
    assert len(read_yolo(tmp_path / "moved", problems=Problems())) == 2


def test_frames_of_a_video_file_are_written_as_images(tmp_path: Path) -> None:
    write_video(tmp_path / "clip.mp4", [np.full((48, 64, 3), 40 * n, np.uint8) for n in range(6)])
    builder = AnnotationBuilder(("a",), root=tmp_path)
    builder.video("clip", source="clip.mp4")
    for number in (1, 4):
        builder.frame(number)
        builder.box(16, 12, 48, 36, label=0)
    seen: list[tuple[int, int]] = []
    write_yolo(
        builder.build(),
        tmp_path / "out",
        problems=Problems(),
        progress=lambda done, total: seen.append((done, total)),
    )
    read = read_yolo(tmp_path / "out", problems=Problems())
    assert read.files.to_pylist() == ["images/clip/000001.jpg", "images/clip/000004.jpg"]
    np.testing.assert_allclose(read.boxes, [[16, 12, 48, 36]] * 2)
    for number, file in zip((1, 4), read.files.to_pylist(), strict=True):
        assert abs(read_image(tmp_path / "out" / file).mean() - 40 * number) < 4
    assert seen == [(1, 2), (2, 2)]


@pytest.mark.parametrize("video", ["../v", "/v", "a/../../v", "nul\0", "", "images/v", "v/labels"])
def test_video_names_that_do_not_fit_the_layout_are_refused(tmp_path: Path, video: str) -> None:
    with pytest.raises(InputError, match="expected (the name of a file within|no folder called images or)"):
        write_yolo(images(tmp_path, video=video), tmp_path / "a" / "out", problems=Problems())
    assert sorted(path.name for path in tmp_path.iterdir()) in (["a", "pictures"], ["pictures"])
    assert not (tmp_path / "a" / "out").exists()


def test_frames_that_cannot_be_written_are_refused(tmp_path: Path) -> None:
    table = images(tmp_path, size=(128, 96))
    problems = Problems(skip=True)
    write_yolo(table, tmp_path / "out", problems=problems)
    assert problems.counts() == {Kind.IMAGE_SIZE: 2}
    with pytest.raises(InputError, match=r"3.PNG: annotated as 128x96, but it is 64x48"):
        write_yolo(table, tmp_path / "other", problems=Problems())
    (tmp_path / "pictures" / "3.PNG").unlink()
    with pytest.raises(InputError, match=r"3.PNG: no such file"):
        write_yolo(table, tmp_path / "other", problems=Problems())
    (tmp_path / "pictures" / "3.PNG").write_bytes(b"no")
    with pytest.raises(InputError, match=r"3.PNG: expected an image: "):
        write_yolo(table, tmp_path / "other", problems=Problems())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "pictures"]


def test_a_folder_with_files_is_refused(tmp_path: Path) -> None:
    table = images(tmp_path)
    with pytest.raises(InputError, match="pictures: expected a new or empty folder"):
        write_yolo(table, tmp_path / "pictures", problems=Problems())
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    with pytest.raises(InputError, match="link: expected a new or empty folder"):
        write_yolo(table, tmp_path / "link", problems=Problems())
    write_yolo(table, tmp_path / "empty", problems=Problems())
    assert (tmp_path / "empty" / "data.yaml").exists()
