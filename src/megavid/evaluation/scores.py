"""Scores of predictions, with their intervals, curves and errors.

Shapes: C classes, V videos, F frames.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megavid.evaluation.best_f1 import BestF1
from megavid.evaluation.bootstrap import LEVEL, RESAMPLES, Interval, ResampledAP, percentile_interval
from megavid.evaluation.boxes import Boxes
from megavid.evaluation.confusion import BACKGROUND, Confusion
from megavid.evaluation.error_analysis import KINDS, Errors
from megavid.evaluation.scoring import AveragePrecision
from megavid.evaluation.steadiness import NOT_MEASURED, Steadiness
from megavid.evaluation.steadiness_groups import steadiness_by_class, steadiness_by_video


@dataclass(frozen=True)
class VideoScore:
    """Scores of one video.

    Attributes:
        name: Name of the video.
        ap: Mean AP50 over the classes with objects in the video; NaN without objects.
        frames: Number of frames.
        objects: Number of objects that count.
        errors: Number of errors of each kind, keyed by the names in `KINDS`.
    """

    name: str
    ap: float
    frames: int
    objects: int
    errors: Mapping[str, int]


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of predictions.

    Attributes:
        classes: (C,) names of the classes.
        results: AP50 in each range of motion, keyed by the names in `MOTION_RANGES`; only "all" if the motion
            is unknown.
        samples: AP50 in resamples of the videos, keyed by the same names; empty for a single video.
        sizes: AP50 of each size, keyed by the names in `SIZES`.
        videos: Scores of the videos that have frames, sorted by rising AP50, videos without objects last.
        best: The best F1 of all classes together; None if no detection is a hit.
        class_best: (C,), the best F1 of each class.
        errors: The errors of the detections.
        confusion: The confusion matrix.
        steadiness: How steadily objects are found over time, at the threshold of `best`; None if no object
            that counts has a track id.
        found: All detections.
        truth: All objects.
        frames: Number of frames in the data set.
        coco: COCO's metrics; empty unless requested.
    """

    classes: tuple[str, ...]
    results: Mapping[str, AveragePrecision]
    samples: Mapping[str, ResampledAP]
    sizes: Mapping[str, AveragePrecision]
    videos: tuple[VideoScore, ...]
    best: BestF1 | None
    class_best: tuple[BestF1 | None, ...]
    errors: Errors
    confusion: Confusion
    steadiness: Steadiness | None
    found: Boxes
    truth: Boxes
    frames: int
    coco: Mapping[str, float] = field(default_factory=dict)

    @property
    def objects(self) -> int:
        """Number of objects that count."""
        return sum(curve.objects for curve in self.results["all"].curves)

    def ap(self, motion: str, label: int | None = None) -> float:
        """Return the AP50 of a class, or the mean over classes if `label` is None; NaN without objects.

        Args:
            motion: One of the names of `results`.
            label: The class.
        """
        return self.results[motion].of(label)

    def interval(self, motion: str, label: int | None = None) -> Interval | None:
        """Return the interval of `ap(motion, label)`; None if there are too few videos to compute it."""
        samples = self.samples[motion].of(label) if motion in self.samples else None
        return None if samples is None else percentile_interval(samples)

    def as_dict(self) -> dict[str, Any]:
        """Return all scores as JSON values, with None for NaN."""
        return {
            "AP50": {motion: _number(result.mean) for motion, result in self.results.items()},
            "AP50_interval": {motion: interval_as_list(self.interval(motion)) for motion in self.results},
            "bootstrap": self._bootstrap(),
            "classes": {name: self._class(i) for i, name in enumerate(self.classes)},
            "sizes": {
                name: {"AP50": _number(result.mean), "objects": sum(c.objects for c in result.curves)}
                for name, result in self.sizes.items()
            },
            "best_f1": _best(self.best),
            "steadiness": self._steadiness(),
            "coco": {name: _number(value) for name, value in self.coco.items()},
            "frames": self.frames,
            "objects": self.objects,
            "ignored_objects": len(self.truth) - self.objects,
            "found": len(self.found),
            "videos": [
                {
                    "name": video.name,
                    "AP50": _number(video.ap),
                    "frames": video.frames,
                    "objects": video.objects,
                    "errors": dict(video.errors),
                }
                for video in self.videos
            ],
            "confusion": {
                "score_threshold": self.confusion.score_threshold,
                "names": [*self.classes, BACKGROUND],
                "counts_by_object_then_detection": self.confusion.counts.tolist(),
            },
        }

    def _bootstrap(self) -> dict[str, Any] | None:
        if not self.samples:
            return None
        return {"videos": len(self.videos), "resamples": RESAMPLES, "level": LEVEL}

    def _steadiness(self) -> dict[str, Any]:
        if self.steadiness is None:
            return {"not_measured": NOT_MEASURED}
        by_class = steadiness_by_class(self.steadiness, self.classes)
        by_video = steadiness_by_video(self.steadiness)
        return {
            **self.steadiness.as_dict(),
            "classes": {one.name: one.as_dict() for one in by_class},
            "videos": [{"name": one.name, **one.as_dict()} for one in by_video],
        }

    def _class(self, label: int) -> dict[str, Any]:
        curve = self.results["all"].curves[label]
        return {
            **{motion: _number(result.ap[label]) for motion, result in self.results.items()},
            "interval": interval_as_list(self.interval("all", label)),
            "sizes": {name: _number(result.ap[label]) for name, result in self.sizes.items()},
            "best_f1": _best(self.class_best[label]),
            "objects": curve.objects,
            "found": curve.found,
        }


def rank_videos(
    names: tuple[str, ...],
    frame_video: NDArray[np.integer],
    ap: NDArray[np.float64],
    truth: Boxes,
    errors: Errors,
) -> tuple[VideoScore, ...]:
    """Collect the scores of the videos that have frames, sorted by rising AP50, videos without objects last.

    Args:
        names: (V,) names of the videos.
        frame_video: (F,), video of each frame.
        ap: (V,), the result of `ap_by_video`.
        truth: All objects.
        errors: The result of `find_errors`.
    """
    n = len(names)
    frames = np.bincount(frame_video, minlength=n)
    objects = np.bincount(frame_video[truth.frame[~errors.ignored]], minlength=n)
    per_video = np.zeros((n, len(KINDS)), np.int64)
    np.add.at(per_video, frame_video, errors.per_frame)
    order = np.lexsort((-per_video.sum(axis=1), ap))  # NaN comes last
    return tuple(
        VideoScore(
            names[v],
            float(ap[v]),
            int(frames[v]),
            int(objects[v]),
            dict(zip(KINDS, per_video[v].tolist(), strict=True)),
        )
        for v in order.tolist()
        if frames[v]
    )


def interval_as_list(interval: Interval | None) -> list[float] | None:
    """Return an interval as a JSON value."""
    return None if interval is None else [interval.low, interval.high]


def _best(best: BestF1 | None) -> dict[str, float] | None:
    if best is None:
        return None
    return {
        "F1": best.f1,
        "score_threshold": best.score_threshold,
        "precision": best.precision,
        "recall": best.recall,
    }


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
