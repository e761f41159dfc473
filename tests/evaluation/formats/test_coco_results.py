"""Reading and writing predictions as COCO results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from megavid.core.errors import InputError
from megavid.datasets.table.annotations import Annotations
from megavid.datasets.table.problems import Kind, Problems
from megavid.evaluation.formats import coco_results
from megavid.evaluation.formats.prediction_files import open_predictions, write_predictions
from megavid.evaluation.prediction_table import PredictionTable


def test_entries_are_written_in_the_form_of_coco_results(
    tmp_path: Path, data: Annotations, table: PredictionTable
) -> None:
    write_predictions(table, data, tmp_path / "p.json", problems=Problems())
    last = json.loads((tmp_path / "p.json").read_text())[2]
    assert last == {"image_id": 8, "category_id": 20, "bbox": [2, 2, 1, 1], "score": 0.25}


@pytest.mark.parametrize(
    ("entry", "kind", "message"),
    [
        ({"image_id": 7}, Kind.BAD_ROW, "entry 0: expected image_id, category_id"),
        (
            {"image_id": 7, "category_id": 10, "bbox": [1, 2, 3], "score": 1},
            Kind.BAD_ROW,
            "entry 0: expected",
        ),
        ({"image_id": 1, "category_id": 10, "bbox": [1, 2, 3, 4], "score": 1}, Kind.NO_FRAME, "no image 1"),
        (
            {"image_id": [7], "category_id": 10, "bbox": [1, 2, 3, 4], "score": 1},
            Kind.BAD_ROW,
            "entry 0: expected image_id",
        ),
        ([], Kind.BAD_ROW, r"entry 0: expected .*, got \[\]"),
        (
            {"image_id": 7, "category_id": 10, "bbox": [1, 2, -3, 4], "score": 1},
            Kind.INVERTED,
            "entry 0: expected x1",
        ),
        (
            {"image_id": 7, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 1},
            Kind.UNKNOWN_CLASS,
            "category 1",
        ),
    ],
)
def test_bad_entries_are_refused_or_skipped(
    tmp_path: Path, data: Annotations, entry: object, kind: Kind, message: str
) -> None:
    (tmp_path / "p.json").write_text(json.dumps([entry]))
    with pytest.raises(InputError, match=message):
        open_predictions(tmp_path / "p.json", data, problems=Problems())
    problems = Problems(skip=True)
    assert len(open_predictions(tmp_path / "p.json", data, problems=problems)) == 0
    assert problems.counts() == {kind: 1}


def test_entries_are_read_block_by_block(
    tmp_path: Path, data: Annotations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coco_results, "_BLOCK", 200)
    entries = [
        {"image_id": 7, "category_id": 10, "bbox": [i, 0, 1, 1], "score": 0.5, "é": "]" * (i % 40)}
        for i in range(50)
    ]
    path = tmp_path / "p.json"
    for indent in (None, 1):
        text = json.dumps(entries, indent=indent, ensure_ascii=False)
        path.write_text("\ufeff" + text + "\r\n", encoding="utf-8")
        assert open_predictions(path, data, problems=Problems()).boxes[:, 0].tolist() == list(range(50))
    path.write_text(text[: len(text) // 2], encoding="utf-8")
    with pytest.raises(InputError, match=r"p.json: expected COCO results as JSON: .* at entry 2\d"):
        open_predictions(path, data, problems=Problems())


@pytest.mark.parametrize("text", ["{}", '{"annotations": []}'])
def test_objects_without_images_are_refused(tmp_path: Path, data: Annotations, text: str) -> None:
    (tmp_path / "p.json").write_text(text)
    with pytest.raises(InputError, match=r"p.json: expected COCO annotations, with a list 'images'"):
        open_predictions(tmp_path / "p.json", data, problems=Problems())


def test_annotations_with_scores_are_read_by_their_own_ids(tmp_path: Path, data: Annotations) -> None:
    about: dict[str, Any] = {
        "videos": [{"id": 5, "name": "a"}],
        "images": [{"id": 7, "video_id": 5, "frame_id": 3, "file_name": "a/3.jpg"}],
        "categories": [{"id": 4, "name": "cat"}],
        "annotations": [{"id": 1, "image_id": 7, "category_id": 4, "bbox": [1, 2, 3, 4], "score": 0.5}],
    }
    (tmp_path / "p.json").write_text(json.dumps(about))
    # In the data set, image 7 is in video b, and category 4 does not exist.
    table = open_predictions(tmp_path / "p.json", data, problems=Problems())
    assert (table.videos, table.class_names) == (("a",), ("cat",))
    assert table.frame.tolist() == [3]
    assert table.boxes.tolist() == [[1, 2, 4, 6]]
    assert table.scores.tolist() == [0.5]
    del about["annotations"][0]["score"]
    (tmp_path / "p.json").write_text(json.dumps(about))
    with pytest.raises(InputError, match=r"p.json, entry 0: expected .* and score"):
        open_predictions(tmp_path / "p.json", data, problems=Problems())


@pytest.mark.parametrize("text", ["", "7", '"text"'])
def test_other_json_is_refused(tmp_path: Path, data: Annotations, text: str) -> None:
    (tmp_path / "p.json").write_text(text)
    with pytest.raises(InputError, match=r"p.json: expected COCO results, a list of boxes"):
        open_predictions(tmp_path / "p.json", data, problems=Problems())


@pytest.mark.parametrize("text", ["[" * 100_000, f'[{{"image_id": {"9" * 5000}}}]'])
def test_json_that_exceeds_the_limits_of_python_is_refused(
    tmp_path: Path, data: Annotations, text: str
) -> None:
    (tmp_path / "p.json").write_text(text)
    with pytest.raises(InputError, match=r"p.json: expected COCO results as JSON: .* at entry 0"):
        open_predictions(tmp_path / "p.json", data, problems=Problems())
