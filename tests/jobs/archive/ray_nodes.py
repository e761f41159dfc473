"""A Ray cluster of three nodes on this machine, whose actors and nodes a test kills."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ray.cluster_utils import Cluster

_NODE: dict[str, Any] = {"object_store_memory": 80 << 20}
_FAST_CHECKS = {
    "health_check_initial_delay_ms": 500,
    "health_check_period_ms": 500,
    "health_check_failure_threshold": 4,
}
"""Settings with which a lost node is noticed within seconds."""


class RayNodes:
    """A head without cores, and two nodes with a core each.

    Attributes:
        address: Address of the cluster.
    """

    def __init__(self) -> None:
        head = {"num_cpus": 0, "include_dashboard": False, "_system_config": _FAST_CHECKS, **_NODE}
        self._cluster: Any = Cluster(initialize_head=True, head_node_args=head)
        self.address: str = self._cluster.address
        self._nodes = [self._add_node() for _ in range(2)]

    def actors(self) -> list[int]:
        """Return the ids of the processes of all actors."""
        raylets = {process.process.pid for node in self._nodes for process in node.all_processes["raylet"]}
        return [process for process, parent in _processes("ray::RayActor") if parent in raylets]

    def kill_actor(self, draw: random.Random) -> bool:
        """Kill an actor; return False if there is none."""
        actors = self.actors()
        if not actors:
            return False
        with suppress(ProcessLookupError):
            os.kill(draw.choice(actors), signal.SIGKILL)
        return True

    def kill_node(self, draw: random.Random) -> bool:
        """Kill a node with its actors, and let a new node join; return False if there is no actor."""
        if not self.actors():
            return False
        node = draw.choice(self._nodes)
        self._cluster.remove_node(node, allow_graceful=False)
        self._nodes.remove(node)
        self._nodes.append(self._add_node())
        return True

    def shut_down(self) -> None:
        self._cluster.shutdown()

    def _add_node(self) -> Any:
        return self._cluster.add_node(num_cpus=1, **_NODE)


@contextmanager
def ray_nodes() -> Iterator[RayNodes]:
    """Start a cluster, and end it after the `with` block."""
    nodes = RayNodes()
    try:
        yield nodes
    finally:
        nodes.shut_down()


def wait_until(condition: Callable[[], bool], *, seconds: float) -> bool:
    """Wait for a condition, at most so many seconds; return whether it was met."""
    end = time.monotonic() + seconds
    while not (met := condition()) and time.monotonic() < end:
        time.sleep(0.05)
    return met


def _processes(title: str) -> Iterator[tuple[int, int]]:
    """Yield the id and the parent's id of each process with a title that begins so."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (folder / "cmdline").read_text(errors="replace").startswith(title):
                parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
                yield int(folder.name), int(parent)
