"""`megavid benchmark`: measure the speed of a detector on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from megavid.cli.inference import InferenceOptions
from megavid.cli.method import OutsideMethods
from megavid.cli.options import FLAT, optional
from megavid.cli.output import say
from megavid.cli.threads import ThreadOptions
from megavid.models.acceleration.inference import SpeedUp

if TYPE_CHECKING:
    from megavid.jobs.measure_speed import BenchmarkResult


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """Measure the speed of a detector on this machine: frames per second, cost per part, and memory.

    Without --weights, the weights are random; the time hardly depends on them.
    Any value of the model's configuration can be set by its path: --input.min-size 400
    """

    model: Annotated[str | None, tyro.conf.Positional, optional("NAME|YAML", "that of the weights")] = None
    """Name of a shipped configuration, such as mega_r101, or a YAML file."""
    weights: Annotated[Path | None, optional("PATH", "random weights")] = None
    """Weights to measure with: a file, or a name or address, as for `megavid detect`."""
    detector: Annotated[str | None, optional("LIBRARY:NAME")] = None
    """A detector of another library to measure, such as torchvision:fasterrcnn_resnet50_fpn_v2. Unless
    --weights gives a file, the library downloads published weights at first use."""
    height: int = 720
    """Height of the video's frames, in pixels."""
    width: int = 1280
    """Width of the video's frames, in pixels."""
    frames: int = 10
    """Number of frames to measure, after the window and the memory have filled."""
    batch_size: int = 1
    """Number of frames that go through the network together."""
    device: str = "auto"
    """Device to compute on: auto, cpu, cuda or mps."""
    inference: Annotated[InferenceOptions, FLAT] = field(default_factory=InferenceOptions)
    without: tuple[SpeedUp, ...] = ()
    """Speed-ups to turn off, to measure what they gain."""
    output: Annotated[Path | None, optional("FILE", aliases=("-o",))] = None
    """JSON file to write all measurements to."""
    threads: Annotated[ThreadOptions, FLAT] = field(default_factory=ThreadOptions)
    methods: Annotated[OutsideMethods, FLAT] = field(default_factory=OutsideMethods)

    def run(self, overrides: Mapping[str, str]) -> int:
        """Run the command and return its exit code."""
        import json
        import os

        os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # otherwise, PyTorch's profiler prints warnings
        from megavid.checkpoints.load import load_detector
        from megavid.cli.detector_options import choose_model
        from megavid.core.config import parse_overrides
        from megavid.core.files.atomic import atomic_path, check_target
        from megavid.core.files.ownership import MADE_BY, json_by_megavid
        from megavid.jobs.measure_speed import BenchmarkOptions, as_json, benchmark

        if self.output is not None:
            check_target(self.output, ours=json_by_megavid)  # fail now, not after minutes of work
        self.methods.add()
        options = BenchmarkOptions(
            height=self.height, width=self.width, frames=self.frames, batch_size=self.batch_size
        )
        inference = self.inference.settings().model_copy(update=dict.fromkeys(self.without, False))
        self.threads.choose(self.device)
        with self.inference.translate_errors(batch_size=self.batch_size, detector=self.detector):
            detector = load_detector(
                choose_model(self.model, detector=self.detector),
                weights=self.weights,
                device=self.device,
                overrides=parse_overrides(overrides),
                inference=inference,
            )
            result = benchmark(detector, options)
        report = as_json(detector, options, result)
        _print_report(report, result)
        if self.output is not None:
            with atomic_path(self.output, ours=json_by_megavid) as aside:
                aside.write_text(json.dumps(MADE_BY | report, indent=1) + "\n", encoding="utf-8")
            say(f"  {self.output}")
        return 0


def _print_report(report: Mapping[str, Any], result: BenchmarkResult) -> None:
    machine, inference = report["machine"], report["inference"]
    height, width = result.input_size
    enabled = [name for name, is_on in inference.items() if is_on is True]
    say(
        f"{machine['device']}, {machine['threads']} threads, Python {machine['python']}, "
        f"torch {machine['torch']}, megavid {machine['megavid']}"
    )
    say(
        f"{report['model']}, {report['architecture']}, input {width}x{height}, {inference['dtype']}, "
        f"{', '.join(enabled) or 'plain'}"
    )
    rows = {
        "frames per second": f"{result.frames_per_second:.2f}",
        "seconds per frame": f"{result.frame_seconds:.4f}",
        "encodings per frame": f"{result.encodes_per_frame:.2f}",
        "first result": f"{result.first_seconds:.1f} s, {result.look_ahead} frames late",
        "peak memory": f"{result.peak_megabytes:.0f} MB",
    }
    if result.units_per_frame is not None:
        rows["trunk passes per frame"] = (
            f"{result.units_per_frame:.2f} of {result.unit_seconds:.4f} s (float32)"
        )
    rows |= {f"  {name}": f"{1000 * seconds:.1f} ms" for name, seconds in result.range_seconds.items()}
    for name, value in rows.items():
        say(f"{name:24}{value}")
