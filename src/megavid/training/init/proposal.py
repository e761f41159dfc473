"""A recipe for data of one's own: what `megavid init` proposes, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from megavid.checkpoints.load import read_config, shipped_configs
from megavid.checkpoints.weights import FlowNetWeights, Weights, find_weights, read_weights
from megavid.core.config import validate, with_overrides
from megavid.core.errors import InputError
from megavid.datasets.clip_order import has_objects
from megavid.datasets.table.annotations import Annotations
from megavid.models.base.detector import DetectorConfig
from megavid.models.layers.timm_parts import PRETRAINED
from megavid.models.methods import detector_config
from megavid.training.hardware import Hardware
from megavid.training.init.object_sizes import LEAST_SIZE, anchors_cover, fit_anchors, fit_input, object_sizes
from megavid.training.recipe import StartConfig

Nested = dict[str, Any]

_BATCH = 4
"""Clips a step, as published."""

_LITTLE_MEMORY = 16 * 2**30
"""Bytes of a GPU below which activations are computed twice."""

_SMALL: Nested = {
    "backbone.depth": 18,
    "backbone.width": 24,
    "backbone.reduce_channels": 48,
    "rpn.candidates": 400,
    "rpn.proposals": 40,
    "rpn.sampled": 64,
    "head.pool_size": 5,
    "head.max_detections": 50,
    "head.sampled": 32,
    "method.hidden": 128,
}
"""A network that a CPU trains in an hour or two: that of the recipe `generated`."""

_SMALL_IF_ANY: Nested = {
    "method.flow_width": 8,
    "method.heads": 4,
    "method.reference_proposals": 20,
    "method.distilled_proposals": 5,
}

_FROM_SCRATCH: Nested = {"backbone.norm": "group"}


@dataclass(frozen=True)
class Schedule:
    """How long to train from some weights.

    Attributes:
        passes: Over the frames that can be trained on; neighbouring frames are much alike.
        least, most: Steps.
    """

    passes: int
    least: int
    most: int


_SCHEDULES = {
    "detector": Schedule(passes=2, least=1_500, most=30_000),
    "backbone": Schedule(passes=4, least=4_000, most=120_000),
    "nothing": Schedule(passes=12, least=6_000, most=120_000),
}
"""By what is there to start from."""


@dataclass(frozen=True)
class Proposal:
    """A recipe, and why it is as it is.

    Attributes:
        recipe: Nested values of a `Recipe`.
        reasons: A line for some of its keys, by dotted path.
    """

    recipe: Nested
    reasons: dict[str, str]


def propose(
    train: Annotations,
    *,
    data: Mapping[str, Any],
    model: str | None,
    hardware: Hardware,
    overrides: Mapping[str, Any],
    most_steps: int | None = None,
) -> Proposal:
    """Propose a recipe fitted to data and hardware.

    Args:
        train: What is to be trained on.
        data: The recipe's own section of this name.
        model: A shipped configuration's name or a YAML file; None for MEGA, or for the method of the detector
            to start from.
        hardware: What it is to be trained on.
        overrides: What the user wants otherwise, by dotted path: what there is to start from, the number of
            steps and of clips, and a backbone of timm's decide what fits.
        most_steps: As many as end in reasonable time; None where that is not known.

    Raises:
        InputError: No frame can be trained on, or a file or a value is none of what it should be.
    """
    frames = int((train.listed & has_objects(train)).sum())
    if frames == 0:
        raise InputError(f"{train.root}: no frame to train on: none has an object in it")
    start = _start(overrides)
    kind = "detector" if start.detector else "backbone" if start.backbone else "nothing"
    reasons: dict[str, str] = {}
    settings_if_any: Nested = {}
    if start.detector is not None:
        model, settings, theirs = _as_the_detector(start.detector, model)
        reasons["settings"] = f"of {start.detector}, which it starts from"
        settings |= _fit_detector(train, theirs, overrides, reasons)
        group_norm = settings.get("backbone.norm") == "group"
    else:
        is_small = kind == "nothing" and hardware.device == "cpu" and model in {None, *shipped_configs()}
        model = model or "mega_r50"
        settings, settings_if_any = (dict(_SMALL), dict(_SMALL_IF_ANY)) if is_small else ({}, {})
        if is_small:
            reasons["settings"] = "a small network, for there is no GPU and nothing to start from"
        settings |= _fit_new(train, _dumped(*read_config(model)), overrides, reasons, is_small=is_small)
        group_norm = kind == "nothing" and "backbone.timm" not in overrides
        if group_norm:
            settings |= _FROM_SCRATCH
            reasons["settings.backbone.norm"] = (
                "learns from random weights; with start.backbone take this line out, and run.frozen_stages: 2"
            )
    recipe: Nested = {
        "model": model,
        "settings": settings,
        "settings_if_any": settings_if_any,
        "data": dict(data),
        "start": {name: str(path) for name, path in start.model_dump().items() if path is not None},
        **_schedule(frames, kind, hardware, overrides, reasons, group_norm=group_norm, most=most_steps),
    }
    return Proposal({key: value for key, value in recipe.items() if value != {}}, reasons)


def check_start(model: str | None, overrides: Mapping[str, Any]) -> None:
    """Check that the model and the files to start from exist, before the data are looked at.

    Args:
        model, overrides: As for `propose`.

    Raises:
        InputError: One of them does not, or cannot be read.
    """
    if model is not None:
        read_config(model)
    start = _start(overrides)
    if start.detector is not None:
        find_weights(start.detector)


def _start(overrides: Mapping[str, Any]) -> StartConfig:
    """What there is to start from.

    Raises:
        InputError: It is not there.
    """
    given = {path.removeprefix("start."): v for path, v in overrides.items() if path.startswith("start.")}
    start = validate(StartConfig, given, origin="start")
    for name in ("backbone", "flow"):
        path = getattr(start, name)
        if path is not None and path != PRETRAINED and not path.is_file():
            raise InputError(f"--start.{name}: {path}: no such file")
    return start


def _as_the_detector(path: Path, model: str | None) -> tuple[str, Nested, Nested]:
    """A model, what of its configuration has to be as in a detector's weights, and all of theirs."""
    weights = read_weights(path)
    if isinstance(weights, FlowNetWeights):
        raise InputError(f"{path}: holds FlowNet's weights only; they belong under start.flow")
    depth = weights.inferred["backbone.depth"]
    own = f"{weights.inferred['method.name']}_r{101 if depth == 101 else 50}"
    model = model or own
    theirs = _flat(_configuration(weights, own))
    data, origin = read_config(model)
    ours = _flat(_dumped(data, origin))
    settings = {
        path: theirs[path]
        for path in ours
        if path in theirs and theirs[path] != ours[path] and path not in {"classes", "method.name"}
    }
    return model, settings, theirs


def _configuration(weights: Weights, name: str) -> Nested:
    if weights.config is not None:
        return _dumped(weights.config, str(weights.path))
    data, origin = read_config(name)
    return _dumped(with_overrides(data, weights.inferred), origin)


def _dumped(data: Mapping[str, Any], origin: str) -> Nested:
    config: DetectorConfig[Any] = detector_config(data, origin=origin)
    return config.model_dump(mode="json")


def _flat(values: Mapping[str, Any], prefix: str = "") -> Nested:
    flat: Nested = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def _fit_new(
    train: Annotations,
    model: Nested,
    overrides: Mapping[str, Any],
    reasons: dict[str, str],
    *,
    is_small: bool,
) -> Nested:
    """Fit input size and anchors of a network whose detecting parts have random weights, at least."""
    shortest, longest = model["input"]["min_size"], model["input"]["max_size"]
    if is_small:
        sides = np.minimum(train.width, train.height)
        shortest = int(np.clip(np.median(sides[sides > 0]) if (sides > 0).any() else 144, 96, 192)) // 16 * 16
        longest = shortest * 5 // 3
    settings = _fit_input(train, shortest, longest, overrides, reasons)
    size = settings["input.min_size"], settings["input.max_size"]
    settings["rpn.anchor_sizes"] = fit_anchors(train, *size, count=3 if is_small else 4)
    reasons["settings.rpn.anchor_sizes"] = "from small objects to large ones, pixels of the network's input"
    return settings


def _fit_detector(
    train: Annotations, theirs: Nested, overrides: Mapping[str, Any], reasons: dict[str, str]
) -> Nested:
    """Fit input size and anchors of a detector to start from: as many anchors as it has."""
    shortest, longest = theirs["input.min_size"], theirs["input.max_size"]
    settings = _fit_input(train, shortest, longest, overrides, reasons)
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
            f"fitted, for {objects}; as many as the detector's {', '.join(map(str, anchors))}, which its "
            "weights decide"
        )
    return settings


def _fit_input(
    train: Annotations, shortest: int, longest: int, overrides: Mapping[str, Any], reasons: dict[str, str]
) -> Nested:
    """Choose the input's size: as the user wants, or else fitted to the objects."""
    given = [overrides.get(f"input.{name}") for name in ("min_size", "max_size")]
    fitted = fit_input(train, shortest, longest) if given == [None, None] else (shortest, longest)
    why = "the shorter side of a frame becomes this, pixels"
    if fitted[0] > shortest:
        why += f"; more than {shortest}, for small objects are hard to find below {LEAST_SIZE} pixels"
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


def _schedule(
    frames: int,
    kind: str,
    hardware: Hardware,
    overrides: Mapping[str, Any],
    reasons: dict[str, str],
    *,
    group_norm: bool,
    most: int | None,
) -> Nested:
    batch = _count(overrides, "run.batch", default=-(-_BATCH // hardware.count) * hardware.count)
    schedule = _SCHEDULES[kind]
    fitting = int(np.clip(round(schedule.passes * frames / batch, -2), schedule.least, schedule.most))
    steps = _count(overrides, "run.steps", default=fitting if most is None else min(fitting, most))
    optimizer: Nested = {
        "learning_rate": 0.01 if group_norm else 0.001,
        "reference_batch": _BATCH,
        "warmup": min(500, steps // 10),
        "milestones": [steps * 4 // 5],
        "clip_norm": 5.0,
    }
    run: Nested = {
        "steps": steps,
        "batch": batch,
        "frozen_stages": 0 if kind == "nothing" or group_norm else 2,
        "dtype": "bfloat16" if hardware.bfloat16 else "float32",
        "workers": min(2, max(hardware.cores // hardware.count - 1, 0)),
    }
    if 0 < hardware.memory < _LITTLE_MEMORY:
        run["activation_checkpointing"] = True
        reasons["run.activation_checkpointing"] = "the GPU has little memory: activations are computed twice"
    reasons["run.steps"] = (
        f"{steps * batch / frames:.1f} passes over {frames} frames with objects, {kind} to start from"
    )
    if "run.steps" not in overrides and steps < fitting:
        reasons["run.steps"] += f"; {fitting} would be better, but take too long here"
    reasons["run.batch"] = "clips a step, over all processes"
    reasons["run.dtype"] = f"made for: {hardware}"
    reasons["optimizer.milestones"] = "steps after which the learning rate is a tenth"
    log = {"save_every": max(steps // 20, 100), "evaluate_every": max(steps // 3, 100)}
    return {"optimizer": optimizer, "run": run, "log": log}


def _count(overrides: Mapping[str, Any], path: str, *, default: int) -> int:
    value = overrides.get(path, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InputError(f"--{path}: expected a whole number from 1 on, got {value!r}")
    return value
