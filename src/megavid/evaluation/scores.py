"""The scores of predictions, with all that explains them.

Shapes: C classes, V videos.
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


@dataclass(frozen=True)
class VideoScore:
    """Scores of one video.

    Attributes:
        name: Name of the video.
        ap: Mean AP50 over the classes that it has objects of; NaN without objects.
        frames, objects: How many it has; objects that count.
        errors: How many of each of `KINDS`.
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
        classes: (C,) names.
        results: AP50 by the names of `MOTION_RANGES`; "all" alone where motion is unknown.
        samples: AP50 in resamples of the videos by the same names; empty for a single video.
        sizes: AP50 by the names of `SIZES`.
        videos: Every video that has frames, the worst first, those without objects last.
        best: The threshold of the best F1 of all classes together.
        class_best: (C,), that of each class.
        errors: What went wrong, detection by detection.
        confusion: Which class was taken for which.
        coco: COCO's metrics, where asked for.
        found, truth: What was compared; frames are rows of the data set.
        frames: How many the data set has.
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
    found: Boxes
    truth: Boxes
    frames: int
    coco: Mapping[str, float] = field(default_factory=dict)

    @property
    def objects(self) -> int:
        """Objects that count."""
        return sum(curve.objects for curve in self.results["all"].curves)

    def ap(self, motion: str, label: int | None = None) -> float:
        """Return the AP50 of a class, or the mean over classes if `label` is None; NaN without objects.

        Args:
            motion: One of the names of `results`.
            label: The class.
        """
        return self.results[motion].of(label)

    def interval(self, motion: str, label: int | None = None) -> Interval | None:
        """The interval of a class's AP50, or of their mean; None if there is none."""
        samples = self.samples[motion].of(label) if motion in self.samples else None
        return None if samples is None else percentile_interval(samples)

    def as_dict(self) -> dict[str, Any]:
        """As JSON values; None for NaN."""
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
    """Describe the videos that have frames: the worst first, those without objects last.

    Args:
        names: (V,).
        frame_video: (F,), the video of each frame.
        ap: (V,), from `ap_by_video`.
        truth: The objects.
        errors: From `find_errors`.
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
    """An interval as JSON."""
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
