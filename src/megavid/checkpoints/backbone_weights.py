"""Read ResNet weights trained on ImageNet, to initialize a backbone."""

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
"""Mean and standard deviation by which torchvision normalizes red, green and blue values from 0 to 1."""

_EPSILON = 1e-5
"""Epsilon that torchvision's batch norm adds to the variance."""

_STAGE = re.compile(r"layer[1-4]\.")


def read_backbone(path: Path, *, mean: tuple[float, float, float]) -> dict[str, Tensor]:
    """Read the weights of a ResNet, without its classifier.

    torchvision's networks expect RGB values from 0 to 1, normalized, and add an epsilon to the variance in
    batch norm. Both differences are folded into the weights. torchvision trained the bottlenecks of ResNet-50
    and ResNet-101 with the stride in the 3x3 convolution. Here, as in MSRA's networks, the stride is in the
    1x1 convolution before it, so MSRA's weights are the better start.

    Args:
        path: A state dict from torchvision (`.pth`), or MSRA's weights in Detectron's format (`.pkl`).
        mean: Means that the detector subtracts from the blue, green and red channels, on a scale of 0 to 255.

    Returns:
        Tensors under the names of `models.faster_rcnn.backbone.Backbone`.

    Raises:
        InputError: The file is missing or broken, is not a ResNet in one of these formats, or holds NaN.
    """
    if path.suffix == ".pkl":
        return _from_detectron(read_detectron(path), path)
    state = read_state_dict(path)
    stem = state.get("conv1.weight")
    norm_mean = state.get("bn1.running_mean")
    if "layer1.0.conv1.weight" not in state or stem is None or norm_mean is None:
        raise InputError(f"{path}: expected a ResNet of torchvision, with layer1.0.conv1.weight in it")
    if stem.ndim != 4 or stem.shape[1] != 3 or norm_mean.shape != stem.shape[:1]:
        shapes = f"{tuple(stem.shape)} and {tuple(norm_mean.shape)}"
        raise InputError(
            f"{path}: expected conv1.weight (C, 3, h, w) and bn1.running_mean (C,), got {shapes}"
        )
    return _from_torchvision(state, mean)


def _from_torchvision(state: Mapping[str, Tensor], mean: tuple[float, float, float]) -> dict[str, Tensor]:
    renamed = {
        _our_name(name): value.float() + (_EPSILON if name.endswith("running_var") else 0.0)
        for name, value in state.items()
        if not name.startswith("fc.") and not name.endswith("num_batches_tracked")
    }
    # torchvision's input is (rgb / 255 - mean) / std; the input here is bgr - mean. So scale conv1's weights,
    # reverse their channels, and shift the mean of the batch norm after conv1.
    std = 255 * torch.tensor(_STD)
    weight = state["conv1.weight"].float() / std[None, :, None, None]
    shift = torch.tensor(mean).flip(0) - 255 * torch.tensor(_MEAN)
    renamed["trunk.stem.conv1.weight"] = weight.flip(1)
    renamed["trunk.stem.bn1.running_mean"] -= (weight.sum((2, 3)) * shift).sum(1)
    return renamed


def _our_name(name: str) -> str:
    if not _STAGE.match(name):
        return f"trunk.stem.{name}"
    return f"stage5.{name}" if name.startswith("layer4.") else f"trunk.{name}"


_PARTS = {"branch2a": "conv1", "branch2b": "conv2", "branch2c": "conv3"}
_DETECTRON = re.compile(r"res([2-5])_(\d+)_(branch1|branch2[abc])_(w|bn_[sb])")


def _from_detectron(blobs: Mapping[str, NDArray[Any]], path: Path) -> dict[str, Tensor]:
    """Rename Detectron's arrays; as its batch norm is only a scale and a shift, add mean 0 and variance 1."""
    state: dict[str, Tensor] = {}
    for name, value in blobs.items():
        if found := _DETECTRON.fullmatch(name):
            stage, block, branch, part = found.groups()
            prefix = _our_name(f"layer{int(stage) - 1}.{block}.")
            conv = "downsample.0" if branch == "branch1" else _PARTS[branch]
            norm = "downsample.1" if branch == "branch1" else conv.replace("conv", "bn")
        elif name in {"conv1_w", "res_conv1_bn_s", "res_conv1_bn_b"}:
            prefix, conv, norm, part = "trunk.stem.", "conv1", "bn1", name.removeprefix("res_conv1_")
            part = part.removeprefix("conv1_")
        else:
            continue  # the classifier, or state of the optimizer
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
        raise InputError(f"{path}: expected a ResNet in Detectron's format, with res2_0_branch2a_w in it")
    check_tensors(state, path)
    return state
