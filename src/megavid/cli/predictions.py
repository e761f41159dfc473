"""`megavid predictions`: export saved predictions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from megavid.cli.arguments import check_output_is_no_input, refuse_overrides, split_names
from megavid.cli.export_options import FormatOptions
from megavid.cli.options import FLAT, optional
from megavid.cli.output import say


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """Write saved predictions in the format of a label tool or another program.

    cvat: a folder with an XML file "CVAT for video 1.1" for each video. coco: a CocoVID file (.json) with
    scores. mot: a folder with gt/gt.txt for each video. yolo: a folder with images, labels and data.yaml.
    csv: a table with a row for each box. labelstudio: tasks of Label Studio (.json) with predictions.
    """

    action: Annotated[Literal["to"], tyro.conf.Positional]
    """What to do: write to OUT."""
    output: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")]
    """File or new folder to write."""
    predictions: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="PREDICTIONS")]
    """Predictions saved by megavid (.parquet)."""
    format_options: Annotated[FormatOptions, FLAT]
    score_threshold: float = 0.0
    """Export boxes with at least this score."""
    classes: Annotated[str | None, optional("NAME,NAME", "all")] = None
    """Classes to export, in the order of their labels, separated by commas."""
    every: int = 1
    """Export every n-th of the frames that the detector ran on."""
    video: Annotated[Path | None, optional("FILE|FOLDER")] = None
    """Video file or folder of images; for several videos, a folder that contains them by their names. Needed
    for yolo, for coco if frames are images, and for predictions that do not have the size of frames."""

    def run(self, overrides: Mapping[str, str]) -> int:
        """Run the command and return its exit code."""
        from megavid.jobs.export_predictions import ExportOptions, export_predictions

        refuse_overrides(overrides, "predictions")
        form, tracks, address = self.format_options.values
        options = ExportOptions(
            form=form,
            tracks=tracks,
            address=address,
            video=self.video,
            score_threshold=self.score_threshold,
            classes=split_names("--classes", self.classes) or (),
            every=self.every,
        )
        check_output_is_no_input(self.output, self.predictions, self.video)
        summary = export_predictions(self.predictions, self.output, options)
        counts = f"{summary.videos} videos, {summary.frames} frames, {summary.boxes} boxes"
        say(f"{self.output}: {counts}, {summary.tracks} tracks")
        if summary.left_out:
            say(f"  without {summary.left_out} boxes that have no area within their frame")
        if summary.other_classes:
            say(f"  without {summary.other_classes} boxes of less likely classes of tracks")
        return 0
