"""`megavid demo`: try the shipped detectors on generated videos."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from megavid.cli.arguments import refuse_overrides
from megavid.cli.options import FLAT
from megavid.cli.output import say
from megavid.cli.threads import ThreadOptions


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Compare a video detector with a single-frame detector on generated videos.

    Generates videos in which single frames are ambiguous, runs the two small detectors that ship with
    megavid (MEGA and a single-frame one, trained on other videos), and writes a table of scores, a video of
    both side by side, a picture and reports.
    """

    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("demo_output")
    """Output folder; must be empty or missing."""
    seed: int = 1
    """Random seed of the videos. 0 is not allowed: it gives the videos that the detectors were trained on."""
    videos: int = 12
    """Number of videos, of 48 frames each."""
    device: str = "auto"
    """Device to compute on: auto, cpu, cuda or mps."""
    threads: Annotated[ThreadOptions, FLAT] = field(default_factory=ThreadOptions)

    def run(self, overrides: Mapping[str, str]) -> int:
        """Run the command and return its exit code."""
        from megavid.cli.score_tables import print_summary
        from megavid.jobs.run_demo import run_demo

        refuse_overrides(overrides, "demo")
        self.threads.choose(self.device)
        result = run_demo(self.output, seed=self.seed, videos=self.videos, device=self.device)
        if result is None:
            say("megavid: interrupted")
            return 130
        print_summary(result.scores)
        for path in result.paths:
            say(f"  {path}")
        return 0
