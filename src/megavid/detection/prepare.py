"""From a network with its weights to one that computes fast."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from megavid.detection.detector import VideoDetector
from megavid.detection.inference import Inference
from megavid.nn.fold import fold_norms
from megavid.nn.relation import Relation


def prepare(detector: VideoDetector[Any, Any], inference: Inference) -> None:
    """Change a detector in place so that it computes as told; it cannot be trained afterwards, nor saved.

    Args:
        detector: With its weights, on its device.
        inference: How it is to compute.
    """
    detector.requires_grad_(False)
    if inference.fold_norms:
        fold_norms(detector)
    if inference.sum_cells and detector.device.type == "cpu":
        detector.sum_cells()
    if inference.channels_last:
        detector.to(memory_format=torch.channels_last)
    detector.inference = inference
    _cast(detector, getattr(torch, inference.dtype))
    if inference.compile:
        options = {"freezing": True} if detector.device.type == "cpu" else None
        for module in detector.convolutional():
            module.compile(dynamic=False, options=options)


def _cast(detector: VideoDetector[Any, Any], dtype: torch.dtype) -> None:
    """Weights in the type computed in, once and not at every use; boxes are predicted in float32."""
    exact: set[nn.Module | None] = {m.geometry for m in detector.modules() if isinstance(m, Relation)}
    exact |= set(detector.predictor.modules())
    for module in detector.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear) and module not in exact:
            module.to(dtype)
