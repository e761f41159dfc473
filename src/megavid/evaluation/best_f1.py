"""Find the score threshold with the highest F1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from megavid.evaluation.outcomes import Outcomes


@dataclass(frozen=True)
class BestF1:
    """The highest F1 and its score threshold.

    Attributes:
        score_threshold: The threshold, half-way between the lowest score above it and the highest one below
            it, or 0 if there is none below.
        f1: F1 of the detections above the threshold.
        precision: Precision of the detections above the threshold.
        recall: Recall of the detections above the threshold.
    """

    score_threshold: float
    f1: float
    precision: float
    recall: float


def best_f1(outcomes: Sequence[Outcomes]) -> BestF1 | None:
    """Find the score threshold with the highest F1, for one class or for several classes together.

    F1 is 2 TP / (2 TP + FP + FN), from the numbers of true positives, false positives and missed objects. Of
    two equally good thresholds, the higher one is chosen.

    Args:
        outcomes: Outcomes of each class, from `outcomes_by_class`.

    Returns:
        The best threshold; None if no detection is a hit.
    """
    objects = sum(len(one.object_frame) for one in outcomes)
    if not any(one.hit.any() for one in outcomes):
        return None
    score = np.concatenate([one.score for one in outcomes]).astype(np.float64)
    order = np.argsort(-score, kind="stable")
    score = score[order]
    true = np.concatenate([one.hit for one in outcomes])[order].cumsum()
    false = np.concatenate([one.false for one in outcomes])[order].cumsum()
    ends = np.flatnonzero(np.diff(score, append=-1.0))  # last row of each run of equal scores
    f1 = 2 * true[ends] / (true[ends] + false[ends] + objects)
    best = int(f1.argmax())
    kept = ends[best]
    below = score[kept + 1] if kept + 1 < len(score) else 0.0
    return BestF1(
        score_threshold=float((score[kept] + below) / 2),
        f1=float(f1[best]),
        precision=float(true[kept] / (true[kept] + false[kept])),
        recall=float(true[kept] / objects),
    )
