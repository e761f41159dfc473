"""From a network with its weights to one that computes fast."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import nn

from megavid.detection.detector import VideoDetector
from megavid.detection.inference import Inference
from megavid.nn.fold import fold_norms, norms_in_place
from megavid.nn.packed import PackedLinear
from megavid.nn.relation import Relation


def prepare(detector: VideoDetector[Any, Any], inference: Inference) -> None:
    """Change a detector in place so that it computes as told; it cannot be trained afterwards, nor saved.

    Args:
        detector: With its weights, on its device.
        inference: How it is to compute.
    """
    detector.requires_grad_(False)
    detector.inference = inference
    _cast(detector, getattr(torch, inference.dtype))
    if inference.sum_cells and detector.device.type == "cpu":
        detector.sum_cells()
    if inference.pack and detector.device.type == "cpu" and inference.dtype == "float32":
        layers = cast(nn.ModuleList, detector.fcs)
        layers[0] = PackedLinear(cast(nn.Linear, layers[0]), rows=detector.config.rpn.proposals)
    # What is pooled is hardly sensitive to rounding; where the RoIs are is (`Inference.loose`).
    loose = inference.loose or inference.dtype != "float32"
    _speed_up(detector.backbone.stage5, inference, loose=True)
    for module in detector.before_proposals():
        _speed_up(module, inference, loose=loose)


def _speed_up(module: nn.Module, inference: Inference, *, loose: bool) -> None:
    """Make convolutions faster: if not `loose`, what comes out stays the same to the last bit."""
    on_cpu = next(module.parameters()).device.type == "cpu"
    if inference.fold_norms:
        (fold_norms if loose else norms_in_place)(module)
    if inference.channels_last and loose:
        module.to(memory_format=torch.channels_last)
    if inference.compile:
        # Another layout of the maps would be another order of sums.
        options = {"freezing": on_cpu} if loose else {"layout_optimization": False}
        module.compile(dynamic=False, options=options)


def _cast(detector: VideoDetector[Any, Any], dtype: torch.dtype) -> None:
    """Weights in the type computed in, once and not at every use; boxes are predicted in float32."""
    exact: set[nn.Module | None] = {m.geometry for m in detector.modules() if isinstance(m, Relation)}
    exact |= set(detector.predictor.modules())
    for module in detector.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear) and module not in exact:
            module.to(dtype)
