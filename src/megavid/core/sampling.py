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
    """

    past: int = 0
    future: int = 0
    global_frames: int = 0

    def causal(self) -> ReferencePlan:
        """The same without look-ahead."""
        return replace(self, future=0)


def window_indexes(plan: ReferencePlan, key: int, length: int) -> list[int]:
    """The local window of a key frame, oldest first, clamped to the video.

    Places outside the video repeat its first or last frame, so the window always has
    past + 1 + future places.
    """
    return [min(max(key + offset, 0), length - 1) for offset in range(-plan.past, plan.future + 1)]


def global_order(length: int, seed: int) -> list[int]:
    """A seeded random order of all frames of a video, for its global frames."""
    return [int(i) for i in np.random.default_rng(seed).permutation(length)]


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
