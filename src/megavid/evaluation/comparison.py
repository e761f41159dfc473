"""Compare two runs on the same videos: how much their scores differ, and whether that is more than noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from megavid.evaluation.bootstrap import LEVEL, Interval, percentile_interval
from megavid.evaluation.scores import Scores
from megavid.evaluation.steadiness import Steadiness

_FEW_VIDEOS = 10
"""With fewer videos than this, intervals tend to be too narrow."""


@dataclass(frozen=True)
class Difference:
    """The difference between two scores.

    Attributes:
        value: In [-1, 1]; NaN if one of the scores is NaN.
        interval: Interval from a paired bootstrap, which draws the same videos for both runs; None if all
            objects are in one video.
    """

    value: float
    interval: Interval | None

    @property
    def is_noise(self) -> bool:
        """Whether the same comparison on other videos could plausibly favor the other run."""
        return self.interval is None or 0.0 in self.interval


def difference(one: Scores, two: Scores, motion: str, label: int | None = None) -> Difference:
    """Return the AP50 of the second run minus that of the first.

    Args:
        one: Scores of the first run.
        two: Scores of the second run on the same data set.
        motion: One of `MOTION_RANGES`.
        label: The class; None for the mean over classes.
    """
    interval = None
    if motion in one.samples and motion in two.samples:
        a, b = (scores.samples[motion].of(label) for scores in (one, two))
        interval = None if a is None or b is None else percentile_interval(b - a)
    return Difference(two.ap(motion, label) - one.ap(motion, label), interval)


def steadiness_differences(one: Steadiness, two: Steadiness) -> dict[str, Difference]:
    """Return the measures of steadiness of the second run minus those of the first.

    Args:
        one: Steadiness of the first run.
        two: Steadiness of the second run on the same data set.

    Returns:
        Differences keyed by the names in `MEASURES`, without intervals if the tracks of the runs are not
        in the same videos, because a detector did not run on some of them.
    """
    before, after = one.measures(), two.measures()
    values = {name: after[name] - before[name] for name in before}
    a, b = one.samples(), two.samples()
    if a is None or b is None or not np.array_equal(np.unique(one.video), np.unique(two.video)):
        return {name: Difference(value, None) for name, value in values.items()}
    return {name: Difference(value, percentile_interval(b[name] - a[name])) for name, value in values.items()}


def verdict(difference: Difference, *, videos: int) -> str:
    """Describe in words what the difference in mean AP50, run B minus run A, means.

    Args:
        difference: The difference.
        videos: Number of videos in the data set.
    """
    value, interval = difference.value, difference.interval
    if np.isnan(value):
        return "There is nothing to compare: no class has objects."
    points = f"{100 * value:+.2f} AP50"
    if interval is None:
        return f"B minus A: {points}. All objects are in one video, so no interval can be computed."
    between = f"{100 * LEVEL:.0f} % interval {100 * interval.low:+.2f} to {100 * interval.high:+.2f}"
    text = f"B minus A: {points} on {videos} videos ({between}). "
    if value == 0 and interval.low == interval.high:
        text += "There is no difference."
    elif difference.is_noise:
        text += f"This is within the noise: {videos} other videos could well show the opposite."
    else:
        text += f"{'B' if value > 0 else 'A'} is better by more than the choice of videos explains."
    if videos < _FEW_VIDEOS:
        text += f" With fewer than {_FEW_VIDEOS} videos, the interval is rough and tends to be too narrow."
    return text
