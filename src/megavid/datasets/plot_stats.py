"""Draw the statistics of a data set."""

from __future__ import annotations

from collections.abc import Sequence
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
from megavid.datasets.stats import FAST, SIZES, SLOW, DataStats

_MOST_CLASSES = 40
"""Largest number of classes that are drawn."""

_PARTS, _COLORS = ("train", "val"), ["#3b6ea5", "#d68910"]


def plot_stats(stats: DataStats, path: Path, *, val: DataStats | None = None) -> None:
    """Draw the number of boxes of each class, box sizes, video lengths and motion to a PNG file.

    Args:
        stats: Statistics of a data set, or of its training part.
        path: The file to write.
        val: Statistics of the validation part, which are drawn together with `stats`.

    Raises:
        InputError: The file cannot be written.
    """
    parts = [stats] if val is None else [stats, val]
    bars = len(parts) * min(len(stats.classes), _MOST_CLASSES)
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
        if not any(len(part) for part in values):
            axes.text(0.5, 0.5, "none known", ha="center", va="center", transform=axes.transAxes)
            axes.set_axis_off()
            continue
        _histogram(axes, values, logarithmic=logarithmic)
        for mark in marks:
            axes.axvline(mark, color="#c0392b", linewidth=1)
    with atomic_path(path) as aside:
        figure.savefig(aside, dpi=110, metadata=PNG_METADATA)


def _plot_classes(axes: Any, parts: Sequence[DataStats]) -> None:
    """Draw the number of boxes of each class, as one bar for each part of the data set."""
    first = parts[0]
    shown = np.argsort(-first.boxes, kind="stable")[:_MOST_CLASSES]
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
    """Escape dollar signs, between which Matplotlib expects a formula."""
    return printable(name, limit=40).replace("$", r"\$")


def _histogram(axes: Any, values: Sequence[NDArray[np.float64]], *, logarithmic: bool) -> None:
    """Draw a histogram of the values, in which the parts of the data set are stacked."""
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
        axes.set_xlim(2 ** np.floor(np.log2(low)), 2 ** np.ceil(np.log2(high)))  # at least two labels
    axes.hist(values, bins=bins.tolist(), color=_COLORS[: len(values)], stacked=True)
