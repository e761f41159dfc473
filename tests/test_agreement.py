"""The comparison of two runs' detections."""

from __future__ import annotations

import pytest
import torch

from megavid.core.detections import Detections, FrameResult
from tests.agreement import agreement, pair

BOX = [10.0, 20, 30, 40]


def found(*rows: tuple[float, float, int]) -> Detections:
    """Return detections, each given by (shift of `BOX` in pixels, score, label)."""
    shifts, scores, labels = zip(*rows, strict=True)
    boxes = torch.tensor(BOX) + torch.tensor(shifts)[:, None]
    return Detections(boxes, torch.tensor(scores), torch.tensor(labels))


def share(have: Detections, want: Detections) -> float:
    return agreement([FrameResult(0, 0.0, have)], [FrameResult(0, 0.0, want)], pixels=1, score=0.1)


TWO = found((0, 0.9, 0), (40, 0.5, 1))


@pytest.mark.parametrize(
    ("have", "expected"),
    [
        (TWO, 1),
        (TWO[[1, 0]], 1),
        (TWO[[0]], 1 / 2),
        (TWO[[]], 0),
        (found((0, 0.9, 0), (40, 0.5, 1), (80, 0.5, 1)), 2 / 3),
        (found((0, 0.9, 0), (0, 0.9, 0), (40, 0.5, 1), (40, 0.5, 1)), 2 / 4),
        (found((0.9, 0.9, 0), (39.1, 0.5, 1)), 1),
        (found((1.1, 0.9, 0), (40, 0.5, 1)), 1 / 3),
        (found((0, 0.75, 0), (40, 0.5, 1)), 1 / 3),
        (found((0, 0.9, 1), (40, 0.5, 1)), 1 / 3),
        (found((float("nan"), 0.9, 0), (40, 0.5, 1)), 1 / 3),
    ],
    ids=[
        "the same",
        "another order",
        "one missing",
        "none",
        "one extra",
        "each twice",
        "within a pixel",
        "too far",
        "another score",
        "another class",
        "not a number",
    ],
)
def test_missing_and_extra_detections_count_alike(have: Detections, expected: float) -> None:
    assert share(have, TWO) == pytest.approx(expected)
    assert share(TWO, have) == pytest.approx(expected)


def test_agreement_requires_detections() -> None:
    with pytest.raises(AssertionError, match="nothing was detected"):
        share(TWO[[]], TWO[[]])


def test_pairing_maximizes_the_number_of_pairs() -> None:
    # The boxes shifted by 0.6 and 0.5 are closest, but pairing them would leave 0.0 and 1.4 without partners.
    have, want = found((0, 0.9, 0), (0.6, 0.9, 0)), found((0.5, 0.9, 0), (1.4, 0.9, 0))
    assert pair(have, want, pixels=1, score=0.1).tolist() == [[0, 0], [1, 1]]
