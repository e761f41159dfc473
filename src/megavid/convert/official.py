"""The original MEGA release's checkpoints: what is in one, and its names as ours.

A published file is {"model": {name: tensor}, ...} with names perhaps under "module.". The tables below
are facts about those names; everything else follows from them and from the tensors' shapes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from megavid.core.errors import InputError
from megavid.nn.resnet import DEPTHS

_HEAD = "roi_heads.box.feature_extractor."

_SHARED = {
    "backbone.body.": "backbone.trunk.",
    _HEAD + "head.layer4.": "backbone.stage5.layer4.",
    _HEAD + "conv.": "backbone.reduce.",
    "rpn.head.conv.": "rpn.conv.",
    "rpn.head.cls_logits.": "rpn.objectness.",
    "rpn.head.bbox_pred.": "rpn.deltas.",
    "roi_heads.box.predictor.cls_score.": "predictor.scores.",
    "roi_heads.box.predictor.bbox_pred.": "predictor.deltas.",
}

_METHOD_NAMES: dict[str, dict[str, str]] = {
    "single_frame": {
        _HEAD + "fc6.": "fcs.0.",
        _HEAD + "fc7.": "fcs.1.",
    },
    "mega": {
        _HEAD + "l_fcs.": "fcs.",
        _HEAD + "l_Wqs.{}.": "local_relations.{}.query.",
        _HEAD + "l_Wks.{}.": "local_relations.{}.key.",
        _HEAD + "l_Wvs.{}.": "local_relations.{}.value.",
        _HEAD + "l_Wgs.{}.": "local_relations.{}.geometry.",
        _HEAD + "l_us.{}": "local_relations.{}.query_bias",
        _HEAD + "g_Wqs.{}.": "global_relations.{}.query.",
        _HEAD + "g_Wks.{}.": "global_relations.{}.key.",
        _HEAD + "g_Wvs.{}.": "global_relations.{}.value.",
        _HEAD + "g_us.{}": "global_relations.{}.query_bias",
    },
}
"""For each method, how the original's names begin and how ours do; {} stands for a number."""

_SCORES = "roi_heads.box.predictor.cls_score.weight"
_BUFFER = "rpn.anchor_generator.cell_anchors."  # computed, not learned


def is_official(state: Mapping[str, Any]) -> bool:
    """Whether the names of a state dict are the original release's."""
    return any(name.removeprefix("module.").startswith("backbone.body.") for name in state)


def without_wrapper(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict without "module." before its names and without computed buffers."""
    plain = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    return {name: tensor for name, tensor in plain.items() if not name.startswith(_BUFFER)}


def official_method(state: Mapping[str, Tensor]) -> str:
    """The method of an official state dict, from its names (`without_wrapper`).

    Raises:
        InputError: The names are of no method this version has.
    """
    unknown = ""
    for method in _METHOD_NAMES:
        renamed = [_rename(name, method) for name in state]
        if None not in renamed:
            return method
        unknown = unknown or next(name for name in state if _rename(name, method) is None)
    raise InputError(
        f"{unknown!r} belongs to none of the methods that this version reads official weights of: "
        f"{', '.join(_METHOD_NAMES)}"
    )


def from_official(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """An official state dict (`without_wrapper`) under our names, in our shapes."""
    method = official_method(state)
    return {str(_rename(name, method)): _reshape(name, tensor) for name, tensor in state.items()}


def official_settings(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """What an official state dict (`without_wrapper`) tells of its configuration, by dotted path.

    Raises:
        InputError: A tensor that tells it is missing, or the backbone is none of the original's.
    """
    blocks = len({name.split(".")[3] for name in state if name.startswith("backbone.body.layer3.")})
    depth = next((d for d in (50, 101) if DEPTHS[d][2] == blocks), None)
    if depth is None:
        raise InputError(f"expected 6 (R-50) or 23 (R-101) blocks in backbone.body.layer3, found {blocks}")
    reduce = _tensor(state, _HEAD + "conv.weight", 4) if _HEAD + "conv.weight" in state else None
    return {
        "backbone.depth": depth,
        "backbone.width": len(_tensor(state, "backbone.body.stem.conv1.weight", 4)),
        "backbone.reduce_channels": None if reduce is None else reduce.shape[0],
        "method.name": official_method(state),
        "method.hidden": _tensor(state, _SCORES, 2).shape[1],
    }


def official_num_classes(state: Mapping[str, Tensor]) -> int:
    """Number of classes of an official state dict (`without_wrapper`), background excluded."""
    return len(_tensor(state, _SCORES, 2)) - 1


def _tensor(state: Mapping[str, Tensor], name: str, dimensions: int) -> Tensor:
    if name not in state:
        raise InputError(f"{name!r} is missing")
    if state[name].ndim != dimensions:
        raise InputError(f"{name!r}: expected {dimensions} dimensions, got {tuple(state[name].shape)}")
    return state[name]


def _rename(name: str, method: str) -> str | None:
    for theirs, ours in (_SHARED | _METHOD_NAMES[method]).items():
        pattern = re.escape(theirs).replace(r"\{\}", r"(\d+)")
        if match := re.match(pattern, name):
            return ours.format(*match.groups()) + name[match.end() :]
    return None


def _reshape(name: str, tensor: Tensor) -> Tensor:
    """1x1 convolutions of relation modules as matrices, and u (H, 1, D / H) as (H, D / H)."""
    if "_Wg" in name or "_Wv" in name:
        return tensor.flatten(1) if tensor.ndim == 4 else tensor
    return tensor.squeeze(1) if "_us." in name else tensor
