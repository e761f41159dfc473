"""`megavid demo`: the whole path, without a video or weights of one's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from megavid.cli.detect import refuse_overrides, report


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Render a short clip, make weights on the spot and detect in it.

    The weights are untrained: the boxes mean nothing. It shows that everything works here, and what
    comes out.
    """

    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("demo_output")
    """Output folder."""
    seed: int = 0
    """Of the clip and the weights."""

    def run(self, overrides: Mapping[str, str]) -> int:
        """Do it; the exit code."""
        from megavid.engine.demo import run_demo

        refuse_overrides(overrides, "demo")
        for summary in run_demo(self.output, seed=self.seed):
            report(summary)
            if not summary.complete:
                return 130
        print("The weights were made on the spot and are untrained: the boxes mean nothing.")
        return 0
