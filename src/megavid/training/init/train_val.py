"""Split a data set into training and validation data."""

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
"""Kinds of problems that make training impossible."""


@dataclass(frozen=True, kw_only=True)
class ValidationOptions:
    """The user's choice of validation data.

    Attributes:
        path: A separate data set to validate on, in any format.
        videos: Names of the videos to validate on.
        split: "videos" takes whole videos, and "time" takes the end of each video. "auto" takes the split
            that comes with the data set; if none does, it takes whole videos, or the end of the only video.
        share: Share of the frames to validate on.
        seed: Seed for the random choice of videos.

    Raises:
        InputError: Two options exclude each other, or a number is out of range.
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
    """Training and validation data, which share classes but no frames.

    Attributes:
        train: Training data.
        val: Validation data; None if a single video is too short to be split.
        how: How the data was split, in words.
    """

    train: Annotations
    val: Annotations | None
    how: str

    def boxes_by_class(self) -> dict[str, tuple[int, int]]:
        """Return the number of training boxes and the number of validation boxes of each class."""
        train = _boxes_by_class(self.train)
        val = {} if self.val is None else _boxes_by_class(self.val)
        return {name: (train.get(name, 0), val.get(name, 0)) for name in {**train, **val}}


def open_split(source: Source, options: ValidationOptions, *, problems: Problems) -> Split:
    """Read a data set and split it.

    Args:
        source: The data set; if `options.path` is given, only the training data is read from it.
        options: The choice of validation data.
        problems: See `open_annotations`.

    Raises:
        InputError: See `open_annotations`; or one of the parts has no frames, or both parts have a frame in
            common, or they have no class in common.
    """
    train, val = subset_for(source, "train"), subset_for(source, "val")
    has_parts = train.subset is not None and val.subset is not None and train.subset != val.subset
    if options.path is not None:
        val = subset_for(_like(source, options.path), "val")
        split = Split(_open(train, problems), _open(val, problems), "as given by --val")
    elif has_parts and not options.videos and options.split == "auto":
        how = f"its own parts {train.subset} and {val.subset}"
        split = Split(_open(train, problems), _open(val, problems), how)
    else:
        return _split(_open(train if has_parts else source, problems), options)
    _check_apart(split)
    return split


def _split(whole: Annotations, options: ValidationOptions) -> Split:
    """Split a data set by video or by time, as the options say."""
    videos = len(np.unique(whole.video))
    if options.videos:
        named = find_videos(whole, options.videos)[whole.video]
        if named.all():
            raise InputError("--val-videos: has all videos of the data set; none is left to train on")
        return Split(whole.select(~named), whole.select(named), "as named by --val-videos")
    if options.split == "videos" and videos < 2:
        raise InputError("--split videos: expected two videos or more, got one; --split time shares it out")
    if options.split == "videos" or (options.split == "auto" and videos > 1):
        chosen = split_videos(whole, share=options.share, seed=options.seed)[whole.video]
        return Split(whole.select(~chosen), whole.select(chosen), "by whole videos")
    train, val = split_in_time(whole, share=options.share)
    if not val.any():
        if options.split == "time":
            raise InputError(f"--split time: expected a video of {SHORTEST} frames or more")
        return Split(whole, None, f"nothing: the only video has fewer than {SHORTEST} frames")
    gap = len(whole) - int(train.sum()) - int(val.sum())
    how = (
        f"the end of each video; the {gap} frames before it are left out, since methods look at "
        "neighboring frames"
    )
    return Split(whole.select(train), whole.select(val), how)


def _like(source: Source, path: Path) -> Source:
    """Return a source for another data set, with the same classes and images if its format takes them."""
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
            f"{min(both)[0]}: is in both the training and the validation data, {len(both)} frames in total"
        )


def _frames(a: Annotations) -> set[tuple[str, int]]:
    """Identify each frame by its image file and 0, or by its video file and its number in that video."""
    files = a.files.to_pylist()
    sources = [str(a.root / source) for source in a.sources]
    return {
        (str(a.root / file), 0) if file is not None else (sources[video], number)
        for file, video, number in zip(files, a.video.tolist(), a.number.tolist(), strict=True)
    }


def check_split(split: Split) -> list[Problem]:
    """Check the annotations and images of both parts, and show the progress.

    Returns:
        Problems that do not prevent training.

    Raises:
        InputError: A problem makes training impossible, such as a missing image.
    """
    found: list[Problem] = []
    for name, part in (("train", split.train), ("val", split.val)):
        if part is not None:
            with progress(f"checking {name}", unit="images") as meter:
                found += check_annotations(part, progress=meter.update)
    # Each part lists all videos of the data set, even those whose frames are all in the other part.
    found = [problem for problem in found if problem.kind != Kind.EMPTY_VIDEO]
    useless = [problem for problem in found if problem.kind in _USELESS]
    if useless:
        more = "`megavid data check` lists all of them, --images says where images are"
        raise InputError(f"{useless[0]}; {len(useless)} such problems in total: {more}")
    return found


def describe_format(source: Source) -> str:
    """Return the title of a data set's format."""
    return FORMATS[format_of(source)].title
