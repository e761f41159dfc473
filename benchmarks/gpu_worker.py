"""Worker process of `benchmarks.gpu`: measures rows, and prints a line of JSON for each.

python -m benchmarks.gpu_worker DEVICE FOLDER ROW=SECONDS ... --end TIME [--tiny] [--quick]
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks import gpu_checks, gpu_rows
from benchmarks.gpu import DEVICE_FAILED
from benchmarks.gpu_networks import Bench
from benchmarks.gpu_rows import HALF, frames_per_second
from benchmarks.gpu_streams import streams
from megavid.checkpoints.load import find_device
from megavid.jobs.measure_speed import describe_machine
from megavid.models.acceleration.inference import Inference

_SHORTEST = 5.0
"""No row begins if fewer seconds are left."""

Row = Callable[[Bench], dict[str, Any]]

LOOSE = HALF.model_copy(update={"loose": True})


def speed(method: str, inference: Inference) -> Row:
    """Return the row that measures the speed of a method."""
    return partial(frames_per_second, method=method, inference=inference)


ROWS: dict[str, Row] = {
    "mega_float16": speed("mega", HALF),
    "mega_float16_loose": speed("mega", LOOSE),
    "profile_mega": partial(gpu_checks.profile_batches, method="mega", inference=HALF),
    "video_mega_float16": gpu_rows.detect_video_file,
    "streams_mega_float16": streams,
    "single_frame_float16": speed("single_frame", HALF),
    "agreement": gpu_checks.agreement,
    "mega_float32": speed("mega", Inference()),
    "mega_float32_loose": speed("mega", Inference(loose=True)),
    **{f"{method}_float16": speed(method, HALF) for method in ("rdn", "selsa", "fgfa", "dff")},
    "training_micro_batch_4": partial(gpu_rows.train, micro_batch=4),
    "training_micro_batch_1": partial(gpu_rows.train, micro_batch=1),
    "benchmark_mega_float16": gpu_rows.command_benchmark,
    "memory": gpu_rows.device_memory,
    "contract_tests": partial(
        gpu_checks.run_tests,
        paths=[
            "tests/models/methods/test_contract.py",
            "tests/models/acceleration/test_captured.py",
            "tests/models/methods/test_fixed_shapes.py",
            "--deselect=tests/models/methods/test_fixed_shapes.py::test_a_step_can_be_exported",
        ],
        limit=70,
    ),
    "parity": partial(gpu_checks.run_tests, paths=["tests/parity", "-k", "not compiled"], limit=85),
    "training_compiled": partial(gpu_rows.train, micro_batch=4, compiled=True),
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("device")
    parser.add_argument("folder", type=Path)
    parser.add_argument("rows", nargs="+", metavar="ROW=SECONDS")
    parser.add_argument("--end", type=float, required=True, help="time after which no row runs")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # otherwise, PyTorch's profiler prints warnings
    device = find_device(options.device)
    seconds = 0.05 if options.tiny else 1.0 if options.quick else 3.0
    bench = Bench(device, options.tiny, seconds, options.folder, options.end)
    show({"machine": describe_machine(device)})
    for item in options.rows:
        name, _, limit = item.partition("=")
        left = options.end - time.time()
        if left < _SHORTEST:
            break
        # A thread that does not need the interpreter ends a process that hangs.
        faulthandler.dump_traceback_later(min(float(limit), left), exit=True)
        row, device_failed = measure(name, bench)
        faulthandler.cancel_dump_traceback_later()
        show({"row": name, **row})
        if device_failed:
            sys.exit(DEVICE_FAILED)


def measure(name: str, bench: Bench) -> tuple[dict[str, Any], bool]:
    """Measure a row; return its numbers or its error, and whether the device can no longer be used."""
    began, device_failed = time.perf_counter(), False
    try:
        row = ROWS[name](bench)
    except Exception as error:
        text = f"{type(error).__name__}: {error}"
        device_failed = "CUDA error" in text or isinstance(error, getattr(torch, "AcceleratorError", ()))
        row = {"error": text[:2000], "traceback": traceback.format_exc()[-4000:]}
    if not device_failed:
        bench.free()
    return row | {"seconds": time.perf_counter() - began}, device_failed


def show(value: dict[str, Any]) -> None:
    """Print a value as a line of JSON."""
    print(json.dumps(value), flush=True)


if __name__ == "__main__":
    main()
