"""The state of a video that a detector processes: which features it needs, and which it has."""

from __future__ import annotations

import operator
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic

from megavid.core.errors import InputError
from megavid.core.frames import Frame, FrameSource, Image, check_image
from megavid.core.reference_plans import (
    ReferencePlan,
    Reservoir,
    global_indexes,
    global_order,
    window_indexes,
)
from megavid.models.base.features import FeaturesT, Window
from megavid.models.base.requests import KeyFrames, MemoryT
from megavid.runtime.global_images import GlobalImages
from megavid.runtime.store import FrameStore


@dataclass(frozen=True, kw_only=True)
class StateOptions:
    """Options of a video's state; see `VideoSession`."""

    source: FrameSource | None
    global_order: Sequence[int] | None
    seed: int
    score_threshold: float | None
    official_quirks: bool
    fps: float
    store_bytes: int
    every: int
    start: int
    warm_up: int


@dataclass(frozen=True, eq=False)
class Step(Generic[FeaturesT]):
    """Pushed frames, and what the key frames need that they complete.

    Attributes:
        frames: The pushed frames. Here and below, frames have their numbers in the source, which are those in
            the video divided by `StateOptions.every`.
        ended: Whether the video ends after them, which completes all remaining key frames.
        frame_size: (height, width) of the video's frames, pixels; None if there are no frames yet.
        known: Features from the store, by frame number.
        pushed: Images of pushed frames to encode, by frame number.
        others: Images to encode of frames that take turns as global frames, pushed or not, by frame number.
    """

    frames: Sequence[Frame]
    ended: bool
    frame_size: tuple[int, int] | None
    known: Mapping[int, FeaturesT]
    pushed: Mapping[int, Image]
    others: Mapping[int, Image]


@dataclass(frozen=True, eq=False)
class Request(Generic[FeaturesT, MemoryT]):
    """Key frames that a detector can process, with their numbers and times.

    Attributes:
        key_frames: The detector's part of the request.
        frames: Number in the video and time in seconds of each key frame; None for a key frame that only
            prepares the memory for later ones.
    """

    key_frames: KeyFrames[FeaturesT, MemoryT]
    frames: Sequence[tuple[int, float] | None]


NO_REACH = "a method with a memory has to state in its plan how far it reaches, to start within a video"
"""Why a session does not start within a video."""


class VideoState(Generic[FeaturesT, MemoryT]):
    """Features of a video's frames, the frames that wait for a result, and the detector's memory.

    Pushing frames takes three calls: `plan` says what must be encoded, `feed` takes the features and returns
    the key frames to detect in, and `keep` is given the memory that the detector returns. An error in `plan`
    leaves the state unchanged. After an error in the detector, the memory is not that of the last key frame,
    and `failed` has to be set.

    Args:
        plan: Frames that the detector needs.
        memory: The detector's initial memory.
        options: Options of the session.

    Attributes:
        memory: Memory for the next key frame.
        ended: Whether the video has ended.
        failed: Whether the detector failed in a key frame, so that later ones would be wrong.
        has_source: Whether the whole video is available.
        newest_key: Number in the source of the newest key frame; -1 before the first one.
    """

    def __init__(self, plan: ReferencePlan, memory: MemoryT, options: StateOptions) -> None:
        self.memory = memory
        self.ended = False
        self.failed = False
        self.has_source = options.source is not None
        self.newest_key = -1
        self._plan = plan
        self._fps = options.fps
        self._every = options.every
        self._score_threshold = options.score_threshold
        self._length = None if options.source is None else len(options.source)
        self._order = _checked_order(options, self._length) if plan.global_frames > 0 else None
        self._turns = frozenset(self._order or ())  # frames that become global frames
        self._images: GlobalImages | None = None
        if self._order is not None and options.source is not None:
            self._images = GlobalImages(
                options.source, self._order, size=plan.global_frames, start=options.start
            )
        self._start = options.start
        self._warm_up = options.warm_up
        # Within a video, the window of the first key frame begins with the first pushed frame.
        self._first_key = plan.past if options.start else 0
        self._quirks = options.official_quirks and plan.global_frames > 0
        if self._quirks and self._order is None:
            raise InputError("official_quirks: needs source, the whole video, for random access")
        self._reservoir = Reservoir(size=plan.global_frames, seed=options.seed)
        self._store: FrameStore[FeaturesT] = FrameStore(budget=options.store_bytes if self._order else 0)
        self._frame_size: tuple[int, int] | None = None
        self._last_index = options.start - 1  # number of the newest pushed frame
        self._waiting: deque[tuple[int, float]] = deque()  # numbers and times of key frames to come
        self._local: dict[int, FeaturesT] = {}  # features of the window's frames, by position in the video
        self._global: dict[int, FeaturesT] = {}  # features of the global frames
        self._pushed = 0
        self._steps = self._first_key

    def plan(self, frames: Sequence[Image | Frame], *, ended: bool) -> Step[FeaturesT]:
        """Check the next frames, and find out what must be encoded for the key frames that they complete.

        Raises:
            InputError: A frame is not an RGB image or differs in size from those before it, or its number is
                not higher than theirs; or a global frame cannot be read.
        """
        if self.failed:
            raise ValueError("the session failed in an earlier frame; push the video to a new VideoSession")
        if self.ended and not ended:
            raise ValueError("the session was flushed; a new video needs a new VideoSession")
        batch = self._checked(frames)
        size = (batch[0].image.shape[0], batch[0].image.shape[1]) if batch else self._frame_size
        stored = {frame.index: self._store.get(frame.index) for frame in batch}
        known = {index: features for index, features in stored.items() if features is not None}
        missing = {frame.index: frame.image for frame in batch if stored[frame.index] is None}
        others = {index: missing.pop(index) for index in list(missing) if index in self._turns}
        for index, step in self._wanted(batch, ended=ended):
            if index in known or index in missing or index in others or index in self._global:
                continue
            if (features := self._store.get(index)) is not None:
                known[index] = features
            else:
                assert size is not None
                newest = batch[-1].index if batch else self._last_index
                pushed = min(step + self._plan.future, newest) + 1
                has = known.keys() | missing.keys() | others.keys()
                others[index] = self._read(index, step=step, pushed=pushed, size=size, known=has)
        return Step(batch, ended, size, known, missing, others)

    def feed(self, step: Step[FeaturesT], encoded: Mapping[int, FeaturesT]) -> Request[FeaturesT, MemoryT]:
        """Push the frames of a step, and return the key frames that they complete.

        Args:
            step: Result of `plan`.
            encoded: Features of the images that the step asked for, by frame number.
        """
        self.ended = step.ended
        self._frame_size = step.frame_size
        for index, features in encoded.items():
            if index in self._turns:
                self._store.put(index, features)
        available = {**self._global, **step.known, **encoded}
        windows: list[Window[FeaturesT]] = []
        done: list[tuple[int, float] | None] = []

        def complete() -> None:
            number, time = self._waiting.popleft()
            done.append(None if self._steps < self._warm_up else (number * self._every, time))
            windows.append(self._window(available, number))

        for frame in step.frames:
            place = self._pushed
            self._pushed += 1
            self._last_index = frame.index
            self._local[place] = available[self._origin(place, frame.index)]
            if place >= self._first_key:
                self._waiting.append((frame.index, frame.time))
            self._sample_global(place)
            if self._pushed > self._steps + self._plan.future:
                complete()
        while step.ended and self._steps < self._pushed:
            complete()
        return Request(KeyFrames(windows, self.memory, self._score_threshold), done)

    def keep(self, memory: MemoryT) -> None:
        """Keep the memory for the next key frame.

        Raises:
            InputError: The session starts within a video, and the method does not say how far its memory
                reaches.
        """
        if self._start and self._plan.reach is None and memory is not None:
            self.failed = True
            raise InputError(f"start: expected 0, got {self._start}: {NO_REACH}")
        self.memory = memory

    def _checked(self, frames: Sequence[Image | Frame]) -> list[Frame]:
        """Check all frames before any is pushed, and return them with their numbers in the source."""
        batch: list[Frame] = []
        last, size, every = self._last_index, self._frame_size, self._every
        for place, item in enumerate(frames, self._pushed):
            frame = item
            if not isinstance(frame, Frame):
                number = self._start + place
                frame = Frame(index=number * every, time=number / self._fps, image=frame)
            name = f"frame {frame.index}"
            size = _check_size(frame.image, size, name=name)
            number, rest = divmod(frame.index, every)
            if rest:
                raise InputError(f"{name}: expected a multiple of {every}, as every is {every}")
            if number < self._start:
                raise InputError(f"{name}: expected a number from {self._start * every} on, as start says")
            if number <= last:
                raise InputError(
                    f"{name}: expected a number above {last * every}, that of the frame before it"
                )
            if self._length is not None and number >= self._length:
                raise InputError(f"{name}: the source has only {self._length} frames")
            last = number
            batch.append(replace(frame, index=number))
        return batch

    def _wanted(self, batch: Sequence[Frame], *, ended: bool) -> Iterable[tuple[int, int]]:
        """Yield the frames of a whole video that the key frames need which a batch completes.

        Each comes with the number of its key frame.
        """
        if self._order is None:
            return
        if batch and self._has_quirk(self._pushed):
            yield self._order[0], 0
        numbers = [number for number, _ in self._waiting]
        numbers += [frame.index for frame in batch[max(self._first_key - self._pushed, 0) :]]
        for step in numbers if ended else numbers[: max(len(numbers) - self._plan.future, 0)]:
            for index in global_indexes(self._order, step, self._plan.global_frames):
                yield index, step

    def _read(
        self, index: int, *, step: int, pushed: int, size: tuple[int, int], known: frozenset[int] | set[int]
    ) -> Image:
        assert self._images is not None
        image = self._images.read(
            index,
            step=step,
            pushed=pushed,
            image_bytes=3 * size[0] * size[1],
            is_known=lambda number: number in self._store or number in known,
        )
        _check_size(image, size, name=f"source[{index}]")
        return image

    def _origin(self, place: int, index: int) -> int:
        """Return the number of the frame whose features the frame at `place` has.

        That is its own, unless the original release mistakes another frame for the first (`official_quirks`).
        """
        if self._has_quirk(place):
            assert self._order is not None
            return self._order[0]
        return index

    def _has_quirk(self, place: int) -> bool:
        return self._quirks and place == 0 and self._start == 0

    def _sample_global(self, place: int) -> None:
        """Offer a pushed frame to the sample of global frames, if there is no whole video to choose from."""
        if self._order is None and self._plan.global_frames > 0:
            self._reservoir.push(place)
            known = self._global | {place: self._local[place]}
            self._global = {i: known[i] for i in self._reservoir.indexes}

    def _global_frames(self, available: Mapping[int, FeaturesT], step: int) -> list[FeaturesT]:
        """Return the global frames of key frame `step`."""
        if self._order is None:
            return list(self._global.values())
        indexes = global_indexes(self._order, step, self._plan.global_frames)
        self._global = {i: self._global.get(i, available[i]) for i in indexes}
        return [self._global[i] for i in indexes]

    def _window(self, available: Mapping[int, FeaturesT], number: int) -> Window[FeaturesT]:
        """Return the window of the next key frame, which has `number` in the source."""
        assert self._frame_size is not None
        key = self._steps
        # In a whole video, lost frames count, so that what comes later does not depend on them.
        step = number if self.has_source else key
        window = Window(
            step=step,
            key=self._local[key],
            local=[self._local[i] for i in window_indexes(self._plan, key, self._pushed)],
            global_frames=self._global_frames(available, step),
            frame_size=self._frame_size,
            frame=number * self._every,
            advance=number - self.newest_key if self.has_source and self.newest_key >= 0 else 1,
        )
        self.newest_key = number
        self._steps += 1
        self._local = {i: f for i, f in self._local.items() if i >= self._steps - self._plan.past}
        return window


def _checked_order(options: StateOptions, length: int | None) -> list[int] | None:
    """Return the order of global frames; None if they are sampled from pushed frames."""
    if length is None:
        return None
    if options.global_order is None:
        return global_order(length, options.seed) or None
    try:
        order = [operator.index(index) for index in options.global_order]
    except TypeError as error:
        raise InputError(f"global_order: expected frame numbers: {error}") from error
    if not order:
        raise InputError("global_order: expected at least one frame number, got none")
    if wrong := [i for i in order if not 0 <= i < length]:
        raise InputError(f"global_order: expected frame numbers from 0 to {length - 1}, got {wrong[0]}")
    return order


def _check_size(image: Image, size: tuple[int, int] | None, *, name: str) -> tuple[int, int]:
    """Return (height, width) of an image, which has to equal the size of the frames before it."""
    height, width = check_image(image, name=name).shape[:2]
    if size is not None and (height, width) != size:
        raise InputError(
            f"{name}: expected the size of the frames before it, {size[1]}x{size[0]}, got {width}x{height}"
        )
    return height, width
