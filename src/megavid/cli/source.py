"""Options for an annotated data set, shared by all commands that read one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from megavid.cli.arguments import split_names
from megavid.cli.options import optional
from megavid.cli.output import say

if TYPE_CHECKING:
    from megavid.datasets.open import Source
    from megavid.datasets.table.annotations import Annotations
    from megavid.datasets.table.problems import Problems


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How to read annotations."""

    format: Annotated[
        str | None, optional("index|ilsvrc|labelstudio|coco|mot|cvat|csv|yolo", "recognized from the files")
    ] = None
    """Format of the annotations; "coco" includes CocoVID."""
    subset: Annotated[str | None, optional("NAME", "vid_val for ILSVRC")] = None
    """Part of the data set to read: vid_train, vid_val or det_train for ILSVRC, a folder or key of data.yaml
    for YOLO."""
    classes: Annotated[str | None, optional("NAME,NAME", "those of the data set")] = None
    """Class names in the order of their labels, separated by commas."""
    images: Annotated[Path | None, optional("PATH", "where the format expects it")] = None
    """Folder of the images or videos."""

    def source(self, path: Path) -> Source:
        """Return the data set at a path, read with these options."""
        from megavid.datasets.open import Source

        names = split_names("--classes", self.classes)
        return Source(path=path, format=self.format, subset=self.subset, classes=names, images=self.images)


@dataclass(frozen=True, kw_only=True)
class DataOptions(ReadOptions):
    """How to read annotations, and how to treat invalid ones."""

    skip_bad: bool = False
    """Skip and count invalid entries, instead of stopping at the first."""

    def problems(self) -> Problems:
        """Return a collector of problems that stops at the first one unless --skip-bad was given."""
        from megavid.datasets.table.problems import Problems

        return Problems(skip=self.skip_bad, hint="--skip-bad skips it and continues")


@dataclass(frozen=True, kw_only=True)
class DataSource(DataOptions):
    """The data set that a command works on."""

    data: Path
    """Annotations: an index made by `megavid data index`, or any format that it reads."""

    def open(self) -> tuple[Annotations, Problems]:
        """Read the annotations, and return them with the problems found."""
        from megavid.datasets.open import open_annotations

        problems = self.problems()
        return open_annotations(self.source(self.data), problems=problems), problems


MOST_WARNINGS = 5
"""Largest number of warnings to print; `megavid data check` prints all of them."""


def report_problems(problems: Problems) -> None:
    """Print warnings and the counts of skipped entries to standard error."""
    for warning in problems.warnings[:MOST_WARNINGS]:
        say(f"megavid: warning: {warning}", error=True)
    if len(problems.warnings) > MOST_WARNINGS:
        more = len(problems.warnings) - MOST_WARNINGS
        say(f"megavid: {more} more warnings; `megavid data check` prints them", error=True)
    for kind, count in problems.counts().items():
        example = next(problem for problem in problems.found if problem.kind == kind)
        say(f"megavid: skipped: {count} x {kind} (such as {example})", error=True)
