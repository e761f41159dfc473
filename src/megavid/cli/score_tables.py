"""Print scores as tables."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from megavid.cli.output import cell, print_table, say
from megavid.core.text import printable
from megavid.evaluation.number_text import COLUMNS, percent, percent_interval

if TYPE_CHECKING:
    from megavid.evaluation.scores import Scores


_MOST_CLASSES = 10
"""Steadiness is printed by class for up to this many classes."""

_MEASURES_BY_CLASS = ("flickers", "class_switches", "found")


def print_scores(scores: Scores) -> None:
    """Print AP50 of each class in percent, the mean with its interval, COCO's metrics and notes."""
    table = Table("class")
    for motion in scores.results:
        table.add_column(COLUMNS[motion], justify="right")
    for name in ("objects", "found"):
        table.add_column(name, justify="right")
    overall = scores.results["all"]
    for i, name in enumerate(scores.classes):
        values = [percent(result.ap[i]) for result in scores.results.values()]
        table.add_row(cell(name), *values, str(overall.curves[i].objects), str(overall.curves[i].found))
    table.add_section()
    means = [percent(result.mean) for result in scores.results.values()]
    table.add_row("mean", *means, str(scores.objects), str(len(scores.found)), style="bold")
    if scores.samples:
        table.add_row("interval", *(percent_interval(scores.interval(motion)) for motion in scores.results))
    print_table(table)
    if scores.coco:
        coco = Table("COCO")
        coco.add_column("", justify="right")
        for name, value in scores.coco.items():
            coco.add_row(name, percent(value))
        print_table(coco)
    _print_steadiness({"": scores})
    for line in _notes(scores):
        say(f"  {line}")


def print_comparison(one: Scores, two: Scores, names: tuple[str, str], verdict: str) -> None:
    """Print AP50 of two runs and their difference by class and motion, and the verdict."""
    from megavid.evaluation.comparison import difference

    title = Text(f"A {printable(names[0])}\nB {printable(names[1])}")
    table = Table("class", title=title, title_justify="left")
    for motion in one.results:
        for name in ("A", "B", "B-A"):
            table.add_column(f"{COLUMNS[motion]}\n{name}", justify="right")
        if one.samples:
            table.add_column("\ninterval", justify="right")
    for label, name in [*enumerate(one.classes), (None, "mean")]:
        cells = []
        for motion in one.results:
            a, b = (
                scores.results[motion].mean if label is None else scores.results[motion].ap[label]
                for scores in (one, two)
            )
            cells += [percent(a), percent(b), percent(b - a, sign="+")]
            if one.samples:
                cells.append(percent_interval(difference(one, two, motion, label).interval, sign="+"))
        if label is None:
            table.add_section()
        table.add_row(cell(name), *cells, style="bold" if label is None else None)
    print_table(table)
    _print_steadiness({"A": one, "B": two})
    say(verdict)


def print_summary(runs: Mapping[str, Scores]) -> None:
    """Print a row for each run with its AP50 by motion, in percent."""
    table = Table("")
    for motion in next(iter(runs.values())).results:
        table.add_column(COLUMNS[motion], justify="right")
    for name, scores in runs.items():
        table.add_row(cell(name), *(percent(result.mean) for result in scores.results.values()))
    print_table(table)


def _print_steadiness(runs: Mapping[str, Scores]) -> None:
    """Print the steadiness of one run, or of two runs and their difference."""
    from megavid.evaluation.steadiness import NOT_MEASURED
    from megavid.evaluation.steadiness_text import NAMES, describe_tracks, steadiness_table

    measured = {name: run.steadiness for name, run in runs.items() if run.steadiness is not None}
    if len(measured) < len(runs):
        say(f"  {NOT_MEASURED}")
        return
    content = steadiness_table(measured)
    table = Table("steadiness")
    for column in content.columns:
        table.add_column(column, justify="right")
    for name, cells in content.rows.items():
        table.add_row(NAMES[name], *cells)
    table.add_row("tracks never found", *content.never_found)
    table.add_row("score threshold", *content.thresholds)
    print_table(table)
    say(f"  steadiness: {describe_tracks(measured)}")
    if len(runs) == 1:
        _print_steadiness_by_class(*runs.values())


def _print_steadiness_by_class(scores: Scores) -> None:
    """Print the steadiness of each class, if there are a few classes."""
    from megavid.evaluation.steadiness_groups import steadiness_by_class
    from megavid.evaluation.steadiness_text import group_cells, group_columns

    assert scores.steadiness is not None
    groups = steadiness_by_class(scores.steadiness, scores.classes)
    if not 1 < len(groups) <= _MOST_CLASSES:
        return
    table = Table("steadiness\nby class")
    for column in group_columns(_MEASURES_BY_CLASS):
        table.add_column(column, justify="right")
    for group in groups:
        table.add_row(cell(group.name), *group_cells(group, _MEASURES_BY_CLASS))
    print_table(table)


def _notes(scores: Scores) -> list[str]:
    from megavid.evaluation.bootstrap import LEVEL, RESAMPLES

    notes = ["interval: unknown, since all frames are of one video"]
    if scores.samples:
        notes = [
            f"interval: {100 * LEVEL:.0f} % of {RESAMPLES} resamples of the {len(scores.videos)} videos "
            "(bootstrap)"
        ]
    sizes = [
        f"{name} {percent(result.mean)} ({sum(curve.objects for curve in result.curves)} objects)"
        for name, result in scores.sizes.items()
    ]
    notes.append(f"by size: {', '.join(sizes)}")
    if scores.best is not None:
        best = scores.best
        notes.append(
            f"best F1: {percent(best.f1)} at a score above {best.score_threshold:.3f} "
            f"(precision {percent(best.precision)}, recall {percent(best.recall)})"
        )
    worst = [video for video in scores.videos if not math.isnan(video.ap)]
    if len(worst) > 1:
        names = ", ".join(f"{printable(video.name, limit=40)} {percent(video.ap)}" for video in worst[:3])
        notes.append(f"lowest AP50 of a video: {names}")
    return notes
