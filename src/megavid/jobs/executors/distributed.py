"""Several processes that share a job: what `torchrun` starts."""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch.distributed import PrefixStore, Store  # type: ignore[attr-defined]
from torch.distributed.rendezvous import rendezvous

from megavid.core.errors import InputError

T = TypeVar("T")

_PATIENCE = timedelta(days=30)
"""How long a process waits for another, which may have hours of work left."""

_POLL = 0.05  # seconds

_CONNECTION_WORDS = (
    *("connection closed by peer", "connection reset by peer", "connection refused"),
    *("gloo/", "[gloo]", "nccl", "timed out waiting"),
)
"""Words in PyTorch's messages when another process is gone, hardly found in those of other code."""


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
def others_watched(ranks: Ranks, doing: str = "") -> Iterator[None]:
    """Says so where work that is done together fails since another process is gone.

    Args:
        ranks: This process among all.
        doing: What is being done and what to do about a failure, for the message.

    Raises:
        InputError: Another process is gone.
    """
    try:
        yield
    except RuntimeError as error:
        words = str(error).lower()
        lost = isinstance(error, dist.DistError) or any(word in words for word in _CONNECTION_WORDS)
        if ranks.world > 1 and lost:
            reason = str(error).strip().splitlines()[0]
            raise InputError(
                f"{doing}another process was killed, or has failed and says why itself ({reason})"
            ) from error
        raise


def launch_id() -> str | None:
    """What all processes that one `torchrun` started have in common, those that it restarts included."""
    run = os.environ.get("TORCHELASTIC_RUN_ID")
    # Without a rendezvous of its own torchrun calls all its runs "none".
    return f"{socket.gethostname()} {os.getppid()}" if run == "none" else run


@contextmanager
def joined_ranks() -> Iterator[Ranks]:
    """This process among those that `torchrun` started; the only one where it did not.

    Raises:
        InputError: What `torchrun` sets in the environment makes no sense.
    """
    world = launched("WORLD_SIZE", default=1, least=1)
    if world == 1:
        yield Ranks()
        return
    rank, local = launched("RANK"), launched("LOCAL_RANK", default=0)
    if rank >= world:
        raise InputError(f"RANK: expected less than WORLD_SIZE, got {rank} of {world}")
    if torch.cuda.is_available():
        torch.cuda.set_device(local % torch.cuda.device_count())
    # Gradients on GPUs go by NCCL, what is agreed on by Gloo.
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    try:
        store, rank, world = next(rendezvous("env://", timeout=_PATIENCE))
    except (ValueError, OverflowError) as error:  # an address that is none
        raise InputError(f"WORLD_SIZE: expected processes that torchrun started: {error}") from error
    store = PrefixStore(meet(store, rank, world), store)
    dist.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=_PATIENCE)
    try:
        yield Ranks(dist.get_rank(), dist.get_world_size(), local)
    finally:
        dist.destroy_process_group()


def launched(name: str, *, default: int | None = None, least: int = 0) -> int:
    """Read a number that `torchrun` sets in the environment.

    Args:
        name: The variable's.
        default: The number where it is not set; None: it has to be.
        least: The smallest that makes sense.

    Raises:
        InputError: It is none.
    """
    text = os.environ.get(name)
    if text is None and default is not None:
        return default
    if text is None or not text.isdecimal() or len(text) > 9 or int(text) < least:
        got = "nothing" if text is None else repr(text)
        raise InputError(f"{name}: expected a whole number of at least {least} from torchrun, got {got}")
    return int(text)


def meet(store: Store, rank: int, world: int) -> str:
    """A name that the processes of this attempt agree on and that no earlier one had.

    torchrun keeps one store over restarts, in which what killed processes wrote still stands, and no number
    that it gives its processes is the same on all hosts and new each time. So each process but the first
    says who it is; the first one answers whoever it finds, until all have taken up its answer: those that
    are dead never do.

    Args:
        store: That of all processes and attempts.
        rank: The number of this process.
        world: How many there are.
    """
    own = uuid.uuid4().hex
    if rank > 0:
        store.set(f"megavid/here/{rank}", own)
        name = store.get(f"megavid/answer/{own}").decode()
        store.set(f"megavid/taken/{name}/{rank}", "")
        return name
    missing = set(range(1, world))
    while missing:
        for other in sorted(missing):
            if store.check([f"megavid/here/{other}"]):
                who = store.get(f"megavid/here/{other}").decode()
                store.set(f"megavid/answer/{who}", own)
        missing = {other for other in missing if not store.check([f"megavid/taken/{own}/{other}"])}
        time.sleep(_POLL)
    return own
