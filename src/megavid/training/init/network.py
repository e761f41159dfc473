"""Propose the network for a recipe: a model, and settings that fit the objects in a data set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from megavid.checkpoints.load import fetch_weights, read_config
from megavid.checkpoints.weights import FlowNetWeights, Weights, read_weights
from megavid.core.config import with_overrides
from megavid.core.errors import InputError
from megavid.datasets.table.annotations import Annotations
from megavid.models.base.fitting import FittedSettings, Start, TrainingObjects
from megavid.models.method_registry import METHODS, detector_config, rename_config_keys
from megavid.training.init.backbone_settings import backbone_settings

Nested = dict[str, Any]


@dataclass(frozen=True)
class NetworkProposal:
    """A model, and values for its configuration.

    Attributes:
        model: Name of a shipped configuration, or path of a YAML file.
        settings: Values that differ from the model's configuration, by dotted path.
        fitted: Settings that the model's detector class has fitted to the data.
        reasons: Reasons for some of the recipe's values, by dotted path.
    """

    model: str
    settings: Nested
    fitted: FittedSettings
    reasons: dict[str, str]


def propose_detector_network(
    train: Annotations, name: str, model: str | None, overrides: Mapping[str, Any]
) -> NetworkProposal:
    """Propose a network that starts from all weights of a detector.

    Args:
        train: The training data.
        name: File, name or address of the detector's weights.
        model: Name of a shipped configuration, or path of a YAML file; None takes the shipped configuration
            that is closest to the weights.
        overrides: Values that the user gives, by dotted path.

    Raises:
        InputError: The weights or the model cannot be read.
    """
    model, settings, theirs = _take_over(fetch_weights(name), model)
    fitted = _fit(theirs, train, overrides, start="detector")
    reasons = {"settings": f"from {name}, the weights to start from"} | _settings_reasons(fitted)
    return NetworkProposal(model, settings | dict(fitted.settings), fitted, reasons)


def propose_new_network(
    train: Annotations,
    model: str | None,
    overrides: Mapping[str, Any],
    *,
    backbone: str | None,
    small: bool,
) -> NetworkProposal:
    """Propose a network that starts from random weights or from a backbone's weights only.

    Args:
        train: The training data.
        model: Name of a shipped configuration, or path of a YAML file; None for MEGA with the ResNet that
            the backbone's weights are for, by default a ResNet-50.
        overrides: Values that the user gives, by dotted path.
        backbone: File, name or address of the backbone's weights; None for random ones.
        small: Whether to propose a small network, which a CPU trains in an hour or two.

    Raises:
        InputError: The model or the backbone's weights cannot be read, or the weights are for a ResNet of
            another depth than that of the model.
    """
    name = model or "mega_r50"
    values = _flat(_configuration(*read_config(name)))
    if backbone is None:
        fitted = _fit(values, train, overrides, start="nothing", small=small)
        return NetworkProposal(name, dict(fitted.settings), fitted, _settings_reasons(fitted))
    wanted = backbone_settings(backbone, {**values, **overrides})
    depth = wanted.get("backbone.depth")
    if depth == 101 and model is None:
        name = "mega_r101"
        values = _flat(_configuration(*read_config(name)))
    theirs = overrides.get("backbone.depth", values.get("backbone.depth"))
    if depth not in {None, theirs} and (model is not None or "backbone.depth" in overrides):
        raise InputError(
            f"--start.backbone: {backbone}: expected a ResNet-{theirs}, as in {name}, got a ResNet-{depth}; "
            "choose another --model, or leave it out"
        )
    settings = {path: value for path, value in wanted.items() if value != values[path]}
    fitted = _fit({**values, **settings}, train, overrides, start="backbone", small=small)
    reasons = {f"settings.{path}": f"as {backbone} needs it" for path in settings}
    return NetworkProposal(
        name, settings | dict(fitted.settings), fitted, reasons | _settings_reasons(fitted)
    )


def _fit(
    values: Nested, train: Annotations, overrides: Mapping[str, Any], *, start: Start, small: bool = False
) -> FittedSettings:
    """Let the detector class of a configuration fit the configuration to the training data."""
    sides = (train.boxes[:, 2:] - train.boxes[:, :2]).clip(min=1).astype(np.float64)
    objects = TrainingObjects(
        frame_heights=train.height,
        frame_widths=train.width,
        object_areas=sides.prod(axis=1),
        object_frames=train.box_frames,
    )
    detector = METHODS[values["method.name"]]
    return detector.fit_settings(values, objects, overrides, start=start, small=small)


def _settings_reasons(fitted: FittedSettings) -> dict[str, str]:
    """Return the reasons for the fitted settings, by dotted path in the recipe."""
    return {f"settings.{path}".rstrip("."): reason for path, reason in fitted.reasons.items()}


def _take_over(path: Path, model: str | None) -> tuple[str, Nested, Nested]:
    """Return the model, the settings that it takes over from a detector, and all settings of the detector."""
    weights = read_weights(path)
    if isinstance(weights, FlowNetWeights):
        raise InputError(f"{path}: holds FlowNet's weights only; they belong under start.flow")
    own = _shipped_name(weights)
    model = model or own
    if model is None:
        raise InputError(f"{path}: no shipped configuration has its method; name a YAML file as the model")
    theirs = _flat(_configuration_of(weights, own or model))
    ours = _flat(_configuration(*read_config(model)))
    settings = {
        path: theirs[path]
        for path in ours
        if path in theirs and theirs[path] != ours[path] and path not in {"classes", "method.name"}
    }
    return model, settings, theirs


def _shipped_name(weights: Weights) -> str | None:
    """Return the shipped configuration that is closest to the weights; None if their depth is unknown."""
    depth = weights.inferred.get("backbone.depth")
    if depth is None:
        return None
    return f"{weights.inferred['method.name']}_r{101 if depth == 101 else 50}"


def _configuration_of(weights: Weights, name: str) -> Nested:
    """Return the weights' stored configuration, or else the named one with values inferred from them."""
    if weights.config is not None:
        origin = str(weights.path)
        return _configuration(rename_config_keys(weights.config, origin=origin), origin)
    data, origin = read_config(name)
    return _configuration(with_overrides(data, weights.inferred), origin)


def _configuration(data: Mapping[str, Any], origin: str) -> Nested:
    """Return nested values with all defaults filled in."""
    return detector_config(data, origin=origin).model_dump(mode="json")


def _flat(values: Mapping[str, Any], prefix: str = "") -> Nested:
    """Flatten nested values to a mapping from dotted paths to values."""
    flat: Nested = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat
