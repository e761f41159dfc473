"""`megavid postprocess`: saved predictions made better by what their neighbours in time say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from megavid.cli.detect import refuse_overrides
from megavid.cli.output import say
from megavid.core.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Postprocess:
    """Post-process saved predictions of any method; no model is run.

    Seq-NMS links overlapping boxes of neighbouring frames to sequences; the boxes of a sequence get one
    score, and what overlaps them is dropped. Best on predictions with low scores in them, too, as
    `megavid evaluate` saves them.
    """

    predictions: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="PREDICTIONS")]
    """What megavid saved (.parquet)."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """The file to write (.parquet)."""
    seq_nms: bool = False
    """Seq-NMS (Han et al., 2016)."""
    rescore: Literal["average", "max"] = "average"
    """The score that the boxes of a sequence get: their mean or their best."""

    def run(self, overrides: Mapping[str, str]) -> int:
        """Do it; the exit code."""
        from megavid.jobs.postprocess_predictions import postprocess_with_seq_nms

        refuse_overrides(overrides, "postprocess")
        if not self.seq_nms:
            raise InputError("postprocess: expected what to do: --seq-nms")
        summary = postprocess_with_seq_nms(self.predictions, self.output, rescoring=self.rescore)
        say(f"{self.output}: {summary.kept} of {summary.boxes} boxes")
        return 0
