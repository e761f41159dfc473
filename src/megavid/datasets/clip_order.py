"""Choose training clips and their order as a function of a seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from megavid.core.errors import InputError
from megavid.core.reference_plans import TrainingPlan, training_indexes
from megavid.datasets.table.annotations import Annotations

LEAST_SIDE = 1.0
"""An object is trained on if its part inside the frame is at least this wide and high, in pixels."""

_ORDER, _CLIP = 0, 1  # random streams


@dataclass(frozen=True)
class ClipFrames:
    """A key frame and its reference frames.

    Attributes:
        data: Number of the data set.
        key: Row of the key frame in the annotations of the data set.
        references: Rows of the reference frames, which are in the same video, for each group of the plan.
        flip: Whether all frames are mirrored.
        seed: Seed for other random choices in the clip.
    """

    data: int
    key: int
    references: Mapping[str, tuple[int, ...]]
    flip: bool
    seed: int


class ClipOrder:
    """An endless, shuffled series of clips; every trainable frame is the key frame once per epoch.

    Clip n depends only on n and the seed, so that any process can read any part of the series. Only frames
    that the data set lists and that have an object to train on become key frames. The frames of all data sets
    are mixed evenly.

    Args:
        data: Data sets with the same classes.
        plan: The reference frames of a clip.
        seed: Seed of the order and of the clips.
        flip: Probability that a clip is mirrored.

    Raises:
        InputError: The classes differ, or there is no frame to train on.
    """

    def __init__(
        self, data: Sequence[Annotations], plan: TrainingPlan, *, seed: int, flip: float = 0.5
    ) -> None:
        for other in data[1:]:
            if other.classes != data[0].classes:
                raise InputError(
                    f"{other.root}: expected the classes of {data[0].root}, in their order: "
                    f"{', '.join(data[0].classes)}; got {', '.join(other.classes)}"
                )
        self.data = tuple(data)
        self._plan, self._seed, self._flip = plan, seed, flip
        keys = [np.flatnonzero(annotations.listed & has_objects(annotations)) for annotations in data]
        self._keys = np.concatenate(keys)
        self._source = np.repeat(np.arange(len(keys)), [len(k) for k in keys])
        if len(self._keys) == 0:
            raise InputError(f"{data[0].root}: no frame to train on: no listed frame has an object in it")
        self._epoch = -1
        self._order: NDArray[np.int64] = np.zeros(0, np.int64)

    def __len__(self) -> int:
        """Return the number of clips in an epoch."""
        return len(self._keys)

    def __getitem__(self, number: int) -> ClipFrames:
        """Return clip `number`, counted from 0 over all epochs."""
        epoch, place = divmod(number, len(self))
        if epoch != self._epoch:
            self._order = np.random.default_rng((self._seed, _ORDER, epoch)).permutation(len(self))
            self._epoch = epoch
        row = int(self._order[place])
        data, key = int(self._source[row]), int(self._keys[row])
        annotations = self.data[data]
        span = annotations.frames_of(int(annotations.video[key]))
        rng = np.random.default_rng((self._seed, _CLIP, number))
        drawn = training_indexes(self._plan, key - span.start, span.stop - span.start, rng)
        return ClipFrames(
            data,
            key,
            {name: tuple(span.start + frame for frame in frames) for name, frames in drawn.items()},
            flip=bool(rng.random() < self._flip),
            seed=int(rng.integers(2**62)),
        )


def has_objects(annotations: Annotations) -> NDArray[np.bool_]:
    """Return which frames (F,) have an object that is not difficult and is large enough inside the frame."""
    boxes, frames = annotations.boxes, annotations.box_frames
    # Boxes count as inside if the size of the frame is unknown.
    width = np.where(annotations.width > 0, annotations.width, np.iinfo(np.int32).max)[frames]
    height = np.where(annotations.height > 0, annotations.height, np.iinfo(np.int32).max)[frames]
    wide = np.minimum(boxes[:, 2], width) - np.maximum(boxes[:, 0], 0) >= LEAST_SIDE
    high = np.minimum(boxes[:, 3], height) - np.maximum(boxes[:, 1], 0) >= LEAST_SIDE
    trainable = wide & high & ~annotations.difficult
    found: NDArray[np.bool_] = np.bincount(frames[trainable], minlength=len(annotations)) > 0
    return found
