"""Removing invalid rows from a prediction table."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from megavid.core.errors import InputError
from megavid.datasets.table.problems import Kind, Problems
from megavid.evaluation.prediction_table import without_bad_rows
from tests.evaluation.prediction_tables import (
    make_table,
)


def test_repeated_rows_are_removed() -> None:
    repeated = make_table().take(np.array([2, 0, 1, 2, 0, 0]))
    with pytest.raises(InputError, match=r"row 3: the same box of the same frame, class and score"):
        without_bad_rows(repeated, Problems())
    problems = Problems(skip=True)
    kept = without_bad_rows(repeated, problems)
    assert [p.where.split(", ")[-1] for p in problems.found] == ["row 3", "row 4", "row 5"]
    assert kept.scores.tolist() == [0.25, pytest.approx(0.9), 0.5]


def test_duplicates_are_detected_by_all_64_bits_of_a_frame_number() -> None:
    low, high = 1_700_000_000_123, 1_700_000_000_123 + (1 << 32)
    one_box = make_table().take(np.array([0, 0, 0]))
    problems = Problems(skip=True)
    kept = without_bad_rows(replace(one_box, frame=np.array([high, low, high])), problems)
    assert kept.frame.tolist() == [high, low]
    assert [problem.where for problem in problems.found] == ["p.parquet, row 2"]


def test_rows_with_an_unknown_label_are_removed() -> None:
    problems = Problems(skip=True)
    kept = without_bad_rows(make_table(labels=np.array([1, 2, -1], np.int32)), problems)
    assert kept.scores.tolist() == [pytest.approx(0.9)]
    assert problems.counts() == {Kind.UNKNOWN_CLASS: 2}
