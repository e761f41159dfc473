"""Several processes that share a job: what `torchrun` starts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch.distributed import PrefixStore  # type: ignore[attr-defined]
from torch.distributed.rendezvous import rendezvous

from megavid.core.errors import InputError

T = TypeVar("T")

_PATIENCE = timedelta(days=30)
"""How long a process waits for another, which may have hours of work left."""

_CONNECTION_WORDS = ("connection", "gloo", "nccl", "timed out")
"""In the messages of PyTorch when another process is gone."""


@dataclass(frozen=True)
class Ranks:
    """Which of the processes this is; by default the only one.

    Attributes:
        rank: Its number, from 0.
        world: How many there are.
        local: Its number on this machine.
    """

    rank: int = 0
    world: int = 1
    local: int = 0

    @property
    def first(self) -> bool:
        """Whether this is the process that does what is done once."""
        return self.rank == 0

    def device(self, name: str) -> str:
        """The device for this process: of several on a machine with GPUs, each has its own."""
        if name in {"auto", "cuda"} and self.world > 1 and torch.cuda.is_available():
            return f"cuda:{self.local % torch.cuda.device_count()}"
        return name

    def agree(self, value: T) -> T:
        """The first process's value, in all of them.

        Raises:
            InputError: Another process has failed.
        """
        if self.world == 1:
            return value
        values = [value]
        with others_watched(self):
            dist.broadcast_object_list(values, src=0)
        return values[0]

    def wait(self) -> None:
        """Until all processes are here.

        Raises:
            InputError: Another process has failed.
        """
        if self.world > 1:
            with others_watched(self):
                dist.barrier()


@contextmanager
def others_watched(ranks: Ranks) -> Iterator[None]:
    """Says so where work that is done together fails since another process is gone.

    Raises:
        InputError: It is.
    """
    try:
        yield
    except RuntimeError as error:
        words = str(error).lower()
        if ranks.world > 1 and any(word in words for word in _CONNECTION_WORDS):
            raise InputError("another process has failed; its own message says why") from error
        raise


@contextmanager
def joined_ranks() -> Iterator[Ranks]:
    """This process among those that `torchrun` started; the only one where it did not."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Ranks()
        return
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if torch.cuda.is_available():
        torch.cuda.set_device(local % torch.cuda.device_count())
    # Gradients on GPUs go by NCCL, what is agreed on by Gloo.
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    # torchrun keeps one store over restarts, in which the addresses of killed processes still stand.
    store, rank, world = next(rendezvous("env://", timeout=_PATIENCE))
    store = PrefixStore(f"attempt_{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
    dist.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=_PATIENCE)
    try:
        yield Ranks(dist.get_rank(), dist.get_world_size(), local)
    finally:
        dist.destroy_process_group()
