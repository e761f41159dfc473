"""How fast a detector is on this machine."""

from __future__ import annotations

import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from megavid.core.frames import Image
from megavid.core.profiling import STAGES, stage_of
from megavid.core.ranges import MOST_BATCH, check_range
from megavid.datasets.synthetic.camera import film
from megavid.models.base.detector import VideoDetector
from megavid.models.faster_rcnn.backbone import Backbone
from megavid.models.faster_rcnn.preprocess import LARGEST_SIDE
from megavid.runtime.session import VideoSession

_PROFILED = 3
"""Steps whose stages are measured, apart from the others: that takes time of its own."""

_MOST_FRAMES = 1_000_000
"""The most runs to measure: their times are kept, and half as many take hours."""

_FILMED = 4
"""Different frames that are seen again and again."""


@dataclass(frozen=True, kw_only=True)
class BenchmarkOptions:
    """What to measure.

    Attributes:
        height, width: Of the video's frames, pixels.
        frames: Frames to measure, once window and memory are full.
        batch_size: Frames that go through the network together.
    """

    height: int = 720
    width: int = 1280
    frames: int = 10
    batch_size: int = 1

    def __post_init__(self) -> None:
        check_range("height", self.height, least=1, most=LARGEST_SIDE)
        check_range("width", self.width, least=1, most=LARGEST_SIDE)
        check_range("frames", self.frames, least=1, most=_MOST_FRAMES)
        check_range("batch_size", self.batch_size, least=1, most=MOST_BATCH)


@dataclass(frozen=True, kw_only=True)
class BenchmarkResult:
    """What was measured.

    Attributes:
        frames_per_second: In steady state: window and memory full.
        frame_seconds: The mean over the frames measured.
        trunk_seconds: One pass of the plain trunk in float32, conv1 to conv4 over one frame, the mean of
            passes between the steps.
        trunks_per_frame: The ratio of the two: what machines can be compared by.
        first_seconds: From the first frame to the first result; with compilation, if any.
        look_ahead: Frames by which results are late.
        encodes_per_frame: Frames that went through `encode` for each frame of the video.
        peak_megabytes: Most memory taken: by PyTorch's tensors on a CUDA device, else by the process.
        stage_seconds: For each stage of the work, seconds a frame.
        input_size: (height, width) of the network's input.
    """

    frames_per_second: float
    frame_seconds: float
    trunk_seconds: float
    trunks_per_frame: float
    first_seconds: float
    look_ahead: int
    encodes_per_frame: float
    peak_megabytes: float
    stage_seconds: Mapping[str, float]
    input_size: tuple[int, int]


def benchmark(detector: VideoDetector[Any, Any], options: BenchmarkOptions) -> BenchmarkResult:
    """Measure a detector on a generated video, pushed frame by frame or batch by batch as from a camera.

    To fill window and memory, features of a few frames are used again, so that this takes little time.

    Args:
        detector: What `load_detector` gives.
        options: What to measure.
    """
    filmed = film(seed=0, video=0, frames=_FILMED, height=options.height, width=options.width)
    images = [frame.image for frame in filmed]
    one = detector.network_input(images[0])[None].to(detector.device)
    if detector.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(detector.device)
    first_seconds = _first_result(detector, images)
    session = VideoSession(detector)
    _fill(detector, session, images)
    batch = [images[i % _FILMED] for i in range(options.batch_size)]
    push = partial(session.push_batch, batch)
    push()
    peak = _peak_megabytes(detector.device)  # before what measures takes memory of its own
    with counted_encodes(detector) as encoded:
        frame, trunk, steps = _side_by_side(detector, push, one, options)
    return BenchmarkResult(
        frames_per_second=1 / frame,
        frame_seconds=frame,
        trunk_seconds=trunk,
        trunks_per_frame=frame / trunk,
        first_seconds=first_seconds,
        look_ahead=session.look_ahead,
        encodes_per_frame=sum(encoded) / (steps * len(batch)),
        peak_megabytes=peak,
        stage_seconds=_stages(detector.device, push, frames=len(batch)),
        input_size=(one.shape[2], one.shape[3]),
    )


def _side_by_side(
    detector: VideoDetector[Any, Any], push: Callable[[], Any], image: Tensor, options: BenchmarkOptions
) -> tuple[float, float, int]:
    """Seconds a frame, seconds of a pass of the plain trunk, and how many steps and passes were timed."""
    trunk = Backbone(detector.config.backbone).trunk.to(detector.device).eval()
    with torch.no_grad():
        trunk(image)
        steps, trunks = [], []
        for _ in range(max(-(-options.frames // options.batch_size), 3)):
            trunks.append(_timed(detector.device, partial(trunk, image)))
            steps.append(_timed(detector.device, push))
    # Means: of DFF's frames, one in ten takes longer than the others.
    return statistics.mean(steps) / options.batch_size, statistics.mean(trunks), len(steps)


def describe_machine(device: torch.device) -> dict[str, Any]:
    """The machine and the versions that a measurement holds for."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    packages = {package: version(package) for package in ("megavid", "torch", "torchvision")}
    return {
        "device": f"{device.type}: {name}",
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **packages,
    }


def as_json(
    detector: VideoDetector[Any, Any], options: BenchmarkOptions, result: BenchmarkResult
) -> dict[str, Any]:
    """All that there is to say of a measurement, as JSON values."""
    about = {"model": detector.config.method.name, "backbone": detector.config.backbone.name}
    inference = detector.inference.model_dump(mode="json")
    return {
        **about,
        **asdict(result),
        "options": asdict(options),
        "inference": inference,
        "machine": describe_machine(detector.device),
    }


def _first_result(detector: VideoDetector[Any, Any], images: list[Image]) -> float:
    """Seconds from the first frame of a video to the first result."""
    session = VideoSession(detector)

    def until_result() -> None:
        step = 0
        while not session.push(images[step % _FILMED]):
            step += 1

    return _timed(detector.device, until_result)


def _fill(detector: VideoDetector[Any, Any], session: VideoSession[Any, Any], filmed: list[Image]) -> None:
    """Push frames until window and memory are full; only the first ones go through the network."""
    plan = detector.plan
    count = plan.past + 1 + plan.future + getattr(detector.config.method, "memory", 0)
    encode = detector.encode
    known: list[Any] = []

    def again(images: Tensor) -> list[Any]:
        if len(known) < _FILMED:
            known.extend(encode(images))
        # A new object each: a frame that comes twice would be known from before.
        return [replace(known[step % len(known)])]

    detector.encode = again  # type: ignore[method-assign]
    try:
        for step in range(count):
            session.push(filmed[step % _FILMED])
    finally:
        del detector.encode


@contextmanager
def counted_encodes(detector: VideoDetector[Any, Any]) -> Iterator[list[int]]:
    """As long as it is in force: a list that gets the number of frames of each call of `encode`."""
    counts: list[int] = []
    encode = detector.encode

    def counting(images: Tensor) -> list[Any]:
        counts.append(len(images))
        return encode(images)

    detector.encode = counting  # type: ignore[method-assign]
    try:
        yield counts
    finally:
        del detector.encode


def _timed(device: torch.device, call: Callable[[], Any]) -> float:
    _synchronize(device)
    start = time.perf_counter()
    call()
    _synchronize(device)
    return time.perf_counter() - start


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def _stages(device: torch.device, step: Callable[[], Any], *, frames: int) -> dict[str, float]:
    """Seconds a frame of each stage, without the stages within it."""
    activities = [ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    with profile(activities=activities) as profiler:
        for _ in range(_PROFILED):
            step()
        _synchronize(device)
    kind = "device_time_total" if device.type == "cuda" else "cpu_time_total"
    seconds = dict.fromkeys(STAGES, 0.0)
    for event in profiler.events() or ():
        name = stage_of(event.name)
        if name is None or str(event.device_type) != "DeviceType.CPU":
            continue
        seconds[name] += getattr(event, kind) / 1e6
        around = event.cpu_parent
        while around is not None and stage_of(around.name) is None:
            around = around.cpu_parent
        if around is not None:
            seconds[str(stage_of(around.name))] -= getattr(event, kind) / 1e6
    return {name: total / (_PROFILED * frames) for name, total in seconds.items() if total > 0}


def _peak_megabytes(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kilobytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def _processor() -> str:
    """The processor's name."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
