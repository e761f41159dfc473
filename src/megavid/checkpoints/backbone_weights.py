"""Read ResNet weights trained on ImageNet, to initialize a backbone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.models import get_model_weights

from megavid.checkpoints.detectron import read_detectron
from megavid.checkpoints.tensors import check_tensors
from megavid.checkpoints.weights import read_state_dict
from megavid.core.errors import InputError
from megavid.models.layers.resnet import DEPTHS, FIRST_BOTTLENECK_DEPTH

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and standard deviation by which torchvision normalizes red, green and blue values from 0 to 1."""

_EPSILON = 1e-5
"""Epsilon that torchvision's batch norm adds to the variance."""

_STAGE = re.compile(r"layer[1-4]\.")

_BLOCK = re.compile(r"layer[1-4]\.\d+\.")


@dataclass(frozen=True, eq=False)
class BackboneWeights:
    """Weights of a ResNet, without its classifier.

    Attributes:
        state: Tensors under the names of `models.faster_rcnn.backbone.Backbone`.
        stride_in_1x1: Whether the network was trained with the stride of a bottleneck in the 1x1 convolution
            (see `BackboneConfig`); None if it has no bottlenecks.
    """

    state: dict[str, Tensor]
    stride_in_1x1: bool | None

    @property
    def depth(self) -> int | None:
        """Depth of the ResNet, a key of `DEPTHS`; None for another one."""
        names = {found.group() for name in self.state if (found := _BLOCK.search(name))}
        blocks = tuple(sum(name.startswith(f"layer{stage}.") for name in names) for stage in range(1, 5))
        has_bottlenecks = self.stride_in_1x1 is not None
        depths = [depth for depth in DEPTHS if (depth >= FIRST_BOTTLENECK_DEPTH) == has_bottlenecks]
        return next((depth for depth in depths if DEPTHS[depth] == blocks), None)


def read_backbone(path: Path, *, mean: tuple[float, float, float]) -> BackboneWeights:
    """Read the weights of a ResNet, without its classifier.

    torchvision's networks expect RGB values from 0 to 1, normalized, and add an epsilon to the variance in
    batch norm. Both differences are folded into the weights.

    Args:
        path: A state dict from torchvision (`.pth`), or MSRA's weights in Detectron's format (`.pkl`).
        mean: Means that the detector subtracts from the blue, green and red channels, on a scale of 0 to 255.

    Raises:
        InputError: The file is missing or broken, is not a ResNet in one of these formats, or holds NaN.
    """
    if path.suffix == ".pkl":
        return BackboneWeights(_from_detectron(read_detectron(path), path), stride_in_1x1=True)
    return _read_torchvision(read_state_dict(path), mean, origin=path)


def download_torchvision(name: str, *, mean: tuple[float, float, float]) -> BackboneWeights:
    """Let torchvision download a ResNet's ImageNet weights to its own cache, unless that has them already.

    The weights are `IMAGENET1K_V1`, with which torchvision's own detectors are trained.

    Args:
        name: Name of the network, such as "torchvision:resnet50".
        mean: See `read_backbone`.

    Raises:
        InputError: There is no such network, or it cannot be downloaded.
    """
    weights = torchvision_weights(name)
    try:
        state = weights.get_state_dict(progress=True, check_hash=True, weights_only=True)
    except (OSError, RuntimeError) as error:  # of the network, or a wrong hash
        reason = " ".join(str(error).split())
        raise InputError(
            f"{name}: {weights.url} cannot be downloaded: {reason}; try again, or download it by hand to "
            f"{torchvision_path(name)}"
        ) from error
    return _read_torchvision(state, mean, origin=name)


def torchvision_weights(name: str) -> Any:
    """Return torchvision's description of the weights of a ResNet, such as "torchvision:resnet50".

    Raises:
        InputError: It is none of the networks that a backbone can be.
    """
    known = [f"torchvision:resnet{depth}" for depth in DEPTHS]
    if name not in known:
        raise InputError(f"{name}: expected one of {', '.join(known)}")
    return get_model_weights(name.removeprefix("torchvision:"))["IMAGENET1K_V1"]


def torchvision_path(name: str) -> Path:
    """Return the path to which torchvision downloads a ResNet's weights, whether or not it exists."""
    return Path(torch.hub.get_dir()) / "checkpoints" / PurePosixPath(torchvision_weights(name).url).name


def _read_torchvision(
    state: Mapping[str, Tensor], mean: tuple[float, float, float], *, origin: object
) -> BackboneWeights:
    stem = state.get("conv1.weight")
    norm_mean = state.get("bn1.running_mean")
    if "layer1.0.conv1.weight" not in state or stem is None or norm_mean is None:
        raise InputError(f"{origin}: expected a ResNet of torchvision, with layer1.0.conv1.weight in it")
    if stem.ndim != 4 or stem.shape[1] != 3 or norm_mean.shape != stem.shape[:1]:
        shapes = f"{tuple(stem.shape)} and {tuple(norm_mean.shape)}"
        raise InputError(
            f"{origin}: expected conv1.weight (C, 3, h, w) and bn1.running_mean (C,), got {shapes}"
        )
    stride_in_1x1 = False if "layer1.0.conv3.weight" in state else None
    return BackboneWeights(_from_torchvision(state, mean), stride_in_1x1)


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
