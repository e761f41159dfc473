"""From a network with its weights to one that computes fast."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from megavid.models.acceleration.cpu.packed import has_packing, pack_linears
from megavid.models.acceleration.cpu.winograd import WinogradConv2d
from megavid.models.acceleration.fold import fold_norms, norms_in_place
from megavid.models.base.detector import VideoDetector
from megavid.models.base.inference import Inference
from megavid.models.layers.relation import Relation


def prepare(detector: VideoDetector[Any, Any], inference: Inference) -> None:
    """Change a detector in place so that it computes as told; it can't be trained, saved or moved afterwards.

    Args:
        detector: As it was built, with its weights, on its device.
        inference: How it is to compute. `detector.inference` says what of that there is on this device.

    Raises:
        ValueError: It was prepared before.
    """
    if detector.is_prepared:
        raise ValueError("the detector was prepared before; load it again to prepare it differently")
    detector.is_prepared = True
    detector.inference = inference = _there(inference, detector.device)
    detector.requires_grad_(False)
    # What is pooled is hardly sensitive to rounding; where the RoIs are is (`Inference.loose`).
    loose = dict.fromkeys(detector.insensitive(), True)
    loose |= dict.fromkeys(detector.before_proposals(), inference.rounds_freely)
    if inference.fold_norms:
        for module, may_round in loose.items():
            (fold_norms if may_round else norms_in_place)(module)
    if inference.sum_cells:
        detector.use_sums_of_cells()
    _use_faster_products(detector, inference)
    _cast(detector, inference)
    for module, may_round in loose.items():
        _speed_up(module, inference, loose=may_round)


def _there(inference: Inference, device: torch.device) -> Inference:
    """What of the settings there is on a device."""
    on_cpu = device.type == "cpu"
    return inference.model_copy(
        update={
            "channels_last": inference.channels_last and device.type != "mps",
            "sum_cells": inference.sum_cells and on_cpu,
            "winograd": inference.winograd and on_cpu and inference.rounds_freely,
            "split_heads": inference.split_heads and on_cpu and inference.dtype == "bfloat16",
            "pack": inference.pack and on_cpu and inference.dtype == "float32" and has_packing(),
        }
    )


def _use_faster_products(detector: VideoDetector[Any, Any], inference: Inference) -> None:
    """Other ways to the same sums of products, in the RPN, in relations and in fully-connected layers."""
    relations = [module for module in detector.modules() if isinstance(module, Relation)]
    for relation in relations:
        relation.splits_heads = inference.split_heads
    if inference.winograd:
        detector.rpn.add_module("conv", WinogradConv2d(detector.rpn.conv))
    if inference.pack:
        rows = detector.config.rpn.proposals
        pack_linears(detector.fcs, rows=rows)
        for relation in relations:
            pack_linears(relation, rows=rows, leave=relation.geometry)


def _speed_up(module: nn.Module, inference: Inference, *, loose: bool) -> None:
    """Make convolutions faster; if not `loose`, in the order of sums that they had."""
    on_cpu = next(module.parameters()).device.type == "cpu"
    if inference.channels_last and loose:
        module.to(memory_format=torch.channels_last)
    if inference.compile:
        options: dict[str, Any] = {"freezing": on_cpu} if loose else {"layout_optimization": False}
        # Not `module.compile`, whose code all modules share, and so its limit of eight compilations.
        module.forward = torch.compile(module.forward, dynamic=False, options=options)


def _cast(detector: VideoDetector[Any, Any], inference: Inference) -> None:
    """Weights in the type computed in, once and not at every use.

    Boxes are predicted in float32. Where a method relates the places of proposals and if not `loose`, so are
    the RPN and the trunk's leading layers; what a ResNet's further blocks add to that stays in float32.
    """
    dtype: torch.dtype = getattr(torch, inference.dtype)
    geometry = {m.geometry for m in detector.modules() if isinstance(m, Relation)} - {None}
    exact: set[nn.Module | None] = {*geometry, detector.rpn.objectness, detector.rpn.deltas}
    exact |= set(detector.predictor.modules())
    if dtype != torch.float32 and geometry and not inference.loose:
        in_float32 = [*detector.backbone.leading_layers()]
        if not inference.winograd:  # which is in float32 by itself
            in_float32.append(detector.rpn.conv)
        for module in in_float32:
            exact |= set(module.modules())
            _compute_in_float32(module)
    for module in detector.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear) and module not in exact:
            module.to(dtype)


def _compute_in_float32(module: nn.Module) -> None:
    """Have a module compute in float32, whatever is around it and whatever maps it is given."""
    forward = module.forward

    def computed(maps: Tensor) -> Any:
        with torch.autocast(maps.device.type, enabled=False):
            return forward(maps.float())

    module.forward = computed
