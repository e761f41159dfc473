"""megavid: video object detection in PyTorch.

>>> import megavid
>>> detector = megavid.load_detector("mega_r101", weights="MEGA_R_101.pth")
>>> for result in megavid.detect_video(detector, "clip.mp4", score_threshold=0.5):
...     print(result.index, result.detections.boxes)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from megavid.checkpoints.load import load_detector, load_flownet, shipped_configs
    from megavid.core.detections import Detections, FrameResult
    from megavid.core.errors import InputError
    from megavid.core.frames import Frame
    from megavid.linking.linkers import linker_config
    from megavid.models.acceleration.inference import Inference
    from megavid.models.adapters.frame_detector import FrameDetector
    from megavid.runtime.detect_video import detect_video
    from megavid.runtime.session import VideoSession
    from megavid.runtime.session_group import SessionGroup
    from megavid.video.open_input import open_input

__all__ = [
    "Detections",
    "Frame",
    "FrameDetector",
    "FrameResult",
    "Inference",
    "InputError",
    "SessionGroup",
    "VideoSession",
    "detect_video",
    "linker_config",
    "load_detector",
    "load_flownet",
    "open_input",
    "shipped_configs",
]

_HOMES = {
    "Detections": "core.detections",
    "Frame": "core.frames",
    "FrameDetector": "models.adapters.frame_detector",
    "FrameResult": "core.detections",
    "Inference": "models.acceleration.inference",
    "InputError": "core.errors",
    "SessionGroup": "runtime.session_group",
    "VideoSession": "runtime.session",
    "detect_video": "runtime.detect_video",
    "linker_config": "linking.linkers",
    "load_detector": "checkpoints.load",
    "load_flownet": "checkpoints.load",
    "open_input": "video.open_input",
    "shipped_configs": "checkpoints.load",
}


def __getattr__(name: str) -> Any:
    # Names are imported on first use: importing torch takes seconds, and `megavid --help` does not need it.
    if name in _HOMES:
        return getattr(importlib.import_module(f"megavid.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'megavid' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
