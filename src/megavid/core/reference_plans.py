"""Reference plans: which frames a method looks at, as data, and pure functions that make indexes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class ReferencePlan:
    """The frames that a method needs to detect key frame t at test time.

    Attributes:
        past: Frames before t in the local window.
        future: Frames after t in the local window: the look-ahead, in frames.
        global_frames: Size of the set of frames from anywhere in the video (MEGA, section 3.2).
        memory: Number of frames that are remembered after they left the local window (MEGA, section 3.3).
    """

    past: int = 0
    future: int = 0
    global_frames: int = 0
    memory: int = 0

    def causal(self) -> ReferencePlan:
        """The same without look-ahead."""
        return replace(self, future=0)


@dataclass(frozen=True, kw_only=True)
class ReferenceGroup:
    """Reference frames of a training clip that are drawn alike.

    Attributes:
        name: What the method calls them.
        count: How many.
        low, high: The least and the greatest offset from the centre, both included.
        centre: The centre's own offset from the key frame.
        anywhere: They come from the whole video instead.
    """

    name: str
    count: int
    low: int = 0
    high: int = 0
    centre: int = 0
    anywhere: bool = False


@dataclass(frozen=True)
class TrainingPlan:
    """The frames that a method looks at in training, beside the key frame."""

    groups: tuple[ReferenceGroup, ...] = ()


def training_indexes(
    plan: TrainingPlan, key: int, length: int, rng: np.random.Generator
) -> dict[str, tuple[int, ...]]:
    """Reference frames of a key frame, in the order drawn, by the groups' names.

    Offsets are drawn without replacement as long as there are enough, then clamped to the video; so near its
    ends a frame may come several times.
    """
    drawn = {}
    for group in plan.groups:
        if group.anywhere:
            choice = np.arange(length)
        else:
            choice = np.clip(key + group.centre + np.arange(group.low, group.high + 1), 0, length - 1)
        frames = rng.choice(choice, group.count, replace=group.count > len(choice))
        drawn[group.name] = tuple(int(frame) for frame in frames)
    return drawn


def window_indexes(plan: ReferencePlan, key: int, length: int) -> list[int]:
    """The local window of a key frame, oldest first, clamped to the video.

    Places outside the video repeat its first or last frame, so the window always has
    past + 1 + future places.
    """
    return [min(max(key + offset, 0), length - 1) for offset in range(-plan.past, plan.future + 1)]


GLOBAL_POOL = 64
"""Most frames of a video that take turns as global frames."""


def global_order(length: int, seed: int) -> list[int]:
    """A seeded random order of frames of a video, for its global frames.

    Of a long video, `GLOBAL_POOL` frames take turns, so that those that were read and encoded can be kept. At
    any time the global frames are as random a choice as they would be of all frames.
    """
    return [int(i) for i in np.random.default_rng(seed).permutation(length)[:GLOBAL_POOL]]


def global_indexes(order: Sequence[int], step: int, size: int) -> list[int]:
    """The global frames that the step-th key frame of a video sees.

    They are a queue of `size` places. Before the first key frame it is filled with
    order[size - 1], ..., order[0]; each later step t pushes order[(t + size - 1) mod len(order)].
    The backward filling is the original's: it decides which of the first ones leaves first.

    Returns:
        `size` frame numbers, the next to leave first; frames repeat where `order` is shorter than `size`.
    """
    n = len(order)
    first = [order[(size - 1 - i) % n] for i in range(size)]
    later = [order[(t + size - 1) % n] for t in range(max(1, step - size + 1), step + 1)]
    return (first + later)[len(first) + len(later) - size :] if step < size else later


class Reservoir:
    """A uniform random sample of a stream's frames so far (Vitter 1985, algorithm R), seeded."""

    def __init__(self, *, size: int, seed: int) -> None:
        self.indexes: list[int] = []
        self._size = size
        self._rng = np.random.default_rng(seed)

    def push(self, index: int) -> None:
        """Offer the stream's next frame; `index` counts the frames from 0."""
        if len(self.indexes) < self._size:
            self.indexes.append(index)
        elif (place := int(self._rng.integers(index + 1))) < self._size:
            self.indexes[place] = index
