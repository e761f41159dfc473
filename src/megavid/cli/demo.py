"""`megavid demo`: the whole path, without a video or weights of one's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from megavid.cli.detect import refuse_overrides
from megavid.cli.output import say
from megavid.cli.threads import ThreadOptions


@dataclass(frozen=True, kw_only=True)
class Demo:
    """See what the other frames of a video are good for.

    Generates videos on which single frames are ambiguous, detects in them with the two small detectors that
    come with the package, a single-frame one and MEGA, and compares what they find: a table, a video of both
    side by side, a picture and reports. Neither detector was trained on these videos.
    """

    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("demo_output")
    """Output folder; must be empty or missing."""
    seed: int = 1
    """Of the videos; any but 0, that of the videos that the detectors were trained on."""
    videos: int = 12
    """How many, of 48 frames each."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    threads: Annotated[ThreadOptions, tyro.conf.OmitArgPrefixes] = field(default_factory=ThreadOptions)

    def run(self, overrides: Mapping[str, str]) -> int:
        """Do it; the exit code."""
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
