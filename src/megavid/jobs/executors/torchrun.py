"""Join the processes that torchrun started."""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.distributed import PrefixStore, Store  # type: ignore[attr-defined]
from torch.distributed.rendezvous import rendezvous as torch_rendezvous

from megavid.core.errors import InputError
from megavid.jobs.executors.ranks import Ranks

_PATIENCE = timedelta(days=30)
"""How long to wait for another process, which may have hours of work left."""

_POLL = 0.05
"""Seconds between two checks of the store."""


def launch_id() -> str | None:
    """Return an id shared by all processes that one torchrun starts or restarts; None without torchrun."""
    run = os.environ.get("TORCHELASTIC_RUN_ID")
    # torchrun calls a run "none" unless the user names it.
    return f"{socket.gethostname()} {os.getppid()}" if run == "none" else run


@contextmanager
def joined_ranks() -> Iterator[Ranks]:
    """Join the processes that torchrun started; without torchrun this process is the only one.

    Raises:
        InputError: An environment variable of torchrun has an impossible value.
    """
    world_size = read_launch_variable("WORLD_SIZE", default=1, least=1)
    if world_size == 1:
        yield Ranks()
        return
    rank, local_rank = read_launch_variable("RANK"), read_launch_variable("LOCAL_RANK", default=0)
    if rank >= world_size:
        raise InputError(f"RANK: expected less than WORLD_SIZE, got {rank} of {world_size}")
    if torch.cuda.is_available():
        torch.cuda.set_device(local_rank % torch.cuda.device_count())
    # NCCL transfers gradients between GPUs; Gloo transfers everything else.
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    try:
        store, rank, world_size = next(torch_rendezvous("env://", timeout=_PATIENCE))
    except (ValueError, OverflowError) as error:  # not a valid address
        raise InputError(f"WORLD_SIZE: expected processes that torchrun started: {error}") from error
    store = PrefixStore(rendezvous(store, rank, world_size), store)
    dist.init_process_group(backend, store=store, rank=rank, world_size=world_size, timeout=_PATIENCE)
    try:
        yield Ranks(dist.get_rank(), dist.get_world_size(), local_rank)
    finally:
        dist.destroy_process_group()


def read_launch_variable(name: str, *, default: int | None = None, least: int = 0) -> int:
    """Read a number that torchrun sets in the environment.

    Args:
        name: Name of the variable.
        default: The value if the variable is not set; None if it has to be set.
        least: The smallest valid value.

    Raises:
        InputError: The value is missing or not a valid number.
    """
    text = os.environ.get(name)
    if text is None and default is not None:
        return default
    if text is None or not text.isdecimal() or len(text) > 9 or int(text) < least:
        got = "nothing" if text is None else repr(text)
        raise InputError(f"{name}: expected a whole number of at least {least} from torchrun, got {got}")
    return int(text)


def rendezvous(store: Store, rank: int, world_size: int) -> str:
    """Agree with the other processes on a name for this attempt that no earlier attempt has used.

    torchrun keeps one store across restarts, so the store still has what killed processes wrote. No number
    that torchrun gives its processes is both the same on all hosts and new in each attempt. So each process
    but the first one leaves a random id in the store. The first one chooses the name and sends it in answer
    to every id that it finds, until all ranks have confirmed it. A killed process never confirms.

    Args:
        store: The store of all processes and attempts.
        rank: The rank of this process.
        world_size: Number of processes.
    """
    own = uuid.uuid4().hex
    if rank > 0:
        store.set(f"megavid/here/{rank}", own)
        name = store.get(f"megavid/answer/{own}").decode()
        store.set(f"megavid/taken/{name}/{rank}", "")
        return name
    missing = set(range(1, world_size))
    while missing:
        for other in sorted(missing):
            if store.check([f"megavid/here/{other}"]):
                who = store.get(f"megavid/here/{other}").decode()
                store.set(f"megavid/answer/{who}", own)
        missing = {other for other in missing if not store.check([f"megavid/taken/{own}/{other}"])}
        time.sleep(_POLL)
    return own
