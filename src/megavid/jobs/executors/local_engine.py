"""Run the workers of an archive as processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import socket
import sys
import threading
import time
import traceback
from collections import deque
from dataclasses import dataclass, replace
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Literal

import torch

from megavid.checkpoints.load import find_device
from megavid.core.errors import InputError
from megavid.core.files.atomic import remove_leftovers
from megavid.core.machine.cores import usable_cores
from megavid.core.machine.memory import usable_memory
from megavid.core.machine.processes import end_with_parent
from megavid.jobs.archive.worker import SegmentWorker
from megavid.jobs.archive.worker_spec import WorkerSpec
from megavid.jobs.executors.engine import Event, Failed, Task
from megavid.jobs.stop_requests import ignore_stop_requests, uninterrupted
from megavid.jobs.threads.thread_count import users_threads

_WORKER_BYTES = 4 << 30
"""Memory that a process needs on a CPU, with a detector of published size."""

_FAILED_STARTS = 3
"""Number of processes that may end one after another before they have loaded the detector."""


@dataclass(frozen=True)
class _Ready:
    """A process has loaded its detector."""


@dataclass(frozen=True)
class _Refused:
    """A process cannot load its detector."""

    reason: str


@dataclass(frozen=True)
class _Order:
    """A task to run, or the task that probably comes next, whose video is fetched meanwhile."""

    kind: Literal["run", "fetch"]
    task: Task


@dataclass(eq=False)
class _Worker:
    """A process.

    Attributes:
        place: Its number among the processes, which decides on its GPU.
        name: Name for records and messages.
        process: The process.
        pipe: Connection to it.
        state: "ready" once it has loaded its detector; "ending" if it takes no further tasks.
        task: The task that it works on.
        following: The task whose video it fetches meanwhile; another process may be given the task.
        video: Address of the last video that it worked on.
    """

    place: int
    name: str
    process: BaseProcess
    pipe: Connection
    state: Literal["starting", "ready", "ending"] = "starting"
    task: Task | None = None
    following: Task | None = None
    video: str = ""


class LocalEngine:
    """Runs workers as processes of this machine; see `Engine`.

    A process that ends before its time is noticed at once, and another one takes its place. Processes end
    with this one, however it ends.

    Args:
        spec: What the workers have to know. With device "auto" or "cuda", each process is given a GPU.
        workers: Number of processes; None for one for each GPU, or on a CPU one for each core, but no more
            than have 4 GiB of memory each.

    Attributes:
        specs: What each process has to know.
    """

    def __init__(self, spec: WorkerSpec, *, workers: int | None = None) -> None:
        gpus = _gpus(spec.device)
        threads = users_threads(spec.threads)
        most = min(usable_cores() // (threads or 1), usable_memory() // _WORKER_BYTES)
        count = workers or len(gpus) or max(most, 1)
        threads = threads or max(usable_cores() // count, 1)
        self.specs = [
            replace(spec, threads=threads, device=gpus[i % len(gpus)] if gpus else spec.device)
            for i in range(count)
        ]
        self._workers: dict[int, _Worker] = {}  # by place
        self._waiting: list[Task] = []
        self._events: deque[Event] = deque()
        self._failed_starts = 0
        self._closed = False

    @property
    def workers(self) -> list[str]:
        """Names of the processes that have loaded their detector."""
        return [worker.name for worker in self._workers.values() if worker.state == "ready"]

    @property
    def free(self) -> int:
        """Number of further tasks that it takes now."""
        return 2 * len(self.specs) - self._at_work - len(self._waiting)

    def submit(self, task: Task) -> None:
        """Give a task to a process; processes start with the first tasks."""
        self._waiting.append(task)
        self._hand_out()

    def next_event(self, timeout: float) -> Event | None:
        """Wait for the next event, at most `timeout` seconds.

        Raises:
            InputError: The processes cannot load the detector.
        """
        deadline = time.monotonic() + timeout
        while not self._events and not self._closed:
            left = deadline - time.monotonic()
            if left < 0:
                break
            self._listen(left)
            self._hand_out()
        return self._events.popleft() if self._events else None

    def close(self, *, drain: bool) -> None:
        """End all processes.

        Args:
            drain: Whether they finish the segments that they are at work on.
        """
        self._closed = True
        self._waiting.clear()
        for worker in self._workers.values():
            if not (drain and worker.state == "ready" and _send(worker, None)):
                worker.process.kill()
            worker.state = "ending"
        while self._workers:
            self._listen(None)
        remove_leftovers(self.specs[0].cache)  # of killed processes

    @property
    def _at_work(self) -> int:
        return sum(worker.task is not None for worker in self._workers.values())

    def _hand_out(self) -> None:
        """Start processes if there is work for them, and give tasks to those that have none."""
        for place in range(min(len(self.specs), self._at_work + len(self._waiting))):
            if place not in self._workers:
                self._workers[place] = _start(self.specs[place], place)
        for worker in self._workers.values():
            if worker.state == "ready" and worker.task is None and self._waiting:
                task = self._choose_task(worker)
                if _send(worker, _Order("run", task)):
                    self._waiting.remove(task)
                    worker.task, worker.following, worker.video = task, None, task.segment.video.address
        followed = [worker.following for worker in self._workers.values()]
        for worker in self._workers.values():
            if worker.task is not None and worker.following not in self._waiting:
                worker.following = next((task for task in self._waiting if task not in followed), None)
                if worker.following is not None:
                    followed.append(worker.following)
                    _send(worker, _Order("fetch", worker.following))

    def _choose_task(self, worker: _Worker) -> Task:
        """Return the task whose video the worker fetched or has, or else one that no other worker fetches."""
        followed = [other.following for other in self._workers.values() if other is not worker]

        def rank(task: Task) -> tuple[bool, bool, bool]:
            other_video = task.segment.video.address != worker.video
            return task != worker.following, other_video, task in followed

        return min(self._waiting, key=rank)

    def _listen(self, timeout: float | None) -> None:
        """Wait for messages and for the end of processes, at most `timeout` seconds."""
        sources = {worker.pipe: worker for worker in self._workers.values()}
        ends = {worker.process.sentinel: worker for worker in self._workers.values()}
        heard = wait([*sources, *ends], timeout)
        for worker in {sources.get(source) or ends[source] for source in heard}:  # type: ignore
            open_ = self._receive(worker)
            if not open_ or not worker.process.is_alive():
                self._bury(worker)

    def _receive(self, worker: _Worker) -> bool:
        """Handle the messages of a process; return whether there may be more."""
        try:
            while worker.pipe.poll():
                self._handle(worker, worker.pipe.recv())
        except (EOFError, OSError):
            return False
        return True

    def _handle(self, worker: _Worker, message: Event | _Ready | _Refused) -> None:
        if isinstance(message, _Refused):
            worker.state = "ending"
            if not self._closed:
                raise InputError(message.reason)
            return
        if isinstance(message, _Ready):
            worker.state = "ready"
            self._failed_starts = 0
            return
        worker.task = None
        if isinstance(message, Failed) and message.cause == "worker":
            worker.state = "ending"
        self._events.append(message)

    def _bury(self, worker: _Worker) -> None:
        """Forget a process that has ended, and report its task."""
        worker.process.kill()
        worker.process.join()
        how = _describe_end(worker.process.exitcode)
        worker.pipe.close()
        worker.process.close()
        del self._workers[worker.place]
        if worker.task is not None:
            self._events.append(Failed(worker.task, worker.name, "worker", f"its process {how}"))
        if worker.state == "starting" and not self._closed:
            self._failed_starts += 1
            if self._failed_starts == _FAILED_STARTS:
                raise InputError(
                    f"{_FAILED_STARTS} processes ended while they loaded the detector; the last one {how}"
                )


def _start(spec: WorkerSpec, place: int) -> _Worker:
    """Start a process. Signals that are ignored while it starts are ignored by it from its beginning on."""
    ours, theirs = multiprocessing.Pipe()
    arguments: dict[str, Any] = {"target": _work, "args": (spec, theirs), "daemon": True}
    process: BaseProcess
    if sys.platform == "linux" and find_device(spec.device).type == "cpu":
        # All come from one process that has imported PyTorch and never used it, so they start at once.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["megavid.jobs.archive.worker"])
        with uninterrupted():
            forkserver.ensure_running()
        process = context.Process(**arguments)
        process.start()
    else:  # a GPU's driver may not work in a process that another one was copied to
        process = multiprocessing.get_context("spawn").Process(**arguments)
        with uninterrupted():
            process.start()
    theirs.close()
    return _Worker(place, f"{socket.gethostname()}-{process.pid}", process, ours)


def _send(worker: _Worker, order: _Order | None) -> bool:
    """Send an order, None to end; return False if the process has ended."""
    try:
        worker.pipe.send(order)
    except OSError:
        return False
    return True


def _describe_end(code: int | None) -> str:
    if code is None or code >= 0:
        return f"ended with exit code {code}"
    name = signal.Signals(-code).name
    return f"was killed by {name}" + (", as it is when memory is full" if name == "SIGKILL" else "")


def _gpus(device: str) -> list[str]:
    """Return the devices that a process each is for; none on a CPU."""
    found = find_device(device)
    if found.type == "cpu":
        return []
    if found.type == "cuda" and device in {"auto", "cuda"}:
        return [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    return [str(found)]


def _work(spec: WorkerSpec, pipe: Connection) -> None:
    """Run tasks in a process until the order to end, or an error that is not the video's or the output's."""
    ignore_stop_requests()
    end_with_parent()
    try:
        worker = SegmentWorker(spec, f"{socket.gethostname()}-{os.getpid()}")
    except InputError as error:
        pipe.send(_Refused(str(error)))
        return
    pipe.send(_Ready())
    tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
    threading.Thread(target=_take_orders, args=(pipe, worker, tasks), daemon=True).start()
    code = 0
    while (task := tasks.get()) is not None:
        try:
            pipe.send(worker.run(task))
        except Exception as error:  # such as full memory: a new process begins with free memory
            traceback.print_exc()
            first_line = str(error).strip().partition("\n")[0]
            reason = f"{type(error).__name__}: {first_line}"
            pipe.send(Failed(task, worker.name, "worker", reason))
            code = 1
            break
    worker.close()
    os._exit(code)  # without waiting for a video that is still being fetched


def _take_orders(pipe: Connection, worker: SegmentWorker, tasks: queue.SimpleQueue[Task | None]) -> None:
    """Take orders on a thread beside the one that runs tasks; without the engine, end the process."""
    try:
        while (order := pipe.recv()) is not None:
            if order.kind == "run":
                tasks.put(order.task)
            else:
                worker.fetch_ahead(order.task)
    except (EOFError, OSError):
        os._exit(1)
    tasks.put(None)
