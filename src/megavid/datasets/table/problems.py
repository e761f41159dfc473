"""What is wrong with a data set, and whether to stop at it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

from megavid.core.errors import LONGEST_MESSAGE, InputError
from megavid.core.text import printable


class Kind(StrEnum):
    """Kinds of problems, in the words that they are reported in."""

    UNREADABLE = "unreadable annotations"
    NO_IMAGE = "missing image"
    BAD_IMAGE = "unreadable image"
    IMAGE_SIZE = "image of another size than annotated"
    UNKNOWN_CLASS = "unknown class"
    INVERTED = "inverted or empty box"
    OUTSIDE = "box outside the frame"
    DUPLICATE_FRAME = "duplicate frame"
    DUPLICATE_BOX = "duplicate box"
    GAP = "gap between frames"
    MIXED_SIZES = "frames of several sizes"
    EMPTY_VIDEO = "video without frames"
    BAD_ROW = "bad row"
    NO_FRAME = "frame that is on one side only"
    SIMILAR_NAMES = "classes of similar names"


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        kind: What sort of thing.
        where: The file, with the row, key or frame in it.
        message: What was found and what was expected.
    """

    kind: Kind
    where: str
    message: str

    def __str__(self) -> str:
        # An error ends in a hint beside.
        return printable(f"{self.where}: {self.message}", limit=LONGEST_MESSAGE - 100)


@dataclass
class Problems:
    """Where readers put what is wrong with the data they read.

    A reader leaves out the bad row or frame after `add`, which returns only if that is wanted.

    Attributes:
        skip: Go on after a problem; else the first one is an error.
        hint: What the user may do about such an error, for its message.
        found: The problems so far, in the order found.
        notes: What is worth knowing but not wrong, a line each: how a video's frames were found.
        warnings: What may be wrong and hinders no reader, a line each: no images belong to a video.

    Examples:
        >>> problems = Problems(skip=True)
        >>> annotations = read_annotations(path, problems=problems)
        >>> problems.counts()
    """

    skip: bool = False
    hint: str = ""
    found: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def add(self, kind: Kind, where: object, message: str) -> None:
        """Note a problem.

        Raises:
            InputError: Unless `skip`; the message is the problem's.
        """
        problem = Problem(kind, str(where), message)
        if not self.skip:
            raise InputError(f"{problem}; {self.hint}" if self.hint else str(problem))
        self.found.append(problem)

    def note(self, where: object, text: str) -> None:
        """Note what was decided about a file or video, for `megavid data check` to say."""
        self.notes.append(f"{where}: {text}")

    def warn(self, where: object, text: str) -> None:
        """Note what the user should know, whatever the command."""
        self.warnings.append(f"{where}: {text}")

    def counts(self) -> dict[Kind, int]:
        """How many there are of each kind, the most frequent first."""
        return dict(Counter(problem.kind for problem in self.found).most_common())
