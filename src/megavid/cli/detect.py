"""`megavid detect`: annotated pictures and predictions of a video."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from megavid.cli.arguments import split_names
from megavid.cli.inference import InferenceOptions
from megavid.cli.method import OutsideMethods
from megavid.cli.output import say
from megavid.cli.threads import ThreadOptions
from megavid.core.errors import InputError

if TYPE_CHECKING:
    from megavid.jobs.detect_to_folder import DetectSummary


@dataclass(frozen=True, kw_only=True)
class Detect:
    """Detect the objects in a video.

    Writes annotated.mp4 (or frames/) and predictions.parquet, a row a box, to the output folder.
    Any value of the model's configuration can be set by its path: --method.window 6
    """

    input: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="INPUT")]
    """A video file, an image folder, a pattern such as "frames/*.png", an image file of several pictures, a
    camera index or a stream address."""
    weights: Path
    """Weights: megavid's .safetensors, a checkpoint of the original release, or the name of weights that come
    with the package: single_frame_generated, mega_generated."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Output folder."""
    model: Annotated[str | None, tyro.conf.arg(metavar="NAME|YAML")] = None
    """A shipped configuration's name or a YAML file; by default what the weights say."""
    score_threshold: float = 0.5
    """Lowest score of the detections to draw and save."""
    classes: Annotated[str | None, tyro.conf.arg(metavar="NAME,NAME")] = None
    """Names of the classes to draw and save, separated by commas; by default all."""
    every: int = 1
    """Detect in every n-th frame only."""
    save_frames: bool = False
    """Write annotated frames as images instead of a video."""
    fps: Annotated[float | None, tyro.conf.arg(metavar="FLOAT")] = None
    """Frames a second of a folder of images; 25 by default."""
    causal: bool = False
    """Detect without look-ahead, for live streams that can't wait. Global frames of a file or folder still
    come from all of it."""
    track: bool = False
    """Give objects ids from frame to frame (ByteTrack), drawn and saved, and each of them one class, by vote;
    tracks.parquet has a row a track, which begins with a score of 0.5. Needs the extra "track"."""
    seed: int = 0
    """Of the choice of global frames."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    inference: Annotated[InferenceOptions, tyro.conf.OmitArgPrefixes] = field(
        default_factory=InferenceOptions
    )
    batch_size: int = 1
    """Frames that go through the network together."""
    threads: Annotated[ThreadOptions, tyro.conf.OmitArgPrefixes] = field(default_factory=ThreadOptions)
    methods: Annotated[OutsideMethods, tyro.conf.OmitArgPrefixes] = field(default_factory=OutsideMethods)

    def run(self, overrides: Mapping[str, str]) -> int:
        """Do it; the exit code."""
        from megavid.checkpoints.load import load_detector
        from megavid.checkpoints.weights import describe_weights
        from megavid.core.config import parse_overrides
        from megavid.jobs.detect_to_folder import DetectOptions, detect_to_folder
        from megavid.models.acceleration.compiling import compiler_watched
        from megavid.video.reader import open_input

        self.methods.add()
        options = DetectOptions(
            score_threshold=self.score_threshold,
            classes=split_names("--classes", self.classes) or (),
            every=self.every,
            save_frames=self.save_frames,
            causal=self.causal,
            seed=self.seed,
            track=self.track,
            batch_size=self.batch_size,
        )
        with open_input(self.input, fps=self.fps) as video:
            self.threads.choose(self.device)
            detector = load_detector(
                self.model,
                weights=self.weights,
                device=self.device,
                overrides=parse_overrides(overrides),
                inference=self.inference.chosen(),
            )
            with compiler_watched("--compile"):
                summary = detect_to_folder(
                    detector, video, self.output, options, metadata=describe_weights(self.weights)
                )
        report(summary, self.score_threshold)
        return 0 if summary.complete else 130


def report(summary: DetectSummary, score_threshold: float) -> None:
    """Say what was done and where it is, and what may be the matter where nothing was found."""
    if not summary.complete:
        say("megavid: interrupted", error=True)
    tracks = "" if summary.tracks is None else f", {summary.tracks} tracks"
    say(f"{summary.frames} frames, {summary.detections} detections{tracks}")
    if not summary.detections and score_threshold > 0:
        say(f"  note: no score reaches {score_threshold:g}; --score-threshold sets a lower limit")
    elif summary.tracks == 0:
        say("  note: no tracks: one begins with a score of 0.5, and its boxes overlap from frame to frame")
    for path in summary.paths:
        say(f"  {path}")


def refuse_overrides(overrides: Mapping[str, Any], command: str) -> None:
    """For commands without a configuration to set."""
    if overrides:
        raise InputError(f"--{next(iter(overrides))}: megavid {command} has no such option")
