"""Compare the tensors or the detections of two runs on any device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from megavid.core.detections import Detections, FrameResult
from tests.tolerances import REPEATABLE, REPEATED, ROUNDING, Tolerance

CPU = torch.device("cpu")


def assert_close(actual: Tensor, expected: Tensor, *, rtol: float = 1.3e-6, atol: float = 1e-5) -> None:
    """Assert that two tensors agree to within the rounding of the device of `actual`."""
    factor = ROUNDING[actual.device.type]
    torch.testing.assert_close(actual.cpu(), expected.cpu(), rtol=factor * rtol, atol=factor * atol)


def assert_same(
    results: Sequence[FrameResult],
    expected: Sequence[FrameResult],
    device: torch.device = CPU,
) -> None:
    """Assert that two runs give the same detections: bit for bit if the device allows it, else closely."""
    assert [r.index for r in results] == [e.index for e in expected]
    if device.type not in REPEATABLE:
        assert_agree(results, expected, REPEATED)
        return
    for result, other in zip(results, expected, strict=True):
        for field in ("boxes", "scores", "labels"):
            assert torch.equal(getattr(result.detections, field), getattr(other.detections, field)), field


def assert_agree(
    results: Sequence[FrameResult], expected: Sequence[FrameResult], tolerance: Tolerance
) -> None:
    """Assert that enough detections of two runs agree to within a tolerance."""
    share = agreement(results, expected, pixels=tolerance.pixels, score=tolerance.score)
    assert share >= tolerance.share


def agreement(
    results: Sequence[FrameResult], expected: Sequence[FrameResult], *, pixels: float, score: float
) -> float:
    """Pair the detections of two runs, and return pairs / (pairs + unpaired detections of either run).

    Args:
        results: Results of one run.
        expected: Results of the other run for the same frames.
        pixels: Largest allowed difference between the coordinates of a pair, in pixels.
        score: Largest allowed difference between the scores of a pair.
    """
    assert [r.index for r in results] == [e.index for e in expected]
    common = total = 0
    for result, other in zip(results, expected, strict=True):
        have, want = result.detections, other.detections
        pairs = len(pair(have, want, pixels=pixels, score=score))
        common += pairs
        total += len(have) + len(want) - pairs
    assert total > 0, "nothing was detected in either run"
    return common / total


def pair(have: Detections, want: Detections, *, pixels: float, score: float) -> Tensor:
    """Pair detections of the same class one to one: make as many pairs as possible, as close as possible.

    Args:
        have: Detections of a frame.
        want: Detections of the same frame from another run.
        pixels: Largest allowed difference between the coordinates of a pair, in pixels.
        score: Largest allowed difference between the scores of a pair.

    Returns:
        (N, 2) int64: the row numbers of each pair in `have` and in `want`.
    """
    have, want = have.cpu(), want.cpu()
    distance = (have.boxes[:, None] - want.boxes).abs().amax(2) / pixels
    difference = (have.scores[:, None] - want.scores).abs() / score
    allowed = (distance <= 1) & (difference <= 1) & (have.labels[:, None] == want.labels)
    # One forbidden pair costs more than all allowed pairs together.
    too_far = 2.0 * (1 + min(len(have), len(want)))
    assigned = linear_sum_assignment((distance + difference).where(allowed, too_far))
    rows, others = (torch.from_numpy(numbers) for numbers in assigned)
    return torch.stack((rows, others), dim=1)[allowed[rows, others]]
