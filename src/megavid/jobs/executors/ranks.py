"""Processes that share a job: their ranks, how they agree on values, and their shares of the work."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist

from megavid.core.errors import InputError

T = TypeVar("T")

_CONNECTION_WORDS = (
    *("connection closed by peer", "connection reset by peer", "connection refused"),
    *("gloo/", "[gloo]", "nccl", "timed out waiting"),
)
"""Words in PyTorch's messages about lost connections that other error messages rarely contain."""


@dataclass(frozen=True)
class Ranks:
    """Rank of this process among the processes of a job; by default there are no others.

    Attributes:
        rank: Number of the process, from 0.
        world_size: Number of processes.
        local_rank: Number of the process on its machine, from 0.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0

    @property
    def first(self) -> bool:
        """Whether this is the first process, which does the work that is done only once."""
        return self.rank == 0

    def device(self, name: str) -> str:
        """Return the device of this process: each process on a machine with GPUs is given one of them.

        Args:
            name: The device that the user chose; with "auto" and "cuda", the GPU is chosen by `local_rank`.
        """
        if name in {"auto", "cuda"} and self.world_size > 1 and torch.cuda.is_available():
            return f"cuda:{self.local_rank % torch.cuda.device_count()}"
        return name

    def agree(self, value: T) -> T:
        """Return the value of the first process in all processes.

        Raises:
            InputError: Another process has failed.
        """
        if self.world_size == 1:
            return value
        values = [value]
        with translate_peer_errors(self):
            dist.broadcast_object_list(values, src=0)
        return values[0]

    def wait(self) -> None:
        """Wait until all processes have come to this point.

        Raises:
            InputError: Another process has failed.
        """
        if self.world_size > 1:
            with translate_peer_errors(self):
                dist.barrier()


@contextmanager
def translate_peer_errors(ranks: Ranks, doing: str = "") -> Iterator[None]:
    """Turn PyTorch's errors about lost connections into an error about the process that failed.

    Args:
        ranks: The rank of this process.
        doing: Start of the message: what is being done, and what to do about a failure.

    Raises:
        InputError: Another process has failed or was killed.
    """
    try:
        yield
    except RuntimeError as error:
        words = str(error).lower()
        lost = isinstance(error, dist.DistError) or any(word in words for word in _CONNECTION_WORDS)
        if ranks.world_size > 1 and lost:
            reason = str(error).strip().splitlines()[0]
            raise InputError(
                f"{doing}another process was killed, or failed with a message of its own ({reason})"
            ) from error
        raise


def share_out(
    videos: Sequence[int], lengths: Sequence[int] | np.ndarray[Any, Any], *, world_size: int
) -> list[list[int]]:
    """Divide videos among processes so that all have about the same number of frames.

    From the longest video to the shortest, each goes to the process with the fewest frames so far.

    Args:
        videos: Numbers of the videos.
        lengths: Number of frames of each video, by its number.
        world_size: Number of processes.

    Returns:
        The videos of each process, in rising order.
    """
    shares: list[list[int]] = [[] for _ in range(world_size)]
    loads = [(0, rank) for rank in range(world_size)]
    for video in sorted(videos, key=lambda v: (-int(lengths[v]), v)):
        load, rank = heapq.heappop(loads)
        shares[rank].append(video)
        heapq.heappush(loads, (load + int(lengths[video]), rank))
    return [sorted(share) for share in shares]
