"""Bring images to a device as one batch."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from megavid.core.frames import Image


class Upload:
    """Copies images to a device without waiting for it.

    For a CUDA device, images are gathered in one of two pinned buffers, which are kept and used in turn, and
    copied on a stream of their own, while the device computes.

    Args:
        device: The device.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pinned = _PinnedUpload(device) if device.type == "cuda" else None

    def __call__(self, images: Sequence[Image], *, batch_size: int) -> Tensor:
        """Return images of one size as a tensor on the device.

        Args:
            images: At least one and at most `batch_size` images (H, W, 3).
            batch_size: Length of the batch, which the last image fills up.

        Returns:
            (batch_size, H, W, 3), uint8.
        """
        shape = (batch_size, *images[0].shape)
        if self._pinned is not None:
            return self._pinned(images, shape)
        frames = torch.empty(shape, dtype=torch.uint8)
        _fill(frames.numpy(), images)
        return frames.to(self._device)


class _PinnedUpload:
    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)
        self._buffers = deque((torch.empty(0, dtype=torch.uint8), torch.cuda.Event()) for _ in range(2))

    def __call__(self, images: Sequence[Image], shape: tuple[int, ...]) -> Tensor:
        buffer, copied = self._buffers.popleft()
        copied.synchronize()
        size = int(np.prod(shape))
        if len(buffer) < size:
            buffer = torch.empty(size, dtype=torch.uint8, pin_memory=True)
        staged = buffer[:size].view(shape)
        _fill(staged.numpy(), images)
        current = torch.cuda.current_stream(self._device)
        with torch.cuda.stream(self._stream):
            frames = staged.to(self._device, non_blocking=True)
            copied.record(self._stream)
        self._buffers.append((buffer, copied))
        current.wait_stream(self._stream)
        frames.record_stream(current)
        return frames


def _fill(batch: NDArray[np.uint8], images: Sequence[Image]) -> None:
    """Copy images to the places of a batch (B, H, W, 3), and the last one to all places after it."""
    for place, image in enumerate(images):
        np.copyto(batch[place], image)
    batch[len(images) :] = images[-1]
