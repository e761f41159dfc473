"""Run a detector of the Faster R-CNN family as three captured functions, without waiting for the device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic

import torch
from torch import Tensor

from megavid.core import box_ops
from megavid.core.detections import Detections
from megavid.core.profiling import profile_range
from megavid.models.acceleration.captured import CapturedFunction, GraphMemory
from megavid.models.base.features import FeaturesT, Window
from megavid.models.base.requests import KeyFrames, MemoryT, PendingDetections
from megavid.models.faster_rcnn.box_head import HeadConfig, HeadOutput
from megavid.models.faster_rcnn.key_frame_runs import Run, plan_calls
from megavid.models.faster_rcnn.postprocess import rank_detections, select_detections

if TYPE_CHECKING:
    from megavid.models.faster_rcnn.faster_rcnn import FasterRCNN

_PREDICTED_TOGETHER = 8
"""Most key frames that are predicted together, a power of two."""

_RANKED_TOGETHER = 8
"""Most frames whose detections are ranked together; fewer are filled up, so that shapes do not vary."""

_OVERLAP_BYTES = 512 << 20
"""Limit of the memory in which suppression marks the pairs of boxes that overlap, a bit for each pair."""


@dataclass(frozen=True, eq=False)
class _RankedBlock:
    """Ranked boxes of some frames, on their way to the CPU.

    Attributes:
        boxes: Result of `rank_detections` on the CPU, once the copy is done.
        copied: Event of the copy; None if there was nothing to copy.
    """

    boxes: Tensor
    copied: torch.cuda.Event | None

    @classmethod
    def copy(cls, ranked: Tensor) -> _RankedBlock:
        """Begin to copy ranked boxes to the CPU."""
        if not ranked.is_cuda:
            return cls(ranked, None)
        boxes = torch.empty(ranked.shape, dtype=ranked.dtype, pin_memory=True)
        boxes.copy_(ranked, non_blocking=True)
        copied = torch.cuda.Event()
        copied.record(torch.cuda.current_stream(ranked.device))
        return cls(boxes, copied)


@dataclass(frozen=True)
class _Place:
    """Place of a frame's ranked boxes, and what is needed to select its detections.

    Attributes:
        block: Block of ranked boxes.
        row: Row of the block.
        image_size: (height, width) of the network's input.
        frame_size: (height, width) of the video's frames.
        score_threshold: Score that detections exceed.
    """

    block: _RankedBlock
    row: int
    image_size: tuple[int, int]
    frame_size: tuple[int, int]
    score_threshold: float


@dataclass(frozen=True, eq=False)
class CopiedDetections(PendingDetections):
    """Detections that are copied to the CPU as ranked boxes.

    Attributes:
        places: Places of the key frames of each request.
        config: Thresholds and limits.
        class_names: Names of the classes.
    """

    places: Sequence[Sequence[_Place]]
    config: HeadConfig
    class_names: tuple[str, ...]

    def wait(self) -> list[list[Detections]]:
        """Wait for the copies, and select the detections."""
        for block in {place.block for places in self.places for place in places}:
            if block.copied is not None:
                block.copied.synchronize()
        return [[self._select(place) for place in places] for places in self.places]

    def _select(self, place: _Place) -> Detections:
        found = select_detections(
            place.block.boxes[place.row],
            self.config,
            self.class_names,
            score_threshold=place.score_threshold,
        )
        boxes = box_ops.rescale(found.boxes, from_size=place.image_size, to_size=place.frame_size)
        return replace(found, boxes=boxes)


class CapturedSteps(Generic[FeaturesT, MemoryT]):
    """Encoding, prediction and ranking of a detector whose shapes are fixed, each a captured function.

    Args:
        detector: Detector that is prepared for inference.
        predict_batch: Function that predicts in several key frames at once
            (`BatchedFasterRCNN.predict_batch`); None for a detector that has none.
    """

    def __init__(
        self,
        detector: FasterRCNN[FeaturesT, MemoryT],
        predict_batch: Callable[
            [Sequence[KeyFrames[FeaturesT, MemoryT]]], tuple[list[HeadOutput], list[MemoryT]]
        ]
        | None = None,
    ) -> None:
        self._detector = detector
        self._predict_batch = predict_batch
        self._lowest_threshold = 1.0
        memory = GraphMemory()
        self.encode = CapturedFunction(self._encode, memory)
        self.predict = CapturedFunction(self._predict, memory)
        self.rank = CapturedFunction(self._rank, memory)

    def _encode(self, frames: Tensor) -> list[FeaturesT]:
        with profile_range("input"):
            images = self._detector.preprocess(frames)
        return self._detector.encode(images)

    def _predict(
        self, runs: list[Run[FeaturesT]], memories: list[MemoryT]
    ) -> tuple[list[HeadOutput], list[MemoryT]]:
        videos = [run.windows(key=self._detector.plan.past) for run in runs]
        if self._predict_batch is not None:
            return self._predict_batch(list(map(KeyFrames, videos, memories)))
        [[window]], [memory] = videos, memories
        output, memory = self._detector.predict(window, memory)
        return [output], [memory]

    def _rank(self, outputs: list[HeadOutput], score_threshold: float) -> Tensor:
        return rank_detections(outputs, self._detector.config.head, score_threshold=score_threshold)

    def detect_videos(
        self, requests: Sequence[KeyFrames[FeaturesT, MemoryT]]
    ) -> tuple[PendingDetections, list[MemoryT]]:
        """Predict and rank; see `VideoDetector.detect_videos`."""
        with profile_range("aggregation"):
            predicted, memories = self._predict_all(requests)
        # A graph holds its threshold. Selection applies each request's own, which may be higher.
        self._lowest_threshold = min([self._lowest_threshold, *map(self._threshold, requests)])
        with profile_range("post-processing"):
            ranked = iter(self._ranked([output for outputs in predicted for output in outputs]))
        places = [
            [self._place(*next(ranked), window, self._threshold(request)) for window in request.windows]
            for request in requests
        ]
        return CopiedDetections(places, self._detector.config.head, self._detector.class_names), memories

    def _predict_all(
        self, requests: Sequence[KeyFrames[FeaturesT, MemoryT]]
    ) -> tuple[list[list[HeadOutput]], list[MemoryT]]:
        """Predict in the key frames of each request, several at once; also return each video's memory."""
        outputs = [list[HeadOutput]() for _ in requests]
        memories = [request.memory for request in requests]
        calls = plan_calls(
            [len(request.windows) for request in requests],
            [request.windows[0].key.image_size if request.windows else None for request in requests],
            most=1 if self._predict_batch is None else _PREDICTED_TOGETHER,
        )
        for call in calls:
            runs: list[Run[FeaturesT]] = []
            for video in call.videos:
                start, windows = len(outputs[video]), list[Window[FeaturesT]]()
                for window in requests[video].windows[start : start + call.count]:
                    fixed, memories[video] = self._detector.fixed_inputs(window, memories[video])
                    windows.append(fixed)
                runs.append(Run.of(windows))
            predicted, after = self.predict(runs, [memories[video] for video in call.videos])
            for n, video in enumerate(call.videos):
                outputs[video] += predicted[n * call.count : (n + 1) * call.count]
                memories[video] = after[n]
        return outputs, memories

    def _threshold(self, request: KeyFrames[Any, Any]) -> float:
        configured = self._detector.config.head.score_threshold
        return configured if request.score_threshold is None else request.score_threshold

    def _ranked(self, outputs: list[HeadOutput]) -> list[tuple[_RankedBlock, int]]:
        """Rank the detections of frames, and return the block and the row of each one."""
        places: dict[int, tuple[_RankedBlock, int]] = {}
        for size in dict.fromkeys(output.image_size for output in outputs):
            same = [i for i, output in enumerate(outputs) if output.image_size == size]
            together = ranked_together(outputs[same[0]])
            for start in range(0, len(same), together):
                numbers = same[start : start + together]
                filled = numbers + numbers[-1:] * (together - len(numbers))
                ranked = self.rank([outputs[i] for i in filled], self._lowest_threshold)
                block = _RankedBlock.copy(ranked)
                places |= {i: (block, row) for row, i in enumerate(numbers)}
        return [places[i] for i in range(len(outputs))]

    def _place(self, block: _RankedBlock, row: int, window: Window[FeaturesT], threshold: float) -> _Place:
        return _Place(block, row, window.key.image_size, window.frame_size, threshold)


def ranked_together(output: HeadOutput) -> int:
    """Return how many frames are ranked together, whose boxes take no more memory than allowed."""
    boxes = len(output.logits) * (output.logits.shape[1] - 1)
    return max(1, min(_RANKED_TOGETHER, 8 * _OVERLAP_BYTES // boxes**2))
