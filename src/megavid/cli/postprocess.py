"""`megavid postprocess`: improve saved predictions by linking them over time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from megavid.cli.arguments import refuse_overrides
from megavid.cli.output import say
from megavid.core.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Postprocess:
    """Improve saved predictions of any method by linking boxes over time; no model is run.

    Seq-NMS links overlapping boxes of neighboring frames into sequences, gives all boxes of a sequence the
    same score, and drops other boxes that overlap them. It works best on predictions that include low
    scores, as `megavid evaluate` saves them.
    """

    predictions: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="PREDICTIONS")]
    """Predictions saved by megavid (.parquet)."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """File to write (.parquet)."""
    seq_nms: bool = False
    """Apply Seq-NMS (Han et al., 2016)."""
    rescore: Literal["average", "max"] = "average"
    """Score for the boxes of a sequence: the mean or the maximum of their scores."""

    def run(self, overrides: Mapping[str, str]) -> int:
        """Run the command and return its exit code."""
        from megavid.jobs.postprocess_predictions import postprocess_with_seq_nms

        refuse_overrides(overrides, "postprocess")
        if not self.seq_nms:
            raise InputError("postprocess: expected --seq-nms, got no operation")
        summary = postprocess_with_seq_nms(self.predictions, self.output, rescoring=self.rescore)
        say(f"{self.output}: {summary.kept} of {summary.boxes} boxes")
        return 0
