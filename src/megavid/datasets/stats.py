"""What is in a data set, in numbers and in a picture.

Shapes: C classes, V videos, M boxes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, ScalarFormatter
from numpy.typing import NDArray

from megavid.core.files.atomic import atomic_path
from megavid.core.files.ownership import PNG_METADATA
from megavid.core.text import printable
from megavid.datasets.motion import motion_iou
from megavid.datasets.table.annotations import NO_TRACK, Annotations

SIZES = {"small": 32, "medium": 96}
"""COCO's limits: the side of a square of the largest small and medium object, pixels."""

FAST, SLOW = 0.7, 0.9
"""Motion IoU below which an object is fast, and above which it is slow."""

_BARS = 40
"""Classes that are drawn."""

_PARTS, _COLORS = ("train", "val"), ["#3b6ea5", "#d68910"]


@dataclass(frozen=True, eq=False)
class DataStats:
    """Numbers of a data set.

    Attributes:
        classes: (C,) names.
        boxes, frames, tracks: int (C,), of each class: boxes, frames that have some, tracks.
        lengths: int (V,), frames of each video.
        empty_frames: Frames without boxes.
        sizes: float (M,), the root of each box's area, pixels.
        motion: float (M,), motion IoU, NaN for boxes without a track.
        labels: int (M,).
        frame_sizes: How many frames there are of each (width, height); (0, 0) where it is not known.
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
        """Shares of fast, medium and slow objects; None without tracks."""
        [shares] = self._motion_shares(np.zeros_like(self.labels), classes=1)
        return shares

    def _motion_shares(self, labels: NDArray[np.int32], *, classes: int) -> list[dict[str, float] | None]:
        """The shares of each class."""
        known, fast, slow = (
            np.bincount(labels[rows], minlength=classes).tolist()
            for rows in (~np.isnan(self.motion), self.motion < FAST, self.motion > SLOW)
        )
        return [
            {"fast": f / n, "medium": 1 - f / n - s / n, "slow": s / n} if n else None
            for n, f, s in zip(known, fast, slow, strict=True)
        ]

    def size_shares(self) -> dict[str, float]:
        """Shares of small, medium and large objects by COCO's limits."""
        if len(self.sizes) == 0:
            return {}
        small = float((self.sizes <= SIZES["small"]).mean())
        large = float((self.sizes > SIZES["medium"]).mean())
        return {"small": small, "medium": 1 - small - large, "large": large}

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
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
    """The numbers of a data set."""
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


def plot_stats(stats: DataStats, path: Path, *, val: DataStats | None = None) -> None:
    """Draw boxes of each class, box sizes, lengths of videos, and motion, as a PNG.

    Args:
        stats: Numbers of a data set, or of what is to be trained on.
        path: The file.
        val: Numbers of what is to be validated on, drawn beside the others.

    Raises:
        InputError: The file cannot be written.
    """
    parts = [stats] if val is None else [stats, val]
    bars = len(parts) * min(len(stats.classes), _BARS)
    figure = Figure(figsize=(12, 4.5 + 0.16 * bars), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(3, 2, width_ratios=(1.2, 1))
    _plot_classes(figure.add_subplot(grid[:, 0]), parts)
    panels = (
        ([p.sizes for p in parts], "box size: root of the area, pixels", tuple(SIZES.values()), True),
        ([p.lengths[p.lengths > 0].astype(np.float64) for p in parts], "frames of a video", (), False),
        (
            [p.motion[~np.isnan(p.motion)] for p in parts],
            "motion IoU (fast < 0.7, slow > 0.9)",
            (FAST, SLOW),
            False,
        ),
    )
    for row, (values, title, marks, logarithmic) in enumerate(panels):
        axes = figure.add_subplot(grid[row, 1])
        axes.set_title(title)
        if not any(len(some) for some in values):
            axes.text(0.5, 0.5, "none known", ha="center", va="center", transform=axes.transAxes)
            axes.set_axis_off()
            continue
        _histogram(axes, values, logarithmic=logarithmic)
        for mark in marks:
            axes.axvline(mark, color="#c0392b", linewidth=1)
    with atomic_path(path) as aside:
        figure.savefig(aside, dpi=110, metadata=PNG_METADATA)


def _plot_classes(axes: Any, parts: Sequence[DataStats]) -> None:
    """Bars for the boxes of each class, a group of them for each class."""
    first = parts[0]
    shown = np.argsort(-first.boxes, kind="stable")[:_BARS]
    names = [first.classes[i] for i in shown]
    height = 0.8 / len(parts)
    for number, part in enumerate(parts):
        counts = dict(zip(part.classes, part.boxes.tolist(), strict=True))
        drawn = axes.barh(
            np.arange(len(names)) + (number - (len(parts) - 1) / 2) * height,
            [counts.get(name, 0) for name in names],
            height=height,
            color=_COLORS[number],
            label=_PARTS[number],
        )
        axes.bar_label(drawn, padding=3, fontsize=8)
    axes.set_yticks(np.arange(len(names)), [_label(name) for name in names])
    axes.invert_yaxis()
    axes.margins(x=0.12, y=0.01)
    if len(parts) > 1:
        axes.legend()
    rest = len(first.classes) - len(shown)
    axes.set_title("boxes" + (f" (and {rest} more classes)" if rest else ""))


def _label(name: str) -> str:
    """A name as text: Matplotlib takes what is between dollar signs for a formula."""
    return printable(name, limit=40).replace("$", r"\$")


def _histogram(axes: Any, values: Sequence[NDArray[np.float64]], *, logarithmic: bool) -> None:
    """Draw a histogram of each part, one on top of the other."""
    together = np.concatenate(values)
    low, high = float(together.min()), float(together.max())
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    bins = np.linspace(low, high, 41)
    if low == high:
        bins = np.array([low - 0.5, high + 0.5])
    elif logarithmic and low > 0:
        bins = np.geomspace(low, high, 41)
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.set_xlim(2 ** np.floor(np.log2(low)), 2 ** np.ceil(np.log2(high)))  # two labels at least
    axes.hist(values, bins=bins.tolist(), color=_COLORS[: len(values)], stacked=True)


def _distinct(labels: NDArray[np.int32], keys: NDArray[Any], *, classes: int) -> NDArray[np.int64]:
    """How many different keys each label has."""
    rows = np.unique(np.column_stack((labels, keys)), axis=0)
    counts: NDArray[np.int64] = np.bincount(rows[:, 0].astype(np.int64), minlength=classes)
    return counts
