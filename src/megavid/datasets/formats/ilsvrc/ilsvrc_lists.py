"""Read the lists of ImageNet VID and DET that name the frames of a subset.

The lists were published with the original code of the methods. If a list is missing,
`ilsvrc_layout.list_videos` chooses frames by the rules by which the lists were made.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from megavid.core.errors import InputError
from megavid.core.files.regular_files import read_text
from megavid.datasets.formats.limits import LONGEST_VIDEO
from megavid.datasets.table.problems import Kind, Problems

LISTS = {
    "vid_train": "VID_train_15frames.txt",
    "vid_val": "VID_val_videos.txt",
    "det_train": "DET_train_30classes.txt",
}

KEY_FRAMES = 15
"""Number of evenly spread frames of each video to train on."""

CLASSES_FILE = "ImageSets/classes.txt"
"""Path, relative to the root, of the file in which a custom data set may name its classes, one per line."""


@dataclass(frozen=True)
class VideoEntry:
    """A video or a still image of a subset.

    Attributes:
        folder: The video's folder in `Annotations/VID`, or the still's path in `Annotations/DET` without
            suffix.
        numbers: Numbers of the video's frames; empty for a still.
        listed: Numbers of the frames to train on; None for all.
        in_list: Whether a list names the entry. Stills that are in no list are read only if they have an
            object of a known class.
    """

    folder: str
    numbers: Sequence[int]
    listed: frozenset[int] | None = None
    in_list: bool = True

    def __len__(self) -> int:
        """Return the number of the entry's XML files."""
        return len(self.numbers) or 1


def read_classes(root: Path) -> tuple[str, ...] | None:
    """Read the class names of a custom data set; None if it has no `CLASSES_FILE`.

    Raises:
        InputError: The file is empty, cannot be read or names a class twice.
    """
    path = root / CLASSES_FILE
    if not path.exists():
        return None
    names = tuple(line.strip() for line in read_text(path).splitlines() if line.strip())
    if not names or len(set(names)) != len(names):
        raise InputError(f"{path}: expected one class name per line, each once")
    return names


def key_frames(length: int) -> list[int]:
    """Choose `KEY_FRAMES` evenly spread frames of a video to train on, or all frames if it has fewer."""
    return sorted({(2 * i + 1) * length // (2 * KEY_FRAMES) for i in range(KEY_FRAMES)})


def read_train_list(path: Path, *, problems: Problems) -> list[VideoEntry]:
    """Read `VID_train_15frames.txt`, which has a line `folder 1 frame length` for each key frame.

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
            problems.add(Kind.BAD_ROW, where, f"{folder}, frame {frame}: is in the list twice")
        else:
            frames.add(frame)
    return [
        VideoEntry(folder, range(n), frozenset(frames)) for folder, (n, frames) in videos.items() if frames
    ]


def read_val_list(path: Path, *, problems: Problems) -> list[VideoEntry]:
    """Read `VID_val_videos.txt`, which has a line `folder start 0 length` for each video.

    Raises:
        InputError: The list cannot be read; or see `problems`.
    """
    videos: dict[str, int] = {}
    for where, folder, (_, _, length) in _lines(path, numbers=3, problems=problems):
        if folder in videos:
            problems.add(Kind.BAD_ROW, where, f"{folder}: is in the list twice")
        elif not 0 < length <= LONGEST_VIDEO:
            message = f"{folder}: expected a length from 1 to {LONGEST_VIDEO}, got {length}"
            problems.add(Kind.BAD_ROW, where, message)
        else:
            videos[folder] = length
    return [VideoEntry(folder, range(length)) for folder, length in videos.items()]


def read_still_list(path: Path, *, problems: Problems) -> list[VideoEntry]:
    """Read `DET_train_30classes.txt`, which has a line `path 1` for each still image.

    The published list names 401 images twice; each is returned once.

    Raises:
        InputError: The list cannot be read; or see `problems`.
    """
    names = (name for _, name, _ in _lines(path, numbers=1, problems=problems))
    return [VideoEntry(name, ()) for name in dict.fromkeys(names)]


def _lines(path: Path, *, numbers: int, problems: Problems) -> Iterator[tuple[str, str, list[int]]]:
    """Yield each line's place for messages, the name in it, and the numbers in it."""
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
