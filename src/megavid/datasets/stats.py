"""Compute statistics of a data set.

Shapes: C classes, V videos, M boxes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megavid.datasets.motion import motion_iou
from megavid.datasets.table.annotations import NO_TRACK, Annotations

SIZES = {"small": 32, "medium": 96}
"""Largest sizes of small and of medium objects in COCO, as square roots of the area, in pixels."""

FAST, SLOW = 0.7, 0.9
"""An object is fast if its motion IoU is below `FAST`, and slow if its motion IoU is above `SLOW`."""


@dataclass(frozen=True, eq=False)
class DataStats:
    """Statistics of a data set.

    Attributes:
        classes: (C,), class names.
        boxes: int (C,), number of boxes of each class.
        frames: int (C,), number of frames with boxes of each class.
        tracks: int (C,), number of tracks of each class.
        lengths: int (V,), number of frames of each video.
        empty_frames: Number of frames without boxes.
        sizes: float (M,), square root of each box's area, in pixels.
        motion: float (M,), motion IoU of each box, NaN for boxes without a track.
        labels: int (M,), label of each box.
        frame_sizes: Number of frames of each size (width, height); unknown sizes are (0, 0).
    """

    classes: tuple[str, ...]
    boxes: NDArray[np.int64]
    frames: NDArray[np.int64]
    tracks: NDArray[np.int64]
    lengths: NDArray[np.int64]
    empty_frames: int
    sizes: NDArray[np.float64]
    motion: NDArray[np.float64]
    labels: NDArray[np.int32]
    frame_sizes: dict[tuple[int, int], int]

    def motion_shares(self) -> dict[str, float] | None:
        """Return the shares of fast, medium and slow objects; None if no object has a track."""
        [shares] = self._motion_shares(np.zeros_like(self.labels), classes=1)
        return shares

    def _motion_shares(self, labels: NDArray[np.int32], *, classes: int) -> list[dict[str, float] | None]:
        """Return the shares of fast, medium and slow objects by class; None for a class without tracks."""
        known, fast, slow = (
            np.bincount(labels[rows], minlength=classes).tolist()
            for rows in (~np.isnan(self.motion), self.motion < FAST, self.motion > SLOW)
        )
        return [
            {"fast": f / n, "medium": 1 - f / n - s / n, "slow": s / n} if n else None
            for n, f, s in zip(known, fast, slow, strict=True)
        ]

    def size_shares(self) -> dict[str, float]:
        """Return the shares of small, medium and large objects by COCO's limits; {} if there are none."""
        if len(self.sizes) == 0:
            return {}
        small = float((self.sizes <= SIZES["small"]).mean())
        large = float((self.sizes > SIZES["medium"]).mean())
        return {"small": small, "medium": 1 - small - large, "large": large}

    def as_dict(self) -> dict[str, Any]:
        """Convert to values that can be written as JSON."""
        motion = self._motion_shares(self.labels, classes=len(self.classes))
        counts = (self.boxes.tolist(), self.frames.tolist(), self.tracks.tolist())
        quantiles = np.quantile(self.sizes, (0.05, 0.5, 0.95)).tolist() if len(self.sizes) else None
        lengths = self.lengths if len(self.lengths) else np.zeros(1, np.int64)
        return {
            "videos": len(self.lengths),
            "frames": int(self.lengths.sum()),
            "frames_without_boxes": self.empty_frames,
            "boxes": len(self.sizes),
            "video_length": {
                "min": int(lengths.min()),
                "median": float(np.median(lengths)),
                "max": int(lengths.max()),
            },
            "frame_sizes": {f"{w}x{h}": n for (w, h), n in self.frame_sizes.items()},
            "box_size_quantiles": quantiles,
            "box_sizes": self.size_shares(),
            "motion": self.motion_shares(),
            "classes": {
                name: {"boxes": b, "frames": f, "tracks": t, "motion": m}
                for name, b, f, t, m in zip(self.classes, *counts, motion, strict=True)
            },
        }


def compute_stats(annotations: Annotations) -> DataStats:
    """Compute the statistics of a data set."""
    a = annotations
    classes = len(a.classes)
    frames = a.box_frames
    sides = (a.boxes[:, 2:] - a.boxes[:, :2]).astype(np.float64).clip(min=0)
    tracked = a.tracks != NO_TRACK
    sizes, counts = np.unique(np.stack((a.width, a.height), axis=1), axis=0, return_counts=True)
    return DataStats(
        classes=a.classes,
        boxes=np.bincount(a.labels, minlength=classes),
        frames=_distinct(a.labels, frames, classes=classes),
        tracks=_distinct(
            a.labels[tracked], np.stack((a.video[frames], a.tracks), axis=1)[tracked], classes=classes
        ),
        lengths=a.frames_per_video,
        empty_frames=int((np.diff(a.offsets) == 0).sum()),
        sizes=np.sqrt(sides.prod(axis=1)),
        motion=motion_iou(a),
        labels=a.labels,
        frame_sizes={(int(w), int(h)): int(n) for (w, h), n in zip(sizes, counts, strict=True)},
    )


def _distinct(labels: NDArray[np.int32], keys: NDArray[Any], *, classes: int) -> NDArray[np.int64]:
    """Count the distinct keys of each label."""
    rows = np.unique(np.column_stack((labels, keys)), axis=0)
    counts: NDArray[np.int64] = np.bincount(rows[:, 0].astype(np.int64), minlength=classes)
    return counts
