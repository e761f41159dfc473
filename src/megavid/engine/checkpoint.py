"""Checkpoints of a training run: everything that a run needs to go on as if it had not stopped."""

from __future__ import annotations

import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from megavid.core.errors import InputError
from megavid.core.files import atomic_path
from megavid.core.ownership import anything

logger = logging.getLogger(__name__)

_NAME = "step_{:08d}.pt"
_PATTERN = re.compile(r"step_(\d{8})\.pt")


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The state of a run after some steps.

    Attributes:
        step: How many steps were done; with the seed it says which clips come next.
        recipe: The run's configuration, as nested values.
        config: The detector's.
        licence: On the terms of the weights that the run began with.
        model: The detector's weights.
        optimiser: Its state.
        scaler: That of the gradients' scale, for float16.
        random: State of PyTorch's random numbers.
        best: The best AP50 so far, and its step.
        pending: Sums of the log since its last line.
    """

    step: int
    recipe: dict[str, Any]
    config: dict[str, Any]
    licence: str
    model: dict[str, Any]
    optimiser: dict[str, Any]
    scaler: dict[str, Any]
    random: torch.Tensor
    best: tuple[float, int]
    pending: dict[str, float]


class BrokenCheckpointError(InputError):
    """A file is no checkpoint, or not all of one."""


def checkpoint_path(folder: Path, step: int) -> Path:
    """Where the checkpoint after some steps is."""
    return folder / _NAME.format(step)


def save_checkpoint(folder: Path, checkpoint: Checkpoint, *, keep: int) -> Path:
    """Write a checkpoint, whole or not at all, and remove all but the newest `keep`.

    Raises:
        InputError: It cannot be written; those from before stay.
    """
    path = checkpoint_path(folder, checkpoint.step)
    with atomic_path(path, ours=anything) as aside:
        try:
            torch.save({f: getattr(checkpoint, f) for f in checkpoint.__dataclass_fields__}, aside)
            with aside.open("rb") as file:  # those from before go: this one has to outlast a power cut
                os.fsync(file.fileno())
        except RuntimeError as error:  # PyTorch's writer for a disk that is full
            raise InputError(f"{path}: cannot be written: {str(error).splitlines()[0]}") from error
    # A later one is broken: this run has gone on from before it.
    for old in [other for other in list_checkpoints(folder) if other <= path][:-keep]:
        old.unlink()
    return path


def list_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in a folder, oldest first."""
    return sorted(path for path in folder.glob("*.pt") if _PATTERN.fullmatch(path.name))


def load_newest(folder: Path) -> Checkpoint | None:
    """The newest checkpoint in a folder that can be read; None where there is none at all.

    Raises:
        InputError: There are some, and none is whole; or the newest cannot be read.
    """
    failure: BrokenCheckpointError | None = None
    for path in reversed(list_checkpoints(folder)):
        try:
            checkpoint = load_checkpoint(path)
        except BrokenCheckpointError as error:
            failure = failure or error
            continue
        if failure is not None:
            logger.warning("%s; goes on from %s", failure, path.name)
        return checkpoint
    if failure is not None:
        raise failure
    return None


def remove_unfinished(folder: Path) -> None:
    """Remove what processes that were killed while they saved have left behind."""
    for path in folder.glob(".step_*.partial.pt"):
        path.unlink(missing_ok=True)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint; nothing in it is executed.

    Raises:
        InputError: The file is missing, broken or something else.
    """
    try:
        data = torch.load(path, map_location="cpu", weights_only=True)
        return Checkpoint(**data)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except (OSError, MemoryError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
    except Exception as error:  # the unpickler fails in any of a dozen ways
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise BrokenCheckpointError(
            f"{path}: cannot be read as a checkpoint of a training run: {reason}"
        ) from error
