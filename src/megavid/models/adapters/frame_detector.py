"""Any function that detects in frames, as a detector of megavid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import torch
from pydantic import Field
from torch import Tensor

from megavid.core.config import Number, validate
from megavid.core.detections import Detections
from megavid.core.errors import InputError
from megavid.core.frames import Image
from megavid.models.acceleration.inference import Inference
from megavid.models.adapters.frame_adapter import AdapterConfig, FrameAdapter
from megavid.models.base.detector_config import DetectorConfig

if TYPE_CHECKING:
    import supervision


class FunctionConfig(AdapterConfig):
    """Settings of a detector that is a function."""

    name: Literal["function"]
    score_threshold: Number = Field(default=0.0, ge=0, lt=1)


class FrameDetector(FrameAdapter):
    """Any function that detects in frames, such as a detector of another library.

    The result is a detector like those of `load_detector`: `detect_video`, `VideoSession` and `SessionGroup`
    run it. It cannot be trained or saved.

    Args:
        function: Takes a list of frames, RGB uint8 (H, W, 3), and returns the detections in each frame, in
            pixels of that frame, as `Detections` or as `supervision.Detections`. It gets as many frames at a
            time as `batch_size` says, all of one size, and chooses its device and dtype itself.
        class_names: Names of the classes, in the order of labels, without background.

    Raises:
        InputError: A class is named twice, or there is none.

    Examples:
        >>> def find(frames):
        ...     return [Detections(*my_model(frame)) for frame in frames]  # boxes, scores, labels
        >>> detector = FrameDetector(find, class_names=["person", "dog"])
        >>> for result in detect_video(detector, "clip.mp4", batch_size=4):
        ...     print(result.index, result.detections.boxes)
    """

    config_type = DetectorConfig[FunctionConfig]

    def __init__(
        self,
        function: Callable[[list[Image]], Sequence[Detections | supervision.Detections]],
        *,
        class_names: Sequence[str],
    ) -> None:
        values = {"classes": list(class_names), "method": {"name": "function"}}
        super().__init__(validate(self.config_type, values, origin="FrameDetector"))
        self._function = function

    @property
    def device(self) -> torch.device:
        """The CPU: the function gets arrays."""
        return torch.device("cpu")

    @property
    def architecture(self) -> str:
        """Name of the function."""
        return str(getattr(self._function, "__name__", type(self._function).__name__))

    def find(self, images: Tensor) -> list[Detections]:
        """Call the function with a batch of frames (B, 3, H, W).

        Raises:
            InputError: The function returns something else than valid detections.
        """
        frames = list(images.permute(0, 2, 3, 1).contiguous().numpy())
        found = self._function(frames)
        if not isinstance(found, Sequence):
            self._reject("a list of Detections", type(found).__name__)
        return [self._checked(one) for one in found]

    def prepare(self, inference: Inference) -> None:
        """Prepare for inference: the function computes as it is.

        Raises:
            InputError: The settings ask for another dtype than float32, or for compilation.
        """
        if inference.dtype != "float32":
            raise InputError(
                f"inference.dtype: expected float32, got {inference.dtype}: the function {self.architecture} "
                "chooses its dtype itself"
            )
        super().prepare(inference)

    def _checked(self, found: Any) -> Detections:
        """Check the detections in a frame, and convert those of supervision."""
        if type(found).__module__.partition(".")[0] == "supervision" and hasattr(found, "xyxy"):
            found = Detections.from_supervision(found, class_names=self.class_names)
        if not isinstance(found, Detections):
            self._reject("a list of Detections", f"a list with {type(found).__name__}")
        if found.class_names not in {(), self.class_names}:
            self._reject(f"class names {', '.join(self.class_names)}", ", ".join(found.class_names))
        if not (found.boxes.isfinite().all() and found.scores.isfinite().all()):
            self._reject("finite boxes and scores", "others")
        if ((found.scores < 0) | (found.scores > 1)).any():
            self._reject("scores from 0 to 1", f"{found.scores.min():g} to {found.scores.max():g}")
        if ((found.labels < 0) | (found.labels >= len(self.class_names))).any():
            last = len(self.class_names) - 1
            self._reject(f"labels from 0 to {last}", f"{found.labels.min()} to {found.labels.max()}")
        return found

    def _reject(self, expected: str, got: str) -> NoReturn:
        raise InputError(f"{self.architecture}: expected {expected}, got {got}")
