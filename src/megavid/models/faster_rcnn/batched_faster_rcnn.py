"""The base of two-stage methods that predict in several key frames at once."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from megavid.models.base.features import FeaturesT, Window
from megavid.models.base.requests import KeyFrames, MemoryT
from megavid.models.faster_rcnn.box_head import HeadOutput
from megavid.models.faster_rcnn.captured_steps import CapturedSteps
from megavid.models.faster_rcnn.faster_rcnn import FasterRCNN, RoIFeatures


class BatchedFasterRCNN(FasterRCNN[FeaturesT, MemoryT]):
    """Base class for methods that predict in several key frames at once, which keeps a GPU busier.

    A method implements `predict_batch` in place of `predict`.
    """

    @abstractmethod
    def predict_batch(
        self, requests: Sequence[KeyFrames[FeaturesT, MemoryT]]
    ) -> tuple[list[HeadOutput], list[MemoryT]]:
        """Predict in consecutive key frames of several videos, whose network inputs have the same size.

        Args:
            requests: Key frames of each video.

        Returns:
            The box head's output for each key frame, video by video; and for each video, the memory for its
            next key frame.
        """

    def predict(self, window: Window[FeaturesT], memory: MemoryT) -> tuple[HeadOutput, MemoryT]:
        """Predict in a single key frame; see `FasterRCNN.predict`."""
        [output], [memory] = self.predict_batch([KeyFrames([window], memory)])
        return output, memory

    def use_fixed_shapes(self) -> None:
        """Keep shapes fixed; see `FasterRCNN.use_fixed_shapes`."""
        self.fixed_shapes = True
        self._steps = CapturedSteps(self, self.predict_batch)

    def head_outputs(self, features: Sequence[Tensor], frames: Sequence[RoIFeatures]) -> list[HeadOutput]:
        """Apply the box head to the features (P, D) of the proposals of each frame."""
        counts = [len(frame.proposals) for frame in frames]
        boxes = torch.cat([frame.proposals for frame in frames])
        joined = self.predictor(torch.cat(list(features)), boxes, frames[0].image_size)
        rows = zip(frames, joined.logits.split(counts), joined.deltas.split(counts), strict=True)
        return [
            HeadOutput(logits, deltas, frame.proposals, frame.image_size, frame.valid)
            for frame, logits, deltas in rows
        ]
