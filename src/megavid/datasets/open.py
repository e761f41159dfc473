"""Open annotations of any format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from megavid.core.errors import InputError
from megavid.datasets.formats.registry import FORMATS
from megavid.datasets.table.annotations import Annotations
from megavid.datasets.table.problems import Problems

_OPTIONS = ("subset", "classes", "images")


@dataclass(frozen=True, kw_only=True)
class Source:
    """A data set to open.

    Attributes:
        path: A file or folder.
        format: A name in `FORMATS`; None to recognize the format.
        subset: Part of the data set: "vid_train", "vid_val" or "det_train" for ILSVRC; a folder or a key of
            data.yaml for YOLO.
        classes: Class names in the order of their labels; None for those of the data set.
        images: Folder of the images or videos; None if they are where the format expects them.
    """

    path: Path
    format: str | None = None
    subset: str | None = None
    classes: Sequence[str] | None = None
    images: Path | None = None


def open_annotations(source: Source, *, problems: Problems) -> Annotations:
    """Read annotations of any format.

    Raises:
        InputError: The path does not exist or has no known format, or an option does not fit the format; or
            see `problems`.

    Examples:
        >>> source = Source(path=Path("ILSVRC2015"), subset="vid_val")
        >>> annotations = open_annotations(source, problems=Problems())
    """
    options = {name: getattr(source, name) for name in _OPTIONS}
    given = {name: value for name, value in options.items() if value is not None}
    return FORMATS[format_of(source)].read(source.path, problems=problems, **given)


def format_of(source: Source) -> str:
    """Return the name of a data set's format, after checking that the options of `source` fit the format.

    Raises:
        InputError: The path does not exist or has no known format, or an option does not fit the format.
    """
    name = source.format or recognize(source.path)
    if name not in FORMATS:
        raise InputError(f"format: expected one of {', '.join(FORMATS)}, got {name!r}")
    for option in _OPTIONS:
        if getattr(source, option) is not None and option not in FORMATS[name].options:
            raise InputError(f"{option}: {source.path} has no use for it")
    if source.images is not None and not source.images.exists():
        raise InputError(f"--images: {source.images}: no such folder")
    if source.images is not None and not source.images.is_dir():
        raise InputError(f"--images: {source.images}: expected a folder")
    return name


def subset_for(source: Source, purpose: Literal["train", "val"]) -> Source:
    """Choose the subset of a data set for training or validation.

    Returns:
        The source with that subset; unchanged if the data set has none, or if the user gave a subset or a
        folder of images.
    """
    if source.subset is not None or source.images is not None:
        return source
    subsets = FORMATS[format_of(source)].subsets(source.path)
    name = next((name for name in (purpose, f"vid_{purpose}") if name in subsets), None)
    return source if name is None else replace(source, subset=name)


def recognize(path: Path) -> str:
    """Recognize the format of a path, and return the format's name.

    Raises:
        InputError: The path does not exist or has no known format.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    for name, format_ in FORMATS.items():
        if format_.matches(path):
            return name
    *examples, last = (format_.example for format_ in FORMATS.values())
    raise InputError(f"{path}: no known annotations; expected {', '.join(examples)}, or {last}")
