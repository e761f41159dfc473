"""`megavid benchmark`: how fast a detector is on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from megavid.cli.inference import InferenceOptions
from megavid.cli.method import OutsideMethods
from megavid.cli.output import say
from megavid.cli.threads import ThreadOptions

if TYPE_CHECKING:
    from megavid.jobs.measure_speed import BenchmarkResult

KeepsRounding = Literal["fold_norms", "channels_last", "sum_cells", "pack", "reuse"]
"""Fields of `Inference` that do something in float32 with the rounding of the trunk kept."""
MayRound = Literal["winograd", "split_heads"]
"""Those that do something in half precision, or where rounding may change, alone."""
SpeedUp = Literal[KeepsRounding, MayRound]


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """Measure how fast a detector is: frames a second, what a frame costs in passes of the trunk, memory.

    Weights are random unless some are given; the time hardly depends on them.
    Any value of the model's configuration can be set by its path: --input.min-size 400
    """

    model: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="NAME|YAML")] = None
    """A shipped configuration's name, such as mega_r101, or a YAML file; by default what the weights say."""
    weights: Path | None = None
    """Weights to measure with."""
    height: int = 720
    """Height of the video's frames, pixels."""
    width: int = 1280
    """Their width."""
    frames: int = 10
    """Frames to measure, once window and memory are full."""
    batch_size: int = 1
    """Frames that go through the network together."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    inference: Annotated[InferenceOptions, tyro.conf.OmitArgPrefixes] = field(
        default_factory=InferenceOptions
    )
    without: tuple[SpeedUp, ...] = ()
    """What makes it fast and is to be left out, to see what it is good for."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """A file for all that was measured, as JSON."""
    threads: Annotated[ThreadOptions, tyro.conf.OmitArgPrefixes] = field(default_factory=ThreadOptions)
    methods: Annotated[OutsideMethods, tyro.conf.OmitArgPrefixes] = field(default_factory=OutsideMethods)

    def run(self, overrides: Mapping[str, str]) -> int:
        """Do it; the exit code."""
        import json
        import os

        os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # PyTorch's profiler is chatty
        from megavid.checkpoints.load import load_detector
        from megavid.core.config import parse_overrides
        from megavid.core.files.atomic import atomic_path, check_target
        from megavid.core.files.ownership import MADE_BY, json_by_megavid
        from megavid.jobs.measure_speed import BenchmarkOptions, as_json, benchmark
        from megavid.models.acceleration.compiling import compiler_watched

        if self.output is not None:
            check_target(self.output, ours=json_by_megavid)  # not after minutes of work
        self.methods.add()
        options = BenchmarkOptions(
            height=self.height, width=self.width, frames=self.frames, batch_size=self.batch_size
        )
        inference = self.inference.chosen().model_copy(update=dict.fromkeys(self.without, False))
        self.threads.choose(self.device)
        detector = load_detector(
            self.model,
            weights=self.weights,
            device=self.device,
            overrides=parse_overrides(overrides),
            inference=inference,
        )
        with compiler_watched("--compile"):
            result = benchmark(detector, options)
        report = as_json(detector, options, result)
        _print(report, result)
        if self.output is not None:
            with atomic_path(self.output, ours=json_by_megavid) as aside:
                aside.write_text(json.dumps(MADE_BY | report, indent=1) + "\n", encoding="utf-8")
            say(f"  {self.output}")
        return 0


def _print(report: Mapping[str, Any], result: BenchmarkResult) -> None:
    machine, inference = report["machine"], report["inference"]
    height, width = result.input_size
    ways = [name for name, is_on in inference.items() if is_on is True]
    say(
        f"{machine['device']}, {machine['threads']} threads, Python {machine['python']}, "
        f"torch {machine['torch']}, megavid {machine['megavid']}"
    )
    say(
        f"{report['model']}, {report['backbone']}, input {width}x{height}, {inference['dtype']}, "
        f"{', '.join(ways) or 'plain'}"
    )
    rows = {
        "frames a second": f"{result.frames_per_second:.2f}",
        "seconds a frame": f"{result.frame_seconds:.4f}",
        "trunk passes a frame": f"{result.trunks_per_frame:.2f}, of {result.trunk_seconds:.4f} s in float32",
        "frames encoded a frame": f"{result.encodes_per_frame:.2f}",
        "first result": f"{result.first_seconds:.1f} s, {result.look_ahead} frames late",
        "peak memory": f"{result.peak_megabytes:.0f} MB",
    }
    rows |= {f"  {name}": f"{1000 * seconds:.1f} ms" for name, seconds in result.stage_seconds.items()}
    for name, value in rows.items():
        say(f"{name:24}{value}")
