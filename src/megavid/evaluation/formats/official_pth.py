"""Predictions in the original release's format, `predictions.pth`.

The file is a pickled list with a `BoxList` for each frame, in the data set's order. The boxes are in pixels
of the network's input, x2 and y2 are the coordinates of a box's last pixel, and labels start from 1.
"""

from __future__ import annotations

import sys
import threading
import types
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from megavid.core.box_ops import rescale, to_half_open, to_inclusive
from megavid.core.errors import InputError
from megavid.core.files.atomic import atomic_path
from megavid.core.files.pickles import Constructor, PickleError, StandIn
from megavid.core.files.torch_files import LARGEST_STRUCTURE, load_torch_file
from megavid.datasets.table.annotations import Annotations
from megavid.datasets.table.problems import Problems
from megavid.evaluation.boxes import Boxes
from megavid.evaluation.formats.frame_rows import table_of_frame_rows
from megavid.evaluation.prediction_table import PredictionTable, without_bad_rows

_BYTES_A_FRAME = 4096
"""Largest number of bytes that a frame may take besides its boxes; the original release writes about 400."""

_MODULES = ("mega_core.structures.bounding_box", "maskrcnn_benchmark.structures.bounding_box")


class BoxList(StandIn):
    """Stands in for the original release's class `BoxList`, with the same attributes.

    Attributes:
        bbox: float32 (N, 4); x2 and y2 are the coordinates of a box's last pixel.
        size: (width, height) of the image that the boxes are in, pixels.
        mode: "xyxy", or "xywh" with sides that include both end pixels.
        extra_fields: "scores", (N,), and "labels", (N,), from 1.
    """

    bbox: Tensor
    size: tuple[int, int]
    mode: str
    extra_fields: dict[str, Tensor]

    def build(self, state: object) -> None:
        """Set the known attributes from a pickled state."""
        if not isinstance(state, dict):
            raise PickleError("it has a BoxList without attributes")
        self.__dict__.update((name, state[name]) for name in BoxList.__annotations__ if name in state)


def read_official(path: Path, annotations: Annotations, *, problems: Problems) -> PredictionTable:
    """Read the original release's predictions. Nothing in the file is executed.

    Args:
        path: The file.
        annotations: The data set that the predictions belong to, with the sizes of its frames.
        problems: Collects invalid boxes.

    Raises:
        InputError: The file is missing, broken or of another kind, or does not have as many frames as the
            data set; the size of a frame is unknown; or `problems` does not skip an invalid box.
    """
    frames = _load(path, frames=len(annotations))
    if len(frames) != len(annotations):
        raise InputError(f"{path}: has {len(frames)} frames, but the data set has {len(annotations)}")
    _check_sizes(annotations)
    counts, boxes, scores, labels = _columns(path, frames, annotations)
    frame = np.repeat(np.arange(len(frames), dtype=np.int32), counts)
    del frames  # frees as much memory as the arrays take
    per_video = annotations.frames_per_video.tolist()
    read = table_of_frame_rows(
        annotations,
        frame,
        labels=labels,
        scores=scores,
        boxes=boxes,
        origin=path,
        lengths=dict(zip(annotations.videos, per_video, strict=True)),
    )
    return without_bad_rows(read, problems, unit="frame", places=frame)


def write_official(path: Path, annotations: Annotations, found: Boxes) -> None:
    """Write predictions in the original release's format, so that PyTorch versions of its time can read them.

    Args:
        path: The file to write; it appears whole or not at all.
        annotations: The data set, with the sizes of its frames.
        found: Detections in the data set's frames, sorted by frame.

    Raises:
        InputError: The size of a frame is unknown, or the file cannot be written.
    """
    assert found.score is not None
    _check_sizes(annotations)
    counts = np.bincount(found.frame, minlength=len(annotations)).tolist()
    # The frames' tensors are views of three large ones, each of which is saved only once.
    boxes = to_inclusive(torch.from_numpy(found.xyxy)).split(counts)
    scores = torch.from_numpy(found.score).split(counts)
    labels = (torch.from_numpy(found.label).long() + 1).split(counts)
    with _original_class() as original, atomic_path(path) as aside:
        frames = []
        for number, size in enumerate(
            zip(annotations.width.tolist(), annotations.height.tolist(), strict=True)
        ):
            frame = original()
            frame.bbox, frame.size, frame.mode = boxes[number], size, "xyxy"
            frame.extra_fields = {"scores": scores[number], "labels": labels[number]}
            frames.append(frame)
        torch.save(frames, aside, _use_new_zipfile_serialization=False)


def _load(path: Path, *, frames: int) -> list[BoxList]:
    expected = "the original release's predictions.pth, a list of BoxList"
    found = load_torch_file(
        path,
        expected=expected,
        allowed={f"{module}.BoxList": Constructor(BoxList) for module in _MODULES},
        largest_structure=LARGEST_STRUCTURE + _BYTES_A_FRAME * frames,
    )
    if not isinstance(found, list) or not all(isinstance(frame, BoxList) for frame in found):
        raise InputError(f"{path}: expected {expected}")
    return found


def _check_sizes(annotations: Annotations) -> None:
    unknown = np.flatnonzero((annotations.width == 0) | (annotations.height == 0))
    if len(unknown):
        where = annotations.describe(int(unknown[0]))
        raise InputError(f"{where}: its size is needed to place its predictions, and the data set lacks it")


def _columns(path: Path, frames: Sequence[BoxList], annotations: Annotations) -> tuple[NDArray[Any], ...]:
    """Return the number of boxes of each frame, (F,), and the joined columns of `_values`."""
    # An empty first part, since `torch.cat` needs one even if there are no frames.
    parts = [(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int32))]
    # Limits the number of boxes: each takes more than a byte of the file, unless frames share boxes.
    left = path.stat().st_size
    for number, size in enumerate(zip(annotations.height.tolist(), annotations.width.tolist(), strict=True)):
        try:
            left -= len(frames[number].bbox)
            if left < 0:
                raise ValueError("got more boxes in all than the file can hold")
            parts.append(_values(frames[number], size))
        except (AttributeError, KeyError, TypeError, ValueError, ArithmeticError, RuntimeError) as error:
            expected = "expected a BoxList with N boxes, scores and labels"
            raise InputError(f"{path}, frame {number}: {expected}: {error}") from error
    counts = np.array([len(scores) for _, scores, _ in parts[1:]], np.int64)
    return counts, *(torch.cat(column).numpy() for column in zip(*parts, strict=True))


def _values(frame: BoxList, size: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """Return a frame's half-open boxes (N, 4), rescaled to `size` (height, width), its scores and labels."""
    boxes, scores, labels = frame.bbox, frame.extra_fields["scores"], frame.extra_fields["labels"]
    n = len(scores)
    if boxes.shape != (n, 4) or scores.shape != (n,) or labels.shape != (n,):
        shapes = ", ".join(str(tuple(values.shape)) for values in (boxes, scores, labels))
        raise ValueError(f"got {shapes}")
    if frame.mode not in {"xyxy", "xywh"}:
        raise ValueError(f"got mode {frame.mode!r}")
    if not (labels == labels.int()).all():
        raise ValueError("got labels that are no numbers of classes")
    boxes = boxes.detach().float()
    if frame.mode == "xywh":
        boxes = torch.cat((boxes[:, :2], boxes[:, :2] + boxes[:, 2:]), dim=1)
    else:
        boxes = to_half_open(boxes)
    width, height = frame.size
    boxes = rescale(boxes, from_size=(height, width), to_size=size)
    return boxes, scores.detach().float(), labels.int() - 1


_writing = threading.Lock()


@contextmanager
def _original_class() -> Iterator[type[Any]]:
    """Make a class with the full name of the original `BoxList`, so that the pickle refers to the original.

    Python's pickler looks the class up in the modules of the process, so only one thread at a time may write.
    """
    with _writing:
        yield from _in_modules(_MODULES[0])


def _in_modules(name: str) -> Iterator[type[Any]]:
    """Make a class `BoxList` in a module called `name`; the module exists until the generator is closed."""
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
