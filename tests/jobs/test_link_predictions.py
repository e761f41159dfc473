"""Which frames of saved predictions a linker is given, and with which times."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from megavid.core.errors import InputError
from megavid.evaluation.formats.parquet_table import write_parquet
from megavid.jobs.link_predictions import link_predictions
from megavid.linking.repp import ReppConfig
from megavid.linking.seq_nms import SeqNmsConfig
from tests.evaluation.prediction_tables import make_table


def test_rows_in_any_order_and_without_times_are_linked(tmp_path: Path) -> None:
    # The cat is in frames 0, 1 and 2 of video a, whose rows are between those of video b.
    video = np.array([0, 1, 0, 1, 0], np.int32)
    boxes = np.array([[2, 0, 12, 10], [0, 0, 9, 9], [0, 0, 10, 10], [0, 0, 9, 9], [1, 0, 11, 10]], np.float32)
    table = make_table(
        video=video,
        frame=np.array([2, 0, 0, 5, 1]),
        labels=np.zeros(5, np.int32),
        scores=np.array([0.9, 0.5, 0.3, 0.2, 0.6], np.float32),
        boxes=boxes,
        lengths=None,
    )
    write_parquet(table, tmp_path / "in.parquet")
    summary = link_predictions(tmp_path / "in.parquet", tmp_path / "out.parquet", SeqNmsConfig())
    assert (summary.before, summary.after, summary.interpolated, summary.tracks) == (5, 5, 0, 3)
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist()
    shown = [(row["video"], row["frame"], round(row["score"], 4), row["track"]) for row in rows]
    assert shown[:3] == [("a", 0, 0.6, 0), ("a", 1, 0.6, 0), ("a", 2, 0.6, 0)]
    assert shown[3:] == [("b", 0, 0.5, 0), ("b", 5, 0.2, 1)]
    assert [row["time"] for row in rows] == [None] * 5


def test_a_pair_model_that_cannot_be_read_is_refused_even_if_there_are_no_boxes(tmp_path: Path) -> None:
    table = make_table(lengths={"a": 3}).take(np.zeros(0, np.int64))
    write_parquet(table, tmp_path / "in.parquet")
    (tmp_path / "model.json").write_text('{"iou": 1}')
    config = ReppConfig(model=str(tmp_path / "model.json"))
    with pytest.raises(InputError, match=r"model\.json: intercept: missing"):
        link_predictions(tmp_path / "in.parquet", tmp_path / "out.parquet", config)
    assert not (tmp_path / "out.parquet").exists()
