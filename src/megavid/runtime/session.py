"""A session: one video that goes through a detector frame by frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic

import torch

from megavid.core.detections import FrameResult
from megavid.core.errors import InputError
from megavid.core.frames import Frame, FrameSource, Image
from megavid.core.ranges import MOST_SEED, MOST_STRIDE, check_range
from megavid.linking.linker_config import LinkerConfig
from megavid.linking.linkers import as_linker
from megavid.models.base.features import FeaturesT
from megavid.models.base.requests import MemoryT
from megavid.models.base.video_detector import VideoDetector
from megavid.runtime.batch_runner import BatchRunner, PendingBatch
from megavid.runtime.result_queue import Place, ResultQueue
from megavid.runtime.video_state import StateOptions, Step, VideoState
from megavid.runtime.warm_up import warm_up_frames
from megavid.video.decode import DEFAULT_RATE

_LARGEST_STORE = 1 << 60
"""Upper limit of `store_bytes`, which is more memory than any machine has."""


@dataclass(frozen=True, eq=False)
class PendingResults:
    """Results of a session that a GPU may still be computing.

    Attributes:
        batch: The results of a batch with this session only.
        place: Their place among all results of the session.
    """

    batch: PendingBatch
    place: Place

    def wait(self) -> list[FrameResult]:
        """Wait until the results are computed, link them, and return those that are ready.

        Raises:
            ValueError: The session has a linker, and the results that were submitted before are still to be
                waited for, or these were waited for already.
        """
        [results] = self.batch.wait()
        return self.place.pass_on(results)


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
            `Frame` is its index in `source` times `every`.
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
        every: Distance from one pushed frame to the next in the video: frame i of `source` is frame
            i * every of the video, which is the number of its `Frame` and of its result.
        link: Linker of the results: its name, or its settings from `linker_config`. The detector runs with
            the linker's lowest score as its threshold, and `score_threshold` applies to the linked results;
            None then keeps all of them. The linker's look-ahead adds to the detector's; the results of a
            linker that needs the whole video come from `flush`.
        start: Number in `source` of the first frame that will be pushed, to detect in a part of a video
            (`runtime.detect_segment`). If it is above 0, the first `warm_up` frames yield no results; those
            of the others are the same as if all frames of the video had been pushed. Needs `source`, and no
            linker, which has to see the whole video.

    Attributes:
        detector: The detector.
        look_ahead: Number of frames by which a result comes later than its frame; None if the linker needs
            the whole video.
        start: Number in the source of the first frame to push.
        every: Distance from one pushed frame to the next in the video.
        warm_up: Number of frames that are pushed before the first one with a result.
        state: State of the video, which a `SessionGroup` uses.
        queue: Linker of the results, which a `SessionGroup` uses.

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
        every: int = 1,
        link: LinkerConfig | str | None = None,
        start: int = 0,
    ) -> None:
        check_range("seed", seed, least=0, most=MOST_SEED)
        check_range("every", every, least=1, most=MOST_STRIDE)
        check_range("store_bytes", store_bytes, least=0, most=_LARGEST_STORE)
        if fps is not None and not 0 < fps < math.inf:
            raise InputError(f"fps: expected a positive number, got {fps}")
        if global_order is not None and source is None:
            raise InputError("global_order: needs source, the whole video, for random access")
        _check_start(start, source, link)
        _check_weights(detector)
        plan = detector.plan.causal() if causal else detector.plan
        linker, threshold = as_linker(link), _check_threshold(score_threshold)
        self.warm_up = warm_up_frames(detector, plan) if start else 0
        options = StateOptions(
            source=source,
            global_order=global_order,
            seed=seed,
            score_threshold=threshold if linker is None else linker.min_score,
            official_quirks=official_quirks,
            fps=fps or float(DEFAULT_RATE),
            store_bytes=store_bytes,
            every=every,
            start=start,
            warm_up=self.warm_up,
        )
        self.detector = detector
        self.start, self.every = start, every
        self.queue = ResultQueue(linker, threshold)
        late = self.queue.look_ahead
        self.look_ahead = None if late is None else plan.future + late
        self.state: VideoState[FeaturesT, MemoryT] = VideoState(plan, detector.initial_memory(), options)
        self._runner = BatchRunner(detector)
        self._batch_size = 1

    def push(self, frame: Image | Frame) -> list[FrameResult]:
        """Push the next frame of the video.

        Args:
            frame: RGB uint8 (H, W, 3), or a `Frame` with its own number and time.

        Returns:
            The result that became ready, if any.

        Raises:
            InputError: The frame is not an RGB image or differs in size from those before it, or its number
                is not higher than theirs.
        """
        return self.push_batch([frame])

    def push_batch(self, frames: Sequence[Image | Frame]) -> list[FrameResult]:
        """Push several frames, which go through the network together; the results are those of `push`.

        On a GPU, the largest push so far sets the size of all later batches: smaller pushes are filled up.

        Raises:
            InputError: As in `push`; in that case, none of the frames was pushed.
        """
        return self.submit(frames).wait()

    def submit(self, frames: Sequence[Image | Frame]) -> PendingResults:
        """Push several frames like `push_batch`, but do not wait for a GPU to compute the results.

        The next frames can be pushed before the results are waited for. The frames' arrays may be reused as
        soon as this returns.

        Raises:
            InputError: As in `push_batch`.
        """
        return self._submit(self.state.plan(frames, ended=False))

    def flush(self) -> list[FrameResult]:
        """End the video and return the remaining results. No frame can be pushed afterwards."""
        return self.submit_end().wait()

    def submit_end(self) -> PendingResults:
        """End the video like `flush`, but do not wait for a GPU to compute the results."""
        return self._submit(self.state.plan([], ended=True))

    def _submit(self, step: Step[FeaturesT]) -> PendingResults:
        self._batch_size = max(self._batch_size, len(step.frames))
        batch = self._runner.submit([(self.state, step)], batch_size=self._batch_size)
        return PendingResults(batch, self.queue.reserve(ended=step.ended))


def _check_start(start: int, source: FrameSource | None, link: LinkerConfig | str | None) -> None:
    if not start:
        return
    if source is None:
        raise InputError("start: needs source, the whole video, for random access")
    check_range("start", start, least=0, most=len(source) - 1)
    if link is not None:
        raise InputError(
            f"link: expected no linker in a session that starts within the video (start: {start}); link the "
            "results of the whole video"
        )


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
