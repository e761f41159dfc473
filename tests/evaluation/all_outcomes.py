"""The outcomes of detections when no object is ignored, for tests of scores."""

from __future__ import annotations

import numpy as np

from megavid.evaluation import Boxes
from megavid.evaluation.outcomes import Outcomes, Selection, outcomes_by_class


def all_outcomes(found: Boxes, truth: Boxes, *, num_frames: int, num_classes: int = 1) -> list[Outcomes]:
    """Compute the outcomes of the detections of each class; no object is ignored."""
    return outcomes_by_class(
        found,
        truth,
        [Selection(np.zeros(len(truth), np.bool_))],
        lambda outcomes: outcomes[0],
        num_frames=num_frames,
        num_classes=num_classes,
    )
