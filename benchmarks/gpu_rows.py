"""Rows of `benchmarks.gpu` that measure speed and memory. A row is a function that returns its numbers."""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Sequence
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, overload

import torch

from benchmarks.gpu import DATA
from benchmarks.gpu_networks import Bench, damp_blocks
from megavid.core.frames import Image
from megavid.core.reference_plans import GLOBAL_POOL
from megavid.jobs.detect_to_folder import DetectOptions, detect_to_folder
from megavid.jobs.executors.ranks import Ranks
from megavid.jobs.measure_speed import BenchmarkOptions, benchmark
from megavid.models.acceleration.inference import Inference
from megavid.runtime.detect_video import run_session
from megavid.runtime.session import VideoSession
from megavid.training.clips.training_data import open_training_data
from megavid.training.logs.run_log import read_log
from megavid.training.loop import Training
from megavid.training.recipe import Recipe
from megavid.training.run_folder import prepare_run_folder
from megavid.training.setup import make_detector
from megavid.video.open_input import open_input
from megavid.video.video_writer import VideoWriter

BATCH = 8
"""Number of frames that go through the network together."""

HALF = Inference(dtype="float16")


class Video(Sequence[Image]):
    """A long video in the host's memory, which repeats a few images."""

    def __init__(self, images: Sequence[Image]) -> None:
        self._images = images

    def __len__(self) -> int:
        return 100_000

    @overload
    def __getitem__(self, index: int) -> Image: ...
    @overload
    def __getitem__(self, index: slice) -> list[Image]: ...
    def __getitem__(self, index: int | slice) -> Image | list[Image]:
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        return self._images[range(len(self))[index] % len(self._images)]


def frames_per_second(bench: Bench, method: str, inference: Inference) -> dict[str, Any]:
    """Measure a detector on frames in the host's memory, in batches of `BATCH`.

    Returns:
        The numbers of `steady_speed` for a whole video, whose batches overlap, and as `pushed` the frames per
        second of a stream whose batches are pushed one after the other.
    """
    detector = bench.network(method, inference)
    bench.free()
    video = Video(bench.images)
    whole = steady_speed(bench, VideoSession(detector, source=video), video)
    peak = {"peak_megabytes": bench.peak_megabytes()}
    stream = steady_speed(bench, VideoSession(detector), video)
    return whole | peak | {"pushed": stream["frames_per_second"]}


def steady_speed(bench: Bench, session: VideoSession, video: Video) -> dict[str, Any]:
    """Measure the steady state of a session, when window and memory are full and no new global frames come.

    Returns:
        Frames per second; the median time of a batch, in milliseconds per frame; seconds from the first frame
        to the first result; and the mean number of detections per frame.
    """
    plan = session.detector.plan
    began = time.perf_counter()
    results = run_session(session, video, batch_size=BATCH)
    next(results)
    first = time.perf_counter() - began
    for _ in islice(results, plan.past + plan.memory + 2 * BATCH + GLOBAL_POOL * (plan.global_frames > 0)):
        pass
    times, counts = [time.perf_counter()], []
    while times[-1] - times[0] < bench.seconds or len(times) < 4:
        counts += [len(result.detections) for result in islice(results, BATCH)]
        times.append(time.perf_counter())
    return {
        "frames_per_second": len(counts) / (times[-1] - times[0]),
        "frame_ms": 1000 * statistics.median(after - before for before, after in pairwise(times)) / BATCH,
        "first_seconds": first,
        "detections": statistics.mean(counts),
        "frames": len(counts),
    }


def command_benchmark(bench: Bench) -> dict[str, Any]:
    """Measure MEGA as `megavid benchmark` does, which waits for the device after every batch."""
    detector = bench.network("mega", HALF)
    bench.free()
    height, width = bench.size
    options = BenchmarkOptions(height=height, width=width, frames=BATCH * 4, batch_size=BATCH)
    result = benchmark(detector, options)
    return {
        "frames_per_second": result.frames_per_second,
        "frame_ms": 1000 * result.frame_seconds,
        "first_seconds": result.first_seconds,
        "peak_megabytes": result.peak_megabytes,
        "trunk_pass_ms": None if result.unit_seconds is None else 1000 * result.unit_seconds,
        "encodes_per_frame": result.encodes_per_frame,
        "range_ms": {name: 1000 * seconds for name, seconds in result.range_seconds.items()},
    }


def detect_video_file(bench: Bench) -> dict[str, Any]:
    """Measure `megavid detect clip.mp4` without loading: decode, detect, draw and encode 400 frames."""
    detector = bench.network("mega", HALF)
    bench.free()
    warm_up = write_clip(bench, "short.mp4", 8 if bench.tiny else 60)
    clip = write_clip(bench, "clip.mp4", 16 if bench.tiny else 400)
    options = DetectOptions(score_threshold=0.5, batch_size=BATCH)
    for path in (warm_up, clip):
        folder = bench.folder / "detected"
        shutil.rmtree(folder, ignore_errors=True)
        began = time.perf_counter()
        with open_input(path) as video:
            summary = detect_to_folder(detector, video, folder, options, metadata={})
        seconds = time.perf_counter() - began
    return {
        "frames_per_second": summary.frames / seconds,
        "frame_ms": 1000 * seconds / summary.frames,
        "peak_megabytes": bench.peak_megabytes(),
        "detections": summary.detections / summary.frames,
        "frames": summary.frames,
    }


def write_clip(bench: Bench, name: str, frames: int) -> Path:
    """Write a video of so many frames, unless it is there already."""
    path, (height, width) = bench.folder / name, bench.size
    if not path.exists():
        with VideoWriter(path, rate=Fraction(25), width=width, height=height) as writer:
            for i, image in enumerate(islice(bench.video(), frames)):
                writer.write(image, i / 25)
    return path


def train(bench: Bench, *, micro_batch: int, compiled: bool = False) -> dict[str, Any]:
    """Measure the training of MEGA in bfloat16 with four clips per step, which 8 processes read from JPEG."""
    steps = 2 if bench.tiny else 12
    model, settings = bench.configuration("mega")
    recipe = Recipe.model_validate(
        {
            "model": model,
            "settings": settings,
            "data": {"train": [{"path": bench.folder / DATA, "subset": "vid_train"}]},
            "optimizer": {"learning_rate": 1e-5, "clip_norm": 1.0},
            "run": {
                "steps": steps,
                "batch": 4,
                "micro_batch": micro_batch,
                "dtype": "bfloat16",
                "compile": compiled,
                "workers": 0 if bench.tiny else 8,
            },
            "log": {"every": steps // 2},
        }
    )
    read = open_training_data(recipe)
    detector, _ = make_detector(recipe, read.train[0].classes, begins=True)
    damp_blocks(detector)
    bench.free()
    folder = bench.folder / f"run_{micro_batch}_{compiled}"
    shutil.rmtree(folder, ignore_errors=True)
    prepare_run_folder(folder, Ranks(), resume=False)
    detector = detector.to(bench.device).train()
    Training(recipe, detector, read, folder, ranks=Ranks(), checkpoint=None, licence="").run()
    last = [line for line in read_log(folder / "log.jsonl") if "loss" in line][-1]
    shutil.rmtree(folder)
    names = ("clips_per_second", "data_wait", "loss")
    return {name: last[name] for name in names} | {"peak_megabytes": bench.peak_megabytes()}


def device_memory(bench: Bench) -> dict[str, Any]:
    """Measure the memory allocated on the device after every 500 of 5,000 frames of a small MEGA."""
    if bench.device.type != "cuda" and not bench.tiny:
        raise RuntimeError("only memory of a CUDA device is counted")
    every, last = (20, 60) if bench.tiny else (500, 5000)
    small = Bench(bench.device, True, bench.seconds, bench.folder / "small")
    small.folder.mkdir(exist_ok=True)
    detector = small.network("mega", HALF)
    session, allocated, images = VideoSession(detector), {}, small.video()
    began = time.perf_counter()
    results = run_session(session, islice(images, last + detector.plan.future), batch_size=BATCH)
    for done, _ in enumerate(results, 1):
        if done % every == 0:
            allocated[done] = torch.cuda.memory_allocated(bench.device) if bench.device.type == "cuda" else 0
    values = list(allocated.values())
    return {
        "frames": max(allocated),
        "frames_per_second": max(allocated) / (time.perf_counter() - began),
        "allocated_bytes": allocated,
        "growth_bytes": values[-1] - values[1],
    }
