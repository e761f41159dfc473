"""Propose a recipe for a data set, and give reasons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from megavid.checkpoints.load import shipped_configs
from megavid.core.errors import InputError
from megavid.datasets.clip_order import has_objects
from megavid.datasets.table.annotations import Annotations
from megavid.training.hardware import Hardware
from megavid.training.init.network import NetworkProposal, propose_detector_network, propose_new_network
from megavid.training.init.start import read_start
from megavid.training.recipe import StartConfig

Nested = dict[str, Any]

_BATCH = 4
"""Number of clips per step, as in the published training."""

_SGD_RATE, _ADAMW_RATE = 0.001, 1e-4
"""Learning rates to propose if the user's choice of optimizer is not the one that suits the network."""

_LITTLE_MEMORY = 16 * 2**30
"""If a GPU has less memory than this, in bytes, activation checkpointing is proposed."""


@dataclass(frozen=True)
class _Length:
    """How long to train.

    Attributes:
        passes: Number of passes over the frames with objects; few are needed, since neighboring frames are
            much alike.
        least: Minimum number of steps.
        most: Maximum number of steps.
    """

    passes: int
    least: int
    most: int


_LENGTHS = {
    "detector": _Length(passes=2, least=1_500, most=30_000),
    "backbone": _Length(passes=4, least=4_000, most=120_000),
    "nothing": _Length(passes=12, least=6_000, most=120_000),
}
"""Length of training, by the kind of weights to start from."""


@dataclass(frozen=True)
class Proposal:
    """A recipe, with reasons for its values.

    Attributes:
        recipe: Nested values of a `Recipe`.
        reasons: Reasons for some of the values, by dotted path, one line each.
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
    """Propose a recipe that fits a data set and a machine.

    Args:
        train: The training data.
        data: The recipe's section `data`.
        model: Name of a shipped configuration, or path of a YAML file. None takes the method of the detector
            to start from or, if there is none, MEGA.
        hardware: The machine to train on.
        overrides: Values that the user gives, by dotted path; the other values are chosen to go with them.
        most_steps: Maximum number of steps, so that training ends in reasonable time; None for no limit.

    Raises:
        InputError: No frame can be trained on, or a file or value is wrong.
    """
    frames = int((train.listed & has_objects(train)).sum())
    if frames == 0:
        raise InputError(f"{train.root}: no frame to train on: none has an object in it")
    start = read_start(overrides)
    network = _network(train, start, model, hardware, overrides)
    run = _run(network, start, hardware, overrides, frames=frames, most_steps=most_steps)
    recipe: Nested = {
        "model": network.model,
        "settings": network.settings,
        "settings_if_any": dict(network.fitted.settings_if_any),
        "data": dict(data),
        "start": {name: str(path) for name, path in start.model_dump().items() if path is not None},
        "optimizer": _optimizer(network, run["steps"], overrides),
        "run": run,
        "log": {"save_every": max(run["steps"] // 20, 100), "evaluate_every": max(run["steps"] // 3, 100)},
    }
    return Proposal({key: value for key, value in recipe.items() if value != {}}, network.reasons)


def _network(
    train: Annotations,
    start: StartConfig,
    model: str | None,
    hardware: Hardware,
    overrides: Mapping[str, Any],
) -> NetworkProposal:
    if start.detector is not None:
        return propose_detector_network(train, start.detector, model, overrides)
    return propose_new_network(
        train,
        model,
        overrides,
        backbone=start.backbone,
        small=start.backbone is None and hardware.device == "cpu" and model in {None, *shipped_configs()},
    )


def _run(
    network: NetworkProposal,
    start: StartConfig,
    hardware: Hardware,
    overrides: Mapping[str, Any],
    *,
    frames: int,
    most_steps: int | None,
) -> Nested:
    """Propose the section `run`: length, batch size, and settings that suit the machine."""
    reasons = network.reasons
    kind = "detector" if start.detector else "backbone" if start.backbone else "nothing"
    batch = _count(overrides, "run.batch", default=-(-_BATCH // hardware.count) * hardware.count)
    length = _LENGTHS[kind]
    fitting = int(np.clip(round(length.passes * frames / batch, -2), length.least, length.most))
    steps = _count(overrides, "run.steps", default=min(fitting, most_steps or fitting))
    reasons["run.steps"] = (
        f"{steps * batch / frames:.1f} passes over {frames} frames with objects, {kind} to start from"
    )
    if "run.steps" not in overrides and steps < fitting:
        reasons["run.steps"] += f"; {fitting} would be better, but take too long here"
    reasons["run.batch"] = "clips per step, over all processes"
    reasons["run.dtype"] = f"made for: {hardware}"
    run: Nested = {
        "steps": steps,
        "batch": batch,
        "frozen_stages": network.fitted.frozen_stages,
        "dtype": "bfloat16" if hardware.bfloat16 else "float32",
        "workers": min(2, max(hardware.cores // hardware.count - 1, 0)),
    }
    if 0 < hardware.memory < _LITTLE_MEMORY:
        run["activation_checkpointing"] = True
        reasons["run.activation_checkpointing"] = "the GPU has little memory: activations are computed twice"
    return run


def _optimizer(network: NetworkProposal, steps: int, overrides: Mapping[str, Any]) -> Nested:
    """Propose the section `optimizer`, for the user's optimizer or else the one that suits the network."""
    fitted = network.fitted
    name = overrides.get("optimizer.name", fitted.optimizer)
    optimizer: Nested = {"name": name}
    if name == "adamw":
        rate = fitted.learning_rate if fitted.optimizer == "adamw" else _ADAMW_RATE
        optimizer |= {"learning_rate": rate, "weight_decay": 0.05}
        network.reasons["optimizer.name"] = (
            "with this learning rate and weight decay, as Swin and ConvNeXt are published for detection"
        )
    else:
        optimizer["learning_rate"] = fitted.learning_rate if fitted.optimizer == "sgd" else _SGD_RATE
    optimizer |= {"reference_batch": _BATCH, "warmup": min(500, steps // 10), "clip_norm": 5.0}
    if overrides.get("optimizer.schedule", "steps") == "steps":
        optimizer["milestones"] = [steps * 4 // 5]
        network.reasons["optimizer.milestones"] = "steps after which the learning rate is a tenth"
    return optimizer


def _count(overrides: Mapping[str, Any], path: str, *, default: int) -> int:
    value = overrides.get(path, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InputError(f"--{path}: expected a whole number from 1 on, got {value!r}")
    return value
