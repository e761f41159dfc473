"""`megavid detect`: detect objects in a video, draw them and save them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from megavid.cli.arguments import split_names
from megavid.cli.detector_options import DetectorOptions
from megavid.cli.linker_options import read_linker
from megavid.cli.options import FLAT, optional
from megavid.cli.output import say

if TYPE_CHECKING:
    from megavid.jobs.detect_to_folder import DetectSummary

DRAWN = 0.5
"""Score threshold of `megavid detect`."""

DRAWN_LINKED = 0.3
"""Score threshold of `megavid detect --link`, since linked scores are means of those of single frames."""


@dataclass(frozen=True, kw_only=True)
class Detect:
    """Detect objects in a video.

    Writes annotated.mp4 (or frames/) and predictions.parquet, with a row for each box, to the output folder.
    Any value of the model's configuration can be set by its path: --method.window 6
    """

    input: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="INPUT")]
    """A video file, an image folder, a pattern such as "frames/*.png", an image file with several images, a
    camera's number or a stream's address."""
    detector: Annotated[DetectorOptions, FLAT]
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Output folder."""
    score_threshold: Annotated[float | None, optional("FLOAT", "0.5, or 0.3 with --link")] = None
    """Draw and save detections with a score above this. Linking gives the boxes of a track their mean score,
    which is below the best scores of single frames."""
    classes: Annotated[str | None, optional("NAME,NAME", "all")] = None
    """Classes to draw and save, separated by commas."""
    every: int = 1
    """Detect in every n-th frame only."""
    save_frames: bool = False
    """Write annotated frames as images instead of a video."""
    fps: Annotated[float | None, optional("FLOAT", "25")] = None
    """Frame rate to assume for a folder of images, in frames per second."""
    causal: bool = False
    """Detect without looking ahead, for live streams that cannot wait. The global frames of a file or folder
    still come from all of it."""
    track: bool = False
    """Track objects from frame to frame (ByteTrack): draw and save track ids, give each track one class by
    vote, and write tracks.parquet. A track begins with a detection of score 0.5 or more. Needs the extra
    "track"."""
    link: Annotated[str | None, optional("NAME")] = None
    """Link detections over time: draw and save the tracks, scores and boxes that the linker of this name
    gives, before --score-threshold and --classes select among them, and write tracks.parquet. Linkers:
    seq_nms, seq_diou, repp, seq_bbox and seq_bbox_online. All but the last need the whole video, so they
    cannot link a live stream. A setting is given by its path: --link.min-score 0.01"""
    seed: int = 0
    """Random seed for the choice of global frames."""

    def run(self, overrides: Mapping[str, str]) -> int:
        """Run the command and return its exit code."""
        from megavid.jobs.detect_to_folder import DetectOptions, detect_to_folder
        from megavid.runtime.result_queue import check_live_linker
        from megavid.video.open_input import is_live, open_input

        link, overrides = read_linker(self.link, overrides, option="--link")
        if is_live(self.input):
            check_live_linker(link)
        threshold = self.score_threshold
        if threshold is None:
            threshold = DRAWN if link is None else DRAWN_LINKED
        options = DetectOptions(
            score_threshold=threshold,
            classes=split_names("--classes", self.classes) or (),
            every=self.every,
            save_frames=self.save_frames,
            causal=self.causal,
            seed=self.seed,
            track=self.track,
            link=link,
            batch_size=self.detector.batch_size,
        )
        with open_input(self.input, fps=self.fps) as video, self.detector.translate_errors():
            detector = self.detector.load(overrides)
            summary = detect_to_folder(
                detector, video, self.output, options, metadata=self.detector.about_weights(detector)
            )
        self._print_summary(summary, threshold)
        return 0 if summary.complete else 130

    def _print_summary(self, summary: DetectSummary, threshold: float) -> None:
        """Print the counts and the files written, and a hint if nothing was found."""
        if not summary.complete:
            say("megavid: interrupted", error=True)
        tracks = "" if summary.tracks is None else f", {summary.tracks} tracks"
        say(f"{summary.frames} frames, {summary.detections} detections{tracks}")
        if summary.frames and not summary.detections and threshold > 0:
            say(f"  note: no score exceeds {threshold:g}; --score-threshold sets a lower limit")
        elif self.track and summary.tracks == 0:
            say(
                "  note: no tracks: one begins with a score of 0.5, and its boxes overlap from frame to frame"
            )
        for path in summary.paths:
            say(f"  {path}")
