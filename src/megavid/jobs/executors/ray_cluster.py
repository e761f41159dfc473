"""Connect to a Ray cluster, and find how many actors its nodes have room for."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from megavid.core.errors import InputError
from megavid.core.machine.cores import usable_cores

_TIME_LIMIT = 20.0
"""Seconds in which a cluster must answer; Ray itself would try for two minutes, and then end the program."""

_ACTOR_BYTES = 4 << 30
"""Memory that an actor needs on a CPU, with a detector of published size."""

_OBJECT_STORE_BYTES = 80 << 20
"""Size of Ray's object store on this machine, near the least that Ray accepts: no frame is put into it."""


def import_ray() -> Any:
    """Return the library.

    Raises:
        InputError: It is not installed.
    """
    try:
        import ray
    except ImportError as error:
        raise InputError('--engine ray: needs the library ray: pip install "ray[default]"') from error
    return ray


def connect(address: str | None) -> bool:
    """Connect to a cluster, or start one on this machine; does nothing if this process is connected.

    Args:
        address: "auto" for the cluster that this machine is a node of, or HOST:PORT of the cluster's head;
            None for that in the environment variable `RAY_ADDRESS`, or a new cluster on this machine, which
            ends with this process.

    Returns:
        Whether this call has connected, so that the caller should call `ray.shutdown`.

    Raises:
        InputError: Ray is not installed, the address does not answer, or the cluster cannot be used.
    """
    ray = import_ray()
    if ray.is_initialized():
        return False
    address = address or os.environ.get("RAY_ADDRESS")
    arguments: dict[str, Any] = {"address": address}
    if address is None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        arguments = {
            "address": "local",
            "num_cpus": usable_cores(),
            "include_dashboard": False,
            "object_store_memory": _OBJECT_STORE_BYTES,
        }
    else:
        _check_answer(address)
    try:
        ray.init(log_to_driver=False, logging_level=logging.WARNING, **arguments)
    except (OSError, RuntimeError, ValueError, SystemExit, ray.exceptions.RayError) as error:
        place = "ray: cannot start a cluster on this machine" if address is None else f"--address: {address}"
        raise InputError(f"{place}: {' '.join(str(error).split())}") from error
    return True


def _check_answer(address: str) -> None:
    """Fail if a cluster does not answer in time."""
    if "://" in address:
        raise InputError(
            f"--address: expected auto or HOST:PORT on a node of the cluster, got {address}; from another "
            "machine, send the whole command to the cluster with `ray job submit`"
        )
    check = [sys.executable, "-m", "ray.scripts.scripts", "health-check", "--address", address]
    try:
        answer = subprocess.run(check, capture_output=True, text=True, timeout=_TIME_LIMIT, check=False)
    except subprocess.TimeoutExpired as error:
        raise InputError(
            f"--address: no Ray cluster answers at {address} within {_TIME_LIMIT:.0f} s; "
            "`ray status` shows one that this machine is a node of"
        ) from error
    if answer.returncode:
        reason = (answer.stderr.strip().splitlines() or ["it is not healthy"])[-1]
        raise InputError(f"--address: no Ray cluster answers at {address}: {reason}")


@dataclass(frozen=True, kw_only=True)
class ActorSize:
    """What an actor takes of its node.

    Attributes:
        cpus: Number of cores; may be a fraction.
        gpus: Number of GPUs: a fraction of one, or 0.
        memory: Bytes of memory; 0 to not count memory.
    """

    cpus: float
    gpus: float
    memory: int

    def resources(self) -> dict[str, float]:
        """Return the resources by Ray's names, without those that are not needed."""
        named = {"CPU": self.cpus, "GPU": self.gpus, "memory": float(self.memory)}
        return {name: amount for name, amount in named.items() if amount}

    def __str__(self) -> str:
        return _in_words(self.resources())


def choose_size(device: str, *, cpus: float, gpus: float | None) -> ActorSize:
    """Choose what an actor takes of its node.

    Args:
        device: Device that the user chose: "auto", "cuda" or another one.
        cpus: Number of cores.
        gpus: Number of GPUs; None for one if the cluster has GPUs and the device may be one, or else none.

    Raises:
        InputError: A number is impossible, or contradicts the device.
    """
    if not 0 < cpus <= 1024:
        raise InputError(f"--cpus-per-actor: expected more than 0, got {cpus}")
    if gpus is not None and not 0 <= gpus <= 1:
        raise InputError(f"--gpus-per-actor: expected 0 to 1, since a detector runs on one GPU, got {gpus}")
    if device not in {"auto", "cpu", "cuda"}:
        raise InputError(f"--device: expected auto, cpu or cuda, since Ray chooses the GPUs, got {device}")
    if gpus is None:
        has_gpus = any(node.get("GPU") for node in _nodes())
        gpus = 1.0 if device == "cuda" or (device == "auto" and has_gpus) else 0.0
    if device != "auto" and (device == "cuda") != (gpus > 0):
        expected = "0" if gpus else "more than 0"
        raise InputError(f"--gpus-per-actor: expected {expected} with --device {device}, got {gpus:g}")
    largest = max((int(node.get("memory", 0)) for node in _nodes()), default=0)
    memory = 0 if gpus else min(_ACTOR_BYTES, largest or _ACTOR_BYTES)
    return ActorSize(cpus=cpus, gpus=gpus, memory=memory)


def count_places(size: ActorSize) -> int:
    """Return how many actors the nodes have room for, when nothing else runs on them."""
    needed = size.resources()
    # One part in 10^6 more makes ten times 0.1 fit into 1.
    return sum(
        min(int(node.get(name, 0.0) / amount * (1 + 1e-6)) for name, amount in needed.items())
        for node in _nodes()
    )


def describe_cluster() -> str:
    """Return what the cluster has and what of it is free, in words."""
    ray = import_ray()
    has, free = _in_words(ray.cluster_resources()), _in_words(ray.available_resources())
    return f"{has} on {len(_nodes())} node(s); free: {free}"


def _nodes() -> list[dict[str, float]]:
    """Return the resources of each node that is alive."""
    return [node["Resources"] for node in import_ray().nodes() if node["Alive"]]


def _in_words(resources: dict[str, float]) -> str:
    words = [f"{resources.get('CPU', 0):g} CPU", f"{resources.get('GPU', 0):g} GPU"]
    return ", ".join([*words, f"{resources.get('memory', 0) / 2**30:.3g} GiB"])
