"""What a training run learns from and is evaluated on."""

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
    """Data sets of a run.

    Attributes:
        train: What is trained on; data sets of the same classes.
        val: What is evaluated on; None for no evaluation.
        motion: Of its objects, as in `find_motion`.
        problems: What was left out of them.
    """

    train: Sequence[Annotations]
    val: Annotations | None
    motion: NDArray[np.float64] | None
    problems: Problems


def open_training_data(recipe: Recipe, *, few: bool = False) -> TrainingData:
    """Read a recipe's data sets.

    Args:
        recipe: Which.
        few: Only the first frames of the first video to evaluate on.

    Raises:
        InputError: A data set cannot be read, has pictures of other sizes than annotated, has no class in
            common with what is trained on, or no such motion.
    """
    problems = Problems(skip=recipe.data.skip_bad, hint="data.skip_bad: true leaves it out and goes on")
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
