"""Reading the clips that a detector is trained on."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
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


@dataclass(frozen=True)
class TrainingClip:
    """A clip that was read.

    Attributes:
        clip: What `VideoDetector.losses` takes, without a generator.
        seed: For the generator.
        name: The key frame's file, for messages.
    """

    clip: Clip
    seed: int
    name: str

    def ready(self, device: torch.device) -> Clip:
        """The clip on a device, with its generator."""
        clip = self.clip.to(device)
        return Clip(
            clip.images,
            clip.references,
            clip.boxes,
            clip.labels,
            generator=torch.Generator().manual_seed(self.seed),
        )

    def __reduce__(self) -> tuple[Any, ...]:
        # A tensor goes to another process through a socket of its own, which takes a millisecond.
        clip = self.clip
        objects = clip.boxes.numpy(), clip.labels.numpy()
        return _sent, (clip.images, clip.references, objects, self.seed, self.name)

    def pin_memory(self) -> TrainingClip:
        """The same in pinned memory."""
        return TrainingClip(self.clip.pin_memory(), self.seed, self.name)


def _sent(
    images: Tensor,
    references: Mapping[str, tuple[int, ...]],
    objects: tuple[NDArray[np.float32], NDArray[np.int64]],
    seed: int,
    name: str,
) -> TrainingClip:
    boxes, labels = (torch.from_numpy(values) for values in objects)
    return TrainingClip(Clip(images, references, boxes, labels), seed, name)


class ClipReader:
    """The clips of a series by number; processes that read ahead have one each.

    Args:
        order: Which clips.
        network_input: What makes an RGB image the network's input (3, h, w).
    """

    def __init__(self, order: ClipOrder, network_input: Callable[[Image], Tensor]) -> None:
        self.order = order
        self._network_input = network_input
        self._frames = [FrameReader(annotations) for annotations in order.data]

    def __getitem__(self, number: int) -> TrainingClip:
        """Read clip `number`.

        Raises:
            InputError: A frame cannot be read.
        """
        frames = self.order[number]
        annotations, read = self.order.data[frames.data], self._frames[frames.data].read
        rows = list(dict.fromkeys([frames.key, *(r for group in frames.references.values() for r in group)]))
        key = read(frames.key)
        inputs = [self._network_input(key)]
        for row in rows[1:]:
            image = read(row)
            if image.shape != key.shape:
                raise InputError(
                    f"{annotations.describe(row)}: expected frames of one size in a video; this one is "
                    f"{image.shape[1]}x{image.shape[0]}, frame {annotations.number[frames.key]} is "
                    f"{key.shape[1]}x{key.shape[0]}; `megavid data check` lists such videos"
                )
            inputs.append(self._network_input(image))
        boxes, labels = self._objects(frames, (key.shape[0], key.shape[1]), tuple(inputs[0].shape[1:]))
        images = torch.stack(inputs)
        if frames.flip:
            images = images.flip(3)
            left, top, right, bottom = boxes.unbind(1)
            boxes = torch.stack((images.shape[3] - right, top, images.shape[3] - left, bottom), dim=1)
        references = {
            name: tuple(rows.index(row) for row in group) for name, group in frames.references.items()
        }
        return TrainingClip(
            Clip(images, references, boxes, labels), frames.seed, annotations.describe(frames.key)
        )

    def _objects(
        self, frames: ClipFrames, frame_size: tuple[int, int], input_size: tuple[int, ...]
    ) -> tuple[Tensor, Tensor]:
        """Boxes and labels of the objects to learn in a key frame, inside of it, in input pixels."""
        annotations = self.order.data[frames.data]
        span = slice(*annotations.offsets[frames.key : frames.key + 2])
        boxes = torch.from_numpy(annotations.boxes[span].copy())
        height, width = frame_size
        boxes = boxes.clamp(min=torch.zeros(4), max=torch.tensor([width, height, width, height]).float())
        difficult = torch.from_numpy(annotations.difficult[span].copy())
        kept = (boxes[:, 2:] - boxes[:, :2] >= LEAST_SIDE).all(1) & ~difficult
        boxes = box_ops.rescale(boxes[kept], from_size=frame_size, to_size=(input_size[0], input_size[1]))
        return boxes, torch.from_numpy(annotations.labels[span].astype("int64"))[kept]


@dataclass(frozen=True)
class Share:
    """The part of each step's clips that a process takes.

    Attributes:
        batch: Clips a step, over all processes.
        rank, world: Which of how many processes this is.
        at_once: Clips that go through the network before the next backward pass.
    """

    batch: int
    rank: int
    world: int
    at_once: int

    def numbers(self, step: int) -> list[list[int]]:
        """The clips of a step, in groups of `at_once`."""
        count = self.batch // self.world
        first = step * self.batch + self.rank * count
        return [
            list(range(start, min(start + self.at_once, first + count)))
            for start in range(first, first + count, self.at_once)
        ]


def read_clips(
    reader: ClipReader, share: Share, *, steps: range, workers: int, pin_memory: bool
) -> Generator[list[TrainingClip]]:
    """The groups of clips of all steps, read ahead by `workers` processes (0: none, in this one).

    Raises:
        InputError: A frame cannot be read.
    """
    loader = DataLoader(
        _Clips(reader),
        batch_sampler=_Groups(share, steps),
        num_workers=workers,
        collate_fn=_as_they_are,
        pin_memory=pin_memory,
        worker_init_fn=_start_worker,
        generator=torch.Generator(),  # else it draws from the global one, more often in a resumed run
    )
    others = set(multiprocessing.active_children())
    groups_read = iter(loader)
    started = set(multiprocessing.active_children()) - others
    try:
        for group in groups_read:
            for clip in group:
                if isinstance(clip, InputError):
                    raise clip
            yield group
    finally:
        del groups_read  # ends the processes, but those that are in the middle of a long read
        for process in started:
            process.kill()


class _Clips(Dataset["TrainingClip | InputError"]):
    """A reader for other processes, from which an error would come with a traceback: it is given instead."""

    def __init__(self, reader: ClipReader) -> None:
        self._reader = reader

    def __getitem__(self, number: int) -> TrainingClip | InputError:
        try:
            return self._reader[number]
        except InputError as error:
            return error


class _Groups:
    """The numbers of all groups; an iterable that a `DataLoader` can go through."""

    def __init__(self, share: Share, steps: range) -> None:
        self._share, self._steps = share, steps

    def __iter__(self) -> Iterator[list[int]]:
        for step in self._steps:
            yield from self._share.numbers(step)


def _start_worker(number: int) -> None:
    ignore_stop_requests()


def _as_they_are(clips: Sequence[TrainingClip | InputError]) -> list[TrainingClip | InputError]:
    return list(clips)
