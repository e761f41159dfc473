"""Draw the curves of a training run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from megavid.core.files.atomic import atomic_path
from megavid.core.files.ownership import PNG_METADATA
from megavid.core.text import printable

CURVES = "curves.png"

NO_LOSS_TERMS = frozenset(
    ("step", "loss", "gradient_norm", "learning_rate", "clips_per_second", "data_wait", "memory_mb")
)
"""Names of the numbers in a log line that are not loss terms; the detector names its loss terms."""

_SCORE_COLORS = {"AP50": "#333333", "fast": "#c0392b", "medium": "#d68910", "slow": "#2471a3"}

Lines = Sequence[Mapping[str, Any]]


def write_curves(path: Path, lines: Lines) -> None:
    """Draw losses, learning rate and AP50 by step.

    Args:
        path: PNG file to write.
        lines: Lines of a training log.

    Raises:
        InputError: The picture cannot be written.
    """
    trained = [line for line in lines if "loss" in line]
    figure = Figure(figsize=(11, 7), layout="constrained")
    FigureCanvasAgg(figure)
    total, terms, rate, score = figure.subplots(2, 2).flat
    steps = [line["step"] for line in trained]
    losses = [line["loss"] for line in trained]
    total.plot(steps, losses, color="#b9cde0", linewidth=1)
    total.plot(steps, _smooth(losses), color="#2471a3", linewidth=1.8)
    total.set(title="loss")
    _plot_terms(terms, trained)
    rate.plot(steps, [line["learning_rate"] for line in trained], color="#333333")
    rate.set(title="learning rate")
    _plot_scores(score, [line for line in lines if "AP50" in line])
    for axes in (total, terms, rate, score):
        axes.set_xlabel("step")
        axes.grid(alpha=0.3)
    with atomic_path(path) as aside:
        figure.savefig(aside, dpi=100, metadata=PNG_METADATA)


def _plot_terms(axes: Axes, trained: Lines) -> None:
    names = dict.fromkeys(name for line in trained for name in line if name not in NO_LOSS_TERMS)
    for name in names:
        steps, values = _points(trained, name)
        axes.plot(steps, _smooth(values), label=_label(name), linewidth=1.5)
    axes.set(title="terms of the loss, smoothed")
    if names:
        axes.legend()


def _plot_scores(axes: Axes, scored: Lines) -> None:
    for name, color in _SCORE_COLORS.items():
        steps, values = _points(scored, name)
        if steps:
            axes.plot(steps, [100 * value for value in values], marker="o", label=name, color=color)
    axes.set(title="AP50, percent", ylim=(0, 100))
    if axes.lines:
        axes.legend()


def _label(name: str) -> str:
    """Change a name that Matplotlib would take for a formula, or hide because of its leading underscore."""
    return printable(name, limit=40).lstrip("_").replace("$", r"\$") or "?"


def _points(lines: Lines, name: str) -> tuple[list[int], list[float]]:
    """Return the steps at which the number called `name` is known, and its values at these steps."""
    points = [(line["step"], line[name]) for line in lines if line.get(name) is not None]
    return [step for step, _ in points], [value for _, value in points]


def _smooth(values: list[float]) -> np.ndarray[Any, Any]:
    """Average each value with its nearest neighbors: a hundredth of all values on each side."""
    if not values:
        return np.zeros(0)
    half = len(values) // 100
    sums = np.concatenate(([0.0], np.cumsum(values)))
    places = np.arange(len(values))
    first, end = np.maximum(places - half, 0), np.minimum(places + half + 1, len(values))
    smoothed: np.ndarray[Any, Any] = (sums[end] - sums[first]) / (end - first)
    return smoothed
