"""Voting on the class of each track, and the table of tracks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from megavid.core.detections import Detections, FrameResult
from megavid.datasets.table.problems import Problems
from megavid.evaluation.formats.parquet_rewriting import relabel_tracks
from megavid.evaluation.formats.parquet_schema import read_metadata
from megavid.evaluation.formats.parquet_table import read_parquet
from megavid.evaluation.formats.parquet_writer import PredictionWriter
from megavid.linking.track_votes import TrackTable

NAMES = ("cat", "dog", "cow")


def result(index: int, *rows: tuple[int, int, float, list[float]]) -> FrameResult:
    """Make the result of a frame; each row has a track, a label, a score and a box."""
    tracks, labels, scores, boxes = zip(*rows, strict=True) if rows else ((), (), (), ())
    detections = Detections(
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.tensor(scores, dtype=torch.float32),
        torch.tensor(labels, dtype=torch.int64),
        NAMES,
        torch.tensor(tracks, dtype=torch.int64),
    )
    return FrameResult(index, index / 10, detections)


# Track 4 is once a dog, with a high score, and then twice a cat. Track 2 is a cow. One box has no track.
RESULTS = [
    result(3, (4, 1, 0.75, [0, 0, 10, 10]), (-1, 0, 0.5, [0, 0, 1, 1])),
    result(4, (4, 0, 0.5, [2, 0, 12, 10]), (2, 2, 0.5, [5, 5, 9, 9])),
    result(5),
    result(6, (2, 2, 0.75, [7, 5, 11, 9]), (4, 0, 0.375, [4, 0, 14, 10])),
]


def test_the_table_of_tracks(tmp_path: Path) -> None:
    table = TrackTable()
    for one in RESULTS:
        table.add(one)
    assert len(table) == 2
    table.save(tmp_path / "tracks.parquet", metadata={"video": "v"})
    two, four = pq.read_table(tmp_path / "tracks.parquet").to_pylist()
    assert (two["track"], two["class_name"], two["vote"], two["boxes"]) == (2, "cow", 1, 2)
    assert (four["track"], four["label"], four["class_name"], four["boxes"]) == (4, 0, "cat", 3)
    assert four["vote"] == pytest.approx(0.875 / 1.625)
    assert four["mean_score"] == pytest.approx(1.625 / 3)
    assert [four[key] for key in ("first_frame", "last_frame", "first_time", "last_time")] == [3, 6, 0.3, 0.6]
    assert [four[key] for key in ("x1", "y1", "x2", "y2")] == [2, 0, 12, 10]


def test_add_returns_classes_by_the_votes_so_far() -> None:
    table = TrackTable()
    shown = [table.add(one).labels.tolist() for one in RESULTS]
    assert shown == [[1, 0], [1, 2], [], [2, 0]]  # track 4: dog 0.75; cat 0.5 at first, then 0.875
    assert RESULTS[1].detections.labels.tolist() == [0, 2]  # the results that were added are not changed


def test_of_several_rows_of_a_track_in_a_frame_the_first_counts() -> None:
    # Linkers give a box with several classes a row for each.
    box = [0.0, 0, 10, 10]
    table = TrackTable()
    shown = table.add(result(0, (1, 2, 0.75, box), (1, 0, 0.5, box)))
    assert shown.labels.tolist() == [2, 0]
    table.add(result(1, (1, 2, 0.25, box), (1, 0, 0.75, box)))
    assert table.labels == {1: 2}


def test_without_tracks_the_table_is_empty(tmp_path: Path) -> None:
    table = TrackTable()
    table.add(result(0))
    table.save(tmp_path / "tracks.parquet", metadata={})
    assert pq.read_table(tmp_path / "tracks.parquet").num_rows == 0


def test_relabel_tracks_gives_each_row_the_class_of_its_track(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    writer, table = PredictionWriter(path, metadata={"x": 1}), TrackTable()
    for one in RESULTS:
        table.add(one)
        writer.write("v", one)
    writer.close()
    before: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    relabel_tracks(path, path, labels=table.labels)
    after = pq.read_table(path).to_pylist()
    assert [row["class_name"] for row in before] == ["dog", "cat", "cat", "cow", "cow", "cat"]
    assert [row["class_name"] for row in after] == ["cat", "cat", "cat", "cow", "cow", "cat"]
    assert [row["label"] for row in after] == [0, 0, 0, 2, 2, 0]
    for row in (*before, *after):
        del row["label"], row["class_name"]
    assert after == before
    about = read_metadata(path)
    assert about["track_classes"] == "by vote, weighted by score"
    assert (about["x"], about["frames"]) == (1, 4)
    assert len(read_parquet(path, problems=Problems())) == 6
