"""ResNets that were trained on ImageNet, for a backbone to start from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from megavid.checkpoints.detectron import read_detectron
from megavid.checkpoints.tensors import check_tensors
from megavid.checkpoints.weights import read_state_dict
from megavid.core.errors import InputError

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""What torchvision's networks take off the red, green and blue channels (0 .. 1) and divide them by."""

_EPSILON = 1e-5
"""Of their batch norm."""

_STAGE = re.compile(r"layer[1-4]\.")


def read_backbone(path: Path, *, mean: tuple[float, float, float]) -> dict[str, Tensor]:
    """A ResNet's weights under the names of `models.faster_rcnn.backbone.Backbone`, without its classifier.

    torchvision's take RGB from 0 to 1 and have an epsilon in their batch norm: both are worked into the
    weights. Their bottlenecks (ResNet-50 and -101) were trained with the stride in the 3x3 convolution, which
    is in the 1x1 before it here, so they are a somewhat worse start than MSRA's, which fit as they are.

    Args:
        path: torchvision's state dict (`.pth`), or MSRA's in Detectron's form (`.pkl`).
        mean: What the detector takes off the blue, green and red channels (0 .. 255).

    Raises:
        InputError: The file is missing, broken or something else, or holds NaN.
    """
    if path.suffix == ".pkl":
        return _from_detectron(read_detectron(path), path)
    state = read_state_dict(path)
    stem = state.get("conv1.weight")
    mean_of_norm = state.get("bn1.running_mean")
    if "layer1.0.conv1.weight" not in state or stem is None or mean_of_norm is None:
        raise InputError(f"{path}: expected a ResNet of torchvision's, with layer1.0.conv1.weight in it")
    if stem.ndim != 4 or stem.shape[1] != 3 or mean_of_norm.shape != stem.shape[:1]:
        shapes = f"{tuple(stem.shape)} and {tuple(mean_of_norm.shape)}"
        raise InputError(
            f"{path}: expected conv1.weight (C, 3, h, w) and bn1.running_mean (C,), got {shapes}"
        )
    return _from_torchvision(state, mean)


def _from_torchvision(state: Mapping[str, Tensor], mean: tuple[float, float, float]) -> dict[str, Tensor]:
    renamed = {
        _place(name): value.float() + (_EPSILON if name.endswith("running_var") else 0.0)
        for name, value in state.items()
        if not name.startswith("fc.") and not name.endswith("num_batches_tracked")
    }
    # (x / 255 - mean) / std of RGB, as a convolution of x - our mean of BGR and a shift before batch norm.
    std = 255 * torch.tensor(_STD)
    weight = state["conv1.weight"].float() / std[None, :, None, None]
    shift = torch.tensor(mean).flip(0) - 255 * torch.tensor(_MEAN)
    renamed["trunk.stem.conv1.weight"] = weight.flip(1)
    renamed["trunk.stem.bn1.running_mean"] -= (weight.sum((2, 3)) * shift).sum(1)
    return renamed


def _place(name: str) -> str:
    if not _STAGE.match(name):
        return f"trunk.stem.{name}"
    return f"stage5.{name}" if name.startswith("layer4.") else f"trunk.{name}"


_PARTS = {"branch2a": "conv1", "branch2b": "conv2", "branch2c": "conv3"}
_DETECTRON = re.compile(r"res([2-5])_(\d+)_(branch1|branch2[abc])_(w|bn_[sb])")


def _from_detectron(blobs: Mapping[str, NDArray[Any]], path: Path) -> dict[str, Tensor]:
    """Detectron keeps batch norm as a scale and a shift."""
    state: dict[str, Tensor] = {}
    for name, value in blobs.items():
        if found := _DETECTRON.fullmatch(name):
            stage, block, branch, part = found.groups()
            prefix = _place(f"layer{int(stage) - 1}.{block}.")
            conv = "downsample.0" if branch == "branch1" else _PARTS[branch]
            norm = "downsample.1" if branch == "branch1" else conv.replace("conv", "bn")
        elif name in {"conv1_w", "res_conv1_bn_s", "res_conv1_bn_b"}:
            prefix, conv, norm, part = "trunk.stem.", "conv1", "bn1", name.removeprefix("res_conv1_")
            part = part.removeprefix("conv1_")
        else:
            continue  # the classifier, and what its optimizer left
        tensor = torch.from_numpy(value.astype(np.float32, order="C"))
        if part == "w":
            state[f"{prefix}{conv}.weight"] = tensor
        elif part == "bn_s":
            state[f"{prefix}{norm}.weight"] = tensor
            state[f"{prefix}{norm}.running_mean"] = torch.zeros_like(tensor)
            state[f"{prefix}{norm}.running_var"] = torch.ones_like(tensor)
        else:
            state[f"{prefix}{norm}.bias"] = tensor
    if "trunk.layer1.0.conv1.weight" not in state:
        raise InputError(f"{path}: expected a ResNet in Detectron's form, with res2_0_branch2a_w in it")
    check_tensors(state, path)
    return state
