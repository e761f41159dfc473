"""Reading data sets in YOLO's format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from megavid.core.errors import InputError
from megavid.datasets.formats.yolo.read_yolo import is_yolo, read_yolo, yolo_subsets
from megavid.datasets.table.annotations import NO_TRACK
from megavid.datasets.table.problems import Kind, Problems


def image(path: Path, width: int = 100, height: int = 50) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.new("RGB", (width, height)).save(path)


def text(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def test_images_and_labels_are_read(tmp_path: Path) -> None:
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


def test_one_folder_may_have_images_of_several_videos(tmp_path: Path) -> None:
    for name in ("b_001", "a-01_007", "a-01_002", "other"):
        image(tmp_path / f"{name}.jpg")
    text(tmp_path / "a-01_002.txt", "0 0.5 0.5 1 1\n")
    text(tmp_path / "classes.txt", "cat\n")
    table = read_yolo(tmp_path, problems=Problems())
    assert table.videos == ("a-01", "b", "other")
    assert table.video.tolist() == [0, 0, 1, 2]
    assert table.number.tolist() == [2, 7, 1, 0]
    assert table.box_frames.tolist() == [0]


def test_two_images_with_one_number_are_refused(tmp_path: Path) -> None:
    for name in ("1.jpg", "01.jpg", "10.png"):
        image(tmp_path / name)
    with pytest.raises(InputError, match="expected one image with number 1, got"):
        read_yolo(tmp_path, classes=["cat"], problems=Problems())


def test_images_without_numbers_are_ordered_by_name(tmp_path: Path) -> None:
    for name in ("b.jpg", "a.jpg", "c.png"):
        image(tmp_path / name)
    problems = Problems()
    table = read_yolo(tmp_path, classes=["cat"], problems=problems)
    how = "frames 0 to 2 (3) in a.jpg to c.png, in order, since their names have no numbers"
    assert problems.notes == [f"video {tmp_path.name!r}: {how}"]
    assert table.files.to_pylist() == ["a.jpg", "b.jpg", "c.png"]
    assert table.number.tolist() == [0, 1, 2]


ROBOFLOW = {2: "a1b2c3d4e5f6071817060f5e4d3c2b1a", 10: "9988aa7766bb55011055bb6677aa8899", 11: "0f" * 16}


def roboflow(folder: Path) -> None:
    """Write frames 2, 10 and 11 of clip.mp4; the hashes in their names are not in the order of frames."""
    for number, digest in ROBOFLOW.items():
        stem = f"clip_mp4-{number}_jpg.rf.{digest}"
        image(folder / "images" / f"{stem}.jpg")
        text(folder / "labels" / f"{stem}.txt", f"0 0.5 0.5 0.{number:02d} 0.5\n")


def test_a_roboflow_export_is_read(tmp_path: Path) -> None:
    roboflow(tmp_path / "train")
    roboflow(tmp_path / "valid")
    text(
        tmp_path / "data.yaml",
        "train: ../train/images\nval: ../valid/images\ntest: ../test/images\nnc: 1\nnames: ['fox']\n",
    )
    assert yolo_subsets(tmp_path) == ["train", "val"]
    for subset, name in (("train", "train"), ("val", "valid"), ("valid", "valid")):
        table = read_yolo(tmp_path, subset=subset, problems=Problems())
        assert table.videos == ("clip",)
        assert table.number.tolist() == [2, 10, 11]
        assert [Path(file).parts[0] for file in table.files.to_pylist()] == [name] * 3
        widths = (table.boxes[:, 2] - table.boxes[:, 0]).tolist()
        np.testing.assert_allclose(widths, [2, 10, 11], atol=1e-4)
    assert read_yolo(tmp_path, problems=Problems()).videos == ("train/clip", "valid/clip")
    assert read_yolo(tmp_path / "train", classes=["fox"], problems=Problems()).videos == ("clip",)


def test_an_ambiguous_folder_is_refused(tmp_path: Path) -> None:
    roboflow(tmp_path / "train")  # a folder of another data set
    roboflow(tmp_path / "set" / "train")
    text(tmp_path / "set" / "data.yaml", "train: ../train/images\nnames: [fox]\n")
    with pytest.raises(InputError, match="train: expected one place, got ../train/images, which may be"):
        read_yolo(tmp_path / "set", problems=Problems())


def test_augmented_copies_of_a_frame_are_refused(tmp_path: Path) -> None:
    roboflow(tmp_path)
    image(tmp_path / "images" / f"clip_mp4-10_jpg.rf.{'1e' * 16}.jpg")
    with pytest.raises(InputError, match="images: expected one image with number 10, got clip_mp4-10_jpg"):
        read_yolo(tmp_path, classes=["fox"], problems=Problems())


def test_subsets_may_be_lists_of_images_or_of_folders(tmp_path: Path) -> None:
    for folder in ("a", "b", "c"):
        for number in (1, 2, 3):
            image(tmp_path / "images" / folder / f"{number}.png")
    text(tmp_path / "labels" / "a" / "3.txt", "0 0.5 0.5 1 1\n")
    text(tmp_path / "lists" / "train.txt", f"images/a/3.png\n\n./images/a/1.png\n{tmp_path}/images/b/2.png\n")
    text(tmp_path / "data.yaml", "train: lists/train.txt\nval: [images/b, images/c]\nnames: [cat]\n")
    train = read_yolo(tmp_path, subset="train", problems=Problems())
    assert train.files.to_pylist() == ["images/a/1.png", "images/a/3.png", "images/b/2.png"]
    assert (train.videos, train.number.tolist(), train.box_frames.tolist()) == (("a", "b"), [1, 3, 2], [1])
    val = read_yolo(tmp_path, subset="val", problems=Problems())
    assert val.videos == ("b", "c")
    assert len(val) == 6
    assert (
        len(read_yolo(tmp_path, problems=Problems())) == 8
    )  # 3 and 6 images, but image 2 of b, which is in both, counts once

    text(tmp_path / "lists" / "train.txt", "images/a/9.png\nimages/a/1.png\nlists/train.txt\na\0b.png\n")
    with pytest.raises(InputError, match=r"train.txt: 3 of its lines name no existing image"):
        read_yolo(tmp_path, subset="train", problems=Problems())


@pytest.mark.parametrize("path", ["..", "{}", "/moved/elsewhere", "../datasets/gone"])
def test_the_folder_that_paths_are_relative_to(tmp_path: Path, path: str) -> None:
    image(tmp_path / "images" / "v" / "1.png")
    place = tmp_path / "about" if path in ("..", "{}") else tmp_path
    text(place / "some.yaml", f"path: {path.format(tmp_path)}\ntrain: images\nnames: [cat]\n")
    table = read_yolo(place / "some.yaml", problems=Problems())
    assert (table.videos, table.root) == (("v",), tmp_path if place == tmp_path else tmp_path / "images/v")


def test_a_subset_with_the_images_of_another_is_not_listed(tmp_path: Path) -> None:
    image(tmp_path / "images" / "v" / "1.png")
    text(tmp_path / "data.yaml", "train: images\nval: images\nnames: [cat]\n")
    assert yolo_subsets(tmp_path) == ["train"]
    assert len(read_yolo(tmp_path, subset="val", problems=Problems())) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("names: [a, b]\nnc: 3", "nc: expected 2, the number of names, got 3"),
        ("names: [a, yes]", "names: expected text as the name of a class, in quotes, got True"),
        ("names: [1.10]", ".*in quotes, got 1.1"),
        ("names: [a, a]", "names: expected a different name for each class, got 'a' twice"),
        ("names: {0: a, x: b}", "names: expected the numbers 0 to 1"),
        ("names: 3", "names: expected a list of names, got 3"),
        ("names: [a]\ntrain: 3", "train: expected a folder, a list of images, or several, got 3"),
        ("names: [a]\ntrain: nowhere", r"train: expected a folder or a list of images, no .*/nowhere"),
        ("names: [a]\npath: [x]\ntrain: images", r"path: expected a folder, got \['x'\]"),
        ("[" * 200, "no valid YAML"),
    ],
)
def test_an_invalid_data_yaml_is_refused(tmp_path: Path, content: str, message: str) -> None:
    image(tmp_path / "images" / "v" / "1.png")
    text(tmp_path / "data.yaml", content)
    with pytest.raises(InputError, match=f"data.yaml: {message}"):
        read_yolo(tmp_path, problems=Problems())


@pytest.mark.parametrize("names", ["[0, 1]", "{0: '0', '1': '1'}"])
def test_class_names_may_be_integers(tmp_path: Path, names: str) -> None:
    image(tmp_path / "images" / "v" / "1.png")
    text(tmp_path / "data.yaml", f"names: {names}")
    assert read_yolo(tmp_path, problems=Problems()).classes == ("0", "1")


def test_boxes_are_relative_to_the_displayed_size_of_an_image(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    PIL.Image.new("RGB", (100, 50)).save(tmp_path / "images" / "1.jpg", exif=exif)
    text(tmp_path / "labels" / "1.txt", "0 0.5 0.5 1 0.5\n")
    table = read_yolo(tmp_path, classes=["cat"], problems=Problems())
    assert (table.width.tolist(), table.height.tolist()) == ([50], [100])
    np.testing.assert_allclose(table.boxes, [[0, 25, 50, 75]])


@pytest.mark.parametrize("named", [True, False])
def test_one_subset_can_be_read(tmp_path: Path, named: bool) -> None:
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


def test_file_names_may_be_timestamps(tmp_path: Path) -> None:
    for time in (1_700_000_000_123, 1_700_000_000_456):
        image(tmp_path / f"{time}.jpg")
    table = read_yolo(tmp_path, classes=["cat"], problems=Problems())
    assert table.number.tolist() == [1_700_000_000_123, 1_700_000_000_456]


@pytest.mark.parametrize(
    ("line", "kind", "message"),
    [
        ("0 0.5 0.5 1", Kind.BAD_ROW, "1.txt, line 2: expected class, cx, cy"),
        ("0 0.5 0.5 1 1 2 3", Kind.BAD_ROW, "1.txt, line 2: expected 5 or 6 numbers, got 7, as for polygons"),
        ("0 nan 0.5 1 1", Kind.BAD_ROW, "line 2: expected class, cx"),
        ("0 inf 0.5 1 1", Kind.BAD_ROW, "line 2: expected class, cx"),
        ("0 1e999 0.5 1 1", Kind.BAD_ROW, "line 2: expected class, cx"),
        ("0 0.5 0.5 1_0 1", Kind.BAD_ROW, "line 2: expected class, cx"),
        ("0.5 0.5 0.5 1 1", Kind.BAD_ROW, "line 2: expected class, cx"),
        ("0 0.5 0.5 1 1 0.9", Kind.BAD_ROW, "line 2: expected class, cx"),
        ("0 0.5 0.5 1 1 99999999999999999999", Kind.BAD_ROW, "line 2: expected class, cx"),
        ("0 50 25 40 20", Kind.BAD_ROW, "line 2: expected fractions of the image's width"),
        ("0 0.5 0.5 -0.1 1", Kind.INVERTED, "above 0, got -0.1 and 1"),
        ("-1 0.5 0.5 1 1", Kind.UNKNOWN_CLASS, "line 2: expected a class from 0 to 0, got -1"),
        ("0 0.5 x 1 1", Kind.BAD_ROW, "line 2: expected class, cx"),
        ("1 0.5 0.5 1 1", Kind.UNKNOWN_CLASS, "line 2: expected a class from 0 to 0, got 1"),
        ("0 0.5 0.5 0 1", Kind.INVERTED, "line 2: expected a width and a height above 0, got 0 and 1"),
    ],
)
def test_bad_lines_are_refused_or_skipped(tmp_path: Path, line: str, kind: Kind, message: str) -> None:
    image(tmp_path / "1.jpg")
    text(tmp_path / "1.txt", f"0 0.5 0.5 1 1\n{line}\n")
    with pytest.raises(InputError, match=message):
        read_yolo(tmp_path, classes=["cat"], problems=Problems())
    problems = Problems(skip=True)
    assert len(read_yolo(tmp_path, classes=["cat"], problems=problems).boxes) == 1
    assert problems.counts() == {kind: 1}


def test_a_broken_image_and_broken_text_are_refused_or_skipped(tmp_path: Path) -> None:
    image(tmp_path / "1.jpg")
    (tmp_path / "2.jpg").write_bytes(b"no")
    (tmp_path / "1.txt").write_bytes(b"\xff\xff")
    problems = Problems(skip=True)
    table = read_yolo(tmp_path, classes=["cat"], problems=problems)
    assert table.number.tolist() == [1]
    assert problems.counts() == {Kind.UNREADABLE: 1, Kind.BAD_IMAGE: 1}
    with pytest.raises(InputError, match=r"1.txt: expected text in UTF-8"):
        read_yolo(tmp_path, classes=["cat"], problems=Problems())


@pytest.mark.parametrize(
    ("images", "labels"), [("images", "Labels"), ("Images", "Labels"), ("IMAGES", "LABELS")]
)
def test_folder_names_may_be_in_upper_case(tmp_path: Path, images: str, labels: str) -> None:
    image(tmp_path / images / "v" / "1.jpg")
    text(tmp_path / labels / "v" / "1.TXT", "0 0.5 0.5 0.2 0.4")
    assert len(read_yolo(tmp_path, classes=["cat"], problems=Problems()).boxes) == 1


def test_text_files_that_belong_to_no_image_cause_an_error_or_a_warning(tmp_path: Path) -> None:
    image(tmp_path / "images" / "001.jpg")
    text(tmp_path / "labels" / "1.txt", "0 0.5 0.5 0.2 0.4")
    text(tmp_path / "labels" / "classes.txt", "cat")
    with pytest.raises(InputError, match=r"labels/1.txt: 1 text files belong to no image, and no image in"):
        read_yolo(tmp_path, problems=Problems())
    text(tmp_path / "labels" / "001.txt", "0 0.5 0.5 0.2 0.4")
    problems = Problems()
    assert len(read_yolo(tmp_path, problems=problems).boxes) == 1
    assert problems.warnings == [
        f"{tmp_path / 'labels'}: 1 text files belong to no image, the first is 1.txt"
    ]


def test_a_list_may_omit_labeled_images(tmp_path: Path) -> None:
    for name in ("1", "2"):
        image(tmp_path / "images" / f"{name}.jpg")
    text(tmp_path / "labels" / "2.txt", "0 0.5 0.5 0.2 0.4")
    text(tmp_path / "data.yaml", "names: [cat]\ntrain: train.txt\n")
    text(tmp_path / "train.txt", "images/1.jpg")
    problems = Problems()
    assert len(read_yolo(tmp_path, problems=problems).boxes) == 0
    assert problems.warnings == [f"{tmp_path / 'train.txt'}: no image has a text file of labels"]


@pytest.mark.parametrize("name", ["classes.txt", "obj.names", "labels/classes.txt"])
def test_class_names_are_read_from_text_files(tmp_path: Path, name: str) -> None:
    image(tmp_path / "images" / "1.jpg")
    text(tmp_path / name, "cat\r\ndog\r\n\r\n")
    assert is_yolo(tmp_path)
    assert read_yolo(tmp_path, problems=Problems()).classes == ("cat", "dog")
    text(tmp_path / name, "cat\n\ndog\n")
    with pytest.raises(InputError, match="expected one class name per line"):
        read_yolo(tmp_path, problems=Problems())


def test_a_yaml_file_of_another_name_is_suggested(tmp_path: Path) -> None:
    image(tmp_path / "images" / "1.jpg")
    text(tmp_path / "dataset.yml", "names: [cat]")
    with pytest.raises(InputError, match="or the classes named; if it is dataset.yml, give that file"):
        read_yolo(tmp_path, problems=Problems())


def test_data_sets_without_class_names_are_refused(tmp_path: Path) -> None:
    image(tmp_path / "1.jpg")
    with pytest.raises(InputError, match=r"expected data.yaml with names, or classes.txt"):
        read_yolo(tmp_path, problems=Problems())
    text(tmp_path / "data.yaml", "names: {1: a}")
    with pytest.raises(InputError, match=r"data.yaml: names: expected the numbers 0 to 0"):
        read_yolo(tmp_path, problems=Problems())
    text(tmp_path / "data.yaml", "names: [")
    with pytest.raises(InputError, match=r"data.yaml: no valid YAML"):
        read_yolo(tmp_path, problems=Problems())


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no images in this folder or its subfolders"):
        read_yolo(tmp_path, classes=["cat"], problems=Problems())


def test_a_folder_with_labels_is_recognized(tmp_path: Path) -> None:
    assert not is_yolo(tmp_path)
    (tmp_path / "labels").mkdir()
    assert is_yolo(tmp_path)
