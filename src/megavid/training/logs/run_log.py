"""The log of a training run: JSON lines, TensorBoard and curves."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from pydantic import ConfigDict, Field, model_validator

from megavid.core.config import Config, validate
from megavid.core.errors import InputError
from megavid.core.files.atomic import atomic_path
from megavid.core.files.json_yaml import load_json
from megavid.core.files.regular_files import read_text
from megavid.core.frames import Image
from megavid.training.logs.curves import CURVES, NO_LOSS_TERMS, write_curves

LOG = "log.jsonl"
TENSORBOARD = "tensorboard"

_DRAWING_SHARE = 0.05
"""Largest share of the time that may be spent on drawing curves.

Drawing takes half a second, and a training step may take less.
"""


class TrainingLog:
    """Writer of a run's log: lines in `log.jsonl` and, if TensorBoard is installed, data for TensorBoard.

    Args:
        folder: Folder of the run.
        step: Number of steps done; lines of later steps, which an interrupted run left, are removed.

    Raises:
        InputError: An existing log cannot be read, or the log cannot be written.
    """

    def __init__(self, folder: Path, *, step: int) -> None:
        self._path = folder / LOG
        kept = [line for line in read_log(self._path) if line["step"] <= step] if self._path.exists() else []
        with atomic_path(self._path) as aside:
            aside.write_text("".join(json.dumps(line) + "\n" for line in kept))
        self._board = _open_tensorboard(folder / TENSORBOARD, step)
        self._last_drawn, self._drawing_seconds = time.monotonic(), 0.5

    def write(self, step: int, values: Mapping[str, float | None]) -> None:
        """Write a line, and redraw the curves unless they were drawn a moment ago.

        Args:
            step: Number of steps done.
            values: Numbers by name; None for an unknown number. If "loss" is among the names, all names
                except those in `curves.NO_LOSS_TERMS` are terms of the loss.

        Raises:
            InputError: The log cannot be written, for example because the disk is full.
        """
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, **values}) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise InputError(f"{self._path}: cannot be written: {error.strerror}") from error
        if self._board is not None:
            with self._translate_tensorboard_errors():
                for name, value in values.items():
                    if value is not None:
                        self._board.add_scalar(name, value, step)
        if time.monotonic() - self._last_drawn >= self._drawing_seconds / _DRAWING_SHARE:
            self._draw()

    def has(self, name: str, step: int) -> bool:
        """Return whether the log has a line for a step with a number called `name`."""
        return any(line["step"] == step and name in line for line in read_log(self._path))

    def add_picture(self, step: int, name: str, image: Image) -> None:
        """Add an RGB image to TensorBoard."""
        if self._board is not None:
            with self._translate_tensorboard_errors():
                self._board.add_image(name, image, step, dataformats="HWC")

    def close(self) -> None:
        """Draw the curves for the last time, and complete TensorBoard's file."""
        self._draw()
        if self._board is not None:
            with self._translate_tensorboard_errors():
                self._board.close()

    def _draw(self) -> None:
        began = time.monotonic()
        write_curves(self._path.with_name(CURVES), read_log(self._path))
        self._last_drawn = time.monotonic()
        self._drawing_seconds = self._last_drawn - began

    @contextmanager
    def _translate_tensorboard_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            folder = self._path.with_name(TENSORBOARD)
            raise InputError(f"{folder}: cannot be written: {error.strerror}") from error


def read_log(path: Path) -> list[dict[str, Any]]:
    """Read the lines of a log; the last line is left out if it was cut off.

    Raises:
        InputError: The file is missing, or a line before the last one is broken.
    """
    lines = read_text(path).splitlines()
    read: list[dict[str, Any]] = []
    for number, line in enumerate(lines, 1):
        origin = f"{path}: line {number}"
        try:
            entry = load_json(line, origin=origin)
            validate(_Line, entry, origin=origin)
        except InputError:
            if number == len(lines):
                break
            raise
        read.append(entry)
    return read


class _Line(Config):
    """Schema of a line: the step, and any other numbers by name."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=True)
    __pydantic_extra__: dict[str, float | None]

    step: int = Field(ge=0)

    @model_validator(mode="after")
    def _check_losses(self) -> Self:
        numbers = self.__pydantic_extra__
        if "loss" in numbers:
            needed = ("learning_rate", "loss", *(name for name in numbers if name not in NO_LOSS_TERMS))
            if lacking := [name for name in needed if numbers.get(name) is None]:
                raise ValueError(f"expected numbers for {', '.join(lacking)}")
        return self


def _open_tensorboard(folder: Path, step: int) -> Any:
    """Return TensorBoard's writer; None if TensorBoard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - an extra
    except ImportError:
        return None
    return SummaryWriter(folder, purge_step=step + 1)
