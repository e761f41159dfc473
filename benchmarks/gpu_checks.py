"""Rows of `benchmarks.gpu` that check results on the device, and profile a network."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import islice
from typing import Any

from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu_networks import Bench
from benchmarks.gpu_rows import BATCH, Video
from benchmarks.half_precision import FRAMES, HEIGHT, SCORE, WIDTH, concatenate, count_partners, true_objects
from megavid import Detections, detect_video, load_detector
from megavid.core.machine.cores import usable_cores
from megavid.core.profiling import range_of
from megavid.core.reference_plans import GLOBAL_POOL
from megavid.datasets.synthetic.camera import film
from megavid.evaluation import average_precision
from megavid.models.acceleration.inference import Inference
from megavid.runtime.detect_video import run_session
from megavid.runtime.session import VideoSession

_PROFILED = 2
"""Number of batches to profile."""

_TOP = 25
"""Number of kernels to list."""

_PROCESSES = min(14, usable_cores())
"""Number of processes that run tests on the device side by side."""

_ENDING = 8.0
"""Seconds before the end of the run at which tests are stopped, so that their output is kept."""

_WAITS = ("Synchronize",)
_COPIES = ("Memcpy",)
_LAUNCHES = ("Launch",)

SETTINGS = {
    "float32": Inference(),
    "float32, loose (TF32)": Inference(loose=True),
    **{
        dtype + (", loose" if loose else ""): Inference(dtype=dtype, loose=loose)
        for dtype in ("float16", "bfloat16")
        for loose in (False, True)
    },
}
"""Inference settings to compare, beginning with those that give the expected results."""


def profile_batches(bench: Bench, method: str, inference: Inference) -> dict[str, Any]:
    """Count launches, copies, waits and dispatched operations per frame, and list the slowest kernels."""
    detector = bench.network(method, inference)
    video, plan = Video(bench.images), detector.plan
    results = run_session(VideoSession(detector, source=video), video, batch_size=BATCH)
    for _ in islice(results, plan.past + plan.memory + 2 * BATCH + GLOBAL_POOL):
        pass
    bench.synchronize()
    activities = [ProfilerActivity.CPU]
    if bench.device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    began = time.perf_counter()
    with profile(activities=activities) as profiler:
        for _ in islice(results, _PROFILED * BATCH):
            pass
        bench.synchronize()
        seconds = time.perf_counter() - began
    return _summary(profiler, frames=_PROFILED * BATCH) | {
        "profiled_frame_ms": 1000 * seconds / (_PROFILED * BATCH)
    }


def _summary(profiler: profile, *, frames: int) -> dict[str, Any]:
    runtime: dict[str, float] = {}
    ranges: dict[str, dict[str, float]] = {}
    kernels: dict[str, tuple[float, int]] = {}
    operations = 0
    for event in profiler.key_averages():
        name = range_of(event.key)
        if str(event.device_type) == "DeviceType.CUDA":
            if name is None and not event.key.startswith(("ProfilerStep", "megavid")):
                kernels[event.key] = (event.self_device_time_total / 1000 / frames, event.count)
        elif name is not None:
            ranges[name] = {
                "host_ms": event.cpu_time_total / 1000 / frames,
                "device_ms": event.device_time_total / 1000 / frames,
            }
        elif event.key.startswith(("cuda", "cu")):
            runtime[event.key] = event.count / frames
        elif "::" in event.key:
            operations += event.count
    slowest = sorted(kernels.items(), key=lambda item: -item[1][0])
    return {
        "launches": _total(runtime, _LAUNCHES),
        "waits": _total(runtime, _WAITS),
        "copies": _total(runtime, _COPIES),
        "operations": operations / frames,
        "kernel_ms": sum(ms for ms, _ in kernels.values()),
        "runtime_calls": runtime,
        "ranges": ranges,
        "kernels": [
            {"name": name[:120], "ms": ms, "calls": count / frames} for name, (ms, count) in slowest[:_TOP]
        ],
    }


def _total(calls: dict[str, float], words: tuple[str, ...]) -> float:
    return sum(count for name, count in calls.items() if any(word in name for word in words))


def agreement(bench: Bench) -> dict[str, Any]:
    """Compare the shipped MEGA's detections between inference settings, on generated videos.

    Returns:
        For each setting, the share of float32 detections with a score above 0.3 that have a partner of the
        same class within 0.5 and 2 pixels; and AP50.
    """
    count = 1 if bench.tiny else 8
    videos = [
        list(film(seed=3, video=i, frames=8 if bench.tiny else FRAMES, height=HEIGHT, width=WIDTH))
        for i in range(count)
    ]
    truth = concatenate([true_objects(frame) for video in videos for frame in video])
    expected: list[Detections] = []
    table: dict[str, Any] = {}
    for name, inference in SETTINGS.items():
        detector = load_detector(weights="mega_generated", device=bench.device, inference=inference)
        found = [
            result.detections.cpu()
            for video in videos
            for result in detect_video(detector, [frame.image for frame in video], batch_size=BATCH)
        ]
        expected = expected or found
        scores = average_precision(
            concatenate(found), truth, num_frames=len(found), num_classes=len(detector.class_names)
        )
        shares = {f"within_{pixels}": _share(expected, found, pixels) for pixels in (0.5, 2.0)}
        table[name] = shares | {"AP50": 100 * scores.mean}
    return {"detections": sum(int((f.scores > SCORE).sum()) for f in expected), "settings": table}


def _share(expected: list[Detections], found: list[Detections], pixels: float) -> float:
    counts = [
        count_partners(a[a.scores > SCORE], b, pixels=pixels) for a, b in zip(expected, found, strict=True)
    ]
    return sum(matched for matched, _ in counts) / sum(total for _, total in counts)


def run_tests(bench: Bench, paths: Sequence[str], *, limit: float) -> dict[str, Any]:
    """Run tests on the device, and return the last lines of the output.

    Args:
        bench: The device; a tiny benchmark only collects the tests.
        paths: Files and folders of tests, and options that select some of them.
        limit: Time limit in seconds.
    """
    command = [sys.executable, "-m", "pytest", "-vv", "-p", "no:cacheprovider", *paths]
    command += ["--device", bench.device.type, "--tb=short"]
    command += ["--collect-only"] if bench.tiny else ["-n", str(_PROCESSES)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    timed_out = False
    try:
        output, _ = process.communicate(timeout=min(limit, bench.end - time.time() - _ENDING))
    except subprocess.TimeoutExpired:
        timed_out = True
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
    lines = output.splitlines()
    failed = [line for line in lines if " FAILED " in line or " ERROR " in line]
    return {
        "passed": process.returncode == 0,
        "timed_out": timed_out,
        "summary": lines[-1] if lines else "",
        "failed": failed,
        "output": lines[-120:],
    }
