"""Bootstrap over videos: how much scores depend on which videos happen to be in a data set.

Frames of a video are alike, so whole videos are drawn, as many as there are and with replacement (Efron and
Tibshirani, "An Introduction to the Bootstrap", 1993, sections 8.3 and 13.3). What was found in a video stays
matched as it was: a video that is drawn twice counts twice.

Shapes: R resamples, V videos, F frames, C classes; of a class alone, n detections and h hits.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from megavid.evaluation.outcomes import Outcomes

RESAMPLES = 1000
LEVEL = 0.95
"""The share of resamples that an interval holds."""

_AT_ONCE = 64
"""Resamples that are computed together, to keep memory small."""


@dataclass(frozen=True)
class Interval:
    """The values that a score takes in all but the extreme resamples.

    Attributes:
        low, high: Its ends.
    """

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


@dataclass(frozen=True, eq=False)
class Resamples:
    """Draws of the videos of a data set. The same data set gives the same draws, so that runs are paired.

    Attributes:
        frame_video: int (F,), the video of each frame, from 0 to V - 1.
        counts: uint8 (R, V), how often each video is drawn.
    """

    frame_video: NDArray[np.int64]
    counts: NDArray[np.uint8]

    @property
    def videos(self) -> int:
        """V."""
        return int(self.counts.shape[1])

    def objects(self, outcomes: Outcomes) -> NDArray[np.int64]:
        """How many objects of a class count in each video, (V,)."""
        return np.bincount(self.frame_video[outcomes.object_frame], minlength=self.videos)


@dataclass(frozen=True, eq=False)
class ResampledAP:
    """AP50 in resamples of the videos.

    Attributes:
        by_class: (R, C), NaN where no drawn video has objects of the class.
        has_objects: bool (C, V), which videos have objects of each class.
    """

    by_class: NDArray[np.float64]
    has_objects: NDArray[np.bool_]

    def of(self, label: int | None) -> NDArray[np.float64] | None:
        """AP50 of a class, or with None the mean over the classes that a resample has objects of.

        Returns:
            (R,); None where the objects are all in one video, which says nothing of others.
        """
        videos = self.has_objects.any(axis=0) if label is None else self.has_objects[label]
        if videos.sum() < 2:
            return None
        return mean_over_classes(self.by_class) if label is None else self.by_class[:, label]


def draw_videos(
    frame_video: NDArray[np.integer], *, resamples: int = RESAMPLES, seed: int = 0
) -> Resamples | None:
    """Draw as many videos as there are, with replacement.

    Args:
        frame_video: (F,), the video of each frame; only videos with frames are drawn.
        resamples: R.
        seed: Seed of the draws.

    Returns:
        None for a single video, which says nothing of others.
    """
    names, numbers = np.unique(frame_video, return_inverse=True)
    n = len(names)
    if n < 2:
        return None
    rng = np.random.default_rng(seed)
    counts = np.empty((resamples, n), np.uint8)  # no video is drawn 256 times of so many
    for row in counts:
        row[:] = np.bincount(rng.integers(0, n, n), minlength=n)
    return Resamples(numbers.astype(np.int64), counts)


def resample_ap(outcomes: Outcomes, resamples: Resamples) -> NDArray[np.float64]:
    """AP50 of a class in each resample.

    What false positives weigh in frames without the class, a share of all objects, is left as it is.

    Returns:
        (R,), NaN where no drawn video has objects of the class.
    """
    video, counts = resamples.frame_video, resamples.counts
    hits = np.flatnonzero(outcomes.hit)
    hit_video = video[outcomes.frame[hits]]
    # Between two hits, the weights of a video's false positives are one sum. Those after the last hit change
    # nothing.
    after = outcomes.hit.cumsum()
    rows = np.flatnonzero((outcomes.false > 0) & (after < len(hits)))
    cells = (after[rows], video[outcomes.frame[rows]])
    false_before = csr_matrix((outcomes.false[rows], cells), shape=(len(hits), resamples.videos))
    objects = counts @ resamples.objects(outcomes)
    ap = np.empty(len(counts))
    for start in range(0, len(counts), _AT_ONCE):
        weights = counts[start : start + _AT_ONCE].T.astype(np.float64)  # (V, resamples)
        hit = weights[hit_video]
        true = hit.cumsum(axis=0)
        false = (false_before @ weights).cumsum(axis=0)
        precision = np.divide(true, true + false, out=np.zeros_like(true), where=true > 0)
        envelope = np.maximum.accumulate(precision[::-1])[::-1]
        ap[start : start + _AT_ONCE] = (hit * envelope).sum(axis=0)
    ap[objects == 0] = np.nan
    ap[objects > 0] /= objects[objects > 0]
    return ap


def mean_over_classes(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean AP50 of each resample, (R,), over the classes that it has objects of; `samples` are (R, C)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a resample without any objects
        mean: NDArray[np.float64] = np.nanmean(samples, axis=1) if samples.shape[1] else samples.sum(axis=1)
    return mean


def percentile_interval(samples: NDArray[np.float64]) -> Interval | None:
    """Return the interval that holds the middle `LEVEL` of resamples.

    Args:
        samples: (R,); NaN is left out.

    Returns:
        The interval, or None if all samples are NaN.
    """
    known = samples[~np.isnan(samples)]
    if len(known) == 0:
        return None
    low, high = np.quantile(known, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return Interval(float(low), float(high))
