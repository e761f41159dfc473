"""A session: one video that goes through a detector frame by frame."""

from __future__ import annotations

import math
import operator
from collections import deque
from collections.abc import Sequence
from typing import Generic

import numpy as np
import torch

from megavid.core.detections import FrameResult
from megavid.core.errors import InputError
from megavid.core.frames import Frame, FrameSource, Image, check_image
from megavid.core.profiling import profile_range
from megavid.core.ranges import MOST_SEED, check_range
from megavid.core.reference_plans import Reservoir, global_indexes, global_order, window_indexes
from megavid.models.base.features import FeaturesT, Window
from megavid.models.base.requests import MemoryT
from megavid.models.base.video_detector import VideoDetector
from megavid.runtime.global_images import GlobalImages
from megavid.runtime.store import FrameStore
from megavid.video.decode import DEFAULT_RATE

_LARGEST_STORE = 1 << 60
"""Upper limit of `store_bytes`, which is more memory than any machine has."""


class VideoSession(Generic[FeaturesT, MemoryT]):
    """Detection in one video that is pushed frame by frame.

    The session owns the state and the detector has none, so several sessions of one detector run side by
    side. The result of a frame may depend on later frames, so it is returned `look_ahead` frames later. Every
    frame is encoded once, unless the store of encoded frames had to drop it. With the default order of global
    frames, that never happens.

    Global frames, for methods that use them, come from the frames pushed so far (a seeded uniform
    sample), or with `source` from the whole video, in a seeded random order
    (`core.reference_plans.global_order`).

    Args:
        detector: Detector, as `load_detector` returns it.
        source: The whole video for random access: the same frames that will be pushed. The number of a pushed
            `Frame` is its index in `source`.
        causal: Detect without look-ahead. With `source`, global frames still come from the whole video.
        global_order: Frame numbers in the order in which they become global frames, in place of a seeded
            order. Needs `source`.
        seed: Seed for the choice of global frames.
        score_threshold: Detections have a score above this; None for the configured threshold.
        official_quirks: Reproduce the original release's defect at the start of a video: the image of the
            first frame of the global order takes the place of frame 0. Needs `source` if the method has
            global frames.
        fps: Frames per second, for the times of frames pushed as plain arrays; 25 by default.
        store_bytes: Memory for encoded frames that may be needed again as global frames.

    Attributes:
        look_ahead: Number of frames by which a result comes later than its frame.

    Examples:
        >>> session = VideoSession(detector)
        >>> for frame in frames:
        ...     for result in session.push(frame):
        ...         print(result.index, len(result.detections))
        >>> rest = session.flush()
    """

    def __init__(
        self,
        detector: VideoDetector[FeaturesT, MemoryT],
        *,
        source: FrameSource | None = None,
        causal: bool = False,
        global_order: Sequence[int] | None = None,
        seed: int = 0,
        score_threshold: float | None = None,
        official_quirks: bool = False,
        fps: float | None = None,
        store_bytes: int = 256 << 20,
    ) -> None:
        check_range("seed", seed, least=0, most=MOST_SEED)
        check_range("store_bytes", store_bytes, least=0, most=_LARGEST_STORE)
        if fps is not None and not 0 < fps < math.inf:
            raise InputError(f"fps: expected a positive number, got {fps}")
        _check_weights(detector)
        self._detector = detector
        self._score_threshold = _check_threshold(score_threshold)
        self._plan = detector.plan.causal() if causal else detector.plan
        self.look_ahead = self._plan.future
        self._source = source
        self._order = self._global_order(global_order, seed)
        self._turns = frozenset(self._order or ())  # frames that become global frames
        self._images: GlobalImages | None = None
        if self._order is not None and source is not None:
            self._images = GlobalImages(source, self._order, size=self._plan.global_frames)
        self._quirks = official_quirks and self._plan.global_frames > 0
        if self._quirks and self._order is None:
            raise InputError("official_quirks: needs source, the whole video, for random access")
        self._reservoir = Reservoir(size=self._plan.global_frames, seed=seed)
        self._fps = fps or float(DEFAULT_RATE)
        self._memory = detector.initial_memory()
        self._store: FrameStore[FeaturesT] = FrameStore(budget=store_bytes if self._order else 0)
        self._frame_size: tuple[int, int] | None = None
        self._last_index = -1  # number of the newest pushed frame
        self._waiting: deque[tuple[int, float]] = deque()  # numbers and times of key frames to come
        self._local: dict[int, FeaturesT] = {}  # features of the window's frames, by position in the video
        self._global: dict[int, FeaturesT] = {}  # features of the global frames
        self._pushed = 0
        self._steps = 0
        self._finished = False

    def push(self, frame: Image | Frame) -> list[FrameResult]:
        """Push the next frame of the video.

        Args:
            frame: RGB uint8 (H, W, 3), or a `Frame` with its own number and time.

        Returns:
            The result that became ready, if any, as a list of one or none.

        Raises:
            InputError: The frame is not an RGB image or differs in size from those before it, or its number
                is not higher than theirs.
        """
        return self.push_batch([frame])

    @torch.no_grad()
    def push_batch(self, frames: Sequence[Image | Frame]) -> list[FrameResult]:
        """Push several frames, which go through the network together; the results are those of `push`.

        Raises:
            InputError: As in `push`; in that case, none of the frames was pushed.
        """
        if self._finished:
            raise ValueError("the session was flushed; a new video needs a new VideoSession")
        batch = self._checked(frames)
        if batch:
            self._last_index = batch[-1].index
            self._frame_size = batch[0].image.shape[:2]
        encoded = self._encode_missing({frame.index: frame.image for frame in batch})
        results = []
        for frame in batch:
            place = self._pushed
            self._pushed += 1
            self._local[place] = self._stand_in() if self._quirks and place == 0 else encoded[frame.index]
            self._waiting.append((frame.index, frame.time))
            self._sample_global(place)
            if self._pushed > self._steps + self._plan.future:
                results.append(self._detect())
        return results

    @torch.no_grad()
    def flush(self) -> list[FrameResult]:
        """End the video and return the remaining results. No frame can be pushed afterwards."""
        self._finished = True
        return [self._detect() for _ in range(len(self._waiting))]

    def _global_order(self, given: Sequence[int] | None, seed: int) -> list[int] | None:
        """Return the order of global frames; None if they are sampled from pushed frames, or not used."""
        if given is not None and self._source is None:
            raise InputError("global_order: needs source, the whole video, for random access")
        if self._source is None or self._plan.global_frames == 0:
            return None
        length = len(self._source)
        if given is None:
            return global_order(length, seed) or None
        try:
            order = [operator.index(index) for index in given]
        except TypeError as error:
            raise InputError(f"global_order: expected frame numbers: {error}") from error
        if not order:
            raise InputError("global_order: expected at least one frame number, got none")
        if wrong := [i for i in order if not 0 <= i < length]:
            raise InputError(f"global_order: expected frame numbers from 0 to {length - 1}, got {wrong[0]}")
        return order

    def _checked(self, frames: Sequence[Image | Frame]) -> list[Frame]:
        """Check all frames before any is pushed, and number those that are plain arrays."""
        batch: list[Frame] = []
        last, size = self._last_index, self._frame_size
        for place, item in enumerate(frames, self._pushed):
            frame = item
            if not isinstance(frame, Frame):
                frame = Frame(index=place, time=place / self._fps, image=frame)
            name = f"frame {frame.index}"
            size = _check_size(frame.image, size, name=name)
            if frame.index <= last:
                raise InputError(f"{name}: expected a number above {last}, that of the frame before it")
            if self._source is not None and frame.index >= len(self._source):
                raise InputError(f"{name}: the source has only {len(self._source)} frames")
            last = frame.index
            batch.append(frame)
        return batch

    def _encode_missing(self, images: dict[int, Image]) -> dict[int, FeaturesT]:
        """Return features by frame number, encoding the frames that are not in the store as one batch."""
        found = {index: self._store.get(index) for index in images}
        missing = [index for index, features in found.items() if features is None]
        if missing:
            with profile_range("input"):
                frames = torch.from_numpy(np.stack([images[index] for index in missing]))
                if self._detector.device.type == "cuda":
                    frames = frames.pin_memory()
                inputs = self._detector.preprocess(frames.to(self._detector.device, non_blocking=True))
            with self._detector.precision():
                encoded = self._detector.encode(inputs)
            for index, features in zip(missing, encoded, strict=True):
                found[index] = features
                if index in self._turns:
                    self._store.put(index, features)
        return {index: features for index, features in found.items() if features is not None}

    def _encode_from_source(self, index: int) -> FeaturesT:
        """Return the features of any frame of the whole video."""
        stored = self._store.get(index)
        if stored is not None:
            return stored
        assert self._images is not None
        assert self._frame_size is not None
        image = self._images.read(
            index,
            step=self._steps,
            pushed=self._pushed,
            image_bytes=3 * self._frame_size[0] * self._frame_size[1],
            is_known=self._store.__contains__,
        )
        _check_size(image, self._frame_size, name=f"source[{index}]")
        return self._encode_missing({index: image})[index]

    def _stand_in(self) -> FeaturesT:
        """Return the features that the original release mistakes for those of frame 0 (`official_quirks`)."""
        assert self._order is not None
        return self._encode_from_source(self._order[0])

    def _sample_global(self, place: int) -> None:
        """Offer a pushed frame to the sample of global frames, if there is no whole video to choose from."""
        if self._order is None and self._plan.global_frames > 0:
            self._reservoir.push(place)
            known = self._global | {place: self._local[place]}
            self._global = {i: known[i] for i in self._reservoir.indexes}

    def _global_frames(self) -> list[FeaturesT]:
        """Return the global frames of the next key frame."""
        if self._order is None:
            return list(self._global.values())
        indexes = global_indexes(self._order, self._steps, self._plan.global_frames)
        known = self._global
        self._global = {i: known[i] if i in known else self._encode_from_source(i) for i in indexes}
        return [self._global[i] for i in indexes]

    def _detect(self) -> FrameResult:
        """Detect in the next key frame."""
        assert self._frame_size is not None
        key = self._steps
        window = Window(
            step=key,
            key=self._local[key],
            local=[self._local[i] for i in window_indexes(self._plan, key, self._pushed)],
            global_frames=self._global_frames(),
            frame_size=self._frame_size,
        )
        with self._detector.precision(), profile_range("aggregation"):
            found, self._memory = self._detector.detect(
                window, self._memory, score_threshold=self._score_threshold
            )
        self._steps += 1
        self._local = {i: f for i, f in self._local.items() if i >= self._steps - self._plan.past}
        index, time = self._waiting.popleft()
        return FrameResult(index, time, found.cpu())


def _check_size(image: Image, size: tuple[int, int] | None, *, name: str) -> tuple[int, int]:
    """Return (height, width) of an image, which has to equal the size of the frames before it."""
    height, width = check_image(image, name=name).shape[:2]
    if size is not None and (height, width) != size:
        raise InputError(
            f"{name}: expected the size of the frames before it, {size[1]}x{size[0]}, got {width}x{height}"
        )
    return height, width


def _check_weights(detector: VideoDetector) -> None:
    """Check that a detector's weights are loaded, and are in float32 if it computes in float32."""
    weights = [weight for weight in detector.parameters() if weight.is_floating_point()]
    dtypes = {weight.dtype for weight in weights} if detector.inference.dtype == "float32" else set()
    on_meta = any(weight.is_meta for weight in weights)
    if on_meta or dtypes - {torch.float32}:
        other = ", ".join(sorted(str(dtype).split(".")[1] for dtype in dtypes - {torch.float32}))
        got = "none (they are on the meta device)" if on_meta else other
        raise InputError(
            f"detector: expected weights in float32, got {got}; for half precision load it with "
            'inference=Inference(dtype="bfloat16") or "float16"'
        )


def _check_threshold(score_threshold: float | None) -> float | None:
    if score_threshold is not None and not 0 <= score_threshold < 1:
        raise InputError(f"score_threshold: expected a number from 0 to below 1, got {score_threshold}")
    return score_threshold
