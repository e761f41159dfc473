"""Boxes that any tool saved for a video, as a detector of that video."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import PurePath
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from megavid.core.config import Number
from megavid.core.detections import Detections
from megavid.core.errors import InputError
from megavid.core.frames import FrameSource
from megavid.models.acceleration.inference import Inference
from megavid.models.adapters.frame_adapter import AdapterConfig, FoundObjects, FrameAdapter, found_objects
from megavid.models.base.detector_config import DetectorConfig
from megavid.models.base.features import Window
from megavid.video.image_folder import ImageFolder


class SavedBoxesConfig(AdapterConfig):
    """Settings of a detector that gives saved boxes.

    Attributes:
        file: The file with the boxes.
        video: Name of the video in the file; None if the file has one video.
        class_names: Names of the classes 1, 2 and so on of MOT's `det.txt`, which does not name them. With
            one name, the file need not have classes.
        data: Annotations of the data set whose images and classes the file refers to, for COCO results and
            the text format of ILSVRC.
        first_frame: Number that the file gives the first frame of the video; None for 1 in MOT's `det.txt`
            and 0 elsewhere.
    """

    name: Literal["boxes"]
    file: str
    video: str | None = None
    class_names: tuple[str, ...] | None = Field(default=None, strict=False, min_length=1)
    data: str | None = None
    first_frame: int | None = Field(default=None, ge=0, le=1_000_000)
    score_threshold: Number = Field(default=0.0, ge=0, lt=1)


class SavedBoxes(FrameAdapter):
    """Gives the saved boxes of each frame of a video, whatever the frame shows.

    It cannot be trained or saved, and is not for live streams.

    Args:
        config: Configuration with the names of the classes.
        boxes: All boxes of the video.
        numbers: int64 (N,), number of the frame of each box, ascending.
        frames: int64 (F,), numbers of the frames that may have boxes, ascending; None for all frames.
        size: Width and height of the frames, pixels; None if unknown.
        length: Number of frames of the video; None if unknown.
        images: File of the image of each frame, by its number, without frames whose image is unknown.
    """

    config_type = DetectorConfig[SavedBoxesConfig]
    for_any_video = False

    def __init__(
        self,
        *,
        config: DetectorConfig,
        boxes: Detections,
        numbers: NDArray[np.int64],
        frames: NDArray[np.int64] | None = None,
        size: tuple[int, int] | None = None,
        length: int | None = None,
        images: Mapping[int, str] | None = None,
    ) -> None:
        super().__init__(config)
        self._boxes, self._numbers, self._frames = boxes, numbers, frames
        self._size, self._length, self._images = size, length, images or {}
        self._file: str = config.method.file

    @property
    def device(self) -> torch.device:
        """The CPU: nothing is computed."""
        return torch.device("cpu")

    @property
    def architecture(self) -> str:
        """What stands for a network: "saved boxes"."""
        return "saved boxes"

    def check_video(self, video: FrameSource | None) -> None:
        """Check that the boxes can be those of a video, by the number of its frames and the names of images.

        Raises:
            InputError: The file has a frame that the video lacks, another number of frames or another image
                as a frame; or the video is a live stream.
        """
        if video is None:
            raise InputError(f"{self._file}: saved boxes belong to a recorded video, got a live stream")
        length = len(video)
        if self._length is not None and self._length != length:
            raise InputError(f"{self._file}: is for a video of {self._length} frames, got one of {length}")
        recorded = self._numbers if self._frames is None else self._frames
        last = int(recorded[-1]) if len(recorded) else -1
        if last >= length:
            raise InputError(f"{self._file}: has frame {last}, counted from 0; the video has {length} frames")
        if isinstance(video, ImageFolder):
            self._check_images(video)

    def find(self, images: Tensor) -> Sequence[Detections]:
        """Find nothing: pixels do not tell which frame they are of. `detect` looks the boxes up."""
        return [self._boxes[:0]] * len(images)

    def detect(
        self, window: Window[FoundObjects], memory: None, *, score_threshold: float | None = None
    ) -> tuple[Detections, None]:
        """Return the boxes of the key frame with a score above the threshold.

        Raises:
            InputError: The file is of a detector that did not run on this frame, the frames have another
                size, or a box lies outside the frame.
        """
        frame = window.frame
        assert frame is not None
        height, width = window.frame_size
        if self._size is not None and self._size != (width, height):
            raise InputError(
                f"{self._file}: is for frames of {self._size[0]}x{self._size[1]}, got {width}x{height}"
            )
        self._check_frame(frame)
        start, end = np.searchsorted(self._numbers, (frame, frame + 1))
        found = self._boxes[start:end]
        self._check_inside(found.boxes, frame, width, height)
        key = found_objects(found, window.frame_size, self.device)
        return super().detect(replace(window, key=key), memory, score_threshold=score_threshold)

    def prepare(self, inference: Inference) -> None:
        """Prepare for inference: nothing is computed.

        Raises:
            InputError: The settings ask for another dtype than float32, or for compilation.
        """
        if inference.dtype != "float32":
            raise InputError(f"inference.dtype: expected float32 for saved boxes, got {inference.dtype}")
        super().prepare(inference)

    def _check_frame(self, frame: int) -> None:
        """Check that the detector ran on a frame, so that a frame without boxes is really empty."""
        if self._frames is None:
            return
        place = np.searchsorted(self._frames, frame)
        if place == len(self._frames) or self._frames[place] != frame:
            shown = "none"
            if len(self._frames):
                shown = f"{len(self._frames)} frames from {self._frames[0]} to {self._frames[-1]}"
            raise InputError(
                f"{self._file}: has no results for frame {frame} of the video, only for {shown}; --every or "
                "method.first_frame may help"
            )

    def _check_images(self, video: ImageFolder) -> None:
        """Check that the frames of a folder of images have the names that the file gives them."""
        for frame, file in self._images.items():
            expected, name = PurePath(file).name, video.paths[frame].name
            if name != expected:
                raise InputError(
                    f"{self._file}: is for a video with {expected} as frame {frame}, counted from 0, got "
                    f"{name}"
                )

    def _check_inside(self, boxes: Tensor, frame: int, width: int, height: int) -> None:
        outside = (boxes[:, 2:] <= 0) | (boxes[:, :2] >= boxes.new_tensor([width, height]))
        rows = outside.any(dim=1).nonzero()
        if len(rows):
            box = ", ".join(f"{x:g}" for x in boxes[rows[0, 0]].tolist())
            raise InputError(
                f"{self._file}: expected boxes in a frame of {width}x{height}, got x1, y1, x2, y2 = {box} in "
                f"frame {frame}, counted from 0"
            )
