"""Reference plans: which frames a method uses besides the key frame, and how their numbers are computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class ReferencePlan:
    """The frames that a method needs to detect key frame t at test time.

    Attributes:
        past: Number of frames before t in the local window.
        future: Number of frames after t in the local window, which is the look-ahead.
        global_frames: Number of global frames, which come from anywhere in the video (MEGA, section 3.2).
        memory: Number of frames that are kept after they have left the local window (MEGA, section 3.3).
        reach: Number of key frames before t on which the memory at t may depend: 0 if it changes no result,
            and more than `memory` if what is remembered depends on earlier memories. None if the method does
            not say; a video is then not detected in parts, unless there is no memory at all.
    """

    past: int = 0
    future: int = 0
    global_frames: int = 0
    memory: int = 0
    reach: int | None = None

    def causal(self) -> ReferencePlan:
        """Return the plan without look-ahead."""
        return replace(self, future=0)

    @property
    def warm_up(self) -> int | None:
        """Number of frames before a key frame on which its result may depend, without the global frames.

        That is past + reach: the window of the first key frame on which the memory depends begins there.
        """
        return None if self.reach is None else self.past + self.reach


@dataclass(frozen=True, kw_only=True)
class ReferenceGroup:
    """Reference frames of a training clip that are drawn from the same range.

    Attributes:
        name: Name of the group in the method.
        count: Number of frames.
        low: Smallest offset from the center, inclusive.
        high: Largest offset from the center, inclusive.
        center: Offset of the center from the key frame; with 0, the key frame is the center.
        anywhere: Whether the frames are drawn from the whole video, and not from the range of offsets.
    """

    name: str
    count: int
    low: int = 0
    high: int = 0
    center: int = 0
    anywhere: bool = False


@dataclass(frozen=True)
class TrainingPlan:
    """The reference frames that a method uses in training."""

    groups: tuple[ReferenceGroup, ...] = ()


def training_indexes(
    plan: TrainingPlan, key: int, length: int, rng: np.random.Generator
) -> dict[str, tuple[int, ...]]:
    """Draw the reference frames of a key frame for each group of the plan.

    Offsets are drawn without replacement, unless their range has fewer than the group needs. Frame numbers
    before or after the video are replaced by its first or last frame, so a frame may be drawn several times
    near the ends of the video.

    Args:
        plan: The groups to draw.
        key: Number of the key frame.
        length: Number of frames of the video.
        rng: Source of random numbers.

    Returns:
        The frame numbers of each group, by the group's name, in the order in which they were drawn.
    """
    drawn = {}
    for group in plan.groups:
        if group.anywhere:
            choice = np.arange(length)
        else:
            choice = np.clip(key + group.center + np.arange(group.low, group.high + 1), 0, length - 1)
        frames = rng.choice(choice, group.count, replace=group.count > len(choice))
        drawn[group.name] = tuple(int(frame) for frame in frames)
    return drawn


def window_indexes(plan: ReferencePlan, key: int, length: int) -> list[int]:
    """Return the frame numbers of a key frame's local window, oldest first.

    Frames before or after the video are replaced by its first or last frame, so that the window always has
    past + 1 + future frames.
    """
    return [min(max(key + offset, 0), length - 1) for offset in range(-plan.past, plan.future + 1)]


GLOBAL_POOL = 64
"""Maximum number of frames of a video that are used as global frames."""


def global_order(length: int, seed: int) -> list[int]:
    """Choose frames of a video as global frames, in a random order that depends on the seed.

    At most `GLOBAL_POOL` frames are chosen, so that the features of all of them can be kept in memory. For
    each single key frame, the global frames are as random as if they were chosen from the whole video.
    """
    return [int(i) for i in np.random.default_rng(seed).permutation(length)[:GLOBAL_POOL]]


def global_indexes(order: Sequence[int], step: int, size: int) -> list[int]:
    """Return the global frames of the key frame at index `step` of a video.

    The global frames are a queue of `size` frames. Before the first key frame, the queue is filled with the
    first frames of `order`, from order[size - 1] down to order[0]; the original release uses this backward
    order, too. Each later step t pushes order[(t + size - 1) mod len(order)].

    Returns:
        `size` frame numbers in the order in which they leave the queue. If `order` has fewer than `size`
        frames, numbers repeat.
    """
    n = len(order)
    first = [order[(size - 1 - i) % n] for i in range(size)]
    later = [order[(t + size - 1) % n] for t in range(max(1, step - size + 1), step + 1)]
    return (first + later)[len(first) + len(later) - size :] if step < size else later


class Reservoir:
    """A uniform random sample of all frames that were pushed so far (Vitter 1985, algorithm R)."""

    def __init__(self, *, size: int, seed: int) -> None:
        self.indexes: list[int] = []
        self._size = size
        self._rng = np.random.default_rng(seed)

    def push(self, index: int) -> None:
        """Process the next frame, whose number is `index`; the frame may enter the sample."""
        if len(self.indexes) < self._size:
            self.indexes.append(index)
        elif (place := int(self._rng.integers(index + 1))) < self._size:
            self.indexes[place] = index
