"""A folder to train in, made from annotated videos: `megavid init`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from megavid.convert.load import read_config
from megavid.core.annotations import Annotations
from megavid.core.config import with_overrides
from megavid.core.errors import InputError
from megavid.core.problems import Kind, Problem, Problems
from megavid.data.check import check_annotations
from megavid.data.open import FORMATS, Source, format_of, open_annotations, part_for, recognise
from megavid.data.split import split_videos
from megavid.data.stats import compute_stats, plot_stats
from megavid.engine.hardware import Hardware
from megavid.engine.progress import progress
from megavid.engine.proposal import as_yaml, propose
from megavid.engine.recipe import Recipe
from megavid.engine.training_setup import override_recipe
from megavid.methods import detector_config
from megavid.video.files import VideoFile
from megavid.video.images import read_image

TRAIN, VAL, RECIPE_FILE, PICTURE = "train.parquet", "val.parquet", "recipe.yaml", "data.png"

_USELESS = {Kind.NO_IMAGE, Kind.BAD_IMAGE, Kind.IMAGE_SIZE, Kind.NO_FRAME}
"""What can't be trained on."""


@dataclass(frozen=True)
class Split:
    """Data to train on and to validate on.

    Attributes:
        train, val: With classes in common and no frame; no `val` where there is but one video.
        known: The subsets that they are; None where videos were shared out at random.
    """

    train: Annotations
    val: Annotations | None
    known: tuple[str, str] | None


def check_is_new(folder: Path) -> None:
    """That a project can be made there.

    Raises:
        InputError: There is something already, or it is the working directory.
    """
    if folder.resolve() == Path.cwd():
        raise InputError(f"{folder}: is the working directory; choose a name for a folder in it")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder}: is there already; choose another name")


def open_split(source: Source, val: Path | None, *, share: float, seed: int, problems: Problems) -> Split:
    """Read a data set and split it: as it says itself, or by whole videos.

    Args:
        source: The data set, or what to train on where `val` is given.
        val: Annotations of any format to validate on.
        share: The part of the frames that is wanted to validate on, where nobody has said.
        seed: Of the choice of videos.
        problems: See `open_annotations`.

    Raises:
        InputError: As `open_annotations`; nothing is in it; or the two parts share frames or no class.
    """
    train, known = part_for(source, "train"), None
    if val is None:
        other = part_for(source, "val")
        if train.subset is None or other.subset is None or train.subset == other.subset:
            return _by_videos(_open(source, problems), share=share, seed=seed)
        known = (train.subset, other.subset)
    else:
        other = part_for(_like(source, val), "val")
    split = Split(_open(train, problems), _open(other, problems), known)
    _check_apart(split)
    return split


def _like(source: Source, path: Path) -> Source:
    """Another data set, of any format, with the same names of classes and place of images."""
    takes = FORMATS[recognise(path)].takes
    return Source(
        path=path,
        classes=source.classes if "classes" in takes else None,
        images=source.images if "images" in takes else None,
    )


def _by_videos(whole: Annotations, *, share: float, seed: int) -> Split:
    if len(np.unique(whole.video)) < 2:
        return Split(whole, None, None)
    chosen = split_videos(whole, share=share, seed=seed)[whole.video]
    return Split(whole.select(~chosen), whole.select(chosen), None)


def _open(source: Source, problems: Problems) -> Annotations:
    annotations = open_annotations(source, problems=problems)
    if len(annotations) == 0:
        raise InputError(f"{source.path}: has no frames")
    return _with_sizes(annotations)


def _with_sizes(a: Annotations) -> Annotations:
    """The same with the sizes of frames where the annotations don't say: those of their video's first one."""
    width, height = a.width.copy(), a.height.copy()
    for video in np.unique(a.video[(a.width == 0) | (a.height == 0)]).tolist():
        frames = a.frames_of(video)
        with suppress(InputError):  # of what cannot be read `check_split` says more
            if a.sources[video]:
                with VideoFile(a.root / a.sources[video]) as file:
                    size = file.width, file.height
            else:
                image = read_image(a.root / a.files[frames.start].as_py())
                size = image.shape[1], image.shape[0]
            width[frames], height[frames] = size
    return replace(a, width=width, height=height)


def _check_apart(split: Split) -> None:
    assert split.val is not None
    train, val = split.train, split.val
    if not set(train.classes) & set(val.classes):
        raise InputError(
            f"{val.root}: has none of the classes to train on: expected some of {', '.join(train.classes)}, "
            f"got {', '.join(val.classes)}"
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


def create_project(
    folder: Path,
    split: Split,
    *,
    model: str | None,
    hardware: Hardware,
    overrides: Mapping[str, Any],
    head: list[str],
) -> Recipe:
    """Write a project: the data as indexes, a picture of it, and a recipe with its reasons.

    Args:
        folder: Appears whole or not at all.
        split: The data.
        model: See `propose`.
        hardware: What it is to be trained on.
        overrides: Other values of the recipe or its model by dotted path, on which what is proposed depends.
        head: Comments that the recipe begins with.

    Raises:
        InputError: The folder is in use (`check_is_new`) or can't be made, or see `propose`.
    """
    check_is_new(folder)
    data: dict[str, Any] = {"train": [{"path": str(folder / TRAIN)}], "val": None}
    if split.val is not None:
        data["val"] = {"path": str(folder / VAL)}
    proposal = propose(split.train, data=data, model=model, hardware=hardware, overrides=overrides)
    values, recipe = override_recipe(proposal.recipe, overrides, origin=str(folder / RECIPE_FILE))
    config, origin = read_config(recipe.model)
    settings = {**recipe.model_settings(config), "classes": list(split.train.classes)}
    detector_config(with_overrides(config, settings), origin=origin)  # a wrong key shows now
    text = as_yaml(replace(proposal, recipe=values), head=head)
    place = folder.absolute()
    aside = place.with_name(f".{place.name}.{os.getpid()}.partial")
    try:
        aside.mkdir(parents=True)
        split.train.save(aside / TRAIN)
        if split.val is not None:
            split.val.save(aside / VAL)
        plot_stats(compute_stats(split.train), aside / PICTURE)
        (aside / RECIPE_FILE).write_text(text, encoding="utf-8")
        aside.replace(place)
    except OSError as error:
        raise InputError(f"{folder}: cannot be made: {error.strerror}") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return recipe


def boxes_by_class(split: Split) -> dict[str, tuple[int, int]]:
    """Boxes to train on and to validate on, of each class."""
    parts = [split.train] if split.val is None else [split.train, split.val]
    train, *val = (
        dict(zip(part.classes, np.bincount(part.labels, minlength=len(part.classes)).tolist(), strict=True))
        for part in parts
    )
    return {name: (count, val[0].get(name, 0) if val else 0) for name, count in train.items()}


def describe_format(source: Source) -> str:
    """What a data set was recognised as."""
    return {
        "index": "an index of megavid's",
        "ilsvrc": "the layout of ImageNet VID",
        "coco": "CocoVID or COCO",
        "mot": "MOT",
        "cvat": "CVAT for video",
        "yolo": "YOLO",
    }[format_of(source)]
