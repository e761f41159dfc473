"""Reading and writing predictions in ILSVRC's text format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from megavid.core.errors import InputError
from megavid.datasets.table.annotations import Annotations
from megavid.datasets.table.problems import Kind, Problems
from megavid.evaluation.formats.prediction_files import open_predictions, write_predictions
from megavid.evaluation.prediction_table import PredictionTable


def test_lines_are_written_in_the_order_of_frames(
    tmp_path: Path, data: Annotations, table: PredictionTable
) -> None:
    write_predictions(table.take(np.array([2, 0, 1])), data, tmp_path / "p.txt", problems=Problems())
    lines = (tmp_path / "p.txt").read_text().splitlines()
    assert [line.split()[:2] for line in lines] == [["2", "2"], ["2", "1"], ["3", "2"]]
    assert lines[2] == "3 2 0.25 2 2 2 2"  # corners are inclusive: the box has one pixel


@pytest.mark.parametrize(
    ("line", "kind", "message"),
    [
        ("1 2 0.5 1 2 3", Kind.BAD_ROW, "line 2: expected frame, class, score"),
        ("1 2 x 1 2 3 4", Kind.BAD_ROW, "line 2: expected frame, class, score"),
        ("4 2 0.5 1 2 3 4", Kind.NO_FRAME, "line 2: expected a frame from 1 to 3, got 4"),
        ("1 3 0.5 1 2 3 4", Kind.UNKNOWN_CLASS, "line 2: expected a class from 1 to 2, got 3"),
        ("1 nan 0.5 1 2 3 4", Kind.UNKNOWN_CLASS, "line 2: expected a class from 1 to 2, got nan"),
        ("1.5 2 0.5 1 2 3 4", Kind.NO_FRAME, "line 2: expected a frame from 1 to 3, got 1.5"),
        ("1 2 nan 1 2 3 4", Kind.BAD_ROW, "line 2: expected finite numbers: video 'b', frame 3, label 1"),
        ("1 2 0.5 9 2 3 4", Kind.INVERTED, "line 2: expected x1 <= x2"),
        ("1 1 0.5 0 0 9 9", Kind.DUPLICATE_BOX, "line 2: the same box"),
    ],
)
def test_bad_lines_are_refused_or_skipped(
    tmp_path: Path, data: Annotations, line: str, kind: Kind, message: str
) -> None:
    path = tmp_path / "p.txt"
    path.write_bytes(f"1 1 0.5 0 0 9 9\r\n{line}\r\n\r\n3 1 0.5 0 0 9 9\r\n".encode())
    with pytest.raises(InputError, match=message):
        open_predictions(path, data, problems=Problems())
    problems = Problems(skip=True)
    read = open_predictions(path, data, problems=problems)
    assert read.boxes.tolist() == [[0, 0, 10, 10]] * 2
    assert problems.counts() == {kind: 1}
