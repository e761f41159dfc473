"""Writing predictions files frame by frame."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from megavid.core.detections import Detections, FrameResult
from megavid.core.errors import InputError
from megavid.datasets.table.problems import Problems
from megavid.evaluation.formats.parquet_rewriting import merge_predictions
from megavid.evaluation.formats.parquet_schema import METADATA_KEY, SCHEMA
from megavid.evaluation.formats.parquet_table import read_parquet
from megavid.evaluation.formats.parquet_writer import PredictionWriter


def result(index: int, count: int) -> FrameResult:
    boxes = torch.tensor([[1.0, 2, 3, 4]]).repeat(count, 1) + index
    scores = torch.linspace(0.9, 0.1, count)
    return FrameResult(index, index / 10, Detections(boxes, scores, torch.arange(count) % 2, ("cat", "dog")))


def test_rows_and_metadata_are_written(tmp_path: Path) -> None:
    path = tmp_path / "predictions.parquet"
    writer = PredictionWriter(path, metadata={"model": "m"})
    writer.write("clip", result(0, 2), file="000.jpg")
    writer.write("clip", result(1, 0), file="001.jpg")
    writer.write("clip", result(2, 1))
    writer.close(complete=True)
    assert (writer.frames, writer.detections) == (3, 3)
    table = pq.read_table(path)
    assert table.schema.equals(SCHEMA)
    rows = [tuple(row.values()) for row in table.drop_columns(["time", "score"]).to_pylist()]
    assert rows == [
        ("clip", 0, "000.jpg", 0, "cat", 1, 2, 3, 4, None, None, None),
        ("clip", 0, "000.jpg", 1, "dog", 1, 2, 3, 4, None, None, None),
        ("clip", 2, None, 0, "cat", 3, 4, 5, 6, None, None, None),
    ]
    assert table["time"].to_pylist() == [0.0, 0.0, 0.2]
    assert table["score"].to_pylist() == pytest.approx([0.9, 0.1, 0.9])
    metadata = json.loads(pq.read_metadata(path).metadata[METADATA_KEY.encode()])
    info = {"clip": {"frame_numbers": [[0, 2, 1]]}}
    own = {"classes": ["cat", "dog"], "videos": {"clip": 3}, "frames": 3, "video_info": info}
    assert metadata == {"model": "m", "complete": True, **own}


def test_rows_are_written_in_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("megavid.evaluation.formats.parquet_writer._ROWS_IN_GROUP", 10)
    monkeypatch.setattr("megavid.evaluation.formats.parquet_writer._BATCHES_IN_GROUP", 4)
    path = tmp_path / "predictions.parquet"
    writer = PredictionWriter(path, metadata={})
    for i in range(9):
        writer.write(
            f"clip{i % 2}", result(i, 4)
        )  # 12 rows reach the limit of 10: three frames per row group
    for i in range(8):
        writer.write("clip1", result(i, 1))  # few rows: four frames, the limit, per row group
    writer.close()
    assert pq.read_metadata(path).num_row_groups == 5
    assert pq.read_table(path)["video"].to_pylist()[:8] == ["clip0"] * 4 + ["clip1"] * 4


def test_a_video_without_detections_has_no_rows(tmp_path: Path) -> None:
    writer = PredictionWriter(tmp_path / "p.parquet", metadata={})
    writer.write("clip", result(0, 0))
    writer.close()
    assert pq.read_table(tmp_path / "p.parquet").num_rows == 0


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere"):
        PredictionWriter(tmp_path / "nowhere" / "p.parquet", metadata={})


def test_class_scores_and_marks_of_interpolated_boxes_are_written(tmp_path: Path) -> None:
    plain = result(0, 2).detections
    vectors = torch.tensor([[0.9, 0.1], [0.25, 0.5]])
    marks = torch.tensor([False, True])
    writer = PredictionWriter(tmp_path / "p.parquet", metadata={})
    writer.write("clip", FrameResult(0, 0.0, replace(plain, class_scores=vectors, interpolated=marks)))
    writer.write("clip", FrameResult(1, math.nan, plain[:1]))
    writer.close()
    table = pq.read_table(tmp_path / "p.parquet")
    assert table.schema.equals(SCHEMA)
    assert table["class_scores"].to_pylist() == [pytest.approx([0.9, 0.1]), [0.25, 0.5], None]
    assert table["interpolated"].to_pylist() == [False, True, None]
    assert table["time"].to_pylist() == [0, 0, None]


@pytest.mark.parametrize("missing", [["track", "class_scores", "interpolated"], ["interpolated"], ["track"]])
def test_files_without_the_later_columns_are_read(tmp_path: Path, missing: list[str]) -> None:
    writer = PredictionWriter(tmp_path / "new.parquet", metadata={})
    writer.write("clip", result(0, 2))
    writer.close()
    table = pq.read_table(tmp_path / "new.parquet")
    about = {METADATA_KEY: pq.read_metadata(tmp_path / "new.parquet").metadata[METADATA_KEY.encode()]}
    old = table.drop_columns(missing).replace_schema_metadata(about)
    pq.write_table(old, tmp_path / "old.parquet")
    merge_predictions([tmp_path / "old.parquet"], tmp_path / "again.parquet", metadata={})
    assert pq.read_table(tmp_path / "again.parquet").equals(table)
    read = read_parquet(tmp_path / "old.parquet", problems=Problems(), class_scores=True)
    assert (len(read), read.tracks, read.class_scores, read.interpolated) == (2, None, None, None)
