"""Detectors prepared for inference on any device."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from megavid import Inference, detect_video
from megavid.core.frames import Image
from megavid.models.methods.fgfa import Fgfa, _cosine
from tests.agreement import assert_close
from tests.conftest import build_tiny


def test_weights_are_cast_except_in_leading_layers_and_predictor(device: torch.device) -> None:
    detector = build_tiny("mega", device)
    detector.prepare(Inference(dtype="bfloat16"))
    parts = ("stem", "layer1", "layer2", "layer3.0", "layer3.1")
    dtypes = [{p.dtype for p in detector.backbone.trunk.get_submodule(part).parameters()} for part in parts]
    assert dtypes == 4 * [{torch.float32}] + [{torch.bfloat16}]
    assert {p.dtype for p in detector.backbone.stage5.parameters()} == {torch.bfloat16}
    assert {p.dtype for p in detector.predictor.parameters()} == {torch.float32}


def test_methods_that_relate_proposals_compute_them_in_float32(device: torch.device) -> None:
    images = torch.rand(1, 3, 64, 96).to(device)
    for method, dtype in (("mega", torch.float32), ("single_frame", torch.bfloat16)):
        detector = build_tiny(method, device)
        detector.prepare(Inference(dtype="bfloat16", winograd=False))
        with detector.precision():
            c4 = detector.backbone.c4(images)
            assert (c4.dtype, detector.backbone.stage5(c4).dtype) == (dtype, torch.bfloat16)
            assert detector.rpn.conv(c4).dtype == dtype


def test_proposals_in_half_precision_are_closer_to_float32_unless_loose(device: torch.device) -> None:
    images = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0)).to(device)
    logits = {}
    for name, inference in {
        "exact": Inference(),
        "default": Inference(dtype="bfloat16"),
        "direct": Inference(dtype="bfloat16", winograd=False),
        "loose": Inference(dtype="bfloat16", loose=True),
    }.items():
        detector = build_tiny("mega", device)
        detector.prepare(inference)
        with torch.no_grad(), detector.precision():
            logits[name] = detector.rpn(detector.backbone.c4(images)).logits
    error = {name: float((values - logits["exact"]).norm()) for name, values in logits.items()}
    assert 0 < error["default"] < 0.6 * error["loose"]
    assert 0 < error["direct"] < 0.6 * error["loose"]


def test_preparing_a_detector_twice_is_refused(device: torch.device) -> None:
    detector = build_tiny("single_frame", device)
    detector.prepare(Inference())
    with pytest.raises(ValueError, match="prepared before"):
        detector.prepare(Inference())


def test_a_compiled_network_sees_windows_of_one_size(
    make_frames: Callable[[int], list[Image]], device: torch.device
) -> None:
    # FGFA's windows are shorter at the ends of a video, and PyTorch compiles for a few sizes only.
    frames = make_frames(9)
    detector, compiled = build_tiny("fgfa", device), build_tiny("fgfa", device)
    assert isinstance(compiled, Fgfa)
    calls: list[int] = []
    compiled.flow.conv2.register_forward_pre_hook(lambda module, args: calls.append(len(args[0])))
    list(detect_video(compiled, frames))
    assert set(calls) == {4, 5, 6, 7}
    calls.clear()
    compiled.inference = Inference(compile=True)
    results = list(detect_video(compiled, frames))
    assert set(calls) == {7}
    for result, expected in zip(results, detect_video(detector, frames), strict=True):
        assert len(result.detections) == len(expected.detections)
        assert_close(result.detections.scores, expected.detections.scores)


def test_cosine_of_long_vectors_in_half_precision(device: torch.device) -> None:
    a = torch.full((2048, 1, 2), 10.0, device=device)
    b = a * torch.tensor([1.0, -1.0], device=device)
    with torch.autocast(device.type, dtype=torch.float16):
        assert _cosine(a, b).tolist() == [[pytest.approx(1), pytest.approx(-1)]]
