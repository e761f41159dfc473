"""CocoVID and COCO files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from megavid.core.errors import InputError
from megavid.datasets.formats.coco.read_coco import read_coco
from megavid.datasets.formats.coco.write_cocovid import write_cocovid
from megavid.datasets.table.annotations import NO_TRACK, AnnotationBuilder
from megavid.datasets.table.problems import Kind, Problems
from tests.datasets.table.test_annotations import assert_same, build


def write(path: Path, **changes: Any) -> Path:
    """A CocoVID file: frames 8 and 9 of one video, listed in the wrong order, and an empty video."""
    content: dict[str, Any] = {
        "videos": [{"id": 5, "name": "ä"}, {"id": 6, "name": "leer"}],
        "images": [
            {"id": 31, "video_id": 5, "frame_id": 9, "file_name": "a/9.jpg", "width": 64, "height": 48},
            {"id": 30, "video_id": 5, "frame_id": 8, "file_name": "a/8.jpg", "width": 64, "height": 48},
        ],
        "categories": [{"id": 4, "name": "cat"}, {"id": 2, "name": "dog"}],
        "annotations": [
            {
                "id": 1,
                "image_id": 31,
                "category_id": 2,
                "bbox": [1, 2, 3, 4],
                "instance_id": 7,
                "occluded": True,
            },
            {"id": 2, "image_id": 30, "category_id": 4, "bbox": [0, 0, 5.5, 5], "track_id": 0, "iscrowd": 1},
            {
                "id": 3,
                "image_id": 31,
                "category_id": 4,
                "bbox": [0, 0, 1, 1],
                "ignore": True,
                "area": 0.25,
            },
        ],
    }
    path.write_text(json.dumps(content | changes))
    return path


def test_cocovid(tmp_path: Path) -> None:
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


def test_chosen_classes(tmp_path: Path) -> None:
    path = write(tmp_path / "x.json")
    table = read_coco(path, classes=["dog", "cat"], problems=Problems())
    assert (table.classes, table.category_ids, table.labels.tolist()) == (("dog", "cat"), (2, 4), [1, 0, 1])
    with pytest.raises(InputError, match="annotation 2: expected one of dog, got category 4, cat"):
        read_coco(path, classes=["dog"], problems=Problems())
    problems = Problems(skip=True)
    assert len(read_coco(path, classes=["dog"], problems=problems).boxes) == 1
    assert problems.counts() == {Kind.UNKNOWN_CLASS: 2}


def test_plain_coco_is_of_stills(tmp_path: Path) -> None:
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
def test_images_are_found(tmp_path: Path, folder: str) -> None:
    root = tmp_path / "x" / "annotations"
    root.mkdir(parents=True)
    image = root / folder / "a" / "9.jpg"
    image.parent.mkdir(parents=True)
    image.touch()
    table = read_coco(write(root / "x.json"), problems=Problems())
    assert (table.root / "a/9.jpg").resolve() == image.resolve()


def test_images_where_the_user_says(tmp_path: Path) -> None:
    assert (
        read_coco(write(tmp_path / "x.json"), images=tmp_path / "i", problems=Problems()).root
        == tmp_path / "i"
    )


@pytest.mark.parametrize("with_listed", [True, False])
def test_what_is_written_is_read(tmp_path: Path, with_listed: bool) -> None:
    table = build(tmp_path)
    if not with_listed:
        table = table.select(table.listed)
    write_cocovid(table, tmp_path / "x.json")
    read = read_coco(tmp_path / "x.json", images=tmp_path, problems=Problems())
    # The format has an area for each object: where it is unknown, that of the box.
    assert_same(read, replace(table, areas=table.object_areas.astype(np.float32)))
    content = json.loads((tmp_path / "x.json").read_text())
    assert content["annotations"][0]["bbox"] == [1, 2, 2.5, 2]
    assert content["annotations"][0]["instance_id"] == 9
    assert "instance_id" not in content["annotations"][1]


def test_image_ids_that_repeat_are_made_anew(tmp_path: Path) -> None:
    table = build(tmp_path)
    table.image_ids[:] = 1
    write_cocovid(table, tmp_path / "x.json")
    read = read_coco(tmp_path / "x.json", images=tmp_path, problems=Problems())
    assert read.image_ids.tolist() == [1, 2, 3]
    np.testing.assert_array_equal(read.boxes, table.boxes)


@pytest.mark.parametrize(
    ("row", "kind", "message"),
    [
        (
            {"image_id": 1, "category_id": 2, "bbox": [1, 2, 3, 4]},
            Kind.BAD_ROW,
            "annotation 9: there is no image 1",
        ),
        (
            {"image_id": 30, "category_id": 3, "bbox": [1, 2, 3, 4]},
            Kind.UNKNOWN_CLASS,
            "category 3, which is not",
        ),
        ({"image_id": 30, "category_id": 2, "bbox": [1, 2, 0, 4]}, Kind.INVERTED, "got 0 and 4"),
        ({"image_id": 30, "category_id": 2, "bbox": [1, 2, 3]}, Kind.BAD_ROW, "expected bbox as x, y, width"),
        ({"image_id": 30, "category_id": 2}, Kind.BAD_ROW, r"annotations\[3\]: 'bbox' is missing"),
        *(
            (
                {"image_id": 30, "category_id": 2, "bbox": [1, 2, 3, value]},
                Kind.BAD_ROW,
                "annotation 9: expected bbox as",
            )
            for value in (float("nan"), float("inf"), 1e8, "4", "nan", True, None, [4])
        ),
        ({"image_id": 30, "category_id": 2, "bbox": [1, 2, -3, 4]}, Kind.INVERTED, "got -3 and 4"),
        ({"image_id": 30, "category_id": 2, "bbox": {"x": 1}}, Kind.BAD_ROW, "annotation 9: expected bbox"),
        ({"image_id": "30", "category_id": 2, "bbox": [1, 2, 3, 4]}, Kind.BAD_ROW, "no image '30'"),
        ({"image_id": [], "category_id": 2, "bbox": [1, 2, 3, 4]}, Kind.BAD_ROW, "there is no image"),
        ({"image_id": 30, "category_id": {}, "bbox": [1, 2, 3, 4]}, Kind.UNKNOWN_CLASS, "got category {}"),
        (
            {"image_id": 30, "category_id": 2, "bbox": [1, 2, 3, 4], "iscrowd": "no"},
            Kind.BAD_ROW,
            "annotation 9: expected iscrowd as true or false",
        ),
        (
            {"image_id": 30, "category_id": 2, "bbox": [1, 2, 3, 4], "instance_id": 2.5},
            Kind.BAD_ROW,
            "annotation 9: expected a whole number or text as instance_id, got 2.5",
        ),
    ],
)
def test_bad_annotations(tmp_path: Path, row: dict[str, Any], kind: Kind, message: str) -> None:
    path = write(tmp_path / "x.json")
    content = json.loads(path.read_text())
    content["annotations"].append({"id": 9} | row)
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=message):
        read_coco(path, problems=Problems())
    problems = Problems(skip=True)
    assert len(read_coco(path, problems=problems).boxes) == 3
    assert problems.counts() == {kind: 1}


@pytest.mark.parametrize(
    ("row", "kind", "message"),
    [
        (
            {"id": 30, "video_id": 5, "frame_id": 7, "file_name": "x"},
            Kind.DUPLICATE_FRAME,
            "image 30: two images",
        ),
        (
            {"id": 32, "video_id": 5, "frame_id": 8, "file_name": "x"},
            Kind.DUPLICATE_FRAME,
            "frame 8 of video 5",
        ),
        (
            {"id": 32, "video_id": 9, "frame_id": 8, "file_name": "x"},
            Kind.BAD_ROW,
            "image 32: expected the id",
        ),
        (
            {"id": 32, "video_id": 5, "file_name": "x"},
            Kind.BAD_ROW,
            "image 32: expected the id of a video and",
        ),
        ({"video_id": 5, "frame_id": 7, "file_name": "x"}, Kind.BAD_ROW, r"images\[2\]: 'id' is missing"),
        (
            {"id": "a", "video_id": 5, "frame_id": 7, "file_name": "x"},
            Kind.BAD_ROW,
            "image a: expected whole",
        ),
        (
            {"id": 9, "video_id": 5, "frame_id": 7, "file_name": "x", "width": "w"},
            Kind.BAD_ROW,
            "image 9: expected whole numbers as id, width and height",
        ),
        (
            {"id": 9, "video_id": 5, "frame_id": -1, "file_name": "x"},
            Kind.BAD_ROW,
            "image 9: expected a frame_id of at least 0, got -1",
        ),
        (
            {"id": 9, "video_id": 5, "frame_id": "7", "file_name": "x"},
            Kind.BAD_ROW,
            "image 9: expected the id of a video and a frame_id",
        ),
        (
            {"id": 9, "video_id": [], "frame_id": 7, "file_name": "x"},
            Kind.BAD_ROW,
            "image 9: expected the id of a video and a frame_id",
        ),
        (
            {"id": 9, "video_id": 5, "frame_id": 7, "file_name": "x", "width": -64, "height": 48},
            Kind.BAD_ROW,
            "image 9: expected a size of 1 to 1000000 pixels, got -64x48",
        ),
        *(
            ({"id": 9, "video_id": 5, "frame_id": 7, "file_name": name}, Kind.BAD_ROW, "as file_name, got")
            for name in (3, ["x"], "a\0b", "/")
        ),
    ],
)
def test_bad_images(tmp_path: Path, row: dict[str, Any], kind: Kind, message: str) -> None:
    path = write(tmp_path / "x.json")
    content = json.loads(path.read_text())
    content["images"].append(row)
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=message):
        read_coco(path, problems=Problems())
    problems = Problems(skip=True)
    assert len(read_coco(path, problems=problems)) == 2
    assert problems.counts() == {kind: 1}


@pytest.mark.parametrize("content", ["{", "[]", '{"images": []}', '{"images": 3, "annotations": []}'])
def test_other_files(tmp_path: Path, content: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(InputError, match=r"x.json: expected (JSON|COCO annotations)"):
        read_coco(path, problems=Problems())
    with pytest.raises(InputError, match="no.json: no such file"):
        read_coco(tmp_path / "no.json", problems=Problems())


def test_tracks_that_are_no_numbers(tmp_path: Path) -> None:
    path = write(tmp_path / "x.json")
    content = json.loads(path.read_text())
    for row, track in zip(content["annotations"], ("left", 3, "left"), strict=True):
        row.pop("track_id", None)
        row["instance_id"] = track
    path.write_text(json.dumps(content))
    # In order of frames: 8 has the second, 9 the others.
    assert read_coco(path, problems=Problems()).tracks.tolist() == [3, 1 << 32, 1 << 32]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"categories": [{"id": "4", "name": "cat"}]}, "category 4: expected a whole number as id"),
        ({"categories": [{"id": 4, "name": None}]}, "category 4: expected text as name, got None"),
        ({"categories": [{"id": 4, "name": True}]}, "category 4: expected text as name, got True"),
        ({"categories": [{"id": 4, "name": " "}]}, "category 4: expected text as name"),
        (
            {"categories": [{"id": 4, "name": "a"}, {"id": 4, "name": "b"}]},
            "category 4: two categories have this id, 'a' and 'b'",
        ),
        ({"videos": [{"id": 5, "name": ["v"]}]}, "video 5: expected text as name and file_name"),
        ({"videos": [{"id": 5, "name": "v\0"}]}, "video 5: expected a name without NUL"),
        ({"videos": [{"id": None, "name": "v"}]}, "video None: expected a whole number or text as id"),
        ({"videos": [{"id": 5, "name": "v"}, {"id": 5, "name": "w"}]}, "video 5: two videos have this id"),
        ({"videos": None}, "expected videos as a list, got None"),
        ({"categories": [{"id": i, "name": f"c{i}"} for i in range(100_001)]}, "at most 100000 classes"),
    ],
)
def test_bad_categories_and_videos(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_coco(write(tmp_path / "x.json", **changes), problems=Problems())


def test_categories_of_one_name_are_one_class(tmp_path: Path) -> None:
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


def test_track_minus_one_is_none(tmp_path: Path) -> None:
    path = write(tmp_path / "x.json")
    path.write_text(path.read_text().replace('"instance_id": 7', '"instance_id": -1'))
    assert read_coco(path, problems=Problems()).tracks.tolist() == [0, NO_TRACK, NO_TRACK]


def test_frames_of_a_video_file_are_written_with_names_and_read_back(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").touch()
    builder = AnnotationBuilder(("a",), root=tmp_path)
    builder.video("clip", source="clip.mp4")
    builder.frame(12, width=64, height=48)
    builder.box(1, 2, 3, 4, label=0, track=5)
    table = builder.build()
    write_cocovid(table, tmp_path / "x.json")
    content = json.loads((tmp_path / "x.json").read_text())
    assert content["videos"] == [{"id": 1, "name": "clip", "file_name": "clip.mp4"}]
    assert content["images"][0]["file_name"] == "clip.mp4/000012.jpg"
    read = read_coco(tmp_path / "x.json", problems=Problems())
    assert_same(read, replace(table, areas=table.object_areas.astype(np.float32)))


@pytest.mark.parametrize("images", [True, False])
def test_a_video_file_or_the_images_taken_from_it(tmp_path: Path, images: bool) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "clip.mp4").touch()
    if images:
        (tmp_path / "a/8.jpg").touch()
    videos = [{"id": 5, "name": "v", "file_name": "clip.mp4"}]
    table = read_coco(write(tmp_path / "x.json", videos=videos), images=tmp_path, problems=Problems())
    assert table.sources == ("" if images else "clip.mp4",)
    assert table.files.to_pylist() == (["a/8.jpg", "a/9.jpg"] if images else [None, None])


def plain(path: Path, *files: str) -> Path:
    images = [{"id": i, "file_name": file} for i, file in enumerate(files)]
    path.write_text(json.dumps({"images": images, "annotations": [], "categories": []}))
    return path


def test_images_that_roboflow_took_from_a_video(tmp_path: Path) -> None:
    names = [f"a/clip_mp4-{n}_jpg.rf.{c * 32}.jpg" for n, c in ((10, "a"), (9, "b"))]
    path = plain(tmp_path / "x.json", *names, "IMG_7_jpg.rf.0123456789abcdef.jpg")
    problems = Problems()
    table = read_coco(path, problems=problems)
    assert table.videos == ("a/clip", "IMG_7_jpg.rf.0123456789abcdef")
    assert table.number.tolist() == [9, 10, 0]
    assert table.image_ids.tolist() == [1, 0, 2]
    assert problems.notes[1].startswith("video 'a/clip': frames 9 to 10 (2) in clip_mp4-9_jpg.rf.bb")


@pytest.mark.parametrize(("key", "numbers"), [("frame_index", [3, 4]), (None, [8, 9])])
def test_other_numbers_of_frames(tmp_path: Path, key: str | None, numbers: list[int]) -> None:
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


def test_an_empty_list_of_videos_is_none(tmp_path: Path) -> None:
    content = json.loads(plain(tmp_path / "x.json", "a.jpg", "b.jpg").read_text())
    (tmp_path / "v.json").write_text(json.dumps({**content, "videos": []}))
    assert read_coco(tmp_path / "v.json", problems=Problems()).videos == ("a", "b")


def test_names_as_windows_writes_them(tmp_path: Path) -> None:
    path = plain(tmp_path / "x.json", "v\\1.jpg")
    assert read_coco(path, problems=Problems()).files.to_pylist() == ["v/1.jpg"]


def test_where_images_were_looked_for(tmp_path: Path) -> None:
    problems = Problems()
    read_coco(write(tmp_path / "x.json"), problems=problems)
    assert problems.notes[0].startswith(f"{tmp_path / 'x.json'}: no a/9.jpg in its folder, images and")


def test_augmented_images_of_roboflow_are_taken_singly(tmp_path: Path) -> None:
    names = [f"clip_mp4-9_jpg.rf.{c * 32}.jpg" for c in "ab"]
    problems = Problems()
    table = read_coco(plain(tmp_path / "x.json", *names), problems=problems)
    assert len(table.videos) == 2
    assert "taken singly: clip: expected one image of number 9" in problems.notes[1]
