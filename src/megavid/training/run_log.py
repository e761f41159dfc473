"""What a training run says of itself: JSON lines, TensorBoard, curves."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from pydantic import ConfigDict, Field, model_validator

from megavid.core.config import Config, validate
from megavid.core.errors import InputError
from megavid.core.files.atomic import atomic_path
from megavid.core.files.json_yaml import load_json
from megavid.core.files.ownership import PNG_METADATA
from megavid.core.files.regular_files import read_text
from megavid.core.frames import Image

LOG = "log.jsonl"
CURVES = "curves.png"
BOARD = "tensorboard"
LOSSES = ("objectness", "proposals", "classes", "boxes")
"""As in `models.base.clip.Losses`."""

_DRAWING = 0.05
"""The share of the time that drawing curves may take: it takes half a second, and a step may take less."""


class TrainingLog:
    """A line a time in `log.jsonl`, and the same numbers for TensorBoard where it is installed.

    Args:
        folder: Where.
        step: Lines of later steps, which a run that was cut off had written, are removed.

    Raises:
        InputError: The log is there and cannot be read, or cannot be written.
    """

    def __init__(self, folder: Path, *, step: int) -> None:
        self._path = folder / LOG
        kept = [line for line in read_log(self._path) if line["step"] <= step] if self._path.exists() else []
        with atomic_path(self._path) as aside:
            aside.write_text("".join(json.dumps(line) + "\n" for line in kept))
        self._board = _tensorboard(folder / BOARD, step)
        self._drawn, self._drawing_seconds = time.monotonic(), 0.5

    def write(self, step: int, values: Mapping[str, float | None]) -> None:
        """Write one line, and draw the curves unless that was done a moment ago.

        Args:
            step: Steps done.
            values: None is a number that is not known.

        Raises:
            InputError: The disk is full, say.
        """
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, **values}) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise InputError(f"{self._path}: cannot be written: {error.strerror}") from error
        if self._board is not None:
            with self._board_written():
                for name, value in values.items():
                    if value is not None:
                        self._board.add_scalar(name, value, step)
        if time.monotonic() - self._drawn >= self._drawing_seconds / _DRAWING:
            self._draw()

    def _draw(self) -> None:
        began = time.monotonic()
        write_curves(self._path.parent)
        self._drawn = time.monotonic()
        self._drawing_seconds = self._drawn - began

    def has(self, name: str, step: int) -> bool:
        """Whether a line of this step has such a number."""
        return any(line["step"] == step and name in line for line in read_log(self._path))

    def picture(self, step: int, name: str, image: Image) -> None:
        """An RGB image for TensorBoard."""
        if self._board is not None:
            with self._board_written():
                self._board.add_image(name, image, step, dataformats="HWC")

    def close(self) -> None:
        """Draw the curves for the last time and bring TensorBoard's file to its end."""
        self._draw()
        if self._board is not None:
            with self._board_written():
                self._board.close()

    @contextmanager
    def _board_written(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise InputError(f"{self._path.with_name(BOARD)}: cannot be written: {error.strerror}") from error


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of a log; a last one that was cut off is left out.

    Raises:
        InputError: The file is missing or another line is broken.
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
    """A line of the log: a step, and any numbers by their names, of which some come together."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=True)
    __pydantic_extra__: dict[str, float | None]

    step: int = Field(ge=0)

    @model_validator(mode="after")
    def _losses_are_whole(self) -> Self:
        numbers = self.__pydantic_extra__
        lacking = [name for name in (*LOSSES, "learning_rate", "loss") if numbers.get(name) is None]
        if "loss" in numbers and lacking:
            raise ValueError(f"expected numbers for {', '.join(lacking)}")
        return self


def write_curves(folder: Path) -> Path:
    """Draw losses, learning rate and AP50 of a log as `curves.png`.

    Raises:
        InputError: The log cannot be read, or the picture not be written.
    """
    lines = read_log(folder / LOG)
    trained = [line for line in lines if "loss" in line]
    scored = [line for line in lines if "AP50" in line]
    figure = Figure(figsize=(11, 7), layout="constrained")
    FigureCanvasAgg(figure)
    total, parts, rate, score = figure.subplots(2, 2).flat
    steps = [line["step"] for line in trained]
    total.plot(steps, [line["loss"] for line in trained], color="#b9cde0", linewidth=1)
    total.plot(steps, _smooth([line["loss"] for line in trained]), color="#2471a3", linewidth=1.8)
    total.set(title="loss")
    for name in LOSSES:
        parts.plot(steps, _smooth([line[name] for line in trained]), label=name, linewidth=1.5)
    parts.set(title="its parts, smoothed")
    if trained:
        parts.legend()
    rate.plot(steps, [line["learning_rate"] for line in trained], color="#333333")
    rate.set(title="learning rate")
    for name, colour in (
        ("AP50", "#333333"),
        ("fast", "#c0392b"),
        ("medium", "#d68910"),
        ("slow", "#2471a3"),
    ):
        points = [(line["step"], 100 * line[name]) for line in scored if line.get(name) is not None]
        if points:
            score.plot(*zip(*points, strict=True), marker="o", label=name, color=colour)
    score.set(title="AP50, per cent", ylim=(0, 100))
    if scored:
        score.legend()
    for axes in (total, parts, rate, score):
        axes.set_xlabel("step")
        axes.grid(alpha=0.3)
    path = folder / CURVES
    with atomic_path(path) as aside:
        figure.savefig(aside, dpi=100, metadata=PNG_METADATA)
    return path


def _smooth(values: list[float]) -> np.ndarray[Any, Any]:
    """The mean over a window that is a fiftieth of all, cut off at the ends."""
    if not values:
        return np.zeros(0)
    half = len(values) // 100
    sums = np.concatenate(([0.0], np.cumsum(values)))
    places = np.arange(len(values))
    first, end = np.maximum(places - half, 0), np.minimum(places + half + 1, len(values))
    smoothed: np.ndarray[Any, Any] = (sums[end] - sums[first]) / (end - first)
    return smoothed


def _tensorboard(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - an extra
    except ImportError:
        return None
    return SummaryWriter(folder, purge_step=step + 1)
