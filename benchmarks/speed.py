"""Seconds a frame of detectors in steady state, in trunk passes of the same input size.

    python -m benchmarks.speed [MODEL ...]

One eager float32 pass of the model's own plain C4 trunk, timed in the same process, is the unit, so that
numbers from different machines compare. Weights are random: the time does not depend on them but through
the number of detections. Prints a table and writes benchmarks/results/speed.json.
"""

from __future__ import annotations

import json
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from megavid import VideoSession, load_detector
from megavid.data.generated.camera import film
from megavid.methods import METHODS

HEIGHT, WIDTH = 720, 1280
MEASURED = 10  # a whole interval between key frames of DFF
RESULTS = Path(__file__).parent / "results" / "speed.json"


COLUMNS = ("model", "trunk s", "frame s", "trunks", "first s", "encodes", "peak MB")


def main(models: list[str]) -> None:
    machine = platform.processor() or platform.machine()
    print(f"{machine}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print("{:20} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}".format(*COLUMNS))
    rows = [measure(model) for model in models]
    RESULTS.parent.mkdir(exist_ok=True)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout
    facts = {"commit": commit.strip(), "threads": torch.get_num_threads(), "torch": torch.__version__}
    RESULTS.write_text(json.dumps(facts | {"rows": rows}, indent=1))


def measure(model: str) -> dict[str, Any]:
    """A model's row: warmed up until its window and memory are full, then `MEASURED` frames."""
    detector = load_detector(model, device="cpu")
    memory = getattr(detector.config.method, "memory", 0)
    warm_up = detector.plan.past + detector.plan.future + memory + 1
    filmed = film(seed=0, video=0, frames=warm_up + MEASURED, height=HEIGHT, width=WIDTH)
    frames = [frame.image for frame in filmed]
    encodes = count_encodes(detector)
    session = VideoSession(detector)  # a stream: exactly one frame is encoded a step
    start = time.perf_counter()
    first = 0.0
    for frame in frames[:warm_up]:
        if session.push(frame) and not first:
            first = time.perf_counter() - start
    encodes.clear()
    seconds = [timed(partial(session.push, frame)) for frame in frames[warm_up:]]
    images = detector.network_input(frames[0])[None]
    with torch.inference_mode():
        trunk = min(timed(lambda: detector.backbone.c4(images)) for _ in range(5))
    row = {
        "model": model,
        "trunk_seconds": trunk,
        "frame_seconds": statistics.mean(seconds),
        "trunks": statistics.mean(seconds) / trunk,
        "first_result_seconds": first,
        "encodes_per_frame": sum(encodes) / MEASURED,
        "peak_megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    print("{:20} {:8.3f} {:8.3f} {:8.2f} {:8.1f} {:8.2f} {:8.0f}".format(*row.values()))
    return row


def timed(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def count_encodes(detector: Any) -> list[int]:
    """A list that grows by the number of frames of each call of `encode`."""
    counts: list[int] = []
    encode = detector.encode

    def counting(images: Tensor) -> Any:
        counts.append(len(images))
        return encode(images)

    detector.encode = counting
    return counts


if __name__ == "__main__":
    main(sys.argv[1:] or [f"{method}_r{depth}" for depth in (50, 101) for method in METHODS])
