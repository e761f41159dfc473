"""Reading CocoVID and COCO files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from megavid.core.errors import InputError
from megavid.datasets.formats.coco.read_coco import read_coco
from megavid.datasets.table.annotations import NO_TRACK
from megavid.datasets.table.problems import Kind, Problems
from tests.datasets.formats.coco.coco_files import plain, write


def test_a_cocovid_file_is_read(tmp_path: Path) -> None:
    table = read_coco(write(tmp_path / "x.json"), problems=Problems())
    assert (table.classes, table.category_ids) == (("cat", "dog"), (4, 2))
    assert table.videos == ("ä", "leer")
    assert table.number.tolist() == [8, 9]
    assert table.image_ids.tolist() == [30, 31]
    assert table.files.to_pylist() == ["a/8.jpg", "a/9.jpg"]
    assert table.boxes.tolist() == [[0, 0, 5.5, 5], [1, 2, 4, 6], [0, 0, 1, 1]]
    assert table.labels.tolist() == [0, 1, 0]
    assert table.tracks.tolist() == [0, 7, NO_TRACK]
    assert table.occluded.tolist() == [False, True, False]
    assert table.difficult.tolist() == [True, False, True]
    assert table.crowds.tolist() == [True, False, False]
    assert table.object_areas.tolist() == [27.5, 12, 0.25]


def test_classes_can_be_selected(tmp_path: Path) -> None:
    path = write(tmp_path / "x.json")
    table = read_coco(path, classes=["dog", "cat"], problems=Problems())
    assert (table.classes, table.category_ids, table.labels.tolist()) == (("dog", "cat"), (2, 4), [1, 0, 1])
    with pytest.raises(InputError, match="annotation 2: expected one of dog, got category 4, cat"):
        read_coco(path, classes=["dog"], problems=Problems())
    problems = Problems(skip=True)
    assert len(read_coco(path, classes=["dog"], problems=problems).boxes) == 1
    assert problems.counts() == {Kind.UNKNOWN_CLASS: 2}


def test_images_of_plain_coco_are_videos_of_one_frame(tmp_path: Path) -> None:
    path = write(tmp_path / "x.json")
    content = json.loads(path.read_text())
    del content["videos"]
    path.write_text(json.dumps(content))
    table = read_coco(path, problems=Problems())
    assert table.videos == ("a/9", "a/8")
    content["images"][1]["file_name"] = "a/9.png"
    path.write_text(json.dumps(content))
    assert read_coco(path, problems=Problems()).videos == ("a/9.jpg", "a/9.png")
    assert table.image_ids.tolist() == [31, 30]
    assert table.offsets.tolist() == [0, 2, 3]


@pytest.mark.parametrize("folder", [".", "images", "data", "..", "../images"])
def test_the_folder_of_the_images_is_found(tmp_path: Path, folder: str) -> None:
    root = tmp_path / "x" / "annotations"
    root.mkdir(parents=True)
    image = root / folder / "a" / "9.jpg"
    image.parent.mkdir(parents=True)
    image.touch()
    table = read_coco(write(root / "x.json"), problems=Problems())
    assert (table.root / "a/9.jpg").resolve() == image.resolve()


def test_the_image_folder_can_be_given(tmp_path: Path) -> None:
    assert (
        read_coco(write(tmp_path / "x.json"), images=tmp_path / "i", problems=Problems()).root
        == tmp_path / "i"
    )


@pytest.mark.parametrize("content", ["{", "[]", '{"images": []}', '{"images": 3, "annotations": []}'])
def test_files_without_coco_annotations_are_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(InputError, match=r"x.json: expected (JSON|COCO annotations)"):
        read_coco(path, problems=Problems())
    with pytest.raises(InputError, match="no.json: no such file"):
        read_coco(tmp_path / "no.json", problems=Problems())


def test_track_ids_that_are_text_become_numbers(tmp_path: Path) -> None:
    path = write(tmp_path / "x.json")
    content = json.loads(path.read_text())
    for row, track in zip(content["annotations"], ("left", 3, "left"), strict=True):
        row.pop("track_id", None)
        row["instance_id"] = track
    path.write_text(json.dumps(content))
    # Boxes are sorted by frame: the second box of the file is in frame 8, the others are in frame 9.
    assert read_coco(path, problems=Problems()).tracks.tolist() == [3, 1 << 32, 1 << 32]


def test_categories_with_equal_names_become_one_class(tmp_path: Path) -> None:
    categories = [{"id": 4, "name": "cat"}, {"id": 2, "name": "cat"}, {"id": 7, "name": 3}]
    table = read_coco(write(tmp_path / "x.json", categories=categories), problems=Problems())
    assert (table.classes, table.category_ids) == (("cat", "3"), (4, 7))
    assert table.labels.tolist() == [0, 0, 0]


def test_whole_numbers_may_be_written_as_floats(tmp_path: Path) -> None:
    path = write(tmp_path / "x.json")
    content = json.loads(path.read_text(), parse_int=float)
    path.write_text(json.dumps(content))
    table = read_coco(path, problems=Problems())
    assert table.number.tolist() == [8, 9]
    assert table.labels.tolist() == [0, 1, 0]
    assert table.tracks.tolist() == [0, 7, NO_TRACK]


def test_track_minus_one_means_no_track(tmp_path: Path) -> None:
    path = write(tmp_path / "x.json")
    path.write_text(path.read_text().replace('"instance_id": 7', '"instance_id": -1'))
    assert read_coco(path, problems=Problems()).tracks.tolist() == [0, NO_TRACK, NO_TRACK]


@pytest.mark.parametrize("images", [True, False])
def test_existing_images_are_preferred_to_the_video_file(tmp_path: Path, images: bool) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "clip.mp4").touch()
    if images:
        (tmp_path / "a/8.jpg").touch()
    videos = [{"id": 5, "name": "v", "file_name": "clip.mp4"}]
    table = read_coco(write(tmp_path / "x.json", videos=videos), images=tmp_path, problems=Problems())
    assert table.sources == ("" if images else "clip.mp4",)
    assert table.files.to_pylist() == (["a/8.jpg", "a/9.jpg"] if images else [None, None])


def test_roboflow_frames_form_a_video(tmp_path: Path) -> None:
    names = [f"a/clip_mp4-{n}_jpg.rf.{c * 32}.jpg" for n, c in ((10, "a"), (9, "b"))]
    path = plain(tmp_path / "x.json", *names, "IMG_7_jpg.rf.0123456789abcdef.jpg")
    problems = Problems()
    table = read_coco(path, problems=problems)
    assert table.videos == ("a/clip", "IMG_7_jpg.rf.0123456789abcdef")
    assert table.number.tolist() == [9, 10, 0]
    assert table.image_ids.tolist() == [1, 0, 2]
    assert problems.notes[1].startswith("video 'a/clip': frames 9 to 10 (2) in clip_mp4-9_jpg.rf.bb")


@pytest.mark.parametrize(("key", "numbers"), [("frame_index", [3, 4]), (None, [8, 9])])
def test_frame_numbers_are_read_from_frame_index_or_from_file_names(
    tmp_path: Path, key: str | None, numbers: list[int]
) -> None:
    images = [
        {"id": 40 - n, "video_id": 5, "file_name": f"a/00000{n}.jpg", **({key: n - 5} if key else {})}
        for n in (9, 8)
    ]
    annotations = [{"image_id": 31, "category_id": 2, "bbox": [1, 2, 3, 4]}]
    path = write(tmp_path / "x.json", images=images, annotations=annotations)
    table = read_coco(path, problems=Problems())
    assert table.number.tolist() == numbers
    assert table.files.to_pylist() == ["a/000008.jpg", "a/000009.jpg"]
    assert table.box_frames.tolist() == [1]


def test_an_empty_list_of_videos_is_ignored(tmp_path: Path) -> None:
    content = json.loads(plain(tmp_path / "x.json", "a.jpg", "b.jpg").read_text())
    (tmp_path / "v.json").write_text(json.dumps({**content, "videos": []}))
    assert read_coco(tmp_path / "v.json", problems=Problems()).videos == ("a", "b")


def test_backslashes_in_file_names_become_slashes(tmp_path: Path) -> None:
    path = plain(tmp_path / "x.json", "v\\1.jpg")
    assert read_coco(path, problems=Problems()).files.to_pylist() == ["v/1.jpg"]


def test_notes_name_the_searched_folders(tmp_path: Path) -> None:
    problems = Problems()
    read_coco(write(tmp_path / "x.json"), problems=problems)
    assert problems.notes[0].startswith(f"{tmp_path / 'x.json'}: no a/9.jpg in its folder, images and")


def test_augmented_roboflow_images_are_read_as_still_images(tmp_path: Path) -> None:
    names = [f"clip_mp4-9_jpg.rf.{c * 32}.jpg" for c in "ab"]
    problems = Problems()
    table = read_coco(plain(tmp_path / "x.json", *names), problems=problems)
    assert len(table.videos) == 2
    assert "treated as still images: clip: expected one image with number 9" in problems.notes[1]
