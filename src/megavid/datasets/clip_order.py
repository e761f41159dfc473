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

_ORDER, _CLIP = 0, 1  # numbers of the random streams


@dataclass(frozen=True)
class ClipFrames:
    """A key frame and its reference frames.

    Attributes:
        data: Index of the data set in `ClipOrder.data`.
        key: Row of the key frame in the annotations of that data set.
        references: For each group of the plan, the rows of its reference frames, which are in the key frame's
            video.
        flip: Whether all frames are mirrored.
        seed: Seed for all other random choices in the clip.
    """

    data: int
    key: int
    references: Mapping[str, tuple[int, ...]]
    flip: bool
    seed: int


class ClipOrder:
    """An endless, shuffled series of clips; in each epoch, every trainable frame is a key frame once.

    Clip n depends only on n and the seed, so that any process can read any part of the series. A frame is
    trainable if it is `listed` and has an object to train on (see `has_objects`). The frames of all data sets
    are shuffled together.

    Args:
        data: Data sets with the same classes.
        plan: The reference frames of a clip.
        seed: Seed of the order and of the clips.
        flip: Probability that a clip is mirrored.

    Raises:
        InputError: The data sets have different classes, or no frame is trainable.
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
        """Return clip `number`; numbers start from 0 and continue from one epoch to the next."""
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
    """Return (F,), whether each frame has an object to train on.

    This is an object that is not difficult, and whose part inside the frame is at least `LEAST_SIDE` wide and
    high.
    """
    boxes, frames = annotations.boxes, annotations.box_frames
    # If the frame's size is unknown, boxes are cut off only at the left and top edges.
    width = np.where(annotations.width > 0, annotations.width, np.iinfo(np.int32).max)[frames]
    height = np.where(annotations.height > 0, annotations.height, np.iinfo(np.int32).max)[frames]
    wide = np.minimum(boxes[:, 2], width) - np.maximum(boxes[:, 0], 0) >= LEAST_SIDE
    high = np.minimum(boxes[:, 3], height) - np.maximum(boxes[:, 1], 0) >= LEAST_SIDE
    trainable = wide & high & ~annotations.difficult
    found: NDArray[np.bool_] = np.bincount(frames[trainable], minlength=len(annotations)) > 0
    return found
