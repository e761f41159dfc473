"""Row of `benchmarks.gpu` that measures several live streams on one detector."""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from benchmarks.gpu_networks import Bench
from benchmarks.gpu_rows import HALF
from megavid.core.detections import FrameResult
from megavid.runtime.session import VideoSession
from megavid.runtime.session_group import PendingGroupResults, SessionGroup

STREAMS = 8
"""Number of live streams side by side."""


def streams(bench: Bench) -> dict[str, Any]:
    """Measure `STREAMS` live streams of MEGA side by side, in batches of one frame of each.

    Returns:
        Frames per second of all streams together while one batch is always in flight; the median and the
        largest time from pushing a batch to its results; and the same with one batch after the other.
    """
    detector = bench.network("mega", HALF)
    bench.free()
    group = SessionGroup(detector, batch_size=STREAMS)
    sessions = [VideoSession(detector, seed=number) for number in range(STREAMS)]
    images, plan = bench.video(), detector.plan

    def submit() -> PendingGroupResults:
        return group.submit([(session, next(images)) for session in sessions])

    for _ in range(plan.past + 1 + plan.future + plan.memory + 2):
        submit().wait()
    alone, _ = submit_batches(submit, in_flight=1, seconds=bench.seconds)
    overlapping, results = submit_batches(submit, in_flight=2, seconds=bench.seconds)
    last = dict.fromkeys(sessions, -1)
    in_order = True
    for session, result in results:
        in_order &= result.index > last[session]
        last[session] = result.index
    speeds = {"pushed": alone.pop("frames_per_second")}
    speeds |= {f"pushed_{name}": value for name, value in alone.items()}
    return overlapping | speeds | {"in_order": in_order, "peak_megabytes": bench.peak_megabytes()}


def submit_batches(
    submit: Callable[[], PendingGroupResults], *, in_flight: int, seconds: float
) -> tuple[dict[str, float], list[tuple[VideoSession, FrameResult]]]:
    """Submit batches for some time; return frames per second and latencies, and all results.

    Args:
        submit: Submits one frame of each stream.
        in_flight: Number of batches submitted before the results of the first of them are waited for.
        seconds: Duration.
    """
    waiting: deque[tuple[float, PendingGroupResults]] = deque()
    latencies: list[float] = []
    results: list[tuple[VideoSession, FrameResult]] = []
    began = time.perf_counter()
    while time.perf_counter() - began < seconds or len(latencies) < 4:
        waiting.append((time.perf_counter(), submit()))
        if len(waiting) == in_flight:
            submitted, pending = waiting.popleft()
            results += pending.wait()
            latencies.append(1000 * (time.perf_counter() - submitted))
    elapsed = time.perf_counter() - began
    for _, pending in waiting:
        pending.wait()
    speed = STREAMS * len(latencies) / elapsed
    times = {"latency_ms": statistics.median(latencies), "worst_latency_ms": max(latencies)}
    return {"frames_per_second": speed, "frame_ms": 1000 / speed, **times}, results
