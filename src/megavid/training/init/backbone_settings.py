"""Settings that a proposed network needs so that it can start from the weights of a backbone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from megavid.checkpoints.backbone_weights import read_backbone
from megavid.checkpoints.published import library_of
from megavid.checkpoints.starting_weights import fetch_backbone
from megavid.core.errors import InputError
from megavid.models.layers.resnet import FIRST_BOTTLENECK_DEPTH
from megavid.models.layers.timm_parts import PRETRAINED

_NAMED = re.compile(r"(torchvision|msra):resnet(\d+)")


def backbone_settings(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that a backbone's weights were made for, by dotted path.

    Args:
        name: File, name or address of the weights.
        values: Configuration of the network, by dotted path, with the values that the user gives.

    Raises:
        InputError: The weights are in a file that is broken or holds no ResNet, or cannot be downloaded.
    """
    if "backbone.timm" not in values:  # a method of the user that has no backbone
        return {}
    if library_of(name) == "timm":
        return {"backbone.timm": name.removeprefix("timm:")} if values["backbone.timm"] is None else {}
    if values["backbone.timm"] is not None or name == str(PRETRAINED):
        return {}
    if found := _NAMED.fullmatch(name):
        depth, stride_in_1x1 = int(found[2]), found[1] == "msra"
    else:
        weights = read_backbone(fetch_backbone(Path(name)), mean=(0.0, 0.0, 0.0))
        if weights.depth is None:
            raise InputError(f"--start.backbone: {name}: expected a ResNet-18, -34, -50 or -101")
        depth, stride_in_1x1 = weights.depth, weights.stride_in_1x1 is True
    has_bottlenecks = depth >= FIRST_BOTTLENECK_DEPTH
    return {
        "backbone.depth": depth,
        **({"backbone.stride_in_1x1": stride_in_1x1} if has_bottlenecks else {}),
    }
