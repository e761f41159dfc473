"""Networks and frames of `benchmarks.gpu`: random weights, with scores as trained networks have them."""

from __future__ import annotations

import copy
import gc
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

from benchmarks.memory import SMALL
from megavid.checkpoints.load import load_detector, read_config
from megavid.core.frames import Image
from megavid.datasets.synthetic.camera import film
from megavid.models.acceleration.inference import Inference
from megavid.models.faster_rcnn.faster_rcnn import FasterRCNN
from megavid.models.layers.resnet import Bottleneck
from megavid.runtime.detect_video import run_session
from megavid.runtime.session import VideoSession

PASSING = 100
"""Class scores of a frame that exceed the configured threshold, after `calibrate_scores`."""

CLEAR = 8
"""Class scores of a frame that exceed 0.5, after `calibrate_scores`."""

_CALIBRATED = 24
"""Number of key frames over which scores are calibrated."""

_BRANCH = 0.2
"""Scale of each residual branch: then the trunk's maps reach 60, where they would reach millions."""

_FILMED = 24
"""Number of different frames; longer videos run through them forward and backward."""

TINY: dict[str, Any] = SMALL | {"rpn.pre_nms_top_n": 200}
TINY_METHOD = {"heads": 4, "window": 3, "memory": 4, "global_frames": 3, "flow_width": 4}
"""Settings for the smoke test: a network that runs on a CPU in milliseconds."""


@dataclass(frozen=True)
class Bench:
    """What the rows of the benchmark measure with.

    Attributes:
        device: Device to measure.
        tiny: Whether to use tiny networks and frames, to try the benchmark itself on a CPU.
        seconds: Duration of the timed part of a row.
        folder: Folder for temporary files.
        end: Time at which the run ends, as `time.time` gives it.
    """

    device: torch.device
    tiny: bool
    seconds: float
    folder: Path
    end: float = math.inf
    _plain: dict[str, FasterRCNN] = field(default_factory=dict)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the frames."""
        return (64, 96) if self.tiny else (720, 1280)

    @cached_property
    def images(self) -> list[Image]:
        """The different frames of the video. Filmed at half the size, since filming takes long."""
        path = self.folder / "images.npy"
        if not path.exists():
            height, width = self.size
            filmed = film(seed=0, video=0, frames=_FILMED, height=height // 2, width=width // 2)
            large = [PIL.Image.fromarray(frame.image).resize((width, height)) for frame in filmed]
            np.save(path, np.stack([np.asarray(image) for image in large]))
        forward = list(np.load(path))
        return forward + forward[-2:0:-1]

    def video(self) -> Iterator[Image]:
        """Return an endless video."""
        return cycle(self.images)

    def configuration(self, method: str) -> tuple[str, dict[str, Any]]:
        """Return the name of the configuration of a method, and the values to replace in it."""
        name = f"{method}_r101"
        if not self.tiny:
            return name, {}
        own = read_config(name)[0]["method"]
        return name, TINY | {f"method.{key}": value for key, value in TINY_METHOD.items() if key in own}

    def network(self, method: str, inference: Inference) -> FasterRCNN:
        """Return a new network on the device, prepared, with calibrated scores.

        A tiny network computes in float32, since most CPUs are slow in half precision.
        """
        if method not in self._plain:
            name, overrides = self.configuration(method)
            torch.manual_seed(0)
            detector = load_detector(name, device=self.device, overrides=overrides, inference=None)
            assert isinstance(detector, FasterRCNN)
            damp_blocks(detector)
            calibrate_scores(detector, self.images)
            self._plain[method] = detector.cpu()  # the device's memory is measured
        detector = copy.deepcopy(self._plain[method]).to(self.device)
        detector.prepare(inference.model_copy(update={"dtype": "float32"}) if self.tiny else inference)
        return detector

    def free(self) -> None:
        """Free the device's memory, and begin a new measurement of its peak."""
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)

    def synchronize(self) -> None:
        """Wait for the device."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def peak_megabytes(self) -> float | None:
        """Return the peak of the device's memory since `free`; None on a CPU."""
        return torch.cuda.max_memory_allocated(self.device) / 2**20 if self.device.type == "cuda" else None


def damp_blocks(detector: nn.Module) -> None:
    """Weaken the residual branches of random weights, whose maps would otherwise overflow half precision."""
    for block in detector.modules():
        if isinstance(block, Bottleneck):
            assert isinstance(block.bn3, FrozenBatchNorm2d)
            block.bn3.weight.fill_(_BRANCH)


@torch.no_grad()
def calibrate_scores(detector: FasterRCNN, images: list[Image]) -> None:
    """Change the class logits of random weights so that a frame's scores are like those of trained weights.

    Logits of random weights hardly differ from proposal to proposal, so that either all boxes pass the
    threshold or none. Here, each class's logits get mean 0 and the same spread over the proposals of some key
    frames with full window and memory, and the background's logit is a constant. Spread and constant are
    found by bisection: about `PASSING` scores of a frame exceed the configured threshold, `CLEAR` exceed 0.5.
    """
    features = _head_features(detector, images)
    layer, threshold = detector.predictor.scores, detector.config.head.score_threshold
    joined = torch.cat(features)
    logits = layer(joined)[:, 1:]
    centered = (logits - logits.mean(0)) / logits.std(0).clamp(min=1e-12)

    def count(spread: float, background: float, above: float) -> float:
        others = torch.full_like(centered[:, :1], background)
        scores = torch.cat((others, spread * centered), 1).softmax(1)[:, 1:]
        return float((scores > above).sum()) / len(features)

    def background_for(spread: float) -> float:
        return _bisect(-100.0, 100.0, lambda value: count(spread, value, threshold) > PASSING)

    spread = _bisect(20.0, 0.1, lambda value: count(value, background_for(value), 0.5) > CLEAR)
    factor = spread / logits.std(0).clamp(min=1e-12)
    layer.bias[1:] = factor * (layer.bias[1:] - logits.mean(0))
    layer.weight[1:] *= factor[:, None]
    layer.weight[0] = 0
    layer.bias[0] = background_for(spread)


def _bisect(low: float, high: float, is_too_low: Callable[[float], bool]) -> float:
    """Return the value between `low` and `high` where `is_too_low` becomes false."""
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if is_too_low(middle) else (low, middle)
    return (low + high) / 2


def _head_features(detector: FasterRCNN, images: list[Image]) -> list[Tensor]:
    """Return the RoI features (P, D) of key frames of a video with full window and memory."""
    features: list[Tensor] = []
    hook = detector.predictor.register_forward_hook(lambda _, args, output: features.append(args[0].float()))
    session, plan = VideoSession(detector), detector.plan
    frames = islice(cycle(images), plan.past + plan.future + plan.memory + _CALIBRATED)
    for _ in run_session(session, frames, batch_size=8):
        pass
    hook.remove()
    return features[-plan.future - _CALIBRATED : len(features) - plan.future]
