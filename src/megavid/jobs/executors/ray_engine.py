"""Run the workers of an archive as actors of a Ray cluster.

Ray core is used and not Ray Data, since an archive is not a fixed data set: tasks come from other tasks (a
long video is split when its frames are counted), are tried again depending on what failed, and have their
video fetched by the actor that will run them. Ray Data also takes 6 to 9 ms for each of 200 empty tasks on
two actors, after 1 to 5 s to start, where calls of actors take 1 ms (`benchmarks/ray_overhead.py`).
"""

from __future__ import annotations

import os
import queue
import time
from collections import deque
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any, Literal

from megavid.core.errors import InputError
from megavid.jobs.archive.worker_spec import WorkerSpec
from megavid.jobs.executors.engine import Event, Failed, Task
from megavid.jobs.executors.ray_actor import RayActor, describe_failure
from megavid.jobs.executors.ray_cluster import (
    choose_size,
    connect,
    count_places,
    describe_cluster,
    import_ray,
)
from megavid.jobs.progress import say

_FAILED_STARTS = 5
"""Number of times in a row that actors may end before they have loaded the detector."""

_LOOK = 5.0
"""Seconds between two looks at the nodes of the cluster."""

_PATIENCE = 60.0
"""Seconds without a worker after which the user is told what is missing."""

_CLEANING = 10.0
"""Seconds that actors have to remove their temporary files."""


@dataclass(eq=False)
class _Worker:
    """An actor.

    Attributes:
        actor: Its handle.
        name: Name for records and messages; "" until it has loaded its detector.
        task: The task that it works on.
        following: The task whose video it fetches meanwhile.
    """

    actor: Any
    name: str = ""
    task: Task | None = None
    following: Task | None = None


@dataclass(frozen=True)
class _Answer:
    """What became of a call of an actor."""

    worker: _Worker
    call: Literal["start", "check", "run"]
    future: Any


class RayEngine:
    """Runs workers as actors of a Ray cluster; see `Engine`.

    megavid must be installed on every node, since Ray sends only the names of its functions. Actors start
    with the first tasks. One that is lost with its process, its node or its connection is replaced. The
    actors end with this process, however it ends.

    Args:
        spec: What the workers have to know.
        address: "auto" or HOST:PORT of a running cluster that this machine is a node of; None for the cluster
            that `RAY_ADDRESS` names, or else a new one on this machine.
        workers: Number of actors; a cluster that scales itself grows to have room for them. None for as many
            as the nodes have room for, and more when nodes join.
        gpus_per_actor: Share of a GPU that an actor takes, such as 0.25; None for a whole one if the cluster
            has GPUs, or else none.
        cpus_per_actor: Number of cores that an actor takes. On a CPU the network runs on as many threads.

    Raises:
        InputError: Ray is not installed, the cluster does not answer, an argument is impossible, or this
            machine does not have what an actor needs.
    """

    def __init__(
        self,
        spec: WorkerSpec,
        *,
        address: str | None = None,
        workers: int | None = None,
        gpus_per_actor: float | None = None,
        cpus_per_actor: float = 1.0,
    ) -> None:
        if workers is not None and workers < 1:
            raise InputError(f"--workers: expected at least 1, got {workers}")
        self._ray = import_ray()
        self._fixed = workers
        self._workers: list[_Worker] = []
        self._idle: dict[_Worker, None] = {}  # ready, without a task
        self._lone: dict[_Worker, None] = {}  # at work, without a following task
        self._waiting: deque[Task] = deque()  # tasks that follow no other
        self._following: dict[Task, _Worker] = {}
        self._answers: queue.SimpleQueue[_Answer] = queue.SimpleQueue()
        self._events: deque[Event] = deque()
        self._failed_starts, self._next_start = 0, 0.0
        self._closed = False
        self._connected = connect(address)
        try:
            self._size = choose_size(spec.device, cpus=cpus_per_actor, gpus=gpus_per_actor)
            self._places = count_places(self._size)
            if not self._places and self._connected and address is None and "RAY_ADDRESS" not in os.environ:
                raise InputError(
                    f"--engine ray: an actor needs {self._size}, but this machine has {describe_cluster()}; "
                    "--address names a cluster"
                )
        except InputError:
            self.close(drain=False)
            raise
        self._next_look = time.monotonic() + _LOOK
        self._next_word = time.monotonic() + (_PATIENCE if self._places else 0.0)
        device = "cuda" if self._size.gpus else "cpu"
        self._spec = replace(spec, device=device, threads=spec.threads or max(1, int(cpus_per_actor)))
        self._actor_class = self._ray.remote(
            concurrency_groups={"work": 1, "fetch": 1},
            num_cpus=self._size.cpus,
            num_gpus=self._size.gpus,
            memory=self._size.memory,
        )(RayActor)

    @property
    def workers(self) -> list[str]:
        """Names of the actors that have loaded their detector."""
        return [worker.name for worker in self._workers if worker.name]

    @property
    def free(self) -> int:
        """Number of further tasks that it takes now; at least 1 if it has none."""
        return 2 * self._wanted - self._tasks

    def submit(self, task: Task) -> None:
        """Give a task to an actor, or keep it until one is ready."""
        self._waiting.append(task)
        self._hand_out()

    def next_event(self, timeout: float) -> Event | None:
        """Wait for the next event, at most `timeout` seconds.

        Raises:
            InputError: The actors cannot load the detector.
        """
        deadline = time.monotonic() + timeout
        while not self._events and not self._closed:
            self._look_at_cluster()
            self._share_following()
            self._hand_out()
            try:
                answer = self._answers.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                break
            self._handle(answer)
        return self._events.popleft() if self._events else None

    def close(self, *, drain: bool) -> None:
        """End all actors, and the cluster if it was started here.

        Args:
            drain: Whether they finish the segments that they are at work on.
        """
        self._closed = True
        if drain:
            while any(worker.task for worker in self._workers):
                self._handle(self._answers.get())
            cleaned = [worker.actor.close.remote() for worker in self._workers if worker.name]
            if cleaned:
                self._ray.wait(cleaned, num_returns=len(cleaned), timeout=_CLEANING)
        for worker in self._workers:
            self._ray.kill(worker.actor)
        self._workers.clear()
        if self._connected:
            self._ray.shutdown()

    @property
    def _wanted(self) -> int:
        """Number of actors; at least one, for which a cluster that scales itself makes room."""
        return self._fixed or max(1, self._places)

    @property
    def _tasks(self) -> int:
        """Number of tasks that it has."""
        at_work = sum(worker.task is not None for worker in self._workers)
        return at_work + len(self._waiting) + len(self._following)

    def _look_at_cluster(self) -> None:
        """See whether nodes have joined or left, and tell the user if there is nothing to work with."""
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + _LOOK
            self._places = count_places(self._size)
        if self.workers:
            self._next_word = now + _PATIENCE
        elif now >= self._next_word:
            self._next_word = now + _PATIENCE
            say(f"ray: no worker yet: each needs {self._size}; the cluster has {describe_cluster()}")

    def _hand_out(self) -> None:
        """Start actors if there is work for them, and give tasks to those that have none."""
        if time.monotonic() >= self._next_start:
            while len(self._workers) < min(self._wanted, self._tasks):
                self._start()
        while self._waiting and self._idle:
            self._run(self._idle.popitem()[0], self._waiting.popleft())
        while self._waiting and self._lone:
            worker = next(iter(self._lone))
            del self._lone[worker]
            worker.following = self._waiting.popleft()
            self._following[worker.following] = worker
            worker.actor.fetch_ahead.options(concurrency_group="fetch").remote(worker.following)

    def _share_following(self) -> None:
        """Take following tasks from their actors for idle ones, since no other tasks came for these."""
        for _ in range(min(len(self._idle), len(self._following))):
            self._waiting.append(self._release(next(reversed(self._following))))

    def _release(self, task: Task) -> Task:
        """Separate a following task from its actor, and return it."""
        worker = self._following.pop(task)
        worker.following = None
        if worker.task is not None:
            self._lone[worker] = None
        return task

    def _start(self) -> None:
        worker = _Worker(self._actor_class.remote())
        self._workers.append(worker)
        start = worker.actor.start.options(concurrency_group="work")
        self._listen(worker, "start", start.remote(self._spec, version("megavid")))

    def _run(self, worker: _Worker, task: Task) -> None:
        worker.task = task
        if worker.following is None:
            self._lone[worker] = None
        self._listen(worker, "run", worker.actor.run.options(concurrency_group="work").remote(task))

    def _check_idle(self) -> None:
        """Give no task to an idle actor before it answers: it may be lost, too, without being noticed."""
        for worker in self._idle:
            self._listen(worker, "check", worker.actor.check.options(concurrency_group="work").remote())
        self._idle.clear()

    def _listen(self, worker: _Worker, call: Literal["start", "check", "run"], reference: Any) -> None:
        answers = self._answers
        reference.future().add_done_callback(lambda future: answers.put(_Answer(worker, call, future)))

    def _handle(self, answer: _Answer) -> None:
        worker, error = answer.worker, answer.future.exception()
        if answer.call == "start":
            if error is None:
                worker.name = answer.future.result()
                self._failed_starts = 0
                self._idle[worker] = None
            elif not self._closed:
                self._handle_failed_start(worker, error)
        elif answer.call == "check":
            if error is None:
                self._idle[worker] = None
            else:
                self._bury(worker)
        else:
            self._handle_run(worker, answer.future)

    def _handle_run(self, worker: _Worker, future: Any) -> None:
        error = future.exception()
        task, worker.task = worker.task, None
        assert task is not None
        self._lone.pop(worker, None)
        if error is not None:
            self._bury(worker)
            self._check_idle()
            self._events.append(Failed(task, worker.name, "worker", describe_failure(error)))
            return
        self._events.append(future.result())
        if worker.following is None:
            self._idle[worker] = None
        elif not self._closed:
            self._run(worker, self._release(worker.following))

    def _handle_failed_start(self, worker: _Worker, error: BaseException) -> None:
        cause = getattr(error, "cause", None)
        if isinstance(cause, InputError):
            raise cause
        self._bury(worker)
        now = time.monotonic()
        if now < self._next_start:
            return  # began at the same time as one that has failed
        self._failed_starts += 1
        self._next_start = now + 2.0 ** (self._failed_starts - 1)
        if self._failed_starts == _FAILED_STARTS:
            raise InputError(
                f"ray: {_FAILED_STARTS} times in a row, workers ended before they had loaded the detector: "
                f"{describe_failure(error)}"
            )

    def _bury(self, worker: _Worker) -> None:
        """Forget a lost actor, and let another one have its following task."""
        self._ray.kill(worker.actor)  # if it is only the connection that is lost
        self._workers.remove(worker)
        if worker.following is not None:
            self._waiting.appendleft(self._release(worker.following))
