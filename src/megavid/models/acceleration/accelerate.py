"""Apply inference settings to a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from megavid.models.acceleration.cpu.attention import attend_by_head
from megavid.models.acceleration.cpu.cells import CELL_SUMS
from megavid.models.acceleration.cpu.packed import has_packing, pack_linears
from megavid.models.acceleration.cpu.winograd import WinogradConv2d
from megavid.models.acceleration.cuda.convolutions import fuse_blocks
from megavid.models.acceleration.cuda.dense_pooling import DENSE_PRODUCTS
from megavid.models.acceleration.cuda.registration import runs_triton, triton_geometry_biases
from megavid.models.acceleration.fold import fold_norms, norms_in_place
from megavid.models.acceleration.inference import Inference
from megavid.models.acceleration.kernels import MapKernels
from megavid.models.layers.relation import Relation


@dataclass(frozen=True, kw_only=True, eq=False)
class AccelerationPlan:
    """The parts of a network that inference settings apply to.

    Attributes:
        insensitive: Modules, mainly convolutions, whose rounding hardly changes a detection.
        sensitive: Modules, mainly convolutions, whose rounding moves detections: they round as in training
            unless `Inference.rounds_freely`.
        filtered: 3x3 convolutions that `Inference.winograd` applies to, each as its parent module and its
            name in the parent.
        packed: Parent modules of the linear layers that `Inference.pack` applies to.
        packed_rows: Typical number of rows in the input of these linear layers.
        float32: Modules that always compute in float32.
        precise: Modules that stay in float32 if the dtype is half precision, unless `Inference.loose` or in
            float16 on a GPU.
        use_kernels: Function that makes the network sample maps with the kernels that it is given, for
            `Inference.sum_cells`; None if the network cannot use others.
        use_fixed_shapes: Function that makes the network keep shapes fixed and run as captured functions, for
            `Inference.cuda_graphs`; None if the network cannot.
    """

    insensitive: list[nn.Module] = field(default_factory=list)
    sensitive: list[nn.Module] = field(default_factory=list)
    filtered: list[tuple[nn.Module, str]] = field(default_factory=list)
    packed: list[nn.Module] = field(default_factory=list)
    packed_rows: int = 1
    float32: list[nn.Module] = field(default_factory=list)
    precise: list[nn.Module] = field(default_factory=list)
    use_kernels: Callable[[MapKernels], None] | None = None
    use_fixed_shapes: Callable[[], None] | None = None


def accelerate(
    network: nn.Module, plan: AccelerationPlan, inference: Inference, *, device: torch.device
) -> Inference:
    """Apply inference settings to a network, in place.

    Args:
        network: Network with its weights, on its device.
        plan: Parts of the network that the settings apply to.
        inference: Settings.
        device: Device of the network.

    Returns:
        The settings, with those turned off that the device does not support.
    """
    inference = _supported(inference, plan, device)
    may_round = dict.fromkeys(plan.insensitive, True)
    may_round |= dict.fromkeys(plan.sensitive, inference.rounds_freely)
    if inference.fold_norms:
        for module, rounds_freely in may_round.items():
            (fold_norms if rounds_freely else norms_in_place)(module)
    if inference.sum_cells and plan.use_kernels is not None:
        plan.use_kernels(CELL_SUMS)
    _use_faster_products(network, plan, inference)
    _cast(network, plan, inference, device)
    for module, rounds_freely in may_round.items():
        _use_faster_convolutions(module, inference, may_round=rounds_freely, device=device)
    if inference.fused:
        _fuse(network, plan, inference, device)
    if inference.cuda_graphs and plan.use_fixed_shapes is not None:
        plan.use_fixed_shapes()
    return inference


def _supported(inference: Inference, plan: AccelerationPlan, device: torch.device) -> Inference:
    """Return the settings, with those turned off that the network or its device does not support."""
    on_cpu = device.type == "cpu"
    cuda_graphs = inference.cuda_graphs and plan.use_fixed_shapes is not None and runs_triton(device)
    return inference.model_copy(
        update={
            "cuda_graphs": cuda_graphs,
            "fused": inference.fused and cuda_graphs,
            "reuse": inference.reuse and not cuda_graphs,
            "channels_last": inference.channels_last and device.type != "mps",
            "sum_cells": inference.sum_cells and on_cpu,
            "winograd": inference.winograd and on_cpu and inference.rounds_freely,
            "split_heads": inference.split_heads and on_cpu and inference.dtype == "bfloat16",
            "pack": inference.pack and on_cpu and inference.dtype == "float32" and has_packing(),
        }
    )


def _use_faster_products(network: nn.Module, plan: AccelerationPlan, inference: Inference) -> None:
    """Replace attention, convolutions and linear layers with faster equivalents for CPUs."""
    relations = [module for module in network.modules() if isinstance(module, Relation)]
    if inference.split_heads:
        for relation in relations:
            relation.attention = attend_by_head
    if inference.winograd:
        for parent, name in plan.filtered:
            convolution = parent.get_submodule(name)
            assert isinstance(convolution, nn.Conv2d)
            parent.add_module(name, WinogradConv2d(convolution))
    if inference.pack:
        for module in plan.packed:
            pack_linears(module, rows=plan.packed_rows)
        for relation in relations:
            pack_linears(relation, rows=plan.packed_rows, leave=relation.geometry)


def _fuse(network: nn.Module, plan: AccelerationPlan, inference: Inference, device: torch.device) -> None:
    """Replace sequences of kernels with single kernels for GPUs."""
    for relation in network.modules():
        if isinstance(relation, Relation):
            relation.biases = triton_geometry_biases()
    if inference.dtype == "float32":
        return
    if plan.use_kernels is not None:
        plan.use_kernels(DENSE_PRODUCTS)
    if inference.compile:
        return  # compiled blocks add and rectify by kernels of their own
    # Within a fused block, the residual sum is rounded to half precision.
    everywhere = _rounds_everywhere(inference, device)
    for module in (*plan.insensitive, *(plan.sensitive if everywhere else [])):
        fuse_blocks(module)


def _use_faster_convolutions(
    module: nn.Module, inference: Inference, *, may_round: bool, device: torch.device
) -> None:
    """Speed up convolutions, without changing how they round unless `may_round` is set."""
    if inference.channels_last and may_round:
        module.to(memory_format=torch.channels_last)
    if inference.compile:
        options: dict[str, Any]
        options = {"freezing": device.type == "cpu"} if may_round else {"layout_optimization": False}
        # With `module.compile`, all modules of a class would share one limit of eight compilations.
        module.forward = torch.compile(module.forward, dynamic=False, options=options)


def _cast(network: nn.Module, plan: AccelerationPlan, inference: Inference, device: torch.device) -> None:
    """Cast weights to the compute dtype once, instead of at every use."""
    dtype: torch.dtype = getattr(torch, inference.dtype)
    if dtype == torch.float32:
        return
    geometry = [m.geometry for m in network.modules() if isinstance(m, Relation) and m.geometry is not None]
    kept = {part for module in (*plan.float32, *geometry) for part in module.modules()}
    if not _rounds_everywhere(inference, device):
        # A convolution that `winograd` replaced is no longer present; its replacement always uses float32.
        present = set(network.modules())
        for module in plan.precise:
            if module in present:
                kept |= set(module.modules())
                compute_in_float32(module)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear) and module not in kept:
            module.to(dtype)


def _rounds_everywhere(inference: Inference, device: torch.device) -> bool:
    """Return whether modules that need precision compute in half precision, too.

    On a GPU, float16 alone agrees with float32 as well as bfloat16 with float32 modules does, and it is three
    times as fast as with them (docs/performance.md).
    """
    return inference.loose or (inference.dtype == "float16" and device.type == "cuda")


def compute_in_float32(module: nn.Module) -> None:
    """Make a module compute in float32, whatever the surrounding autocast and the dtype of its input."""
    forward = module.forward

    def computed(maps: Tensor) -> Any:
        with torch.autocast(maps.device.type, enabled=False):
            return forward(maps.float())

    module.forward = computed
