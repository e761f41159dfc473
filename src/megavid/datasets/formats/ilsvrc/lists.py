"""The lists of ImageNet VID and DET that say which frames a subset consists of.

They are published with the original releases; where one is absent, `ilsvrc` makes the same choice of the
files that are there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from megavid.core.errors import InputError
from megavid.core.files.parsing import read_text
from megavid.datasets.limits import LONGEST_VIDEO
from megavid.datasets.table.problems import Kind, Problems

LISTS = {
    "vid_train": "VID_train_15frames.txt",
    "vid_val": "VID_val_videos.txt",
    "det_train": "DET_train_30classes.txt",
}

KEY_FRAMES = 15
"""Frames of a video to train on, evenly spread."""


@dataclass(frozen=True)
class VideoEntry:
    """A video, or a still, of a subset.

    Attributes:
        folder: Under `Annotations/VID`; of a still, its path under `Annotations/DET` without suffix.
        numbers: Of its frames; none for a still.
        listed: Those to train on; all if None.
        named: Whether a list names it; a still that none does needs an object of a known class to be taken.
    """

    folder: str
    numbers: Sequence[int]
    listed: frozenset[int] | None = None
    named: bool = True

    def __len__(self) -> int:
        """The number of its XML files."""
        return len(self.numbers) or 1


CLASSES_FILE = "ImageSets/classes.txt"
"""Where a data set of one's own may name its classes, a line each."""


def read_classes(root: Path) -> tuple[str, ...] | None:
    """The classes that a data set names itself; None where it does not.

    Raises:
        InputError: The file is empty, cannot be read or names a class twice.
    """
    path = root / CLASSES_FILE
    if not path.exists():
        return None
    names = tuple(line.strip() for line in read_text(path).splitlines() if line.strip())
    if not names or len(set(names)) != len(names):
        raise InputError(f"{path}: expected the names of classes, a line each, none of them twice")
    return names


def key_frames(length: int) -> list[int]:
    """Which frames of a video are listed for training: `KEY_FRAMES` evenly spread, fewer of a shorter one."""
    return sorted({(2 * i + 1) * length // (2 * KEY_FRAMES) for i in range(KEY_FRAMES)})


def read_train_list(path: Path, *, problems: Problems) -> list[VideoEntry]:
    """`VID_train_15frames.txt`: a line `folder 1 frame length` for each key frame.

    Raises:
        InputError: The list cannot be read; or see `problems`.
    """
    videos: dict[str, tuple[int, set[int]]] = {}
    for where, folder, (_, frame, length) in _lines(path, numbers=3, problems=problems):
        known, frames = videos.setdefault(folder, (length, set()))
        if length > LONGEST_VIDEO:
            problems.add(
                Kind.BAD_ROW, where, f"{folder}: expected at most {LONGEST_VIDEO} frames, got {length}"
            )
        elif length != known or not 0 <= frame < length:
            problems.add(
                Kind.BAD_ROW, where, f"expected a frame of {folder}'s {known}, got {frame} of {length}"
            )
        elif frame in frames:
            problems.add(Kind.BAD_ROW, where, f"{folder}, frame {frame}: stands there before")
        else:
            frames.add(frame)
    return [
        VideoEntry(folder, range(n), frozenset(frames)) for folder, (n, frames) in videos.items() if frames
    ]


def read_val_list(path: Path, *, problems: Problems) -> list[VideoEntry]:
    """`VID_val_videos.txt`: a line `folder start 0 length` for each video.

    Raises:
        InputError: The list cannot be read; or see `problems`.
    """
    videos: dict[str, int] = {}
    for where, folder, (_, _, length) in _lines(path, numbers=3, problems=problems):
        if folder in videos:
            problems.add(Kind.BAD_ROW, where, f"{folder}: stands there before")
        elif not 0 < length <= LONGEST_VIDEO:
            message = f"{folder}: expected a length from 1 to {LONGEST_VIDEO}, got {length}"
            problems.add(Kind.BAD_ROW, where, message)
        else:
            videos[folder] = length
    return [VideoEntry(folder, range(length)) for folder, length in videos.items()]


def read_still_list(path: Path, *, problems: Problems) -> list[VideoEntry]:
    """`DET_train_30classes.txt`: a line `path 1` for each still; 401 stills of the published one have two.

    Raises:
        InputError: The list cannot be read; or see `problems`.
    """
    names = (name for _, name, _ in _lines(path, numbers=1, problems=problems))
    return [VideoEntry(name, ()) for name in dict.fromkeys(names)]


def _lines(path: Path, *, numbers: int, problems: Problems) -> Iterator[tuple[str, str, list[int]]]:
    """Where a line is, its name and its numbers."""
    pattern = re.compile(r"(\S.*?)" + r"\s+([0-9]+)" * numbers)
    for number, line in enumerate(read_text(path).splitlines(), 1):
        match = pattern.fullmatch(line.strip())
        if match and max(map(len, match.groups()[1:])) > len(str(LONGEST_VIDEO)):
            message = f"expected numbers up to {LONGEST_VIDEO}, got {line.strip()!r}"
            problems.add(Kind.BAD_ROW, f"{path}, line {number}", message)
        elif match:
            name, *values = match.groups()
            yield f"{path}, line {number}", name, [int(value) for value in values]
        elif line.strip():
            expected = "a name and " + ("a number" if numbers == 1 else f"{numbers} numbers")
            problems.add(Kind.BAD_ROW, f"{path}, line {number}", f"expected {expected}, got {line.strip()!r}")
