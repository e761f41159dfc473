"""Propose the network of a recipe: its model, and settings that fit the objects of a data set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from megavid.checkpoints.load import read_config
from megavid.checkpoints.weights import FlowNetWeights, Weights, read_weights
from megavid.core.config import with_overrides
from megavid.core.errors import InputError
from megavid.datasets.table.annotations import Annotations
from megavid.models.method_registry import detector_config, rename_config_keys
from megavid.training.init.object_sizes import LEAST_SIZE, anchors_cover, fit_anchors, fit_input, object_sizes

Nested = dict[str, Any]

_SMALL: Nested = {
    "backbone.depth": 18,
    "backbone.width": 24,
    "backbone.reduce_channels": 48,
    "rpn.pre_nms_top_n": 400,
    "rpn.post_nms_top_n": 40,
    "rpn.batch_size_per_image": 64,
    "head.pool_size": 5,
    "head.max_detections": 50,
    "head.batch_size_per_image": 32,
    "method.hidden": 128,
}
"""A network that a CPU trains in an hour or two, as in the recipe `generated`."""

_SMALL_IF_ANY: Nested = {
    "method.flow_width": 8,
    "method.heads": 4,
    "method.reference_proposals": 20,
    "method.distilled_proposals": 5,
}


@dataclass(frozen=True)
class NetworkProposal:
    """A model and values of its configuration.

    Attributes:
        model: A shipped configuration's name or a YAML file.
        settings: Values by dotted path.
        settings_if_any: Values that apply only to models that have the key.
        reasons: Reasons for some of the recipe's keys, by dotted path.
    """

    model: str
    settings: Nested
    settings_if_any: Nested
    reasons: dict[str, str]

    @property
    def has_group_norm(self) -> bool:
        """Whether the backbone is made for training from random weights."""
        return self.settings.get("backbone.norm") == "group"

    @property
    def timm(self) -> str | None:
        """Name of the backbone in timm, if it is one of timm's."""
        name: str | None = self.settings.get("backbone.timm")
        return name


def propose_detector_network(
    train: Annotations, path: Path, model: str | None, overrides: Mapping[str, Any]
) -> NetworkProposal:
    """Propose a network that starts from all weights of a detector.

    Args:
        train: The training data.
        path: Weights of the detector.
        model: A shipped configuration's name or a YAML file; None for the detector's method.
        overrides: Values that the user gives, by dotted path.

    Raises:
        InputError: The weights or the model cannot be read.
    """
    model, settings, theirs = _take_over(path, model)
    reasons = {"settings": f"of {path}, which it starts from"}
    settings |= _fit_input(train, theirs["input.min_size"], theirs["input.max_size"], overrides, reasons)
    size = settings["input.min_size"], settings["input.max_size"]
    small, large = object_sizes(train, *size)
    anchors = theirs["rpn.anchor_sizes"]
    objects = f"objects have {small:.0f} to {large:.0f} pixels of the input"
    if anchors_cover(anchors, small, large):
        settings["rpn.anchor_sizes"] = anchors
        reasons["settings.rpn.anchor_sizes"] = f"the detector's own, which fit: {objects}"
    else:
        settings["rpn.anchor_sizes"] = fit_anchors(train, *size, count=len(anchors))
        reasons["settings.rpn.anchor_sizes"] = (
            f"fitted, since {objects}; as many as the detector's {', '.join(map(str, anchors))}, which its "
            "weights require"
        )
    return NetworkProposal(model, settings, {}, reasons)


def propose_new_network(
    train: Annotations, model: str, overrides: Mapping[str, Any], *, from_scratch: bool, small: bool
) -> NetworkProposal:
    """Propose a network whose RPN and head, at least, start from random weights.

    Args:
        train: The training data.
        model: A shipped configuration's name or a YAML file.
        overrides: Values that the user gives, by dotted path.
        from_scratch: Whether the backbone starts from random weights, too.
        small: Whether to propose a small network, which a CPU trains in an hour or two.

    Raises:
        InputError: The model cannot be read.
    """
    settings: Nested = {}
    reasons: dict[str, str] = {}
    size = _configuration(*read_config(model))["input"]
    shortest, longest = size["min_size"], size["max_size"]
    if small:
        settings |= _SMALL
        reasons["settings"] = "a small network, since there is no GPU and nothing to start from"
        shortest = _small_input(train)
        longest = shortest * 5 // 3
    settings |= _fit_input(train, shortest, longest, overrides, reasons)
    settings["rpn.anchor_sizes"] = fit_anchors(
        train, settings["input.min_size"], settings["input.max_size"], count=3 if small else 4
    )
    reasons["settings.rpn.anchor_sizes"] = "from small objects to large ones, pixels of the network's input"
    if from_scratch and "backbone.timm" not in overrides:
        settings["backbone.norm"] = "group"
        reasons["settings.backbone.norm"] = (
            "learns from random weights; with start.backbone remove this line and set run.frozen_stages: 2"
        )
    return NetworkProposal(model, settings, dict(_SMALL_IF_ANY) if small else {}, reasons)


def _take_over(path: Path, model: str | None) -> tuple[str, Nested, Nested]:
    """Return a model, the settings that it takes from a detector, and all of the detector's settings."""
    weights = read_weights(path)
    if isinstance(weights, FlowNetWeights):
        raise InputError(f"{path}: holds FlowNet's weights only; they belong under start.flow")
    depth = weights.inferred["backbone.depth"]
    own = f"{weights.inferred['method.name']}_r{101 if depth == 101 else 50}"
    model = model or own
    theirs = _flat(_configuration_of(weights, own))
    ours = _flat(_configuration(*read_config(model)))
    settings = {
        path: theirs[path]
        for path in ours
        if path in theirs and theirs[path] != ours[path] and path not in {"classes", "method.name"}
    }
    return model, settings, theirs


def _configuration_of(weights: Weights, name: str) -> Nested:
    """Return the configuration that weights carry, or else the named one with what their shapes say."""
    if weights.config is not None:
        origin = str(weights.path)
        return _configuration(rename_config_keys(weights.config, origin=origin), origin)
    data, origin = read_config(name)
    return _configuration(with_overrides(data, weights.inferred), origin)


def _configuration(data: Mapping[str, Any], origin: str) -> Nested:
    """Return nested values with all defaults filled in."""
    return detector_config(data, origin=origin).model_dump(mode="json")


def _flat(values: Mapping[str, Any], prefix: str = "") -> Nested:
    """Return nested values by dotted path."""
    flat: Nested = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def _small_input(train: Annotations) -> int:
    """Return the shorter side of a small network's input, pixels: that of the frames, within 96 .. 192."""
    sides = np.minimum(train.width, train.height)
    return int(np.clip(np.median(sides[sides > 0]) if (sides > 0).any() else 144, 96, 192)) // 16 * 16


def _fit_input(
    train: Annotations, shortest: int, longest: int, overrides: Mapping[str, Any], reasons: dict[str, str]
) -> Nested:
    """Choose the size of the network's input: as the user gives it, or else fitted to the objects."""
    given = [overrides.get(f"input.{name}") for name in ("min_size", "max_size")]
    fitted = fit_input(train, shortest, longest) if given == [None, None] else (shortest, longest)
    why = "the shorter side of a frame becomes this, pixels"
    if fitted[0] > shortest:
        why += f"; more than {shortest}, since objects below {LEAST_SIZE} pixels are hard to find"
    fitted = tuple(  # type: ignore[assignment]
        mine if isinstance(mine, int) and mine >= LEAST_SIZE else other
        for mine, other in zip(given, fitted, strict=True)
    )
    small, _ = object_sizes(train, *fitted)
    if small < LEAST_SIZE:
        why += f"; one object in twenty is smaller than {small:.0f} pixels of it, and hard to find"
    reasons["settings.input.min_size"] = why
    reasons["settings.input.max_size"] = "the longer side's limit"
    return {"input.min_size": fitted[0], "input.max_size": fitted[1]}
