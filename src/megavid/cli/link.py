"""`megavid link`: link saved predictions over time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from megavid.cli.arguments import refuse_overrides
from megavid.cli.linker_options import read_linker
from megavid.cli.output import say


@dataclass(frozen=True, kw_only=True)
class Link:
    """Link saved predictions of any method over time; no model is run.

    A linker finds the boxes of the same object in neighboring frames, gives them a common track and a common
    score, and drops boxes that compete with them. It works best on predictions that include low scores, as
    `megavid evaluate` saves them.
    Linkers: seq_nms (Han et al., 2016), seq_diou (the same with the distance-IoU).
    Any setting of a linker can be set by its path: --link.min-score 0.01
    """

    predictions: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="PREDICTIONS")]
    """Predictions saved by megavid (.parquet)."""
    method: Annotated[str, tyro.conf.arg(metavar="NAME")]
    """Name of the linker."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """File to write (.parquet)."""

    def run(self, overrides: Mapping[str, str]) -> int:
        """Run the command and return its exit code."""
        from megavid.jobs.link_predictions import link_predictions

        config, others = read_linker(self.method, overrides, option="--method")
        assert config is not None
        refuse_overrides(others, "link")
        summary = link_predictions(self.predictions, self.output, config)
        filled = f", {summary.interpolated} of them interpolated" if summary.interpolated else ""
        say(f"{self.output}: {summary.after} boxes{filled}, from {summary.before}; {summary.tracks} tracks")
        return 0
