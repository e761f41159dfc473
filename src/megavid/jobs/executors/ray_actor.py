"""What runs in an actor of a Ray cluster, and what its failures are called."""

from __future__ import annotations

import os
import socket
from importlib.metadata import version

from megavid.core.errors import InputError
from megavid.jobs.archive.worker import SegmentWorker
from megavid.jobs.archive.worker_spec import WorkerSpec
from megavid.jobs.executors.engine import Event, Task


class RayActor:
    """An actor, which holds a `SegmentWorker`.

    The worker is made by `start`, not by the constructor, so that the caller gets its errors as they are.
    """

    def start(self, spec: WorkerSpec, expected: str) -> str:
        """Load the detector and return the name of the worker.

        Args:
            spec: What the worker has to know.
            expected: Version of megavid where the run was started.

        Raises:
            InputError: The node has another version, or the detector cannot be loaded.
        """
        name, found = f"{socket.gethostname()}-{os.getpid()}", version("megavid")
        if found != expected:
            raise InputError(f"{name}: expected megavid {expected}, as where the run began, got {found}")
        try:
            self._worker = SegmentWorker(spec, name)
        except InputError as error:
            raise InputError(f"{name}: {error}") from error
        return name

    def check(self) -> None:
        """Answer."""

    def run(self, task: Task) -> Event:
        """Run a task."""
        return self._worker.run(task)

    def fetch_ahead(self, task: Task) -> None:
        """Begin to fetch the video of a task while another task is at work."""
        self._worker.fetch_ahead(task)

    def close(self) -> None:
        """Remove the worker's temporary files."""
        self._worker.close()


def describe_failure(error: BaseException) -> str:
    """Return in a few words why a call of an actor has failed, from the error that Ray gives."""
    cause = getattr(error, "cause", None)
    if cause is not None:
        return f"{type(cause).__name__}: {' '.join(str(cause).split())}"
    text = " ".join(str(error).split())
    if "node has died" in text:
        return "its machine was lost"
    if "unavailable" in text:
        return "the connection to it was lost"
    if "memory" in text.partition("Some common causes")[0]:
        return "its machine was out of memory"
    if "worker process has died" in text:
        return "its process was killed or crashed, as when memory is full"
    return text
