"""Reading and writing predictions in every format."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from megavid.core.errors import InputError
from megavid.datasets.table.annotations import Annotations
from megavid.datasets.table.problems import Problems
from megavid.evaluation.formats.prediction_files import open_predictions, write_predictions
from megavid.evaluation.prediction_table import PredictionTable
from tests.evaluation.prediction_tables import assert_same_rows

SUFFIXES = (".parquet", ".pth", ".txt", ".json")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_table_is_read_as_it_was_written(
    tmp_path: Path, data: Annotations, suffix: str, table: PredictionTable
) -> None:
    path = tmp_path / f"p{suffix}"
    write_predictions(table, data, path, problems=Problems())
    read = open_predictions(path, data, problems=Problems())
    for name in ("frame", "labels"):
        assert getattr(read, name).tolist() == getattr(table, name).tolist()
    assert [read.videos[v] for v in read.video] == ["b", "b", "a"]
    np.testing.assert_allclose(read.scores, table.scores, rtol=1e-7)
    np.testing.assert_allclose(read.boxes, table.boxes, rtol=1e-6)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_table_without_boxes_is_written_and_read(
    tmp_path: Path, data: Annotations, suffix: str, table: PredictionTable
) -> None:
    nothing = table.take(np.array([], np.int64))
    write_predictions(nothing, data, tmp_path / f"p{suffix}", problems=Problems())
    assert len(open_predictions(tmp_path / f"p{suffix}", data, problems=Problems())) == 0


@pytest.mark.parametrize("suffix", [".pth", ".txt", ".json"])
def test_broken_and_missing_files_are_refused(tmp_path: Path, data: Annotations, suffix: str) -> None:
    path = tmp_path / f"p{suffix}"
    with pytest.raises(InputError, match=rf"p{suffix}: (no such file|cannot be read: No such file)"):
        open_predictions(path, data, problems=Problems())
    path.write_bytes(b"\xff\xfe\x00 {")
    with pytest.raises(InputError, match=f"p{suffix}: "):
        open_predictions(path, data, problems=Problems())


@pytest.mark.parametrize("suffix", [".txt", ".json", ".parquet"])
def test_a_pipe_is_refused(tmp_path: Path, data: Annotations, suffix: str) -> None:
    os.mkfifo(tmp_path / f"p{suffix}")
    with pytest.raises(InputError, match="expected a regular file"):
        open_predictions(tmp_path / f"p{suffix}", data, problems=Problems())


def test_other_suffixes_are_refused(tmp_path: Path, data: Annotations, table: PredictionTable) -> None:
    with pytest.raises(
        InputError, match=r"p.csv: expected predictions that end in .parquet, .pth, .txt, .json"
    ):
        open_predictions(tmp_path / "p.csv", data, problems=Problems())
    with pytest.raises(InputError, match=r"p.csv: expected a name that ends in"):
        write_predictions(table, data, tmp_path / "p.csv", problems=Problems())


def test_parquet_keeps_the_exact_values(tmp_path: Path, data: Annotations, table: PredictionTable) -> None:
    write_predictions(
        replace(table, lengths={"a": 1, "b": 2}), data, tmp_path / "p.parquet", problems=Problems()
    )
    read = open_predictions(tmp_path / "p.parquet", data, problems=Problems())
    assert_same_rows(read, table)
    assert read.lengths == {"a": 1, "b": 2}
