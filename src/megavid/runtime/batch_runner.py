"""Run a detector on frames of one or several videos, in batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple

import torch

from megavid.core.detections import FrameResult
from megavid.core.frames import Image
from megavid.core.profiling import profile_range
from megavid.models.base.features import FeaturesT
from megavid.models.base.requests import MemoryT, PendingDetections
from megavid.models.base.video_detector import VideoDetector
from megavid.runtime.upload import Upload
from megavid.runtime.video_state import Step, VideoState


@dataclass(frozen=True, eq=False)
class PendingBatch:
    """Results of several videos that a device may still be computing.

    Attributes:
        detections: Detections of the key frames.
        frames: Number and time of each key frame of each video; None for a key frame without a result.
    """

    detections: PendingDetections
    frames: Sequence[Sequence[tuple[int, float] | None]]

    def wait(self) -> list[list[FrameResult]]:
        """Wait until the results are computed, and return those of each video."""
        return [
            [FrameResult(*key, found) for key, found in zip(keys, video, strict=True) if key is not None]
            for keys, video in zip(self.frames, self.detections.wait(), strict=True)
        ]


class _Needed(NamedTuple):
    """An image to encode, with its frame number and the place of its step in the list of steps."""

    place: int
    number: int
    image: Image


class BatchRunner(Generic[FeaturesT, MemoryT]):
    """Runs a detector on frames of one or several videos, in batches.

    Args:
        detector: The detector.
    """

    def __init__(self, detector: VideoDetector[FeaturesT, MemoryT]) -> None:
        self._detector = detector
        self._upload = Upload(detector.device)

    @torch.no_grad()
    def submit(
        self,
        work: Sequence[tuple[VideoState[FeaturesT, MemoryT], Step[FeaturesT]]],
        *,
        batch_size: int,
    ) -> PendingBatch:
        """Encode what steps of different videos need, and detect in the key frames that they complete.

        Args:
            work: The videos, each with its step.
            batch_size: Largest number of frames that are encoded together. If the detector has fixed shapes,
                the number of frames that are always encoded together.
        """
        encoded = self._encode([step for _, step in work], batch_size)
        requests = [state.feed(step, features) for (state, step), features in zip(work, encoded, strict=True)]
        try:
            detections, memories = self._detector.detect_videos([request.key_frames for request in requests])
        except BaseException:
            for state, _ in work:
                state.failed = True
            raise
        for (state, _), memory in zip(work, memories, strict=True):
            state.keep(memory)
        return PendingBatch(detections, [request.frames for request in requests])

    def _encode(self, steps: Sequence[Step[FeaturesT]], batch_size: int) -> list[dict[int, FeaturesT]]:
        """Return the features that each step needs, by frame number."""
        encoded: list[dict[int, FeaturesT]] = [{} for _ in steps]
        for batch in self._batches(steps, batch_size):
            with profile_range("input"):
                length = batch_size if self._detector.fixed_shapes else len(batch)
                frames = self._upload([needed.image for needed in batch], batch_size=length)
            # Without the features of frames that only fill the batch up.
            for needed, features in zip(batch, self._detector.encode_frames(frames), strict=False):
                encoded[needed.place][needed.number] = features
        return encoded

    def _batches(self, steps: Sequence[Step[FeaturesT]], batch_size: int) -> Iterator[list[_Needed]]:
        """Divide the images that steps need into batches of images of one size."""
        pushed = _needed(step.pushed for step in steps)
        others = _needed(step.others for step in steps)
        if self._detector.fixed_shapes:
            yield from _batched(pushed + others, batch_size)
        else:  # Global frames are encoded one by one: whenever one is needed, it rounds alike.
            yield from _batched(pushed, batch_size)
            yield from _batched(others, 1)


def _needed(images: Iterable[Mapping[int, Image]]) -> list[_Needed]:
    return [
        _Needed(place, number, image)
        for place, numbered in enumerate(images)
        for number, image in numbered.items()
    ]


def _batched(images: Sequence[_Needed], batch_size: int) -> Iterator[list[_Needed]]:
    for shape in dict.fromkeys(needed.image.shape for needed in images):
        same = [needed for needed in images if needed.image.shape == shape]
        for start in range(0, len(same), batch_size):
            yield same[start : start + batch_size]
