"""Refusing or skipping invalid rows of COCO files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from megavid.core.errors import InputError
from megavid.datasets.formats.coco.read_coco import read_coco
from megavid.datasets.table.problems import Kind, Problems
from tests.datasets.formats.coco.coco_files import write


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
def test_bad_annotations_are_refused_or_skipped(
    tmp_path: Path, row: dict[str, Any], kind: Kind, message: str
) -> None:
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
def test_bad_images_are_refused_or_skipped(
    tmp_path: Path, row: dict[str, Any], kind: Kind, message: str
) -> None:
    path = write(tmp_path / "x.json")
    content = json.loads(path.read_text())
    content["images"].append(row)
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=message):
        read_coco(path, problems=Problems())
    problems = Problems(skip=True)
    assert len(read_coco(path, problems=problems)) == 2
    assert problems.counts() == {kind: 1}


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
def test_bad_categories_and_videos_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_coco(write(tmp_path / "x.json", **changes), problems=Problems())
