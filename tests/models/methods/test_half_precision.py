"""Every method in half precision: results are close to those in float32, and coordinates are float32."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import pytest
import torch
from torch import Tensor

from megavid import detect_video, load_detector
from megavid.core.detections import FrameResult
from megavid.core.frames import Image
from megavid.datasets.synthetic.camera import film
from megavid.models.acceleration.inference import FAST, Inference, MayRound
from megavid.models.faster_rcnn.box_head import HeadOutput
from megavid.models.faster_rcnn.faster_rcnn import FasterRCNN
from megavid.models.faster_rcnn.rpn import RPNOutput
from tests.agreement import assert_agree
from tests.conftest import build_tiny
from tests.tolerances import Tolerance

MakeFrames = Callable[[int], list[Image]]
HalfPrecision = Literal["bfloat16", "float16"]

RELATIVE_ERROR = {"bfloat16": 0.015, "float16": 0.0015}
"""Largest allowed error of raw outputs, relative to their norm. Measured: at most 0.0088 and 0.0008."""

AGREEMENT = {"bfloat16": Tolerance(2.0, 0.05, share=0.89), "float16": Tolerance(1.0, 0.02, share=0.91)}
"""Agreement of detections. Measured: at least 0.917 and 0.939, the first on a CPU, the second on a GPU."""

WATCHED = {"cuda_graphs": False}
"""Setting for a network whose outputs are recorded, since a CUDA graph calls no hooks."""

SETTINGS = {
    "plain": Inference.plain(),
    "fast": FAST,
    "loose": Inference(loose=True),
    **{
        f"without_{name}": FAST.model_copy(update={name: False})
        for name in (*get_args(MayRound), "fold_norms")
    },
}


@dataclass(frozen=True)
class Run:
    """Detections of a video and the raw network outputs before postprocessing, in order of calls."""

    results: list[FrameResult]
    rpn: list[RPNOutput]
    head: list[HeadOutput]

    def raw_outputs(self) -> dict[str, Tensor]:
        """Return all values of each kind of raw output as one vector."""
        return {
            "RPN logits": torch.cat([output.logits.flatten() for output in self.rpn]),
            "RPN deltas": torch.cat([output.deltas.flatten() for output in self.rpn]),
            "head logits": torch.cat([output.logits.flatten() for output in self.head]),
            "head deltas": torch.cat([output.deltas.flatten() for output in self.head]),
        }


def run(detector: FasterRCNN, frames: list[Image], replayed: Sequence[RPNOutput] | None = None) -> Run:
    """Detect objects; outputs in `replayed` replace the RPN's, so that two runs have the same RoIs."""
    rpn: list[RPNOutput] = []
    head: list[HeadOutput] = []

    def record_rpn(module: object, args: object, output: RPNOutput) -> RPNOutput | None:
        rpn.append(output)
        return replayed[len(rpn) - 1] if replayed else None

    with (
        detector.rpn.register_forward_hook(record_rpn),
        detector.predictor.register_forward_hook(lambda module, args, output: head.append(output)),
    ):
        return Run(list(detect_video(detector, frames)), rpn, head)


def share_rounded(values: Tensor, dtype: HalfPrecision) -> float:
    """Return the share of float32 values that `dtype` represents exactly: 1 if computed in `dtype`."""
    assert values.dtype == torch.float32
    return float((values.to(getattr(torch, dtype)).float() == values).float().mean())


def assert_close_and_computed_in_float32(half: Run, full: Run, dtype: HalfPrecision) -> None:
    """Assert that raw outputs agree, and that outputs and detections have more than half precision."""
    expected = full.raw_outputs()
    for name, values in half.raw_outputs().items():
        error = float((values - expected[name]).norm() / expected[name].norm())
        assert 0 < error < RELATIVE_ERROR[dtype], name
        assert share_rounded(values, dtype) < 0.05, name
    found = [result.detections for result in half.results]
    assert share_rounded(torch.cat([d.scores for d in found]), dtype) < 0.05
    # Coordinates clipped to the frame are whole numbers, which half precision represents exactly.
    assert share_rounded(torch.cat([d.boxes.flatten() for d in found]), dtype) < 0.5


@pytest.mark.parametrize("dtype", get_args(HalfPrecision))
@pytest.mark.parametrize("settings", SETTINGS)
def test_outputs_are_close_and_computed_in_float32(
    method: str,
    detector: FasterRCNN,
    make_frames: MakeFrames,
    dtype: HalfPrecision,
    settings: str,
) -> None:
    frames = make_frames(9)
    full = run(detector, frames)
    halved = build_tiny(method, detector.device)
    halved.prepare(SETTINGS[settings].model_copy(update={"dtype": dtype} | WATCHED))
    assert_close_and_computed_in_float32(run(halved, frames, full.rpn), full, dtype)


@pytest.mark.skipif(shutil.which("g++") is None, reason="PyTorch compiles with a C++ compiler")
def test_compiled_half_precision(make_frames: MakeFrames, device: torch.device) -> None:
    frames = make_frames(6)
    full = run(build_tiny("mega", device), frames)
    compiled = build_tiny("mega", device)
    compiled.prepare(Inference(dtype="bfloat16", compile=True).model_copy(update=WATCHED))
    assert_close_and_computed_in_float32(run(compiled, frames, full.rpn), full, "bfloat16")


@pytest.mark.parametrize("dtype", get_args(HalfPrecision))
@pytest.mark.parametrize("settings", ["plain", "fast", "loose"])
@pytest.mark.parametrize("weights", ["single_frame_generated", "mega_generated"])
def test_trained_detectors_find_the_same_objects(
    weights: str, dtype: HalfPrecision, settings: str, device: torch.device
) -> None:
    frames = [frame.image for frame in film(seed=0, video=3, frames=9, height=144, width=216)]
    full = load_detector(weights=weights, device=device, inference=None)
    half = load_detector(
        weights=weights, device=device, inference=SETTINGS[settings].model_copy(update={"dtype": dtype})
    )
    results, expected = (list(detect_video(detector, frames)) for detector in (half, full))
    assert_agree(results, expected, AGREEMENT[dtype])
