"""Checkpoints in the original release's format, with the names and shapes of its state dicts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from tests.parity.recipe import make_weights

Shapes = dict[str, Sequence[int]]

HEAD = "roi_heads.box.feature_extractor"
BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}


def _norm(name: str, channels: int) -> Shapes:
    return {f"{name}.{part}": [channels] for part in ("weight", "bias", "running_mean", "running_var")}


def _layer(name: str, *shape: int) -> Shapes:
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def _stage(name: str, blocks: int, channels: int, width: int) -> Shapes:
    shapes: Shapes = {f"{name}.0.downsample.0.weight": [4 * width, channels, 1, 1]}
    shapes |= _norm(f"{name}.0.downsample.1", 4 * width)
    for i in range(blocks):
        block = f"{name}.{i}"
        shapes[f"{block}.conv1.weight"] = [width, channels if i == 0 else 4 * width, 1, 1]
        shapes[f"{block}.conv2.weight"] = [width, width, 3, 3]
        shapes[f"{block}.conv3.weight"] = [4 * width, width, 1, 1]
        for norm, size in (("bn1", width), ("bn2", width), ("bn3", 4 * width)):
            shapes |= _norm(f"{block}.{norm}", size)
    return shapes


def _relations(prefix: str, count: int, *, geometry: bool, query_bias: bool) -> Shapes:
    shapes: Shapes = {}
    for i in range(count):
        shapes |= _layer(f"{HEAD}.{prefix}Wqs.{i}", 1024, 1024)
        shapes |= _layer(f"{HEAD}.{prefix}Wks.{i}", 1024, 1024)
        shapes |= _layer(f"{HEAD}.{prefix}Wvs.{i}", 1024, 1024, 1, 1)
        if query_bias:
            shapes[f"{HEAD}.{prefix}us.{i}"] = [16, 1, 64]
        if geometry:
            shapes |= _layer(f"{HEAD}.{prefix}Wgs.{i}", 16, 64, 1, 1)
    return shapes


def flownet_shapes(prefix: str = "") -> Shapes:
    """Return the shapes of FlowNet's tensors by name; each name begins with `prefix`."""
    shapes: Shapes = {}
    for name, out, into, kernel in (
        ("flow_conv1", 64, 6, 7),
        ("conv2", 128, 64, 5),
        ("conv3", 256, 128, 5),
        ("conv3_1", 256, 256, 3),
        ("conv4", 512, 256, 3),
        ("conv4_1", 512, 512, 3),
        ("conv5", 512, 512, 3),
        ("conv5_1", 512, 512, 3),
        ("conv6", 1024, 512, 3),
        ("conv6_1", 1024, 1024, 3),
        ("Convolution1", 2, 1024, 3),
        ("Convolution2", 2, 1026, 3),
        ("Convolution3", 2, 770, 3),
        ("Convolution4", 2, 386, 3),
        ("Convolution5", 2, 194, 3),
    ):
        shapes |= _layer(prefix + name, out, into, kernel, kernel)
    for name, into, out in (
        ("deconv5", 1024, 512),
        ("deconv4", 1026, 256),
        ("deconv3", 770, 128),
        ("deconv2", 386, 64),
        ("upsample_flow6to5", 2, 2),
        ("upsample_flow5to4", 2, 2),
        ("upsample_flow4to3", 2, 2),
        ("upsample_flow3to2", 2, 2),
    ):
        shapes |= {f"{prefix}{name}.weight": [into, out, 4, 4], f"{prefix}{name}.bias": [out]}
    return shapes


def _method_shapes(method: str, depth: int, pooled: int) -> Shapes:
    shapes: Shapes = {}
    if method in {"dff", "fgfa"}:
        shapes |= flownet_shapes("flownet.")
    if method == "dff":
        shapes["flownet.Convolution5_scale.weight"] = [1024, 194, 1, 1]
    if method == "fgfa":
        shapes |= _layer("embednet.embed_conv1", 512, 1024, 1, 1)
        shapes |= _layer("embednet.embed_conv2", 512, 512, 3, 3)
        shapes |= _layer("embednet.embed_conv3", 2048, 512, 1, 1)
    if method in {"single_frame", "dff", "fgfa"}:
        shapes |= _layer(f"{HEAD}.fc6", 1024, pooled) | _layer(f"{HEAD}.fc7", 1024, 1024)
    layers, prefix = {"rdn_base": (2, ""), "rdn": (3, ""), "mega": (3, "l_")}.get(method, (0, ""))
    for i in range(layers):
        shapes |= _layer(f"{HEAD}.{prefix}fcs.{i}", 1024, pooled if i == 0 else 1024)
    if method in {"rdn_base", "rdn"}:
        shapes |= _relations("", 2 if method == "rdn_base" else 4, geometry=True, query_bias=False)
    if method == "mega":
        shapes |= _relations("l_", 3, geometry=True, query_bias=True)
        shapes |= _relations("g_", 1 if depth == 50 else 2, geometry=False, query_bias=True)
    return shapes


OFFICIAL_METHODS = ("single_frame", "dff", "fgfa", "rdn_base", "rdn", "mega")
"""Methods of the original release, for which recordings and checkpoints exist."""


def official_shapes(method: str, depth: int, *, classes: int = 30) -> Shapes:
    """Return the shapes of an official state dict by name, without buffers that the model computes."""
    shapes: Shapes = {"backbone.body.stem.conv1.weight": [64, 3, 7, 7]} | _norm("backbone.body.stem.bn1", 64)
    channels = 64
    for i, blocks in enumerate(BLOCKS[depth]):
        stage = f"backbone.body.layer{i + 1}" if i < 3 else f"{HEAD}.head.layer4"
        shapes |= _stage(stage, blocks, channels, 64 * 2**i)
        channels = 256 * 2**i
    shapes |= _layer("rpn.head.conv", 1024, 1024, 3, 3)
    shapes |= _layer("rpn.head.cls_logits", 12, 1024, 1, 1) | _layer("rpn.head.bbox_pred", 48, 1024, 1, 1)
    pooled = 2048 * 49
    if depth == 50:
        shapes |= _layer(f"{HEAD}.conv", 256, 2048, 1, 1)
        pooled = 256 * 49
    shapes |= _method_shapes(method, depth, pooled)
    shapes |= _layer("roi_heads.box.predictor.cls_score", classes + 1, 1024)
    shapes |= _layer("roi_heads.box.predictor.bbox_pred", 4 * (classes + 1), 1024)
    return shapes


def write_official(
    path: Path, shapes: Shapes, *, salt: int = 1, prefix: str = "", buffers: bool = True
) -> Path:
    """Write generated weights as a checkpoint in the original release's format, and return its path."""
    weights = {prefix + name: torch.from_numpy(w) for name, w in make_weights(shapes, salt).items()}
    if buffers:
        weights[f"{prefix}rpn.anchor_generator.cell_anchors.0"] = torch.zeros(12, 4)
    torch.save({"model": weights, "iteration": 120_000}, path)
    return path
