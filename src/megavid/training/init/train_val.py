"""The two parts of a data set: what to train on and what to validate on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from megavid.core.errors import InputError
from megavid.core.ranges import check_seed
from megavid.core.text import listed
from megavid.datasets.check import check_annotations
from megavid.datasets.formats.registry import FORMATS
from megavid.datasets.open import Source, format_of, open_annotations, recognize, subset_for
from megavid.datasets.sizes import fill_sizes
from megavid.datasets.split import SHORTEST, find_videos, split_in_time, split_videos
from megavid.datasets.table.annotations import Annotations
from megavid.datasets.table.problems import Kind, Problem, Problems
from megavid.jobs.progress import progress

_USELESS = {Kind.NO_IMAGE, Kind.BAD_IMAGE, Kind.IMAGE_SIZE, Kind.NO_FRAME}
"""What can't be trained on."""


@dataclass(frozen=True, kw_only=True)
class Validation:
    """What the user wants to validate on. The first that is given decides.

    Attributes:
        path: Annotations of any format.
        videos: Names of videos of the data set.
        split: Whole videos of it, or the end of each video; "auto" is what the data set says itself, else
            whole videos, or the end of the video where there is only one.
        share: The part of the frames that is wanted.
        seed: Seed for the choice of videos.

    Raises:
        InputError: Two of them don't go together, or a number makes no sense.
    """

    path: Path | None = None
    videos: Sequence[str] = ()
    split: Literal["auto", "videos", "time"] = "auto"
    share: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        given = {"--val": self.path, "--val-videos": self.videos, "--split": self.split != "auto"}
        names = [name for name, value in given.items() if value]
        if len(names) > 1:
            raise InputError(f"{names[1]}: does not go with {names[0]}")
        if not 0 < self.share < 1:
            raise InputError(f"--val-share: expected a number between 0 and 1, got {self.share:g}")
        check_seed(self.seed)


@dataclass(frozen=True)
class Split:
    """Data to train on and to validate on.

    Attributes:
        train, val: With classes in common and no frame; no `val` where a single video is too short to share.
        how: How they were shared out, in words.
    """

    train: Annotations
    val: Annotations | None
    how: str

    def boxes_by_class(self) -> dict[str, tuple[int, int]]:
        """Boxes to train on and to validate on, of each class of either part."""
        train = _boxes_by_class(self.train)
        val = {} if self.val is None else _boxes_by_class(self.val)
        return {name: (train.get(name, 0), val.get(name, 0)) for name in {**train, **val}}


def open_split(source: Source, wanted: Validation, *, problems: Problems) -> Split:
    """Read a data set and split it: as the user or the data set says, by whole videos, or in time.

    Args:
        source: The data set, or what to train on where `wanted.path` is given.
        wanted: What to validate on.
        problems: See `open_annotations`.

    Raises:
        InputError: As `open_annotations`; nothing is in it; or the two parts share frames or no class.
    """
    train, val = subset_for(source, "train"), subset_for(source, "val")
    has_parts = train.subset is not None and val.subset is not None and train.subset != val.subset
    if wanted.path is not None:
        val = subset_for(_like(source, wanted.path), "val")
        split = Split(_open(train, problems), _open(val, problems), "as given by --val")
    elif has_parts and not wanted.videos and wanted.split == "auto":
        how = f"its own parts {train.subset} and {val.subset}"
        split = Split(_open(train, problems), _open(val, problems), how)
    else:
        return _split(_open(train if has_parts else source, problems), wanted)
    _check_apart(split)
    return split


def _split(whole: Annotations, wanted: Validation) -> Split:
    """Share out the frames of one data set."""
    videos = len(np.unique(whole.video))
    if wanted.videos:
        named = find_videos(whole, wanted.videos)[whole.video]
        if named.all():
            raise InputError("--val-videos: has all videos of the data set; none is left to train on")
        return Split(whole.select(~named), whole.select(named), "as named by --val-videos")
    if wanted.split == "videos" and videos < 2:
        raise InputError("--split videos: expected two videos or more, got one; --split time shares it out")
    if wanted.split == "videos" or (wanted.split == "auto" and videos > 1):
        chosen = split_videos(whole, share=wanted.share, seed=wanted.seed)[whole.video]
        return Split(whole.select(~chosen), whole.select(chosen), "by whole videos")
    train, val = split_in_time(whole, share=wanted.share)
    if not val.any():
        if wanted.split == "time":
            raise InputError(f"--split time: expected a video of {SHORTEST} frames or more")
        return Split(whole, None, f"nothing: the only video has fewer than {SHORTEST} frames")
    gap = len(whole) - int(train.sum()) - int(val.sum())
    how = (
        f"the end of each video; the {gap} frames before it are left out, since methods look at "
        "neighboring frames"
    )
    return Split(whole.select(train), whole.select(val), how)


def _like(source: Source, path: Path) -> Source:
    """Another data set, of any format, with the same names of classes and place of images."""
    options = FORMATS[recognize(path)].options
    return Source(
        path=path,
        classes=source.classes if "classes" in options else None,
        images=source.images if "images" in options else None,
    )


def _open(source: Source, problems: Problems) -> Annotations:
    annotations = open_annotations(source, problems=problems)
    if len(annotations) == 0:
        raise InputError(f"{source.path}: has no frames")
    return fill_sizes(annotations)


def _boxes_by_class(a: Annotations) -> dict[str, int]:
    counts = np.bincount(a.labels, minlength=len(a.classes)).tolist()
    return dict(zip(a.classes, counts, strict=True))


def _check_apart(split: Split) -> None:
    assert split.val is not None
    train, val = split.train, split.val
    if not set(train.classes) & set(val.classes):
        raise InputError(
            f"{val.root}: has none of the classes to train on: expected some of "
            f"{listed(train.classes, most=5)}, got {listed(val.classes, most=5)}"
        )
    both = _frames(train) & _frames(val)
    if both:
        raise InputError(
            f"{min(both)[0]}: is to train on and to validate on, as {len(both)} frames in all are"
        )


def _frames(a: Annotations) -> set[tuple[str, int]]:
    """Each frame's file, and its number there where it is a video."""
    files = a.files.to_pylist()
    sources = [str(a.root / source) for source in a.sources]
    return {
        (str(a.root / file), 0) if file is not None else (sources[video], number)
        for file, video, number in zip(files, a.video.tolist(), a.number.tolist(), strict=True)
    }


def check_split(split: Split) -> list[Problem]:
    """Find what is wrong with the data, images included, and show how far that is.

    Raises:
        InputError: Something that can't be trained on, such as a missing image.
    """
    found: list[Problem] = []
    for name, part in (("train", split.train), ("val", split.val)):
        if part is not None:
            with progress(f"checking {name}", unit="images") as meter:
                found += check_annotations(part, progress=meter.update)
    # A part of a data set knows the names of all its videos.
    found = [problem for problem in found if problem.kind != Kind.EMPTY_VIDEO]
    useless = [problem for problem in found if problem.kind in _USELESS]
    if useless:
        more = "`megavid data check` lists all of them, --images says where images are"
        raise InputError(f"{useless[0]}; {len(useless)} of the kind in all: {more}")
    return found


def describe_format(source: Source) -> str:
    """Name the format of a data set."""
    return FORMATS[format_of(source)].title
