"""A folder to train in, made from annotated videos: `megavid init`."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from megavid.core.annotations import Annotations
from megavid.core.config import validate
from megavid.core.errors import InputError
from megavid.core.problems import Kind, Problem, Problems
from megavid.data.check import check_annotations
from megavid.data.open import Source, format_of, known_split, open_annotations
from megavid.data.split import split_videos
from megavid.data.stats import compute_stats, plot_stats
from megavid.engine.hardware import Hardware
from megavid.engine.proposal import as_yaml, propose
from megavid.engine.recipe import Recipe, StartConfig
from megavid.engine.training_setup import override_recipe

TRAIN, VAL, RECIPE_FILE, PICTURE = "train.parquet", "val.parquet", "recipe.yaml", "data.png"

_USELESS = {Kind.NO_IMAGE, Kind.BAD_IMAGE, Kind.IMAGE_SIZE, Kind.EMPTY_VIDEO}
"""What can't be trained on."""


@dataclass(frozen=True)
class Split:
    """Data to train on and to validate on.

    Attributes:
        train, val: Both of the same classes; no `val` where there is but one video.
        known: The subsets that they are; None where videos were shared out at random.
    """

    train: Annotations
    val: Annotations | None
    known: tuple[str, str] | None


def check_is_new(folder: Path) -> None:
    """That a project can be made there.

    Raises:
        InputError: There is something already.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder}: is there already; choose another name")


def open_split(source: Source, val: Source | None, *, share: float, seed: int, problems: Problems) -> Split:
    """Read a data set and split it: as it says itself, or by whole videos.

    Args:
        source: The data set, or what to train on where `val` is given.
        val: What to validate on.
        share: The part of the frames that is wanted to validate on, where nobody has said.
        seed: Of the choice of videos.
        problems: See `open_annotations`.

    Raises:
        InputError: As `open_annotations`; or nothing is in it.
    """
    if val is not None:
        parts = [open_annotations(part, problems=problems) for part in (source, val)]
        return Split(_in_use(parts[0], source), _in_use(parts[1], val), None)
    known = known_split(source)
    if known is not None:
        parts = [open_annotations(replace(source, subset=name), problems=problems) for name in known]
        return Split(_in_use(parts[0], source), _in_use(parts[1], source), known)
    whole = _in_use(open_annotations(source, problems=problems), source)
    if len(whole.videos) < 2:
        return Split(whole, None, None)
    chosen = split_videos(whole, share=share, seed=seed)[whole.video]
    return Split(whole.select(~chosen), whole.select(chosen), None)


def _in_use(annotations: Annotations, source: Source) -> Annotations:
    if len(annotations) == 0:
        raise InputError(f"{source.path}: has no frames")
    return annotations


def check_split(split: Split, *, progress: Callable[[int, int], None]) -> list[Problem]:
    """What is wrong with the data, images included.

    Raises:
        InputError: Something that can't be trained on, such as a missing image.
    """
    parts = [split.train] if split.val is None else [split.train, split.val]
    found = [problem for part in parts for problem in check_annotations(part, progress=progress)]
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
        overrides: Other values of the recipe by dotted path; `start.*` decides what is proposed.
        head: Comments that the recipe begins with.

    Raises:
        InputError: The folder is in use (`check_is_new`) or can't be made, or see `propose`.
    """
    check_is_new(folder)
    data: dict[str, Any] = {"train": [{"path": str(folder / TRAIN)}], "val": None}
    if split.val is not None:
        data["val"] = {"path": str(folder / VAL)}
    start = {path.removeprefix("start."): v for path, v in overrides.items() if path.startswith("start.")}
    origin = str(folder / RECIPE_FILE)
    proposal = propose(
        split.train,
        data=data,
        model=model,
        start=validate(StartConfig, start, origin="start"),
        hardware=hardware,
        steps=overrides.get("run.steps"),
    )
    values, recipe = override_recipe(proposal.recipe, overrides, origin=origin)
    proposal = replace(proposal, recipe=values)
    with ExitStack() as stack:
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        except OSError as error:
            raise InputError(f"{folder}: cannot be made: {error.strerror}") from error
        stack.callback(shutil.rmtree, aside, ignore_errors=True)
        aside.chmod(0o755)
        split.train.save(aside / TRAIN)
        if split.val is not None:
            split.val.save(aside / VAL)
        plot_stats(compute_stats(split.train), aside / PICTURE)
        (aside / RECIPE_FILE).write_text(as_yaml(proposal, head=head), encoding="utf-8")
        aside.replace(folder)
    return recipe


def boxes_by_class(split: Split) -> dict[str, tuple[int, int]]:
    """Boxes to train on and to validate on, of each class."""
    classes = split.train.classes
    train = np.bincount(split.train.labels, minlength=len(classes)).tolist()
    val = [0] * len(classes)
    if split.val is not None:
        names = [split.val.classes[label] for label in split.val.labels.tolist()]
        val = [names.count(name) for name in classes]
    return {name: (train[i], val[i]) for i, name in enumerate(classes)}


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
