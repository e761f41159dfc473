"""Which key frames are predicted together, and how their windows become arguments of a captured function."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Generic, TypeVar

from megavid.models.base.features import FeaturesT, Window

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Overlapping(Generic[T]):
    """Lists of the same length. If each one continues the one before, what they share is held once.

    Attributes:
        items: Items of all lists.
        count: Number of lists.
        length: Length of each list.
        shift: Number of items from the start of a list to the start of the next: 1 if each list lacks the
            first item of the one before and has one more at its end; otherwise `length`.
    """

    items: list[T]
    count: int
    length: int
    shift: int

    @classmethod
    def of(cls, lists: Sequence[Sequence[T]]) -> Overlapping[T]:
        """Hold one or more lists."""
        first, *later = lists
        continues = all(
            a is b for before, after in pairwise(lists) for a, b in zip(before[1:], after, strict=False)
        )
        shift = 1 if continues else len(first)
        items = [*first, *(item for items in later for item in items[len(first) - shift :])]
        return cls(items, len(lists), len(first), shift)

    def lists(self) -> list[list[T]]:
        """Return the lists."""
        starts = range(0, self.count * self.shift, self.shift) if self.length else [0] * self.count
        return [self.items[start : start + self.length] for start in starts]


@dataclass(frozen=True, eq=False)
class Run(Generic[FeaturesT]):
    """Windows of consecutive key frames of a video.

    Attributes:
        steps: Step of each window.
        local: Local window of each key frame.
        global_frames: Global frames of each key frame.
        frame_size: Frame size of the windows.
    """

    steps: tuple[int, ...]
    local: Overlapping[FeaturesT]
    global_frames: Overlapping[FeaturesT]
    frame_size: tuple[int, int]

    @classmethod
    def of(cls, windows: Sequence[Window[FeaturesT]]) -> Run[FeaturesT]:
        """Hold one or more windows of the same length and frame size."""
        return cls(
            tuple(window.step for window in windows),
            Overlapping.of([window.local for window in windows]),
            Overlapping.of([window.global_frames for window in windows]),
            windows[0].frame_size,
        )

    def windows(self, *, key: int) -> list[Window[FeaturesT]]:
        """Return the windows, whose key frames are in place `key` of their local windows."""
        places = zip(self.steps, self.local.lists(), self.global_frames.lists(), strict=True)
        return [Window(step, local[key], local, others, self.frame_size) for step, local, others in places]


@dataclass(frozen=True)
class Call:
    """Key frames that are predicted together.

    Attributes:
        videos: Indexes of videos.
        count: Number of consecutive key frames of each video.
    """

    videos: tuple[int, ...]
    count: int


def plan_calls(counts: Sequence[int], kinds: Sequence[Any], *, most: int) -> list[Call]:
    """Divide key frames into calls, so that few numbers of key frames occur and none is filled up.

    Args:
        counts: Number of consecutive key frames of each video.
        kinds: Kind of each video; videos of different kinds cannot be in one call.
        most: Most key frames of a call, a power of two.

    Returns:
        Calls in order, each with 1, 2, 4, ... or `most` key frames: first runs of one video, then the last
        key frames that remain of several videos.
    """
    calls, remaining = list[Call](), dict[Any, list[int]]()
    for video, (count, kind) in enumerate(zip(counts, kinds, strict=True)):
        runs = powers_of_two(count, most=most)
        if runs and runs[-1] == 1:
            runs.pop()
            remaining.setdefault(kind, []).append(video)
        calls += [Call((video,), run) for run in runs]
    for videos in remaining.values():
        start = 0
        for size in powers_of_two(len(videos), most=most):
            calls.append(Call(tuple(videos[start : start + size]), 1))
            start += size
    return calls


def powers_of_two(total: int, *, most: int) -> list[int]:
    """Divide a number into powers of two up to `most`, in descending order."""
    summands: list[int] = []
    while most:
        summands += [most] * (total // most)
        total, most = total % most, most // 2
    return summands
