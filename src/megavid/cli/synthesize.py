"""`megavid data synthesize`: a generated video set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from megavid.cli.output import say


@dataclass(frozen=True, kw_only=True)
class Synthesize:
    """Write a generated video set in the layout of ImageNet VID: train and val, JPEG and XML with track ids.

    Balls of six classes roll over moving backgrounds. What tells the class is painted on one side of them
    and turned away now and then; blur along the motion, defocus, low light, noise and things passing in
    front come on top. The same seed gives the same bytes, whatever the number of workers.
    contact_sheet.jpg shows some of it.
    """

    output: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")]
    """Folder to write; must be empty or missing."""
    videos: int = 240
    """How many; every fifth is for validation."""
    frames: int = 48
    """Of each video."""
    width: int = 192
    """Of a frame, pixels."""
    height: int = 144
    """Of a frame, pixels."""
    seed: int = 0
    """Of everything."""
    workers: int | None = None
    """Processes; by default as many as there are cores."""

    def run(self) -> int:
        """Do it; the exit code."""
        from megavid.core.ranges import MOST_WORKERS, check_range
        from megavid.datasets.open import Source, open_annotations
        from megavid.datasets.synthetic.write import GeneratedSet, write_generated_set
        from megavid.datasets.table.problems import Problems
        from megavid.jobs.progress import progress
        from megavid.reports.contact_sheet import write_contact_sheet

        check_range("--workers", self.workers, least=1, most=MOST_WORKERS)
        config = GeneratedSet(
            videos=self.videos, frames=self.frames, height=self.height, width=self.width, seed=self.seed
        )
        with progress("rendering", total=self.videos * self.frames) as meter:
            write_generated_set(
                self.output,
                config,
                workers=self.workers,
                progress=lambda done: meter.update(done * self.frames),
            )
        table = open_annotations(Source(path=self.output, subset="vid_train"), problems=Problems())
        write_contact_sheet({"": table}, self.output / "contact_sheet.jpg")
        say(f"{self.output}: {self.videos} videos of {self.frames} frames")
        return 0
