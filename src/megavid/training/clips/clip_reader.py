"""Read the clips that a detector is trained on."""

from __future__ import annotations

import multiprocessing
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from megavid.core import box_ops
from megavid.core.errors import InputError
from megavid.core.frames import Image
from megavid.datasets.clip_order import LEAST_SIDE, ClipFrames, ClipOrder
from megavid.datasets.frame_reader import FrameReader
from megavid.jobs.stop_requests import ignore_stop_requests
from megavid.models.base.clip import Clip
from megavid.models.base.video_detector import VideoDetector
from megavid.models.layers.host_values import upload


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingClip:
    """A clip before preprocessing: its frames, and the objects in its key frame.

    Attributes:
        frames: (U, H, W, 3) uint8 RGB: the key frame, then the reference frames, each frame only once.
        references: For each group of reference frames in the training plan, their indexes in `frames`.
        boxes: (M, 4) float32, half-open boxes of the key frame's objects, in pixels of the frame.
        labels: (M,) int64, classes of the objects.
        flip: Whether to mirror the clip horizontally.
        seed: Seed of the generator that samples anchors and RoIs.
        name: Source of the key frame, for messages.
    """

    frames: Tensor
    references: Mapping[str, tuple[int, ...]]
    boxes: Tensor
    labels: Tensor
    flip: bool
    seed: int
    name: str

    def ready(self, detector: VideoDetector) -> Clip:
        """Preprocess the clip for a detector, on the detector's device, without waiting for a GPU."""
        images = detector.preprocess(self.frames.to(detector.device, non_blocking=True))
        height, width = images.shape[2:]
        size = (self.frames.shape[1], self.frames.shape[2])
        boxes = box_ops.rescale(self.boxes, from_size=size, to_size=(height, width))
        if self.flip:
            images = images.flip(3)
            left, top, right, bottom = boxes.unbind(1)
            boxes = torch.stack((width - right, top, width - left, bottom), dim=1)
        generator = torch.Generator().manual_seed(self.seed)
        boxes, labels = (upload(tensor, detector.device) for tensor in (boxes, self.labels))
        return Clip(images, self.references, boxes, labels, generator)

    def __reduce__(self) -> tuple[Any, ...]:
        # To send a tensor to another process, PyTorch opens a socket, which takes a millisecond. So the small
        # tensors are sent as arrays.
        return _from_arrays, (self.frames, self.boxes.numpy(), self.labels.numpy(), self._facts())

    def pin_memory(self) -> TrainingClip:
        """Return a copy of the clip with its frames in pinned memory."""
        return TrainingClip(
            frames=self.frames.pin_memory(), boxes=self.boxes, labels=self.labels, **self._facts()
        )

    def _facts(self) -> dict[str, Any]:
        """Return the attributes that are not tensors."""
        return {name: getattr(self, name) for name in ("references", "flip", "seed", "name")}


def _from_arrays(
    frames: Tensor, boxes: NDArray[np.float32], labels: NDArray[np.int64], facts: dict[str, Any]
) -> TrainingClip:
    return TrainingClip(
        frames=frames, boxes=torch.from_numpy(boxes), labels=torch.from_numpy(labels), **facts
    )


class ClipReader:
    """Reader of the clips of a series, by number; each process that reads has a separate reader.

    Args:
        order: The series of clips.
    """

    def __init__(self, order: ClipOrder) -> None:
        self.order = order
        self._frames = [FrameReader(annotations) for annotations in order.data]

    def __getitem__(self, number: int) -> TrainingClip:
        """Read clip `number`.

        Raises:
            InputError: A frame cannot be read.
        """
        clip = self.order[number]
        annotations = self.order.data[clip.data]
        rows = list(dict.fromkeys([clip.key, *(r for group in clip.references.values() for r in group)]))
        frames = self._read(clip.data, rows)
        boxes, labels = self._objects(clip, height=frames.shape[1], width=frames.shape[2])
        return TrainingClip(
            frames=frames,
            references={
                name: tuple(rows.index(row) for row in group) for name, group in clip.references.items()
            },
            boxes=boxes,
            labels=labels,
            flip=clip.flip,
            seed=clip.seed,
            name=annotations.describe(clip.key),
        )

    def _read(self, data: int, rows: Sequence[int]) -> Tensor:
        """Read frames of a video, which must all have the same size."""
        annotations = self.order.data[data]
        images: list[Image] = []
        for row in rows:
            image = self._frames[data].read(row)
            if images and image.shape != images[0].shape:
                raise InputError(
                    f"{annotations.describe(row)}: expected frames of one size in a video; this one is "
                    f"{image.shape[1]}x{image.shape[0]}, frame {annotations.number[rows[0]]} is "
                    f"{images[0].shape[1]}x{images[0].shape[0]}; `megavid data check` lists such videos"
                )
            images.append(image)
        return torch.from_numpy(np.stack(images))

    def _objects(self, clip: ClipFrames, *, height: int, width: int) -> tuple[Tensor, Tensor]:
        """Return the boxes, clipped to the frame, and labels of the key frame's objects to train on."""
        annotations = self.order.data[clip.data]
        span = slice(*annotations.offsets[clip.key : clip.key + 2])
        boxes = torch.from_numpy(annotations.boxes[span].copy())
        boxes = boxes.clamp(min=torch.zeros(4), max=torch.tensor([width, height, width, height]).float())
        difficult = torch.from_numpy(annotations.difficult[span].copy())
        kept = (boxes[:, 2:] - boxes[:, :2] >= LEAST_SIDE).all(1) & ~difficult
        return boxes[kept], torch.from_numpy(annotations.labels[span].astype("int64"))[kept]


@dataclass(frozen=True)
class Share:
    """A process's share of the clips of each step.

    Attributes:
        batch: Clips per step, over all processes.
        rank: Number of this process, from 0.
        world_size: Number of processes.
        micro_batch: Number of clips that go through the network at once.
    """

    batch: int
    rank: int
    world_size: int
    micro_batch: int

    def numbers(self, step: int) -> list[list[int]]:
        """Return the numbers of the clips that this process trains on in a step, a list per micro-batch."""
        count = self.batch // self.world_size
        first = step * self.batch + self.rank * count
        return [
            list(range(start, min(start + self.micro_batch, first + count)))
            for start in range(first, first + count, self.micro_batch)
        ]


def read_clips(
    reader: ClipReader, share: Share, *, steps: range, workers: int, pin_memory: bool
) -> Generator[list[TrainingClip]]:
    """Read the clips of some steps, one micro-batch at a time.

    Args:
        reader: Reader of single clips.
        share: This process's share of the clips.
        steps: Numbers of the steps.
        workers: Number of processes that read ahead; with 0, this process reads the clips itself.
        pin_memory: Whether to copy clips to pinned memory.

    Raises:
        InputError: A frame cannot be read.
    """
    loader = DataLoader(
        _Clips(reader),
        batch_sampler=_MicroBatches(share, steps),
        num_workers=workers,
        collate_fn=list,
        pin_memory=pin_memory,
        worker_init_fn=_start_worker,
        generator=torch.Generator(),  # starting a loader changes its generator's state
    )
    others = set(multiprocessing.active_children())
    micro_batches = iter(loader)
    started = set(multiprocessing.active_children()) - others
    try:
        for micro_batch in micro_batches:
            for clip in micro_batch:
                if isinstance(clip, InputError):
                    raise clip
            yield micro_batch
    finally:
        del micro_batches  # ends the workers, except those in the middle of a long read
        for process in started:
            process.kill()


class _Clips(Dataset["TrainingClip | InputError"]):
    """Data set for worker processes; returns errors, since raised ones would contain a traceback."""

    def __init__(self, reader: ClipReader) -> None:
        self._reader = reader

    def __getitem__(self, number: int) -> TrainingClip | InputError:
        try:
            return self._reader[number]
        except InputError as error:
            return error


class _MicroBatches:
    """Batch sampler for a `DataLoader`; yields the clip numbers of each micro-batch."""

    def __init__(self, share: Share, steps: range) -> None:
        self._share, self._steps = share, steps

    def __iter__(self) -> Iterator[list[int]]:
        for step in self._steps:
            yield from self._share.numbers(step)


def _start_worker(number: int) -> None:
    ignore_stop_requests()
