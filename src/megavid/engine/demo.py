"""The main job on what the package ships: a rendered clip through every method."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch

from megavid.convert.load import load_detector, read_config
from megavid.core.files import atomic_path
from megavid.data.generated.camera import film
from megavid.data.generated.scene import CLASSES
from megavid.detection.detector import VideoDetector
from megavid.engine.detect import DetectOptions, DetectSummary, detect_to_folder
from megavid.engine.outputs import make_output_folder
from megavid.methods import METHODS
from megavid.video.reader import open_input
from megavid.video.writer import VideoWriter

_FRAMES, _HEIGHT, _WIDTH, _RATE = 48, 240, 320, 24

_SMALL: dict[str, Any] = {
    "classes": list(CLASSES),
    "input.min_size": 240,
    "input.max_size": 320,
    "backbone.depth": 18,
    "backbone.width": 32,
    "backbone.reduce_channels": 64,
    "rpn.proposals": 100,
    "head.max_detections": 6,
    "method.hidden": 256,
}
"""What makes a published configuration small enough to run in seconds on a CPU."""

_SMALL_METHOD: dict[str, Any] = {
    "heads": 4,
    "reference_proposals": 30,
    "distilled_proposals": 6,
    "flow_width": 16,
}
"""The same for settings that only some methods have."""


def run_demo(folder: Path, *, seed: int) -> Iterator[DetectSummary]:
    """Render `clip.mp4` and detect in it with every method, each in a folder of its name.

    Until trained weights ship, the weights are random.

    Args:
        folder: Where all is put.
        seed: Of the clip and the weights.

    Raises:
        InputError: The folder cannot be written to.
    """
    make_output_folder(folder)
    path = folder / "clip.mp4"
    with (
        atomic_path(path) as aside,
        VideoWriter(aside, rate=Fraction(_RATE), width=_WIDTH, height=_HEIGHT) as writer,
    ):
        for index, frame in enumerate(film(seed=seed, video=0, frames=_FRAMES, height=_HEIGHT, width=_WIDTH)):
            writer.write(frame.image, index / _RATE)
    for model in (f"{method}_r50" for method in METHODS):
        detector = _untrained(model, seed=seed)
        options = DetectOptions()
        with open_input(path) as video:
            about = {"weights": "untrained"}
            summary = detect_to_folder(detector, video, folder / model, options, metadata=about)
        yield summary
        if not summary.complete:
            return


def _untrained(model: str, *, seed: int) -> VideoDetector[Any, Any]:
    data, _ = read_config(model)
    own = {f"method.{key}": value for key, value in _SMALL_METHOD.items() if key in data["method"]}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return load_detector(model, device="cpu", overrides=_SMALL | own)
