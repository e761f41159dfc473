"""The main job on what the package ships: a rendered clip through every method."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch

from megavid.convert.load import load_detector
from megavid.core.files import atomic_path
from megavid.data.synthesize import CLASSES, render_clip
from megavid.detection.detector import VideoDetector
from megavid.engine.detect import DetectOptions, DetectSummary, detect_to_folder
from megavid.engine.outputs import make_output_folder
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

_MODELS: dict[str, dict[str, Any]] = {
    "single_frame_r50": {},
    "mega_r50": {"method.heads": 4, "method.reference_proposals": 30, "method.distilled_proposals": 6},
}
"""Configurations, and what else makes each small."""


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
    clip = render_clip(seed=seed, num_frames=_FRAMES, height=_HEIGHT, width=_WIDTH)
    path = folder / "clip.mp4"
    with (
        atomic_path(path) as aside,
        VideoWriter(aside, rate=Fraction(_RATE), width=_WIDTH, height=_HEIGHT) as writer,
    ):
        for index, image in enumerate(clip.images):
            writer.write(image, index / _RATE)
    for model, changes in _MODELS.items():
        detector = _untrained(model, _SMALL | changes, seed=seed)
        options = DetectOptions()
        with open_input(path) as video:
            about = {"weights": "untrained"}
            summary = detect_to_folder(detector, video, folder / model, options, metadata=about)
        yield summary
        if not summary.complete:
            return


def _untrained(model: str, overrides: dict[str, Any], *, seed: int) -> VideoDetector[Any, Any]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return load_detector(model, device="cpu", overrides=overrides)
