"""Results of two runs, compared."""

from __future__ import annotations

import torch

from megavid.core.detections import FrameResult


def assert_same(results: list[FrameResult], expected: list[FrameResult]) -> None:
    """Every number alike, to the last bit."""
    assert [r.index for r in results] == [e.index for e in expected]
    for result, other in zip(results, expected, strict=True):
        for field in ("boxes", "scores", "labels"):
            assert torch.equal(getattr(result.detections, field), getattr(other.detections, field)), field


def share_close(
    results: list[FrameResult], expected: list[FrameResult], *, pixels: float, score: float
) -> float:
    """The share of expected detections that have one of the same class so near among the results."""
    close = []
    for result, other in zip(results, expected, strict=True):
        a, b = result.detections, other.detections
        for i in range(len(b)):
            near = (a.boxes - b.boxes[i]).abs().amax(1) < pixels
            near &= (a.labels == b.labels[i]) & ((a.scores - b.scores[i]).abs() < score)
            close.append(bool(near.any()))
    return sum(close) / len(close)
