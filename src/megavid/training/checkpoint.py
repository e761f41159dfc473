"""Checkpoints of a training run, with everything that is needed to resume it exactly."""

from __future__ import annotations

import logging
import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import ConfigDict, Field, JsonValue

from megavid.core.config import Config, rename_keys, validate
from megavid.core.errors import InputError
from megavid.core.files.atomic import atomic_path
from megavid.core.files.ownership import anything
from megavid.core.files.torch_files import BrokenFileError, load_torch_file
from megavid.core.ranges import MOST_THREADS

logger = logging.getLogger(__name__)

_LARGEST = 16 << 30
"""Largest total size of a checkpoint's tensors, in bytes.

A billion parameters fit, with their average and AdamW's state.
"""

_NAME = "step_{:08d}.pt"
_PATTERN = re.compile(r"step_(\d{8})\.pt")


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """State of a training run after some steps.

    Attributes:
        step: Number of steps done; this number and the seed determine the next clips.
        recipe: The recipe, as nested values.
        config: The detector's configuration, as nested values.
        licence: Note on the license of the weights that the run started from.
        model: State dict of the detector.
        ema: State of the moving average of the weights; None if the run has no average.
        optimizer: State of the optimizer.
        scaler: State of the gradient scaler, which float16 needs.
        random: State of PyTorch's random number generator on the CPU.
        best: Best AP50 so far, and the step of its evaluation.
        pending: Sums over the steps since the last line of the log, from which the next line is computed.
        threads: Number of threads of a process that trains on the CPU; None on another device or if unknown.
    """

    step: int
    recipe: dict[str, Any]
    config: dict[str, Any]
    licence: str
    model: dict[str, Any]
    ema: dict[str, Any] | None
    optimizer: dict[str, Any]
    scaler: dict[str, Any]
    random: torch.Tensor
    best: tuple[float, int]
    pending: dict[str, float]
    threads: int | None


def checkpoint_path(folder: Path, step: int) -> Path:
    """Return the path of the checkpoint that is written after `step` steps."""
    return folder / _NAME.format(step)


def save_checkpoint(folder: Path, checkpoint: Checkpoint, *, keep: int) -> Path:
    """Write a checkpoint atomically, and remove older ones so that `keep` remain, this one included.

    Raises:
        InputError: The checkpoint cannot be written; older checkpoints are kept.
    """
    path = checkpoint_path(folder, checkpoint.step)
    with atomic_path(path, ours=anything) as aside:
        try:
            with aside.open("wb") as file:  # if given a path, torch.save would store the file's name in it
                torch.save({f: getattr(checkpoint, f) for f in checkpoint.__dataclass_fields__}, file)
                file.flush()
                os.fsync(file.fileno())  # safe from a power cut before older ones are removed
        except RuntimeError as error:  # PyTorch's error when the disk is full
            raise InputError(f"{path}: cannot be written: {str(error).splitlines()[0]}") from error
    # Checkpoints of later steps are broken ones, which the resumed run skipped, so they do not count.
    for old in [other for other in list_checkpoints(folder) if other <= path][:-keep]:
        old.unlink()
    return path


def list_checkpoints(folder: Path) -> list[Path]:
    """List the checkpoints in a folder, oldest first."""
    return sorted(path for path in folder.glob("*.pt") if _PATTERN.fullmatch(path.name))


def load_newest(folder: Path) -> Checkpoint | None:
    """Load the newest checkpoint in a folder, skipping broken ones; None if there are no checkpoints.

    Raises:
        InputError: All checkpoints are broken, or a file cannot be read.
    """
    failure: BrokenFileError | None = None
    for path in reversed(list_checkpoints(folder)):
        try:
            checkpoint = load_checkpoint(path)
        except BrokenFileError as error:
            failure = failure or error
            continue
        if failure is not None:
            logger.warning("%s; resumes from %s", failure, path.name)
        return checkpoint
    if failure is not None:
        raise failure
    return None


def load_checkpoint(path: Path) -> Checkpoint:
    """Load a checkpoint without executing anything in it.

    Raises:
        BrokenFileError: The file is broken or is not a checkpoint.
        InputError: The file is missing or cannot be read.
    """
    data = load_torch_file(path, expected="a checkpoint of a training run", largest_tensors=_LARGEST)
    if not isinstance(data, dict):
        raise BrokenFileError(f"{path}: expected a checkpoint of a training run, got a {type(data).__name__}")
    try:
        saved = validate(_Saved, rename_keys(_Saved, data), origin=str(path))
    except InputError as error:
        raise BrokenFileError(str(error)) from error
    return Checkpoint(**{field: getattr(saved, field) for field in Checkpoint.__dataclass_fields__})


def restore_state(
    checkpoint: Checkpoint,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    *,
    origin: str,
) -> None:
    """Restore the state of the optimizer, the gradient scaler and PyTorch's random number generator.

    The optimizer's settings, such as its weight decay, stay those of the recipe.

    Args:
        checkpoint: Checkpoint to restore from.
        optimizer: Optimizer to restore, in place.
        scaler: Gradient scaler to restore, in place.
        origin: Where the checkpoint comes from, for messages.

    Raises:
        InputError: The state is broken or belongs to other parameters or another optimizer.
    """
    groups = optimizer.state_dict()["param_groups"]
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    states = checkpoint.optimizer.get("state")
    if not isinstance(states, dict):
        raise InputError(f"{origin}: expected the state of an optimizer, found none")
    for number, state in states.items():
        known = type(number) is int and 0 <= number < len(parameters)
        if not known or not _fits(state, parameters[number], optimizer):
            raise InputError(f"{origin}: the optimizer's state {number!r} does not fit the network")
    try:
        optimizer.load_state_dict({"state": states, "param_groups": groups})
        if scaler.is_enabled() and checkpoint.scaler:
            scaler.load_state_dict(checkpoint.scaler)
        torch.set_rng_state(checkpoint.random)
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(f"{origin}: the state of its training is broken: {error}") from error


def _fits(state: object, parameter: torch.Tensor, optimizer: torch.optim.Optimizer) -> bool:
    """Return whether a saved state has the entries and shapes that the optimizer keeps for a parameter."""
    if isinstance(optimizer, torch.optim.AdamW):
        if not isinstance(state, dict) or state.keys() != {"step", "exp_avg", "exp_avg_sq"}:
            return False
        step = state["step"]
        averages = [state["exp_avg"], state["exp_avg_sq"]]
        return (
            _is_float(step, torch.Size())
            and bool(0 <= step < math.inf)
            and all(_is_float(average, parameter.shape) for average in averages)
        )
    if not isinstance(state, dict) or state.keys() != {"momentum_buffer"}:
        return False
    momentum = state["momentum_buffer"]
    return momentum is None or _is_float(momentum, parameter.shape)


def _is_float(value: object, shape: torch.Size) -> bool:
    return isinstance(value, torch.Tensor) and value.is_floating_point() and value.shape == shape


class _Saved(Config):
    """Schema of a checkpoint file."""

    renamed_keys: ClassVar = {"optimiser": "optimizer"}

    model_config = ConfigDict(arbitrary_types_allowed=True)

    step: int = Field(ge=0, lt=1 << 53)
    recipe: dict[str, JsonValue]
    config: dict[str, JsonValue]
    licence: str
    model: dict[str, torch.Tensor]
    ema: dict[str, torch.Tensor] | None = None
    optimizer: dict[str, Any]
    scaler: dict[str, Any]
    random: torch.Tensor
    best: tuple[float, int]
    pending: dict[str, float]
    threads: int | None = Field(default=None, ge=1, le=MOST_THREADS)
