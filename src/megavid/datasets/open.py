"""Opening annotations of any format."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from megavid.core.errors import InputError
from megavid.datasets.formats.coco.read_coco import is_coco, read_coco
from megavid.datasets.formats.cvat.read_cvat import is_cvat, read_cvat
from megavid.datasets.formats.ilsvrc.build import read_ilsvrc
from megavid.datasets.formats.ilsvrc.read_ilsvrc import find_root, is_ilsvrc, subsets
from megavid.datasets.formats.mot.read_mot import is_mot, read_mot
from megavid.datasets.formats.yolo.read_yolo import is_yolo, read_yolo, yolo_subsets
from megavid.datasets.table.annotations import Annotations, load_annotations
from megavid.datasets.table.problems import Problems


@dataclass(frozen=True, kw_only=True)
class Source:
    """Annotations to be opened.

    Attributes:
        path: A file or folder.
        format: One of `FORMATS`; None to find out.
        subset: The part of it: "vid_train", "vid_val" or "det_train" of ILSVRC, a folder of YOLO's.
        classes: Names of the classes in the order of their labels; None for the data set's own.
        images: Where the images or videos are, if the format's own place is another.
    """

    path: Path
    format: str | None = None
    subset: str | None = None
    classes: Sequence[str] | None = None
    images: Path | None = None


@dataclass(frozen=True)
class Format:
    """A format of annotations.

    Attributes:
        recognise: Whether a path is of this format, at a glance.
        read: Reads it.
        takes: Which options of `Source` it has a use for.
        subsets: The parts that a path is known to have.
    """

    recognise: Callable[[Path], bool]
    read: Callable[[Source, Problems], Annotations]
    takes: frozenset[str] = frozenset()
    subsets: Callable[[Path], Sequence[str]] = lambda path: ()


def open_annotations(source: Source, *, problems: Problems) -> Annotations:
    """Read annotations of any format.

    Raises:
        InputError: There is no such path, it is of no known format, or an option does not fit its format; or
            see `problems`.

    Examples:
        >>> source = Source(path=Path("ILSVRC2015"), subset="vid_val")
        >>> annotations = open_annotations(source, problems=Problems())
    """
    return FORMATS[format_of(source)].read(source, problems)


def format_of(source: Source) -> str:
    """The name of its format.

    Raises:
        InputError: There is no such path, it is of no known format, or an option does not fit its format.
    """
    name = source.format or recognise(source.path)
    for option in ("subset", "classes", "images"):
        if getattr(source, option) is not None and option not in FORMATS[name].takes:
            raise InputError(f"{option}: {source.path} has no use for it")
    if source.images is not None and not source.images.exists():
        raise InputError(f"--images: {source.images}: no such folder")
    if source.images is not None and not source.images.is_dir():
        raise InputError(f"--images: {source.images}: expected a folder, this is none")
    return name


def part_for(source: Source, purpose: Literal["train", "val"]) -> Source:
    """The part of a data set that is for a purpose, where it has such a part; else all of it."""
    if source.subset is not None or source.images is not None:  # somebody has said
        return source
    there = FORMATS[format_of(source)].subsets(source.path)
    name = next((name for name in (purpose, f"vid_{purpose}") if name in there), None)
    return source if name is None else replace(source, subset=name)


def recognise(path: Path) -> str:
    """The name of a path's format.

    Raises:
        InputError: There is no such path, or it is of none.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    for name, format_ in FORMATS.items():
        if format_.recognise(path):
            return name
    raise InputError(
        f"{path}: no known annotations; expected an index (.parquet), a folder with Annotations/VID or "
        "Annotations/DET (ILSVRC), CocoVID or COCO (.json), gt/gt.txt (MOT), CVAT for video (.xml, .zip), or "
        "a folder with labels or data.yaml (YOLO)"
    )


def _read_index(source: Source, problems: Problems) -> Annotations:
    return load_annotations(source.path)


def _read_ilsvrc(source: Source, problems: Problems) -> Annotations:
    root = find_root(source.path)
    return read_ilsvrc(root, source.subset or "vid_val", classes=source.classes, problems=problems)


def _read_coco(source: Source, problems: Problems) -> Annotations:
    return read_coco(source.path, images=source.images, classes=source.classes, problems=problems)


def _read_mot(source: Source, problems: Problems) -> Annotations:
    return read_mot(source.path, classes=source.classes, problems=problems)


def _read_cvat(source: Source, problems: Problems) -> Annotations:
    return read_cvat(source.path, images=source.images, classes=source.classes, problems=problems)


def _read_yolo(source: Source, problems: Problems) -> Annotations:
    return read_yolo(
        source.path, images=source.images, subset=source.subset, classes=source.classes, problems=problems
    )


FORMATS: dict[str, Format] = {
    "index": Format(lambda path: path.suffix == ".parquet", _read_index),
    "ilsvrc": Format(
        is_ilsvrc,
        _read_ilsvrc,
        frozenset({"subset", "classes"}),
        subsets=lambda path: subsets(find_root(path)),
    ),
    "coco": Format(is_coco, _read_coco, frozenset({"classes", "images"})),
    "mot": Format(is_mot, _read_mot, frozenset({"classes"})),
    "cvat": Format(is_cvat, _read_cvat, frozenset({"classes", "images"})),
    "yolo": Format(is_yolo, _read_yolo, frozenset({"subset", "classes", "images"}), subsets=yolo_subsets),
}
"""All formats by name, in the order in which a path is tried; "coco" is CocoVID, too."""
