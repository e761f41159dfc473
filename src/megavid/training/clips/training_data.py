"""The training and validation data of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from megavid.core.errors import InputError
from megavid.datasets.open import Source, open_annotations
from megavid.datasets.sizes import check_sizes
from megavid.datasets.table.annotations import Annotations
from megavid.datasets.table.problems import Problems
from megavid.jobs.find_motion import find_motion
from megavid.training.recipe import DataSetConfig, Recipe

_FEW_FRAMES = 4


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """Data sets of a training run.

    Attributes:
        train: Training data sets, all with the same classes.
        val: Validation data; None for no evaluation.
        motion: Motion of the objects in `val`, as `find_motion` returns it.
        problems: Problems for which data was left out.
    """

    train: Sequence[Annotations]
    val: Annotations | None
    motion: NDArray[np.float64] | None
    problems: Problems


def open_training_data(recipe: Recipe, *, few: bool = False) -> TrainingData:
    """Read a recipe's data sets.

    Args:
        recipe: The recipe.
        few: Whether to keep only a few frames of the validation data.

    Raises:
        InputError: A data set cannot be read, an image's size differs from its annotation, the validation
            data has no frames or no class in common with the training data, or the objects' motion is
            unknown.
    """
    problems = Problems(skip=recipe.data.skip_bad, hint="data.skip_bad: true leaves it out")
    train = [_open(config, problems) for config in recipe.data.train]
    val = None if recipe.data.val is None else _open(recipe.data.val, problems)
    motion = None
    if val is not None:
        if len(val) == 0:
            raise InputError(f"{val.root}: data.val has no frames")
        if not set(val.classes) & set(train[0].classes):
            raise InputError(f"{val.root}: data.val and data.train have no class in common")
        motion = find_motion(val, recipe.log.motion)
        if few:
            first = val.frames_of(int(val.video[0]))
            kept = np.arange(len(val)) < min(first.stop, _FEW_FRAMES)
            motion = None if motion is None else motion[kept[val.box_frames]]
            val = val.select(kept)
    return TrainingData(train=train, val=val, motion=motion, problems=problems)


def _open(config: DataSetConfig, problems: Problems) -> Annotations:
    source = Source(
        path=config.path,
        format=config.format,
        subset=config.subset,
        classes=config.classes,
        images=config.images,
    )
    return check_sizes(open_annotations(source, problems=problems), problems=problems)
