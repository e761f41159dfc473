"""One video on its way through a detector, frame by frame."""

from __future__ import annotations

import math
import operator
from collections import deque
from collections.abc import Sequence
from typing import Any, Generic

import torch

from megavid.core import box_ops
from megavid.core.detections import Detections, FrameResult
from megavid.core.errors import InputError
from megavid.core.frames import Frame, FrameSource, Image, check_image
from megavid.core.profiling import stage
from megavid.core.ranges import MOST_SEED, check_range
from megavid.core.reference_plans import Reservoir, global_indexes, global_order, window_indexes
from megavid.models.base.detector import FeaturesT, MemoryT, VideoDetector, Window
from megavid.models.faster_rcnn.roi_head import HeadConfig, Prediction, choose_detections
from megavid.runtime.global_images import GlobalImages
from megavid.runtime.store import FrameStore
from megavid.video.decode import DEFAULT_RATE

_LARGEST_STORE = 1 << 60
"""The most bytes of a store: more than any machine has."""


class VideoSession(Generic[FeaturesT, MemoryT]):
    """A video that is pushed frame by frame, with all that is remembered of it.

    The session owns the state and the detector none, so several sessions of one detector run side by
    side. Results come as soon as the frames they look ahead to have been pushed: `look_ahead` frames late.
    Every frame is encoded once, unless the store of encoded frames has had to drop it; in the default order
    of global frames it never has to.

    Global frames, for methods that use them, come from the frames pushed so far (a seeded uniform
    sample), or with `source` from the whole video, in a seeded random order
    (`core.reference_plans.global_order`).

    Args:
        detector: What `load_detector` gives.
        source: The whole video for random access, the same frames that will be pushed; the number of a
            pushed `Frame` is its place in it.
        causal: Detect without look-ahead. With `source`, global frames still come from the whole video.
        global_order: Frame numbers in the order in which they become global frames, instead of a seeded
            one. Needs `source`.
        seed: Of the choice of global frames.
        score_threshold: Lowest score of a detection, exclusive; None for the configured one.
        official_quirks: Reproduce the original release's defect at the start of a video: the image of the
            first frame of the global order stands in for frame 0. Needs `source` where the method has
            global frames.
        fps: Frames a second, for the times of frames pushed as plain arrays; 25 by default.
        store_bytes: Memory for encoded frames that may be needed again as global frames.

    Attributes:
        look_ahead: Frames by which results are late.

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
        self._head = _with_threshold(detector.config.head, score_threshold)
        self._plan = detector.plan.causal() if causal else detector.plan
        self.look_ahead = self._plan.future
        self._source = source
        self._order = self._global_order(global_order, seed)
        self._turns = frozenset(self._order or ())  # the frames that are global ones at some time
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
        self._last_index = -1  # the newest pushed frame's
        self._waiting: deque[tuple[int, float]] = deque()  # number and time of frames to be detected
        self._local: dict[int, FeaturesT] = {}  # the window's frames, by how many were pushed before
        self._global: dict[int, FeaturesT] = {}  # the global frames
        self._pushed = 0
        self._steps = 0
        self._finished = False

    def push(self, frame: Image | Frame) -> list[FrameResult]:
        """Give the session the video's next frame.

        Args:
            frame: RGB uint8 (H, W, 3), or a `Frame` with its own number and time.

        Returns:
            What has become ready, in frame order: no result or one.

        Raises:
            InputError: The frame is no RGB image, or has another size or no higher number than those before
                it.
        """
        return self.push_batch([frame])

    @torch.no_grad()
    def push_batch(self, frames: Sequence[Image | Frame]) -> list[FrameResult]:
        """Push several frames, which go through the network together; the results are those of `push`.

        Raises:
            InputError: As by `push`, before any of the frames is taken.
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
        """The video is over: the results still to come. Nothing can be pushed afterwards."""
        self._finished = True
        return [self._detect() for _ in range(len(self._waiting))]

    def _global_order(self, given: Sequence[int] | None, seed: int) -> list[int] | None:
        """The order of global frames; None where they are sampled from what was pushed, or not used."""
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
        """The frames, once all of them are known to fit; nothing is changed before."""
        batch: list[Frame] = []
        last, size = self._last_index, self._frame_size
        for place, item in enumerate(frames, self._pushed):
            frame = item
            if not isinstance(frame, Frame):
                frame = Frame(index=place, time=place / self._fps, image=frame)
            name = f"frame {frame.index}"
            size = _check_size(frame.image, size, name=name)
            if frame.index <= last:
                raise InputError(f"{name}: expected a number above {last}, the last one")
            if self._source is not None and frame.index >= len(self._source):
                raise InputError(f"{name}: the source has {len(self._source)} frames only")
            last = frame.index
            batch.append(frame)
        return batch

    def _encode_missing(self, images: dict[int, Image]) -> dict[int, FeaturesT]:
        """Features of frames by their number; those not in the store go through the network together."""
        found = {index: self._store.get(index) for index in images}
        missing = [index for index, features in found.items() if features is None]
        if missing:
            with stage("input"):
                inputs = torch.stack([self._detector.network_input(images[index]) for index in missing])
            if self._detector.device.type == "cuda":
                inputs = inputs.pin_memory()
            with self._detector.autocast():
                encoded = self._detector.encode(inputs.to(self._detector.device, non_blocking=True))
            for index, features in zip(missing, encoded, strict=True):
                found[index] = features
                if index in self._turns:
                    self._store.put(index, features)
        return {index: features for index, features in found.items() if features is not None}

    def _of_source(self, index: int) -> FeaturesT:
        """Features of any frame of the whole video."""
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
        """The original release's defect: what it takes for frame 0 (`official_quirks`)."""
        assert self._order is not None
        return self._of_source(self._order[0])

    def _sample_global(self, place: int) -> None:
        """Offer a pushed frame as a global one, where there is no whole video to take them from."""
        if self._order is None and self._plan.global_frames > 0:
            self._reservoir.push(place)
            known = self._global | {place: self._local[place]}
            self._global = {i: known[i] for i in self._reservoir.indexes}

    def _global_frames(self) -> list[FeaturesT]:
        """The global frames of the next key frame."""
        if self._order is None:
            return list(self._global.values())
        indexes = global_indexes(self._order, self._steps, self._plan.global_frames)
        known = self._global
        self._global = {i: known[i] if i in known else self._of_source(i) for i in indexes}
        return [self._global[i] for i in indexes]

    def _detect(self) -> FrameResult:
        """The next key frame's result."""
        key = self._steps
        window = Window(
            step=key,
            key=self._local[key],
            local=[self._local[i] for i in window_indexes(self._plan, key, self._pushed)],
            global_frames=self._global_frames(),
        )
        with self._detector.autocast(), stage("aggregation"):
            prediction, self._memory = self._detector.detect(window, self._memory)
        self._steps += 1
        self._local = {i: f for i, f in self._local.items() if i >= self._steps - self._plan.past}
        index, time = self._waiting.popleft()
        return FrameResult(index, time, self._detections(prediction))

    def _detections(self, prediction: Prediction) -> Detections:
        assert self._frame_size is not None
        with stage("choice"):
            # On the CPU: of few boxes, class by class, a GPU would be waited for again and again.
            found = choose_detections(prediction.cpu(), self._head, self._detector.class_names)
        boxes = box_ops.rescale(found.boxes, from_size=prediction.image_size, to_size=self._frame_size)
        return Detections(boxes, found.scores, found.labels, found.class_names)


def _check_size(image: Image, size: tuple[int, int] | None, *, name: str) -> tuple[int, int]:
    """The height and width of an image, which has to be one of the size before."""
    height, width = check_image(image, name=name).shape[:2]
    if size is not None and (height, width) != size:
        raise InputError(
            f"{name}: expected the size of the frames before it, {size[1]}x{size[0]}, got {width}x{height}"
        )
    return height, width


def _check_weights(detector: VideoDetector[Any, Any]) -> None:
    """Check that a detector was not converted to another type of numbers than it computes in."""
    weight = detector.predictor.scores.weight
    if weight.is_meta or (detector.inference.dtype == "float32" and weight.dtype != torch.float32):
        got = "none (they are on the device meta)" if weight.is_meta else str(weight.dtype).split(".")[1]
        raise InputError(
            f"detector: expected weights in float32, got {got}; for half precision load it with "
            'inference=Inference(dtype="bfloat16") or "float16"'
        )


def _with_threshold(head: HeadConfig, score_threshold: float | None) -> HeadConfig:
    if score_threshold is None:
        return head
    if not 0 <= score_threshold < 1:
        raise InputError(f"score_threshold: expected a number from 0 to below 1, got {score_threshold}")
    return head.model_copy(update={"score_threshold": score_threshold})
