"""Options that say which annotated data set is meant, the same for all commands that take one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from megavid.cli.arguments import split_names
from megavid.cli.output import say

if TYPE_CHECKING:
    from megavid.datasets.open import Source
    from megavid.datasets.table.annotations import Annotations
    from megavid.datasets.table.problems import Problems

FormatName = Literal["index", "ilsvrc", "coco", "mot", "cvat", "yolo"]


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How to read annotations."""

    format: FormatName | None = None
    """Their format; by default it is found out. "coco" is CocoVID, too."""
    subset: str | None = None
    """Of ILSVRC vid_train, vid_val (default) or det_train; of YOLO a folder or a key of data.yaml."""
    classes: Annotated[str | None, tyro.conf.arg(metavar="NAME,NAME")] = None
    """Class names in the order of their labels, separated by commas; by default the data set's own."""
    images: Path | None = None
    """Where the images or videos are, if not where the format has them."""

    def source(self, path: Path) -> Source:
        """The data set at a path."""
        from megavid.datasets.open import Source

        names = split_names("--classes", self.classes)
        return Source(path=path, format=self.format, subset=self.subset, classes=names, images=self.images)


@dataclass(frozen=True, kw_only=True)
class DataOptions(ReadOptions):
    """How to read annotations, and what to do about those that are wrong."""

    skip_bad: bool = False
    """Leave out what is wrong with the data and count it, instead of stopping at the first."""

    def problems(self) -> Problems:
        """Where to put what is wrong."""
        from megavid.datasets.table.problems import Problems

        return Problems(skip=self.skip_bad, hint="--skip-bad leaves it out and goes on")


@dataclass(frozen=True, kw_only=True)
class DataSource(DataOptions):
    """The data set that a command works on."""

    data: Path
    """Annotations: an index that `megavid data index` made, or any format that it reads."""

    def open(self) -> tuple[Annotations, Problems]:
        """Read it; and where problems go."""
        from megavid.datasets.open import open_annotations

        problems = self.problems()
        return open_annotations(self.source(self.data), problems=problems), problems


MOST_WARNINGS = 5
"""The most warnings that are printed; `megavid data check` prints all."""


def report_problems(problems: Problems) -> None:
    """Print on standard error what was left out, and warnings."""
    for warning in problems.warnings[:MOST_WARNINGS]:
        say(f"megavid: warning: {warning}", error=True)
    if len(problems.warnings) > MOST_WARNINGS:
        more = len(problems.warnings) - MOST_WARNINGS
        say(f"megavid: and {more} more warnings; `megavid data check` prints them", error=True)
    for kind, count in problems.counts().items():
        example = next(problem for problem in problems.found if problem.kind == kind)
        say(f"megavid: left out: {count} x {kind} (such as {example})", error=True)
