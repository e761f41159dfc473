"""`megavid data synthesize`: generate a set of annotated videos."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from megavid.cli.options import optional
from megavid.cli.output import say


@dataclass(frozen=True, kw_only=True)
class Synthesize:
    """Generate annotated videos in the layout of ImageNet VID: JPEG images and XML files with track ids.

    Balls of six classes roll over moving backgrounds. The pattern that shows the class is on one side of a
    ball and is turned away at times; motion blur, defocus, low light, noise and occlusion make it harder
    still. contact_sheet.jpg shows samples.
    """

    output: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")]
    """Folder to write; must be empty or missing."""
    videos: int = 240
    """Number of videos; every fifth is for validation."""
    frames: int = 48
    """Number of frames in each video."""
    width: int = 192
    """Width of a frame, in pixels."""
    height: int = 144
    """Height of a frame, in pixels."""
    seed: int = 0
    """Random seed. The same seed gives the same bytes, whatever the number of workers."""
    workers: Annotated[int | None, optional("INT", "the number of cores")] = None
    """Number of processes."""

    def run(self) -> int:
        """Run the command and return its exit code."""
        from megavid.core.ranges import MOST_WORKERS, check_range
        from megavid.datasets.open import Source, open_annotations
        from megavid.datasets.synthetic.write_data_set import SyntheticSet, write_synthetic_set
        from megavid.datasets.table.problems import Problems
        from megavid.jobs.progress import progress
        from megavid.reports.contact_sheet import write_contact_sheet

        check_range("--workers", self.workers, least=1, most=MOST_WORKERS)
        config = SyntheticSet(
            videos=self.videos, frames=self.frames, height=self.height, width=self.width, seed=self.seed
        )
        with progress("rendering", total=self.videos * self.frames) as meter:
            write_synthetic_set(
                self.output,
                config,
                workers=self.workers,
                progress=lambda done: meter.update(done * self.frames),
            )
        table = open_annotations(Source(path=self.output, subset="vid_train"), problems=Problems())
        write_contact_sheet({"": table}, self.output / "contact_sheet.jpg")
        say(f"{self.output}: {self.videos} videos of {self.frames} frames")
        return 0
