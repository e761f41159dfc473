"""Plots of scores."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from megavid.core.files.atomic import atomic_path
from megavid.core.files.ownership import PNG_METADATA
from megavid.core.text import printable
from megavid.evaluation.confusion import BACKGROUND, Confusion
from megavid.evaluation.scoring import AveragePrecision, Curve
from megavid.evaluation.steadiness import STATES, Steadiness, least_steady

COLORS = {"all": "#333333", "fast": "#c0392b", "medium": "#d68910", "slow": "#2471a3"}
"""Color of the objects in each range of motion."""

_STATE_COLORS = dict(zip(STATES, ("#a93226", "#f0b429", "#a9c7e4"), strict=True))

_BAR = "#3b6ea5"
_MOST_CLASSES = 40
"""Largest number of classes in the plot of a confusion matrix."""

_RECALLS = np.linspace(0, 1, 101)


def plot_pr_curves(results: Mapping[str, AveragePrecision], classes: Sequence[str], path: Path) -> None:
    """Write the plot of `draw_pr_curves` as a PNG file.

    Raises:
        InputError: The file cannot be written.
    """
    with atomic_path(path) as aside:
        draw_pr_curves(results, classes).savefig(aside, dpi=110, metadata=PNG_METADATA)


def plot_confusion(confusion: Confusion, path: Path) -> None:
    """Write the plot of `draw_confusion` as a PNG file.

    Raises:
        InputError: The file cannot be written.
    """
    with atomic_path(path) as aside:
        aside.write_bytes(as_png(draw_confusion(confusion)))


def draw_pr_curves(results: Mapping[str, AveragePrecision], classes: Sequence[str]) -> Figure:
    """Plot precision over recall in each range of motion: first the mean over classes, then each class."""
    shown = [i for i, curve in enumerate(results["all"].curves) if curve.objects]
    columns = 6
    rows = -(-len(shown) // columns)
    figure = _figure(11, 4.2 + 1.75 * rows)
    grid = figure.add_gridspec(rows + 1, columns, height_ratios=(4, *[1.75] * rows))
    axes = figure.add_subplot(grid[0, :])
    for motion, result in results.items():
        curves = [envelope_at(curve, _RECALLS) for curve in result.curves if curve.objects]
        if curves:
            name = f"{motion}: {100 * result.mean:.1f}"
            axes.plot(_RECALLS, np.mean(curves, axis=0), label=name, color=COLORS[motion], linewidth=1.8)
    _unit_square(axes)
    axes.set(title="mean over classes, AP50 in percent", xlabel="recall", ylabel="precision")
    if shown:
        axes.legend()
    for place, label in enumerate(shown):
        small = figure.add_subplot(grid[1 + place // columns, place % columns])
        for motion, result in results.items():
            if result.curves[label].objects:
                values = envelope_at(result.curves[label], _RECALLS)
                small.plot(_RECALLS, values, color=COLORS[motion], linewidth=1)
        _unit_square(small)
        small.set_title(f"{_short(classes[label])} {100 * results['all'].ap[label]:.1f}", fontsize=8)
        small.tick_params(labelsize=6)
    return figure


def draw_ap_bars(results: Mapping[str, AveragePrecision], classes: Sequence[str]) -> Figure:
    """Plot the AP50 of each class as a bar, highest first, with marks for fast, medium and slow objects."""
    ap = results["all"].ap
    shown = [int(i) for i in np.argsort(-np.nan_to_num(ap, nan=-1), kind="stable") if not np.isnan(ap[i])]
    figure = _figure(8, 1.2 + 0.24 * max(len(shown), 3))
    axes = figure.add_subplot()
    places = np.arange(len(shown))
    axes.barh(places, 100 * ap[shown], color=_BAR, alpha=0.75, label="all")
    for motion, result in results.items():
        if motion != "all":
            values = 100 * result.ap[shown]
            axes.scatter(values, places, s=22, color=COLORS[motion], label=motion, zorder=3)
    axes.set_yticks(places, [_short(classes[i]) for i in shown], fontsize=8)
    axes.invert_yaxis()
    axes.margins(y=0.01)
    axes.set(xlim=(0, 100), xlabel="AP50, percent")
    axes.grid(axis="x", alpha=0.3)
    if shown and len(results) > 1:
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1 + 0.6 / figure.get_size_inches()[1]), ncols=4)
    return figure


def draw_error_bars(totals: Mapping[str, int]) -> Figure:
    """Plot the number of errors of each kind."""
    figure = _figure(8, 2.2)
    axes = figure.add_subplot()
    bars = axes.barh(list(totals), list(totals.values()), color=_BAR)
    axes.bar_label(bars, padding=3)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def draw_confusion(confusion: Confusion) -> Figure:
    """Plot a confusion matrix; each cell shows its count and is shaded by its share of the row.

    Classes with neither objects nor detections are left out. If more than 40 classes remain, the 40 with the
    most errors are shown.
    """
    counts = confusion.counts
    n = len(confusion.classes)
    mistakes = counts.sum(axis=0) + counts.sum(axis=1) - 2 * counts.diagonal()
    present = np.flatnonzero((counts.sum(axis=0) + counts.sum(axis=1))[:n])
    shown = np.sort(present[np.argsort(-mistakes[present], kind="stable")[:_MOST_CLASSES]])
    places = np.append(shown, n)
    cells = counts[np.ix_(places, places)]
    names = [*(_short(confusion.classes[i]) for i in shown), BACKGROUND]
    side = 2.4 + 0.42 * len(places)
    figure = _figure(side + 0.6, side)
    axes = figure.add_subplot()
    shares = cells / np.maximum(cells.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.argwhere(cells).tolist():
        color = "white" if shares[row, column] > 0.6 else "black"
        text = _compact(int(cells[row, column]))
        axes.text(column, row, text, ha="center", va="center", fontsize=8, color=color)
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=9)
    axes.set_yticks(range(len(names)), names, fontsize=9)
    axes.set(xlabel="detected", ylabel="annotated")
    if len(shown) < len(present):
        axes.set_title(f"{len(shown)} of {len(present)} classes, those with the most errors", fontsize=9)
    return figure


def draw_strips(runs: Mapping[str, Steadiness], classes: Sequence[str], *, most: int = 12) -> Figure:
    """Plot over time in which frames the objects of the least steady tracks are found.

    Args:
        runs: Steadiness of one or several runs on the same data set, by name.
        classes: (C,), names of the classes.
        most: Largest number of tracks.
    """
    tracks = least_steady(list(runs.values()), most=most)
    figure = _figure(11, 0.7 + len(tracks) * (0.45 + 0.2 * len(runs)))
    figure.legend(
        handles=[Patch(color=color, label=state) for state, color in _STATE_COLORS.items()],
        loc="outside upper center",
        ncols=len(STATES),
        frameon=False,
    )
    for place, rows in enumerate(tracks):
        axes = figure.add_subplot(len(tracks), 1, place + 1)
        for line, (run, track) in enumerate(zip(runs.values(), rows, strict=True)):
            _draw_strip(axes, run, track, line)
        one, track = next(iter(runs.values())), rows[0]
        name = f"{_short(one.videos[one.video[track]], 36)}, {_short(classes[one.label[track]])}"
        axes.set_title(f"{name}, track {one.track[track]}", fontsize=8, loc="left", pad=2)
        axes.set_yticks(range(len(runs)), [_short(name) for name in runs] if len(runs) > 1 else [""])
        axes.set_ylim(len(runs) - 0.5, -0.5)
        axes.margins(x=0)
        axes.tick_params(axis="x", labelsize=7, length=2)
        axes.tick_params(axis="y", labelsize=7, length=0)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def _draw_strip(axes: Axes, run: Steadiness, track: int, line: int) -> None:
    """Draw a bar for each run of consecutive frames of a track with the same state."""
    rows = slice(*run.offsets[track : track + 2])
    number, state = run.number[rows], run.state[rows]
    steps = np.abs(np.diff(run.number))  # larger than 1 if only every nth frame is annotated or detected
    step = int(steps[steps > 0].min()) if steps.any() else 1
    starts = np.flatnonzero(np.append(True, (np.diff(state) != 0) | (np.diff(number) != step)))
    ends = np.append(starts[1:], len(number)) - 1
    bars = np.column_stack((number[starts] - step / 2, number[ends] - number[starts] + step))
    for value, color in enumerate(_STATE_COLORS.values()):
        axes.broken_barh(bars[state[starts] == value].tolist(), (line - 0.45, 0.9), color=color, linewidth=0)


def as_png(figure: Figure) -> bytes:
    """Return a figure as a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata=PNG_METADATA)
    return buffer.getvalue()


def as_svg(figure: Figure) -> bytes:
    """Return a figure as an SVG file, with text drawn as shapes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def envelope_at(curve: Curve, recalls: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return, for each recall, the highest precision at that or any higher recall; 0 if none is reached."""
    places = np.searchsorted(curve.recall, recalls)
    return np.append(curve.envelope, 0.0)[places]


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _unit_square(axes: Axes) -> None:
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    axes.grid(alpha=0.3)


def _short(name: str, most: int = 18) -> str:
    """Shorten a name to `most` characters so that it fits beside a plot."""
    name = printable(name)
    name = name if len(name) <= most else f"{name[: most - 1]}…"
    return name.replace("$", r"\$")  # Matplotlib reads text between dollar signs as a formula.


def _compact(count: int) -> str:
    """Format a count in at most four characters: 9999, 12k, 3M."""
    for unit, size in (("M", 1_000_000), ("k", 1000)):
        if count >= 10 * size:
            return f"{count // size}{unit}"
    return str(count)
