"""Read MOTChallenge's `gt.txt`, which has a line for each object in each frame."""

from __future__ import annotations

import configparser
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from megavid.core.errors import InputError
from megavid.core.files.regular_files import read_text
from megavid.datasets.find_media import Media, find_media, images_in
from megavid.datasets.formats.class_names import check_class_count, read_class_names
from megavid.datasets.formats.limits import LARGEST_SIDE, LONGEST_VIDEO, MOST_FRAMES
from megavid.datasets.formats.mot.mot_rows import Rows, read_rows
from megavid.datasets.frame_names import parse_name
from megavid.datasets.match_frames import match_frames
from megavid.datasets.table.annotations import AnnotationBuilder, Annotations
from megavid.datasets.table.problems import Kind, Problems

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
"""Classes of MOT16, which are numbered from 1."""

_HALF = 0.5
"""An object counts as occluded if its visible share is smaller than this."""

_CHALLENGE = re.compile(r"MOT(16|17|20)\b")


@dataclass(frozen=True, kw_only=True)
class _Sequence:
    """A sequence: its files, and values from `seqinfo.ini`; numbers that are missing there are 0."""

    name: str
    folder: Path
    truth: Path
    title: str
    images: Path
    suffix: str
    width: int
    height: int
    length: int


def is_mot(path: Path) -> bool:
    """Return whether a path is a sequence with `gt/gt.txt`, a folder of sequences, or a file gt.txt."""
    return bool(_sequences(path))


def read_mot(path: Path, *, classes: Sequence[str] | None = None, problems: Problems) -> Annotations:
    """Read one sequence or a folder of sequences.

    Frames and pixels are numbered from 1 in the file, and from 0 in the table. Objects whose seventh column
    is 0 are difficult; objects that are less than half visible (ninth column) are occluded. Images are
    matched to frames by `megavid.datasets.match_frames`.

    Class names come from `gt/labels.txt`, which label tools write. Without this file, they come from
    `classes`, or else are those of MOT16 if the sequence belongs to MOT16, MOT17 or MOT20. In other sequences
    without classes or with class 1 only, all objects are pedestrians. Files with ten columns are read as in
    MOT15, which has world coordinates instead of classes.

    Args:
        path: A sequence, a folder of sequences, or a file gt.txt.
        classes: Names of classes 1, 2 and so on in the file; rows without a class have the first one. If
            `labels.txt` names the classes, these are instead the names to select from it, in the order of
            their labels.
        problems: Collects invalid lines.

    Raises:
        InputError: There is no sequence, the class names are unknown, or images cannot be matched to frames;
            or see `problems`.
    """
    found = _sequences(path)
    if not found:
        raise InputError(f"{path}: expected gt/gt.txt in it or in its folders")
    root = (path if path.is_dir() else path.parent).absolute()
    read = []
    for name, folder, truth in found:
        sequence = _describe(name, folder.absolute(), truth)
        rows = read_rows(truth, problems)
        read.append((sequence, rows, _class_names(sequence, rows, classes)))
    frames = sum(_last_frame(sequence, rows) for sequence, rows, _ in read)
    if frames > MOST_FRAMES:
        raise InputError(f"{path}: expected at most {MOST_FRAMES} frames in all sequences, got {frames}")
    names = tuple(classes or dict.fromkeys(name for *_, names in read for name in names))
    check_class_count(len(names), origin=path)
    builder = AnnotationBuilder(names, root=root)
    for sequence, rows, named in read:
        _add_sequence(builder, sequence, rows, named, problems)
    return builder.build()


def _sequences(path: Path) -> list[tuple[str, Path, Path]]:
    """Return the name, the folder and the file gt.txt of each sequence."""
    if path.is_file():
        return [(path.parent.absolute().name, path.parent, path)] if path.name == "gt.txt" else []
    if (path / "gt" / "gt.txt").is_file():
        return [(path.absolute().name, path, path / "gt" / "gt.txt")]
    files = sorted(path.rglob("gt/gt.txt")) if path.is_dir() else []
    return [(file.parents[1].relative_to(path).as_posix(), file.parents[1], file) for file in files]


def _describe(name: str, folder: Path, truth: Path) -> _Sequence:
    info = configparser.ConfigParser(interpolation=None)
    path = folder / "seqinfo.ini"
    try:
        if path.exists():
            info.read_string(read_text(path))
        about = info["Sequence"] if info.has_section("Sequence") else {}
        width, height, length = (int(about.get(key, 0)) for key in ("imWidth", "imHeight", "seqLength"))
    except (configparser.Error, ValueError) as error:
        raise InputError(f"{path}: expected a sequence's description: {error}") from error
    for key, value, most in (
        ("imWidth", width, LARGEST_SIDE),
        ("imHeight", height, LARGEST_SIDE),
        ("seqLength", length, LONGEST_VIDEO),
    ):
        if not 0 <= value <= most:
            raise InputError(f"{path}: {key}: expected a number up to {most}, got {value}")
    images = about.get("imDir") or "img1"
    if Path(images).is_absolute() or ".." in Path(images).parts:
        raise InputError(f"{path}: imDir: expected a folder in the sequence's, got {images!r}")
    return _Sequence(
        name=name,
        folder=folder,
        truth=truth,
        title=about.get("name", ""),
        images=folder / images,
        suffix=about.get("imExt", "").lower(),
        width=width,
        height=height,
        length=length,
    )


def _class_names(sequence: _Sequence, rows: Rows, classes: Sequence[str] | None) -> tuple[str, ...]:
    """Return the names of a sequence's classes 1, 2 and so on; rows without a class have the first one."""
    listing = sequence.truth.parent / "labels.txt"
    if listing.exists():
        return read_class_names(listing)
    largest = max((row.label for row in rows.rows), default=0)
    if classes is not None:
        names = tuple(classes)
    elif any(_CHALLENGE.match(name) for name in (sequence.title, sequence.folder.name)):
        names = CLASSES
    elif largest <= 1:
        names = CLASSES[:1]
    else:
        raise InputError(
            f"{sequence.truth}: expected --classes or a file labels.txt beside it to name the classes up to "
            f"{largest}, since the sequence is none of MOT16, MOT17 or MOT20"
        )
    if rows.counts_from_zero and len(names) == 1:
        raise InputError(f"{sequence.truth}: expected classes that count from 1, got 0 and {largest}")
    if rows.unclear and (classes is None or len(names) > 1):
        raise InputError(
            f"{sequence.truth}: expected world coordinates or -1 in the last three of ten columns, as in "
            "MOT15, got whole numbers in the eighth; if they are classes, leave nine columns, else name the "
            "one class with --classes"
        )
    return names


def _last_frame(sequence: _Sequence, rows: Rows) -> int:
    last = max((row.frame for row in rows.rows), default=0)
    return max(sequence.length, min(last, LONGEST_VIDEO))


def _find_media(sequence: _Sequence, root: Path) -> Media:
    folder = sequence.folder
    files = images_in(sequence.images)
    files = [file for file in files if file.suffix.lower() == sequence.suffix] or files
    if files:
        return Media(files=tuple(file.relative_to(root).as_posix() for file in files))
    for place in (folder.parent, folder):
        media = find_media(place, [folder.name], root=root, only=False)
        if media.source:
            return media
    return Media()


def _add_sequence(
    builder: AnnotationBuilder, sequence: _Sequence, rows: Rows, names: Sequence[str], problems: Problems
) -> None:
    media = _find_media(sequence, builder.root)
    files: dict[int, str] = {}
    last = sequence.length or LONGEST_VIDEO
    if media.files:
        frames = list(rows.frames())
        listed = range(1, sequence.length + 1) if sequence.length else frames
        matched = match_frames(media.files, frames, listed=listed, first=1, where=sequence.name)
        _check_order(sequence, matched.files, frames)
        files, last = matched.files, max(*matched.files, sequence.length)
        problems.note(f"video {sequence.name!r}", matched.how)
    elif media.source:
        problems.note(
            f"video {sequence.name!r}", f"frames in {media.source}, by their numbers, which count from 1"
        )
    else:
        where = f"{sequence.images}, or a video called {sequence.folder.name}"
        problems.warn(f"video {sequence.name!r}", f"no images found: expected some in {where}")
    by_name = {name: label for label, name in enumerate(builder.classes)}
    labels = [by_name.get(name, -1) for name in names]
    boxes = _known_rows(rows, names, labels, last, problems).frames()
    numbers = set(files) or set(range(1, max(sequence.length, *boxes, 0) + 1))
    builder.video(sequence.name, source=media.source)
    for number in sorted(numbers.union(boxes)):
        builder.frame(number - 1, file=files.get(number), width=sequence.width, height=sequence.height)
        for row in boxes.get(number, ()):
            builder.box(
                *row.box,
                label=labels[max(row.label, 1) - 1],
                track=row.track,
                occluded=row.visible < _HALF,
                difficult=not row.considered,
            )


def _check_order(sequence: _Sequence, files: Mapping[int, str], frames: Sequence[int]) -> None:
    """Check that frame numbers are the numbers in the names of images, not positions in the list of images.

    Datumaro and CVAT write positions if the names contain more than a number. If the numbers in the names
    start above 1, the two can be told apart only if a frame number is larger than the number of images, or if
    no image has that number.
    """
    first, file = next(iter(files.items()))
    counted = (sequence.truth.parent / "labels.txt").exists() and parse_name(file).clip
    if counted and parse_name(file).number == first > 1 and frames and frames[-1] <= len(files):
        raise InputError(
            f"{sequence.truth}: cannot tell whether frames count from 1 or as the images, which start with "
            f"{Path(file).name}; expected names that start from 1, or without text before the numbers"
        )


def _known_rows(
    rows: Rows, names: Sequence[str], labels: Sequence[int], last: int, problems: Problems
) -> Rows:
    """Select the rows whose class and frame exist; `labels` has -1 for each name that is not selected."""
    without = len(names) == 1 or not any(row.label for row in rows.rows)
    kept = []
    for row in rows.rows:
        where = f"{rows.path}, line {row.line}"
        label = row.label or int(without)
        if not 1 <= label <= len(names):
            message = f"expected a class from 1 to {len(names)}, got {row.label or 'none'}"
            problems.add(Kind.UNKNOWN_CLASS, where, message)
        elif labels[label - 1] < 0:
            message = f"expected one of the chosen classes, got {names[label - 1]!r}"
            problems.add(Kind.UNKNOWN_CLASS, where, message)
        elif row.frame > last:
            message = f"expected a frame up to {last}, the last of the sequence, got {row.frame}"
            problems.add(Kind.BAD_ROW, where, message)
        else:
            kept.append(row)
    return replace(rows, rows=kept)
