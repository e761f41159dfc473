"""Detectors prepared for inference on a CPU."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from megavid import Inference
from megavid.models.acceleration.cpu.attention import attend_by_head
from megavid.models.acceleration.cpu.packed import PackedLinear
from megavid.models.acceleration.cpu.winograd import WinogradConv2d
from megavid.models.layers.relation import Relation, attend_all_heads
from tests.conftest import build_tiny


def test_settings_that_do_not_apply_are_turned_off() -> None:
    detector = build_tiny("mega")
    assert detector.inference == Inference.plain()
    detector.prepare(Inference(dtype="bfloat16"))
    assert detector.inference == Inference(dtype="bfloat16", pack=False, cuda_graphs=False, fused=False)
    assert detector.description()["inference"]["pack"] is False


def test_linear_layers_are_packed() -> None:
    detector = build_tiny("single_frame")
    detector.prepare(Inference())
    assert isinstance(detector.get_submodule("fcs.0"), PackedLinear)


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
def test_settings_select_the_kernels(
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
def test_winograd_filters_are_made_from_float32_weights() -> None:
    plain, halved = build_tiny("single_frame"), build_tiny("single_frame")
    halved.prepare(Inference(dtype="bfloat16"))
    maps = torch.randn(1, plain.backbone.c4_channels, 5, 7, generator=torch.Generator().manual_seed(0))
    expected = plain.rpn.conv(maps)
    torch.testing.assert_close(
        halved.rpn.conv(maps), expected, atol=1e-5 * float(expected.abs().max()), rtol=0
    )
