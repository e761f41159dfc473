"""A detector made ready for inference."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from megavid import Inference, detect_video
from megavid.models.acceleration.cpu.attention import attend_by_head
from megavid.models.acceleration.cpu.packed import PackedLinear
from megavid.models.acceleration.cpu.winograd import WinogradConv2d
from megavid.models.layers.relation import Relation, attend_all_heads
from megavid.models.methods.fgfa import Fgfa, _cosine
from tests.conftest import build_tiny


def test_it_says_what_there_is_of_the_settings() -> None:
    detector = build_tiny("mega")
    assert detector.inference == Inference.plain()
    detector.prepare(Inference(dtype="bfloat16"))
    assert detector.inference == Inference(dtype="bfloat16", pack=False)
    parts = ("stem", "layer1", "layer2", "layer3.0", "layer3.1")
    dtypes = [{p.dtype for p in detector.backbone.trunk.get_submodule(part).parameters()} for part in parts]
    assert dtypes == 4 * [{torch.float32}] + [{torch.bfloat16}]
    assert {p.dtype for p in detector.backbone.stage5.parameters()} == {torch.bfloat16}
    assert {p.dtype for p in detector.predictor.parameters()} == {torch.float32}
    assert detector.description()["inference"]["pack"] is False


def test_where_proposals_are_is_exact_where_it_is_related() -> None:
    images = torch.rand(1, 3, 64, 96)
    for method, dtype in (("mega", torch.float32), ("single_frame", torch.bfloat16)):
        detector = build_tiny(method)
        detector.prepare(Inference(dtype="bfloat16", winograd=False))
        with detector.autocast():
            c4 = detector.backbone.c4(images)
            assert (c4.dtype, detector.backbone.stage5(c4).dtype) == (dtype, torch.bfloat16)
            assert detector.rpn.conv(c4).dtype == dtype


@pytest.mark.parametrize(
    ("inference", "convolution", "projection", "splits_heads"),
    [
        (Inference(), nn.Conv2d, PackedLinear, False),
        (Inference(pack=False), nn.Conv2d, nn.Linear, False),
        (Inference(loose=True), WinogradConv2d, PackedLinear, False),
        (Inference(loose=True, winograd=False), nn.Conv2d, PackedLinear, False),
        (Inference(dtype="bfloat16"), WinogradConv2d, nn.Linear, True),
        (Inference(dtype="bfloat16", split_heads=False), WinogradConv2d, nn.Linear, False),
        (Inference(dtype="float16"), WinogradConv2d, nn.Linear, False),
        (Inference.plain(dtype="bfloat16"), nn.Conv2d, nn.Linear, False),
    ],
)
def test_which_products_are_computed_how(
    inference: Inference, convolution: type, projection: type, splits_heads: bool
) -> None:
    detector = build_tiny("mega")
    detector.prepare(inference)
    assert type(detector.rpn.conv) is convolution
    relations = [module for module in detector.modules() if isinstance(module, Relation)]
    assert {type(part) for r in relations for part in (r.query, r.key, r.value)} == {projection}
    assert {type(layer) for layer in detector.fcs} == {projection}
    assert {type(r.geometry) for r in relations} == {nn.Linear, type(None)}
    assert {r.attention for r in relations} == {attend_by_head if splits_heads else attend_all_heads}


@torch.no_grad()
def test_filters_are_made_of_weights_that_were_not_rounded() -> None:
    plain, halved = build_tiny("single_frame"), build_tiny("single_frame")
    halved.prepare(Inference(dtype="bfloat16"))
    maps = torch.randn(1, plain.backbone.c4_channels, 5, 7, generator=torch.Generator().manual_seed(0))
    expected = plain.rpn.conv(maps)
    torch.testing.assert_close(
        halved.rpn.conv(maps), expected, atol=1e-5 * float(expected.abs().max()), rtol=0
    )


def test_proposals_are_nearer_to_float32_where_they_are_related() -> None:
    images = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    logits = {}
    for name, inference in {
        "exact": Inference(loose=True),
        "default": Inference(dtype="bfloat16"),
        "direct": Inference(dtype="bfloat16", winograd=False),
        "loose": Inference(dtype="bfloat16", loose=True),
    }.items():
        detector = build_tiny("mega")
        detector.prepare(inference)
        with torch.no_grad(), detector.autocast():
            logits[name] = detector.rpn(detector.backbone.c4(images)).logits
    error = {name: float((values - logits["exact"]).norm()) for name, values in logits.items()}
    assert 0 < error["default"] < 0.6 * error["loose"]
    assert 0 < error["direct"] < 0.6 * error["loose"]


def test_once_only() -> None:
    detector = build_tiny("single_frame")
    detector.prepare(Inference())
    assert isinstance(detector.get_submodule("fcs.0"), PackedLinear)
    with pytest.raises(ValueError, match="prepared before"):
        detector.prepare(Inference())


def test_a_compiled_network_takes_all_windows_of_a_video() -> None:
    # At the ends of a video FGFA has fewer frames; a network compiled for each number would soon be given up.
    torch.manual_seed(0)
    frames = [torch.randint(0, 255, (64, 96, 3), dtype=torch.uint8).numpy() for _ in range(9)]
    detector, compiled = build_tiny("fgfa"), build_tiny("fgfa")
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
        torch.testing.assert_close(result.detections.scores, expected.detections.scores)


def test_likeness_of_long_vectors_in_half_precision() -> None:
    a = torch.full((2048, 1, 2), 10.0)
    b = a * torch.tensor([1.0, -1.0])
    with torch.autocast("cpu", dtype=torch.float16):
        assert _cosine(a, b).tolist() == [[pytest.approx(1), pytest.approx(-1)]]
