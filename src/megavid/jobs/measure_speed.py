"""Measure how fast a detector is on this machine."""

from __future__ import annotations

import platform
import resource
import statistics
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from megavid.core.errors import InputError
from megavid.core.frames import Image
from megavid.core.profiling import PROFILE_RANGES, range_of
from megavid.core.ranges import MOST_BATCH, check_range
from megavid.datasets.synthetic.camera import film
from megavid.jobs.metered_detector import MeteredDetector
from megavid.models.base.video_detector import VideoDetector
from megavid.runtime.session import PendingResults, VideoSession

_PROFILED = 3
"""Number of steps to profile. They are not timed, since profiling itself takes time."""

_MOST_FRAMES = 1_000_000
"""Upper limit of the number of frames to measure; a million frames take hours."""

_LARGEST_SIDE = 10_000
"""Upper limit of a side of the video's frames, pixels."""

_FILMED = 4
"""Number of different frames in the video, which repeats them."""


@dataclass(frozen=True, kw_only=True)
class BenchmarkOptions:
    """Options of a measurement.

    Attributes:
        height, width: Size of the video's frames, pixels.
        frames: Number of frames to measure, after window and memory have been filled.
        batch_size: Number of frames that go through the network together.
    """

    height: int = 720
    width: int = 1280
    frames: int = 10
    batch_size: int = 1

    def __post_init__(self) -> None:
        check_range("height", self.height, least=1, most=_LARGEST_SIDE)
        check_range("width", self.width, least=1, most=_LARGEST_SIDE)
        check_range("frames", self.frames, least=1, most=_MOST_FRAMES)
        check_range("batch_size", self.batch_size, least=1, most=MOST_BATCH)


@dataclass(frozen=True, kw_only=True)
class BenchmarkResult:
    """Results of a measurement.

    Attributes:
        frames_per_second: Throughput in steady state, with window and memory full.
        frame_seconds: Mean time per frame.
        unit_seconds: Mean time of a pass of `VideoDetector.unit_pass` over one frame (for Faster R-CNN the
            plain trunk in float32, conv1 to conv4), measured between the steps; None if the detector has no
            such pass.
        units_per_frame: `frame_seconds` / `unit_seconds`, which can be compared across machines.
        first_seconds: Time from the first frame to the first result, including compilation.
        look_ahead: Number of frames by which a result comes later than its frame.
        encodes_per_frame: Number of frames that went through `encode` per frame of the video.
        peak_megabytes: Peak memory: of PyTorch's tensors on a CUDA device, else of the process.
        range_seconds: Seconds per frame of each profile range, without the ranges nested in it.
        input_size: (height, width) of the network's input.
    """

    frames_per_second: float
    frame_seconds: float
    unit_seconds: float | None
    units_per_frame: float | None
    first_seconds: float
    look_ahead: int
    encodes_per_frame: float
    peak_megabytes: float
    range_seconds: Mapping[str, float]
    input_size: tuple[int, int]


def benchmark(detector: VideoDetector, options: BenchmarkOptions) -> BenchmarkResult:
    """Measure a detector on a generated video, pushed frame by frame or batch by batch as from a camera.

    As in `detect_video`, the results of a step are read after the next step has been pushed. To save time
    before the measurement, window and memory are filled with copies of a few frames' features.

    Args:
        detector: Detector, as `load_detector` returns it.
        options: Options of the measurement.

    Raises:
        InputError: The detector gives saved boxes.
    """
    if not detector.for_any_video:
        raise InputError(
            f"{detector.architecture}: expected a detector that computes, so that it has a speed"
        )
    filmed = film(seed=0, video=0, frames=_FILMED, height=options.height, width=options.width)
    images = [frame.image for frame in filmed]
    one = detector.preprocess(torch.from_numpy(images[0])[None].to(detector.device))
    if detector.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(detector.device)
    first_seconds = _first_result(detector, images)
    metered = MeteredDetector(detector)
    session = VideoSession(metered)
    batch = [images[i % _FILMED] for i in range(options.batch_size)]
    push = _pipelined(session, batch)
    metered.replays = True
    for _ in range(0, _frames_to_fill(detector), len(batch)):
        push()
    metered.replays = False
    push()
    peak = _peak_megabytes(detector.device)  # read before the measurement takes memory itself
    metered.encoded = 0
    frame, unit, steps = _time_steps(detector, push, one, options)
    encoded = metered.encoded
    return BenchmarkResult(
        frames_per_second=1 / frame,
        frame_seconds=frame,
        unit_seconds=unit,
        units_per_frame=None if unit is None else frame / unit,
        first_seconds=first_seconds,
        look_ahead=detector.plan.future,
        encodes_per_frame=encoded / (steps * len(batch)),
        peak_megabytes=peak,
        range_seconds=_profile(detector.device, push, frames=len(batch)),
        input_size=(one.shape[2], one.shape[3]),
    )


def _pipelined(session: VideoSession, batch: Sequence[Image]) -> Callable[[], None]:
    """Return a function that pushes a batch and then waits for the results of the batch before it."""
    waiting: deque[PendingResults] = deque()

    def push() -> None:
        waiting.append(session.submit(batch))
        if len(waiting) > 1:
            waiting.popleft().wait()

    return push


def _frames_to_fill(detector: VideoDetector) -> int:
    """Return the number of frames that fill window and memory."""
    plan = detector.plan
    return plan.past + 1 + plan.future + plan.memory


def _time_steps(
    detector: VideoDetector, push: Callable[[], Any], image: Tensor, options: BenchmarkOptions
) -> tuple[float, float | None, int]:
    """Time steps and unit passes; return seconds per frame, seconds per pass, number of steps.

    They run in turn on a CPU, so that other programs slow down both. On a GPU all steps run before it is
    waited for, since waiting would make it idle.
    """
    unit: nn.Module | None = detector.unit_pass()
    count = max(-(-options.frames // options.batch_size), 3)
    at_once = 1 if detector.device.type == "cpu" else count
    steps, units = [], []
    with torch.no_grad():
        if unit is not None:
            unit(image)
        for _ in range(0, count, at_once):
            if unit is not None:
                units.append(_timed(detector.device, partial(unit, image), times=at_once))
            steps.append(_timed(detector.device, push, times=at_once))
    # Means, not medians: one in ten of DFF's frames takes longer than the others, and has to count.
    frame = statistics.mean(steps) / options.batch_size
    return frame, statistics.mean(units) if units else None, count


def describe_machine(device: torch.device) -> dict[str, Any]:
    """Describe the machine and the versions of a measurement."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    packages = {package: version(package) for package in ("megavid", "torch", "torchvision")}
    return {
        "device": f"{device.type}: {name}",
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **packages,
    }


def as_json(detector: VideoDetector, options: BenchmarkOptions, result: BenchmarkResult) -> dict[str, Any]:
    """Return a measurement and its detector, options and machine as JSON values."""
    about = {"model": detector.config.method.name, "architecture": detector.architecture}
    inference = detector.inference.model_dump(mode="json")
    return {
        **about,
        **asdict(result),
        "options": asdict(options),
        "inference": inference,
        "machine": describe_machine(detector.device),
    }


def _first_result(detector: VideoDetector, images: list[Image]) -> float:
    """Return the seconds from a video's first frame to its first result."""
    session = VideoSession(detector)

    def until_result() -> None:
        step = 0
        while not session.push(images[step % _FILMED]):
            step += 1

    return _timed(detector.device, until_result)


def _timed(device: torch.device, call: Callable[[], Any], *, times: int = 1) -> float:
    """Return the mean seconds of a call."""
    _synchronize(device)
    start = time.perf_counter()
    for _ in range(times):
        call()
    _synchronize(device)
    return (time.perf_counter() - start) / times


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def _profile(device: torch.device, step: Callable[[], Any], *, frames: int) -> dict[str, float]:
    """Measure the seconds per frame of each profile range, without the ranges nested in it."""
    activities = [ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    with profile(activities=activities) as profiler:
        for _ in range(_PROFILED):
            step()
        _synchronize(device)
    kind = "device_time_total" if device.type == "cuda" else "cpu_time_total"
    seconds = dict.fromkeys(PROFILE_RANGES, 0.0)
    for event in profiler.events() or ():
        name = range_of(event.name)
        if name is None or str(event.device_type) != "DeviceType.CPU":
            continue
        seconds[name] += getattr(event, kind) / 1e6
        around = event.cpu_parent
        while around is not None and range_of(around.name) is None:
            around = around.cpu_parent
        if around is not None:
            seconds[str(range_of(around.name))] -= getattr(event, kind) / 1e6
    return {name: total / (_PROFILED * frames) for name, total in seconds.items() if total > 0}


def _peak_megabytes(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, kilobytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def _processor() -> str:
    """Return the name of the processor."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
