"""`megavid score`: scores of saved predictions, without a model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from megavid.cli.detect import refuse_overrides
from megavid.cli.source import DataSource, report_problems
from megavid.core.errors import InputError

if TYPE_CHECKING:
    from rich.table import Table

    from megavid.engine.score import Scores


@dataclass(frozen=True, kw_only=True)
class Score:
    """Score saved predictions: AP50 overall and for fast, medium and slow objects, per class.

    Writes scores.json, pr_curves.png and report.html to the output folder.
    Predictions: megavid's .parquet, the original release's predictions.pth, ILSVRC's text format (.txt) or
    COCO results (.json).
    """

    predictions: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="PREDICTIONS")] = None
    """The predictions; or give --compare."""
    source: Annotated[DataSource, tyro.conf.OmitArgPrefixes]
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """Output folder; none: the table is printed and nothing written."""
    compare: Annotated[tuple[Path, Path] | None, tyro.conf.arg(metavar="A B")] = None
    """Two predictions to put side by side."""
    motion: Annotated[str, tyro.conf.arg(metavar="auto|tracks|none|FILE.mat")] = "auto"
    """Where the motion of objects comes from: their tracks, or ImageNet VID's official file."""
    coco: bool = False
    """COCO's metrics, too (needs the extra coco)."""

    save_as: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Also write the predictions in another format, by its suffix: .parquet, .pth, .txt or .json."""

    def run(self, overrides: Mapping[str, str]) -> int:
        """Do it; the exit code."""
        from megavid.engine.score import (
            describe,
            find_motion,
            score_predictions,
            write_comparison,
            write_scores,
        )
        from megavid.evaluation.formats import open_predictions, write_predictions

        refuse_overrides(overrides, "score")
        if (self.predictions is None) == (self.compare is None):
            raise InputError("expected either PREDICTIONS or --compare A B")
        if self.compare is not None and self.save_as is not None:
            raise InputError("save_as: takes one PREDICTIONS")
        paths = [self.predictions] if self.predictions is not None else list(self.compare or ())
        annotations, problems = self.source.open()
        motion = find_motion(annotations, self.motion)
        all_scores, about = [], {}
        for path in paths:
            found = open_predictions(path, annotations, problems=problems)
            about = describe(found)
            if self.save_as is not None:
                write_predictions(found, annotations, self.save_as, problems=problems)
            all_scores.append(
                score_predictions(found, annotations, motion=motion, coco=self.coco, problems=problems)
            )
        report_problems(problems)
        data = {"data": str(self.source.data), "motion": self.motion}
        if len(all_scores) == 1:
            print_scores(all_scores[0])
            written = write_scores(self.output, all_scores[0], annotations, data | about)
        else:
            names = (str(paths[0]), str(paths[1]))
            print_comparison(all_scores[0], all_scores[1], names)
            written = write_comparison(self.output, (all_scores[0], all_scores[1]), names, data)
        for path in (*([self.save_as] if self.save_as else []), *written):
            print(f"  {path}")
        return 0


def print_scores(scores: Scores) -> None:
    """A row a class, in per cent, and their mean."""
    from rich.table import Table

    from megavid.evaluation.report import COLUMNS

    table = Table("class")
    for motion in scores.results:
        table.add_column(COLUMNS[motion], justify="right")
    for name in ("objects", "found"):
        table.add_column(name, justify="right")
    overall = scores.results["all"]
    for i, name in enumerate(scores.classes):
        values = [_percent(result.ap[i]) for result in scores.results.values()]
        table.add_row(name, *values, str(overall.curves[i].objects), str(overall.curves[i].found))
    table.add_section()
    means = [_percent(result.mean) for result in scores.results.values()]
    table.add_row("mean", *means, str(len(scores.truth)), str(len(scores.found)), style="bold")
    _print(table)
    if scores.coco:
        coco = Table("COCO")
        coco.add_column("", justify="right")
        for name, value in scores.coco.items():
            coco.add_row(name, _percent(value))
        _print(coco)


def print_comparison(one: Scores, two: Scores, names: tuple[str, str]) -> None:
    """Both runs' numbers and the difference, per class and per motion."""
    from rich.table import Table

    from megavid.evaluation.report import COLUMNS

    table = Table("class", title=f"A {names[0]}\nB {names[1]}", title_justify="left")
    for motion in one.results:
        for name in ("A", "B", "B-A"):
            table.add_column(f"{COLUMNS[motion]}\n{name}", justify="right")

    def cells(pairs: list[tuple[float, float]]) -> list[str]:
        return [text for a, b in pairs for text in (_percent(a), _percent(b), _percent(b - a, sign="+"))]

    for i, name in enumerate(one.classes):
        table.add_row(name, *cells([(one.results[m].ap[i], two.results[m].ap[i]) for m in one.results]))
    table.add_section()
    means = [(one.results[m].mean, two.results[m].mean) for m in one.results]
    table.add_row("mean", *cells(means), style="bold")
    _print(table)


def print_summary(runs: Mapping[str, Scores]) -> None:
    """A row a run: AP50 by motion, in per cent."""
    from rich.table import Table

    from megavid.evaluation.report import COLUMNS

    table = Table("")
    for motion in next(iter(runs.values())).results:
        table.add_column(COLUMNS[motion], justify="right")
    for name, scores in runs.items():
        table.add_row(name, *(_percent(result.mean) for result in scores.results.values()))
    _print(table)


def _print(table: Table) -> None:
    """Print it in full, however narrow the terminal."""
    from rich.console import Console

    console = Console()
    wide = console.options.update(width=10_000)
    console.width = max(console.width, console.measure(table, options=wide).maximum)
    console.print(table)


def _percent(value: float, sign: str = "") -> str:
    return "-" if math.isnan(value) else f"{100 * value:{sign}.2f}"
