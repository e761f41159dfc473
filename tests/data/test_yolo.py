"""YOLO's text files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import yaml

from megavid.core.annotations import NO_TRACK, AnnotationBuilder
from megavid.core.errors import InputError
from megavid.core.problems import Kind, Problems
from megavid.data.yolo import is_yolo, read_yolo, write_yolo


def image(path: Path, width: int = 100, height: int = 50) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.new("RGB", (width, height)).save(path)


def text(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def test_images_and_labels(tmp_path: Path) -> None:
    for number in (4, 5, 11):
        image(tmp_path / "images" / "ä" / f"f{number}.jpg")
    image(tmp_path / "images" / "b" / "x.png", 10, 10)
    text(tmp_path / "labels" / "ä" / "f4.txt", "1 0.5 0.5 0.2 0.4\r\n\r\n0 0.25 0.5 0.5 1 7\r\n")
    text(tmp_path / "labels" / "ä" / "f5.txt", "")
    text(tmp_path / "data.yaml", "names: {0: cat, 1: dog}\n")
    table = read_yolo(tmp_path, problems=Problems())
    assert table.classes == ("cat", "dog")
    assert table.videos == ("b", "ä")
    assert table.number.tolist() == [0, 4, 5, 11]
    assert table.files.to_pylist() == ["images/b/x.png", *(f"images/ä/f{n}.jpg" for n in (4, 5, 11))]
    assert table.width.tolist() == [10, 100, 100, 100]
    assert table.box_frames.tolist() == [1, 1]
    np.testing.assert_allclose(table.boxes, [[40, 15, 60, 35], [0, 0, 50, 50]])
    assert table.labels.tolist() == [1, 0]
    assert table.tracks.tolist() == [NO_TRACK, 7]


def test_a_flat_folder_of_several_videos(tmp_path: Path) -> None:
    for name in ("b_001", "a-01_007", "a-01_002", "other"):
        image(tmp_path / f"{name}.jpg")
    text(tmp_path / "a-01_002.txt", "0 0.5 0.5 1 1\n")
    text(tmp_path / "classes.txt", "cat\n")
    table = read_yolo(tmp_path, problems=Problems())
    assert table.videos == ("a-01", "b", "unnamed")
    assert table.video.tolist() == [0, 0, 1, 2]
    assert table.number.tolist() == [2, 7, 1, 0]
    assert table.box_frames.tolist() == [0]


def test_numbers_that_repeat_do_not_count(tmp_path: Path) -> None:
    for name in ("1.jpg", "01.jpg", "10.png"):
        image(tmp_path / name)
    table = read_yolo(tmp_path, classes=["cat"], problems=Problems())
    assert table.number.tolist() == [0, 1, 2]


@pytest.mark.parametrize("named", [True, False])
def test_a_subset(tmp_path: Path, named: bool) -> None:
    image(tmp_path / "images" / "val" / "v" / "1.jpg")
    image(tmp_path / "images" / "train" / "v" / "1.jpg")
    text(tmp_path / "labels" / "val" / "v" / "1.txt", "0 0.5 0.5 1 1\n")
    text(tmp_path / "data.yaml", "names: [cat]\n" + ("val: images/val\n" if named else ""))
    table = read_yolo(tmp_path / "data.yaml", subset="val", problems=Problems())
    assert table.videos == ("v",)
    assert table.files.to_pylist() == ["images/val/v/1.jpg"]
    assert len(table.boxes) == 1
    assert read_yolo(tmp_path, problems=Problems()).videos == ("train/v", "val/v")
    with pytest.raises(InputError, match="subset: expected a folder"):
        read_yolo(tmp_path, subset="x", problems=Problems())


@pytest.mark.parametrize(
    ("line", "kind", "message"),
    [
        ("0 0.5 0.5 1", Kind.BAD_ROW, "1.txt, line 2: expected class, cx, cy"),
        ("0 0.5 0.5 1 1 2 3", Kind.BAD_ROW, "1.txt, line 2: expected class, cx, cy"),
        ("0 0.5 x 1 1", Kind.BAD_ROW, "line 2: expected class, cx"),
        ("1 0.5 0.5 1 1", Kind.UNKNOWN_CLASS, "line 2: expected a class from 0 to 0, got 1"),
        ("0 0.5 0.5 0 1", Kind.INVERTED, "line 2: expected a width and a height above 0, got 0 and 1"),
    ],
)
def test_bad_lines(tmp_path: Path, line: str, kind: Kind, message: str) -> None:
    image(tmp_path / "1.jpg")
    text(tmp_path / "1.txt", f"0 0.5 0.5 1 1\n{line}\n")
    with pytest.raises(InputError, match=message):
        read_yolo(tmp_path, classes=["cat"], problems=Problems())
    problems = Problems(skip=True)
    assert len(read_yolo(tmp_path, classes=["cat"], problems=problems).boxes) == 1
    assert problems.counts() == {kind: 1}


def test_a_broken_image_and_broken_text(tmp_path: Path) -> None:
    image(tmp_path / "1.jpg")
    (tmp_path / "2.jpg").write_bytes(b"no")
    (tmp_path / "1.txt").write_bytes(b"\xff\xff")
    problems = Problems(skip=True)
    table = read_yolo(tmp_path, classes=["cat"], problems=problems)
    assert table.number.tolist() == [1]
    assert problems.counts() == {Kind.UNREADABLE: 1, Kind.BAD_IMAGE: 1}
    with pytest.raises(InputError, match=r"1.txt: cannot be read"):
        read_yolo(tmp_path, classes=["cat"], problems=Problems())


def test_nothing_names_the_classes(tmp_path: Path) -> None:
    image(tmp_path / "1.jpg")
    with pytest.raises(InputError, match=r"expected data.yaml with names, or classes.txt"):
        read_yolo(tmp_path, problems=Problems())
    text(tmp_path / "data.yaml", "names: {1: a}")
    with pytest.raises(InputError, match=r"data.yaml: names: expected the numbers 0 to 0"):
        read_yolo(tmp_path, problems=Problems())
    text(tmp_path / "data.yaml", "names: [")
    with pytest.raises(InputError, match=r"data.yaml: expected YAML"):
        read_yolo(tmp_path, problems=Problems())


def test_no_images(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no images in this folder or those in it"):
        read_yolo(tmp_path, classes=["cat"], problems=Problems())


@pytest.mark.parametrize("tracks", [True, False])
def test_what_is_written_is_read(tmp_path: Path, tracks: bool) -> None:
    builder = AnnotationBuilder(("Käfer", "no: yaml"), root=tmp_path)
    builder.video("v")
    for number in (3, 4):
        image(tmp_path / "images" / "v" / f"{number}.png", 1280, 720)
        builder.frame(number, file=f"images/v/{number}.png", width=1280 * (number - 3), height=720)
    builder.box(0.25, 1, 1279.9, 719, label=1, track=12)
    builder.box(100, 200, 101, 201, label=0)
    table = builder.build()
    write_yolo(table, tmp_path / "out", tracks=tracks)
    about = yaml.safe_load((tmp_path / "out" / "data.yaml").read_text())
    assert about["names"] == {0: "Käfer", 1: "no: yaml"}
    listed = (tmp_path / "out" / "images.txt").read_text().splitlines()
    assert listed == [str(tmp_path / "images" / "v" / f"{n}.png") for n in (3, 4)]
    assert (tmp_path / "out" / "labels" / "images" / "v" / "3.txt").read_text() == ""
    # Put beside the images, as others lay them out, it is the same again.
    (tmp_path / "out" / "labels" / "images").rename(tmp_path / "labels")
    (tmp_path / "out" / "data.yaml").rename(tmp_path / "data.yaml")
    read = read_yolo(tmp_path, problems=Problems())
    np.testing.assert_allclose(read.boxes, table.boxes, atol=1e-3)
    assert (read.labels.tolist(), read.number.tolist()) == ([1, 0], [3, 4])
    assert read.tracks.tolist() == ([12, NO_TRACK] if tracks else [NO_TRACK, NO_TRACK])


def test_frames_of_a_video_file_cannot_be_written(tmp_path: Path) -> None:
    builder = AnnotationBuilder(("a",), root=tmp_path)
    builder.video("v", source="v.mp4")
    builder.frame(3)
    with pytest.raises(InputError, match=r"v.mp4, frame 3: YOLO's format takes image files"):
        write_yolo(builder.build(), tmp_path / "out")


def test_recognised(tmp_path: Path) -> None:
    assert not is_yolo(tmp_path)
    (tmp_path / "labels").mkdir()
    assert is_yolo(tmp_path)
