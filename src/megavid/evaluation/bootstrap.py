"""Bootstrap over videos: estimate how much scores depend on which videos a data set happens to have.

Frames of a video are similar, so a resample draws whole videos: as many as the data set has, with replacement
(Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, sections 8.3 and 13.3). Detections are
matched to objects once, before any video is drawn. A video that is drawn twice counts twice.

Shapes: R resamples, V videos, F frames, C classes.
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
"""Share of the resamples that an interval contains."""

_RESAMPLES_AT_ONCE = 64
"""Number of resamples that are computed together, which limits memory."""


@dataclass(frozen=True)
class Interval:
    """The range of a score in all but the most extreme resamples.

    Attributes:
        low: The lower end.
        high: The upper end.
    """

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


@dataclass(frozen=True, eq=False)
class Resamples:
    """Resamples of the videos of a data set.

    Two runs on the same data set get the same resamples, so that the difference of their scores can be
    resampled, too.

    Attributes:
        frame_video: int (F,), video of each frame, from 0 to V - 1.
        counts: uint8 (R, V), how often each video is drawn in each resample.
    """

    frame_video: NDArray[np.int64]
    counts: NDArray[np.uint8]

    @property
    def videos(self) -> int:
        """Number of videos, V."""
        return int(self.counts.shape[1])

    def objects(self, outcomes: Outcomes) -> NDArray[np.int64]:
        """Return the number of objects of a class that count in each video, (V,)."""
        return np.bincount(self.frame_video[outcomes.object_frame], minlength=self.videos)


@dataclass(frozen=True, eq=False)
class ResampledAP:
    """AP50 in resamples of the videos.

    Attributes:
        by_class: (R, C), NaN if no drawn video has objects of the class.
        has_objects: bool (C, V), whether a video has objects of the class.
    """

    by_class: NDArray[np.float64]
    has_objects: NDArray[np.bool_]

    def of(self, label: int | None) -> NDArray[np.float64] | None:
        """Return the AP50 of a class in each resample, or the mean over the classes with objects in it.

        Args:
            label: The class; None for the mean.

        Returns:
            (R,); None if fewer than two videos have objects, since one video says nothing about others.
        """
        videos = self.has_objects.any(axis=0) if label is None else self.has_objects[label]
        if videos.sum() < 2:
            return None
        return mean_over_classes(self.by_class) if label is None else self.by_class[:, label]


def draw_videos(
    frame_video: NDArray[np.integer], *, resamples: int = RESAMPLES, seed: int = 0
) -> Resamples | None:
    """Draw resamples: each has as many videos as the data set, drawn with replacement.

    Args:
        frame_video: (F,), video of each frame; only videos with frames are drawn.
        resamples: Number of resamples, R.
        seed: Seed of the random numbers.

    Returns:
        The resamples; None for fewer than two videos, since one video says nothing about others.
    """
    names, numbers = np.unique(frame_video, return_inverse=True)
    n = len(names)
    if n < 2:
        return None
    rng = np.random.default_rng(seed)
    counts = np.empty((resamples, n), np.uint8)  # no video is drawn 256 times in practice
    for row in counts:
        row[:] = np.bincount(rng.integers(0, n, n), minlength=n)
    return Resamples(numbers.astype(np.int64), counts)


def resample_ap(outcomes: Outcomes, resamples: Resamples) -> NDArray[np.float64]:
    """Compute the AP50 of a class in each resample.

    False positives in frames without objects of the class have a weight that depends on all objects. It is
    computed once, from the whole data set, and not for each resample.

    Args:
        outcomes: Outcomes of the class; h of its detections are hits.
        resamples: Resamples of the videos.

    Returns:
        (R,), NaN if no drawn video has objects of the class.
    """
    video, counts = resamples.frame_video, resamples.counts
    hits = np.flatnonzero(outcomes.hit)
    hit_video = video[outcomes.frame[hits]]
    # Matrix (h, V): for each hit, the weights of each video's false positives since the hit before it, added
    # up. False positives after the last hit do not affect AP.
    after = outcomes.hit.cumsum()
    rows = np.flatnonzero((outcomes.false > 0) & (after < len(hits)))
    cells = (after[rows], video[outcomes.frame[rows]])
    false_before = csr_matrix((outcomes.false[rows], cells), shape=(len(hits), resamples.videos))
    objects = counts @ resamples.objects(outcomes)
    ap = np.empty(len(counts))
    for start in range(0, len(counts), _RESAMPLES_AT_ONCE):
        weights = counts[start : start + _RESAMPLES_AT_ONCE].T.astype(np.float64)  # (V, resamples)
        hit = weights[hit_video]
        true = hit.cumsum(axis=0)
        false = (false_before @ weights).cumsum(axis=0)
        precision = np.divide(true, true + false, out=np.zeros_like(true), where=true > 0)
        envelope = np.maximum.accumulate(precision[::-1])[::-1]
        ap[start : start + _RESAMPLES_AT_ONCE] = (hit * envelope).sum(axis=0)
    ap[objects == 0] = np.nan
    ap[objects > 0] /= objects[objects > 0]
    return ap


def mean_over_classes(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean (R,) of samples (R, C) over the classes with objects in each resample."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # NaN for a resample without objects
        mean: NDArray[np.float64] = np.nanmean(samples, axis=1) if samples.shape[1] else samples.sum(axis=1)
    return mean


def percentile_interval(samples: NDArray[np.float64]) -> Interval | None:
    """Return the interval that contains the middle share (`LEVEL`) of the samples.

    Args:
        samples: (R,), a score in each resample; NaN values are left out.

    Returns:
        The interval; None if no resample has a score.
    """
    known = samples[~np.isnan(samples)]
    if len(known) == 0:
        return None
    low, high = np.quantile(known, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return Interval(float(low), float(high))
