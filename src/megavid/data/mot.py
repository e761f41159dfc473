"""MOTChallenge's `gt.txt`: a line an object and frame."""

from __future__ import annotations

import configparser
from collections.abc import Sequence
from pathlib import Path

from megavid.core.annotations import AnnotationBuilder, Annotations
from megavid.core.errors import InputError
from megavid.core.images import image_files
from megavid.core.problems import Kind, Problems
from megavid.data.media import find_media

CLASSES = (
    "pedestrian",
    "person_on_vehicle",
    "car",
    "bicycle",
    "motorbike",
    "non_motorized_vehicle",
    "static_person",
    "distractor",
    "occluder",
    "occluder_on_the_ground",
    "occluder_full",
    "reflection",
    "crowd",
)
"""MOT16's, whose numbers start from 1."""

_HALF = 0.5
"""An object of which less is to be seen counts as occluded."""


def is_mot(path: Path) -> bool:
    """Whether it is a sequence with `gt/gt.txt`, a folder of such, or a gt.txt."""
    return bool(_sequences(path))


def read_mot(path: Path, *, classes: Sequence[str] | None = None, problems: Problems) -> Annotations:
    """Read one sequence or a folder of them.

    Frames count from 1 in the file, and so do pixels; here both count from 0. Objects that are not to be
    considered (seventh column 0) are difficult, those less than half visible (ninth column) are occluded.

    Args:
        path: A sequence, a folder of sequences, or a gt.txt.
        classes: Names of the classes 1, 2, ...; None for MOT16's. Rows without a class have the first.
        problems: Where lines go that make no sense.

    Raises:
        InputError: There is no sequence; or see `problems`.
    """
    sequences = _sequences(path)
    if not sequences:
        raise InputError(f"{path}: expected gt/gt.txt in it or in its folders")
    root = (path if path.is_dir() else path.parent).absolute()
    builder = AnnotationBuilder(tuple(classes or CLASSES), root=root)
    for name, folder, truth in sequences:
        _read_sequence(builder, name, folder.absolute(), truth, problems)
    return builder.build()


def _sequences(path: Path) -> list[tuple[str, Path, Path]]:
    """Name, folder and file of each."""
    if path.is_file():
        return [(path.parent.absolute().name, path.parent, path)] if path.name == "gt.txt" else []
    if (path / "gt" / "gt.txt").is_file():
        return [(path.absolute().name, path, path / "gt" / "gt.txt")]
    files = sorted(path.rglob("gt/gt.txt")) if path.is_dir() else []
    return [(file.parents[1].relative_to(path).as_posix(), file.parents[1], file) for file in files]


def _read_sequence(
    builder: AnnotationBuilder, name: str, folder: Path, truth: Path, problems: Problems
) -> None:
    root = builder.root
    info = configparser.ConfigParser(interpolation=None)
    try:
        info.read(folder / "seqinfo.ini", "utf-8-sig")
        about = info["Sequence"] if info.has_section("Sequence") else {}
        width, height, length = (int(about.get(key, 0)) for key in ("imWidth", "imHeight", "seqLength"))
    except (configparser.Error, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{folder / 'seqinfo.ini'}: expected a sequence's description: {reason}") from error
    images = folder / about.get("imDir", "img1")
    files = [f.relative_to(root).as_posix() for f in image_files(images.iterdir())] if images.is_dir() else []
    source = "" if files else find_media(folder.parent, folder.name).source
    if source:
        source = (folder.parent / source).relative_to(root).as_posix() if folder != root else f"../{source}"
    rows = _rows(builder, truth, problems)
    builder.video(name, source=source)
    for number in range(max(length, len(files), max(rows, default=-1) + 1)):
        file = files[number] if number < len(files) else None
        builder.frame(number, file=file, width=width, height=height)
        for box, label, track, occluded, difficult in rows.get(number, ()):
            builder.box(*box, label=label, track=track, occluded=occluded, difficult=difficult)


_Row = tuple[tuple[float, float, float, float], int, int, bool, bool]
"""Box, label, track, occluded, difficult."""


def _rows(builder: AnnotationBuilder, truth: Path, problems: Problems) -> dict[int, list[_Row]]:
    """The objects of each frame, from 0."""
    try:
        lines = truth.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{truth}: cannot be read: {error}") from error
    rows: dict[int, list[_Row]] = {}
    seen: set[tuple[int, int]] = set()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{truth}, line {number}"
        try:
            values = [float(value) for value in line.split(",")]
            frame, track = int(values[0]) - 1, int(values[1])
            x, y, width, height = values[2:6]
        except (ValueError, IndexError):
            expected = "expected frame, id, left, top, width, height and perhaps more numbers"
            problems.add(Kind.BAD_ROW, where, f"{expected}, got {line.strip()!r}")
            continue
        considered, label, visible = (
            values[i] if len(values) > i else default for i, default in ((6, 1), (7, 1), (8, 1))
        )
        label = max(int(label), 1) if len(builder.classes) == 1 else int(label)
        if frame < 0:
            problems.add(Kind.BAD_ROW, where, f"expected a frame from 1, got {frame + 1}")
        elif not 1 <= label <= len(builder.classes):
            message = f"expected a class from 1 to {len(builder.classes)}, got {label}"
            problems.add(Kind.UNKNOWN_CLASS, where, message)
        elif not (width > 0 and height > 0):
            message = f"expected a width and a height above 0, got {width:g} and {height:g}"
            problems.add(Kind.INVERTED, where, message)
        elif (frame, track) in seen:
            problems.add(Kind.DUPLICATE_BOX, where, f"object {track} stands in frame {frame + 1} before")
        else:
            seen.add((frame, track))
            box = (x - 1, y - 1, x - 1 + width, y - 1 + height)
            rows.setdefault(frame, []).append((box, label - 1, track, visible < _HALF, not considered))
    return rows
