"""Compare two runs on the same videos: the difference, and whether it is more than noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from megavid.evaluation.bootstrap import LEVEL, Interval, percentile_interval
from megavid.evaluation.scores import Scores

_FEW_VIDEOS = 10
"""With fewer videos, intervals are narrower than they should be."""


@dataclass(frozen=True)
class Difference:
    """The difference of two scores.

    Attributes:
        value: From -1 to 1; NaN where one of the scores is.
        interval: By a paired bootstrap: both scores come from the same draws of videos. None where all
            objects are in one video.
    """

    value: float
    interval: Interval | None

    @property
    def is_noise(self) -> bool:
        """Whether other videos of the same kind might as well have shown the opposite."""
        return self.interval is None or 0.0 in self.interval


def difference(one: Scores, two: Scores, motion: str, label: int | None = None) -> Difference:
    """Subtract a class's AP50 of one run from that of another, or the mean over classes.

    Args:
        one, two: Of the same data set.
        motion: One of `MOTION_RANGES` that both have.
        label: The class; None for the mean.
    """
    interval = None
    if motion in one.samples and motion in two.samples:
        a, b = (scores.samples[motion].of(label) for scores in (one, two))
        interval = None if a is None or b is None else percentile_interval(b - a)
    return Difference(two.ap(motion, label) - one.ap(motion, label), interval)


def verdict(difference: Difference, *, videos: int) -> str:
    """Say in a sentence what a difference of mean AP50, of B less A, means.

    Args:
        difference: From `difference`.
        videos: How many videos were drawn from.
    """
    value, interval = difference.value, difference.interval
    if np.isnan(value):
        return "There is nothing to compare: no class has objects."
    points = f"{100 * value:+.2f} AP50"
    if interval is None:
        return f"B less A: {points}. All objects are in one video, so no interval can be given for others."
    between = f"{100 * LEVEL:.0f} % interval {100 * interval.low:+.2f} to {100 * interval.high:+.2f}"
    text = f"B less A: {points} on {videos} videos ({between}). "
    if value == 0 and interval.low == interval.high:
        text += "There is no difference."
    elif difference.is_noise:
        text += f"That is within noise: on other {videos} videos it might as well be the other way round."
    else:
        text += f"{'B' if value > 0 else 'A'} is better, beyond what the choice of videos explains."
    if videos < _FEW_VIDEOS:
        text += f" With fewer than {_FEW_VIDEOS} videos the interval itself is rough, and rather too narrow."
    return text
