"""Translate the original MEGA release's checkpoints: rename the tensors, and infer settings from them.

A published file is {"model": {name: tensor}, ...}; the names may have the prefix "module.". The tables below
map the beginnings of the published names to ours. Settings are inferred from the tensors' names and shapes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from megavid.core.errors import InputError
from megavid.models.layers.resnet import DEPTHS

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

_TWO_LAYERS = {
    _HEAD + "fc6.": "fcs.0.",
    _HEAD + "fc7.": "fcs.1.",
}

_FLOWNET = {
    "flow_conv1.": "conv1.",
    **{f"{name}.": f"{name}." for name in ("conv2", "conv3", "conv4", "conv5", "conv6")},
    **{f"{name}.": f"{name}." for name in ("conv3_1", "conv4_1", "conv5_1", "conv6_1")},
    **{f"Convolution{6 - level}.": f"refine{level}.predict." for level in (5, 4, 3, 2)},
    **{f"upsample_flow{level + 1}to{level}.": f"refine{level}.upsample_flow." for level in (5, 4, 3, 2)},
    **{f"deconv{level}.": f"refine{level}.deconv." for level in (5, 4, 3, 2)},
    "Convolution5.": "predict.",
}
_FLOW = {f"flownet.{theirs}": f"flow.{ours}" for theirs, ours in _FLOWNET.items()}


def _relation(theirs: str, ours: str) -> dict[str, str]:
    """Map the published names of a relation module's parts to ours; `theirs` has * for the part's name."""
    parts = {"Wqs": "query", "Wks": "key", "Wvs": "value", "Wgs": "geometry"}
    names = {f"{_HEAD}{theirs.replace('*', part)}.": f"{ours}.{name}." for part, name in parts.items()}
    return names | {_HEAD + theirs.replace("*", "us"): f"{ours}.query_bias"}


_RDN_BASE = (
    {_HEAD + f"fcs.{i}.": f"fcs.{i}." for i in (0, 1)}
    | _relation("*.0", "relations.0")
    | _relation("*.1", "relations.1")
)
_RDN_ADVANCED = (
    {_HEAD + "fcs.2.": "advanced_fc."}
    | _relation("*.2", "advanced_relations.0")
    | _relation("*.3", "advanced_relations.1")
)

_METHOD_NAMES: dict[str, dict[str, str]] = {
    "single_frame": _TWO_LAYERS,
    "dff": _TWO_LAYERS | _FLOW | {"flownet.Convolution5_scale.": "scale."},
    "fgfa": _TWO_LAYERS | _FLOW | {"embednet.embed_conv{}.": "embedding.conv{}."},
    "rdn_base": _RDN_BASE,
    "rdn": _RDN_BASE | _RDN_ADVANCED,
    "mega": {_HEAD + "l_fcs.": "fcs."}
    | _relation("l_*.{}", "local_relations.{}")
    | _relation("g_*.{}", "global_relations.{}"),
}
"""For each method, the beginnings of the published names and of ours; {} stands for a number.

If the names of one method are a subset of another's, the method with fewer names comes first, because
`infer_method` returns the first match.
"""

_SCORES = "roi_heads.box.predictor.cls_score.weight"
_BUFFER = "rpn.anchor_generator.cell_anchors."  # computed, not learned


def is_official(state: Mapping[str, Any]) -> bool:
    """Return whether a state dict has the tensor names of the original release."""
    return any(name.removeprefix("module.").startswith("backbone.body.") for name in state)


def is_official_flownet(state: Mapping[str, Any]) -> bool:
    """Return whether a state dict is the FlowNet that was published as a separate file."""
    return "conv1.weight" in (_flownet_name(name) for name in state)


def strip_wrapper(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Remove the prefix "module." from tensor names, and drop the anchors, which are not learned."""
    plain = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    return {name: tensor for name, tensor in plain.items() if not name.startswith(_BUFFER)}


def infer_method(state: Mapping[str, Tensor]) -> str:
    """Infer the method of an official state dict from the names of its tensors.

    Args:
        state: State dict, as returned by `strip_wrapper`.

    Raises:
        InputError: The names belong to no known method.
    """
    for method in _METHOD_NAMES:
        if all(_rename(name, method) is not None for name in state):
            return method
    unknown = [name for name in state if all(_rename(name, method) is None for method in _METHOD_NAMES)]
    if unknown:
        raise InputError(
            f"{unknown[0]!r} belongs to none of the methods that this version reads official weights of: "
            f"{', '.join(_METHOD_NAMES)}"
        )
    raise InputError("expected the tensors of one method, got some that no method has together")


def from_official(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Translate an official state dict, as returned by `strip_wrapper`, to our names and shapes."""
    method = infer_method(state)
    return {str(_rename(name, method)): _reshape(name, tensor) for name, tensor in state.items()}


def flownet_from_official(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Translate the published FlowNet's state dict to the names of `models.layers.flownet.FlowNet`.

    Other tensors in the file, such as DFF's scale map, are dropped, as the original release does.
    """
    renamed = {_flownet_name(name): tensor for name, tensor in state.items()}
    return {name: tensor for name, tensor in renamed.items() if name is not None}


def infer_settings(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Infer settings of the configuration, by dotted path, from an official state dict.

    Args:
        state: State dict, as returned by `strip_wrapper`.

    Raises:
        InputError: A required tensor is missing, or the original release has no such backbone.
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
        "method.name": infer_method(state),
        "method.hidden": _tensor(state, _SCORES, 2).shape[1],
    }


def infer_num_classes(state: Mapping[str, Tensor]) -> int:
    """Infer the number of classes, not counting background, from a state dict after `strip_wrapper`."""
    return len(_tensor(state, _SCORES, 2)) - 1


def _tensor(state: Mapping[str, Tensor], name: str, dimensions: int) -> Tensor:
    if name not in state:
        raise InputError(f"{name!r} is missing")
    if state[name].ndim != dimensions:
        raise InputError(f"{name!r}: expected {dimensions} dimensions, got {tuple(state[name].shape)}")
    return state[name]


def _rename(name: str, method: str) -> str | None:
    return _replace_beginning(name, _SHARED | _METHOD_NAMES[method])


def _flownet_name(name: str) -> str | None:
    plain = name.removeprefix("module.").removeprefix("flownet.")
    return _replace_beginning(plain, _FLOWNET)


def _replace_beginning(name: str, table: Mapping[str, str]) -> str | None:
    for theirs, ours in table.items():
        pattern = re.escape(theirs).replace(r"\{\}", r"(\d+)")
        if match := re.match(pattern, name):
            return ours.format(*match.groups()) + name[match.end() :]
    return None


def _reshape(name: str, tensor: Tensor) -> Tensor:
    """Flatten relation modules' 1x1 convolutions to matrices, query biases (H, 1, D / H) to (H, D / H)."""
    if re.search(r"[._]W[gv]s\.", name):
        return tensor.flatten(1) if tensor.ndim == 4 else tensor
    return tensor.squeeze(1) if "_us." in name else tensor
