"""Predictions as the original release saves them: `predictions.pth`.

A pickled list with one `BoxList` a frame, in the data set's order: boxes with the last pixel at x2, y2, in
pixels of the network's input, and labels from 1.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from megavid.core.annotations import Annotations
from megavid.core.errors import InputError
from megavid.core.files import atomic_path

_MODULES = ("mega_core.structures.bounding_box", "maskrcnn_benchmark.structures.bounding_box")
_LAST_PIXEL = np.array((0, 0, 1, 1), np.float32)


class BoxList:
    """Stands in for the original's class of this name, and has its attributes.

    Attributes:
        bbox: float32 (N, 4), with the last pixel at x2, y2.
        size: (width, height) of the image that the boxes are in.
        mode: "xyxy", or "xywh" with sides that count both end pixels.
        extra_fields: "scores" (N,) and "labels" (N,), from 1.
    """

    bbox: torch.Tensor
    size: tuple[int, int]
    mode: str
    extra_fields: dict[str, torch.Tensor]


def read_frames(
    path: Path, annotations: Annotations
) -> Iterator[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]]:
    """Half-open boxes (N, 4) in the original frame, labels from 0 and scores of each frame of the data set.

    Raises:
        InputError: The file is missing, broken, holds something else or has another number of frames; or a
            frame's size is not known.
    """
    allowed: list[Any] = [(BoxList, f"{module}.BoxList") for module in _MODULES]
    try:
        with torch.serialization.safe_globals(allowed):
            frames = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except Exception as error:  # unpickling raises whatever it runs into
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: expected the original release's predictions.pth: {reason}") from error
    if not isinstance(frames, list) or not all(isinstance(frame, BoxList) for frame in frames):
        raise InputError(f"{path}: expected the original release's predictions.pth, a list of BoxList")
    if len(frames) != len(annotations):
        raise InputError(f"{path}: has {len(frames)} frames, but the data set has {len(annotations)}")
    for number, frame in enumerate(frames):
        width, height = int(annotations.width[number]), int(annotations.height[number])
        if not width or not height:
            raise InputError(f"{annotations.describe(number)}: its size is needed to place its predictions")
        boxes = frame.bbox.float().numpy().reshape(-1, 4).copy()
        if frame.mode == "xywh":
            boxes[:, 2:] += boxes[:, :2] - 1
        ratio = np.array((width / frame.size[0], height / frame.size[1]) * 2, np.float32)
        labels, scores = (frame.extra_fields[name].numpy() for name in ("labels", "scores"))
        yield boxes * ratio + _LAST_PIXEL, labels - 1, scores


def write_frames(
    path: Path,
    frames: Iterator[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]],
    annotations: Annotations,
) -> None:
    """Write what `read_frames` reads, with boxes in pixels of the original frame.

    Raises:
        InputError: The file cannot be written.
    """
    with _original_class() as original, atomic_path(path) as aside:
        lists = []
        for number, (boxes, labels, scores) in enumerate(frames):
            item = original()
            item.bbox = torch.from_numpy(boxes - _LAST_PIXEL)
            item.size = (int(annotations.width[number]), int(annotations.height[number]))
            item.mode = "xyxy"
            item.extra_fields = {
                "scores": torch.from_numpy(scores.copy()),
                "labels": torch.from_numpy(labels.astype(np.int64) + 1),
            }
            lists.append(item)
        torch.save(lists, aside)


@contextmanager
def _original_class() -> Iterator[type[Any]]:
    """A class of the original's full name: the pickle then refers to the original's own."""
    name = _MODULES[0]
    parts = name.split(".")
    modules = {
        ".".join(parts[: i + 1]): types.ModuleType(".".join(parts[: i + 1])) for i in range(len(parts))
    }
    before = {key: sys.modules.get(key) for key in modules}
    original = type("BoxList", (), {"__module__": name})
    modules[name].__dict__["BoxList"] = original
    sys.modules.update(modules)
    try:
        yield original
    finally:
        for key, module in before.items():
            if module is None:
                del sys.modules[key]
            else:
                sys.modules[key] = module
