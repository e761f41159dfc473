"""Time that Ray takes for a task that does nothing: calls of actors, and Ray Data with the same actors.

    python -m benchmarks.ray_overhead [--tasks 200]

Ray Data needs pandas as well.
"""

from __future__ import annotations

import argparse
import queue
import time
from typing import Any

import ray
import ray.data

ACTORS = 2


class Nothing:
    """An actor that returns what it is given."""

    def __call__(self, batch: Any) -> Any:
        return batch


def time_calls(tasks: int) -> float:
    """Return the seconds of calls of actors, each of which gets its next call after its answer."""
    remote: Any = ray.remote(num_cpus=1)(Nothing)
    actors = [remote.remote() for _ in range(ACTORS)]
    ray.get([actor.__call__.remote(0) for actor in actors])  # wait until they have started
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def call(actor: Any, task: int) -> None:
        actor.__call__.remote(task).future().add_done_callback(lambda future: answers.put((actor, future)))

    began = time.perf_counter()
    for task, actor in enumerate(actors):
        call(actor, task)
    for task in range(ACTORS, tasks + ACTORS):
        actor, future = answers.get()
        future.result()
        if task < tasks:
            call(actor, task)
    seconds = time.perf_counter() - began
    for actor in actors:
        ray.kill(actor)
    return seconds


def time_data(tasks: int) -> tuple[float, float]:
    """Return the seconds of Ray Data until the first row, and from there to the last one."""
    rows = ray.data.from_items([{"task": task} for task in range(tasks)], override_num_blocks=tasks)
    pool = ray.data.ActorPoolStrategy(size=ACTORS)
    began = time.perf_counter()
    results = iter(rows.map_batches(Nothing, batch_size=1, compute=pool, num_cpus=1).iter_rows())
    next(results)
    first = time.perf_counter()
    assert sum(1 for _ in results) == tasks - 1
    return first - began, time.perf_counter() - first


def main() -> None:
    """Measure three times, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=200)
    tasks = parser.parse_args().tasks
    ray.init(
        "local", num_cpus=ACTORS, include_dashboard=False, object_store_memory=80 << 20, log_to_driver=False
    )
    ray.data.DataContext.get_current().enable_progress_bars = False
    for _ in range(3):
        calls = time_calls(tasks)
        start, data = time_data(tasks)
        print(
            f"{tasks} tasks: calls {1000 * calls / tasks:.1f} ms a task; Ray Data {start:.1f} s to the first "
            f"row, then {1000 * data / tasks:.1f} ms a task"
        )


if __name__ == "__main__":
    main()
