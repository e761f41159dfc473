"""Collect the problems of a data set, or stop at the first one."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

from megavid.core.errors import LONGEST_MESSAGE, InputError
from megavid.core.text import printable

_ROOM_FOR_HINT = 100
"""Number of characters of an error message that are reserved for `Problems.hint`."""


class Kind(StrEnum):
    """Kinds of problems, as they are named in reports."""

    UNREADABLE = "unreadable annotations"
    NO_IMAGE = "missing image"
    BAD_IMAGE = "unreadable image"
    IMAGE_SIZE = "image size differs from annotation"
    UNKNOWN_CLASS = "unknown class"
    INVERTED = "inverted or empty box"
    OUTSIDE = "box outside the frame"
    DUPLICATE_FRAME = "duplicate frame"
    DUPLICATE_BOX = "duplicate box"
    GAP = "gap between frames"
    MIXED_SIZES = "frames of several sizes"
    EMPTY_VIDEO = "video without frames"
    BAD_ROW = "bad row"
    NO_FRAME = "frame without a counterpart"
    SIMILAR_NAMES = "classes with similar names"


class BadRowError(Exception):
    """A row, or another part of a file, is invalid; the reader of the file passes this on to `Problems.add`.

    Args:
        message: What was expected and what was found.
        kind: Kind of the problem.
    """

    def __init__(self, message: str, kind: Kind = Kind.BAD_ROW) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a data set.

    Attributes:
        kind: The kind of problem.
        where: The file, and the line, frame or object in it.
        message: What was found, and what was expected.
    """

    kind: Kind
    where: str
    message: str

    def __str__(self) -> str:
        return printable(f"{self.where}: {self.message}", limit=LONGEST_MESSAGE - _ROOM_FOR_HINT)


@dataclass
class Problems:
    """Collects the problems of a data set, or raises the first one as an error, as `skip` says.

    The code that finds a problem, such as a reader of a format, calls `add`. If `add` returns, the code
    leaves out the row or frame that has the problem.

    Attributes:
        skip: Whether to collect problems; otherwise, the first one is raised as an error.
        hint: Advice to the user, which is appended to the error's message.
        found: The problems collected so far.
        notes: Lines about decisions worth knowing, such as how a video's frames were found.
        warnings: Lines about what may be wrong, such as a video without images.

    Examples:
        >>> problems = Problems(skip=True)
        >>> annotations = read_coco(path, problems=problems)
        >>> problems.counts()
    """

    skip: bool = False
    hint: str = ""
    found: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def add(self, kind: Kind, where: object, message: str) -> None:
        """Collect a problem.

        Raises:
            InputError: `skip` is not set. The error's message describes the problem.
        """
        self.add_problem(Problem(kind, str(where), message))

    def add_problem(self, problem: Problem) -> None:
        """Collect a problem.

        Raises:
            InputError: `skip` is not set. The error's message describes the problem.
        """
        if not self.skip:
            raise InputError(f"{problem}; {self.hint}" if self.hint else str(problem))
        self.found.append(problem)

    def note(self, where: object, text: str) -> None:
        """Record a decision about a file or video, for `megavid data check` to print."""
        self.notes.append(f"{where}: {text}")

    def warn(self, where: object, text: str) -> None:
        """Record a warning about a file or video; every command prints it."""
        self.warnings.append(f"{where}: {text}")

    def counts(self) -> dict[Kind, int]:
        """Count the problems of each kind, the most frequent first."""
        return dict(Counter(problem.kind for problem in self.found).most_common())
