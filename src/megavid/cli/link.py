"""`megavid link`: link saved predictions over time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from megavid.cli.arguments import refuse_overrides
from megavid.cli.linker_options import read_linker
from megavid.cli.options import FLAT, optional
from megavid.cli.output import say
from megavid.cli.source import DataOptions, report_problems
from megavid.core.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Link:
    """Link saved predictions of any method over time; no model is run.

    A linker finds the boxes of the same object in neighboring frames, gives them a common track and a common
    score, and drops boxes that compete with them. It works best on predictions that include low scores, as
    `megavid evaluate` saves them.
    Linkers: seq_nms (Han et al., 2016), seq_diou (the same with the distance-IoU), repp (Sabater et al.,
    2020), seq_bbox (Belhassen et al., 2019) and seq_bbox_online, which needs no later frames.
    Any setting of a linker can be set by its path: --link.min-score 0.01
    """

    predictions: Annotated[Path | None, tyro.conf.Positional, optional("PREDICTIONS")] = None
    """Predictions saved by megavid (.parquet); leave out with --fit."""
    method: Annotated[str | None, optional("NAME")] = None
    """Name of the linker."""
    fit: Annotated[
        tuple[tuple[Path, Path], ...], tyro.conf.UseAppendAction, optional("DATA PREDICTIONS")
    ] = ()
    """Fit the pair model of repp, for --link.model, on a data set with track ids and a detector's predictions
    for it (.parquet, .pth, .txt or .json); can be given several times. The options for annotations, such as
    --subset, apply to each data set."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """File to write: .parquet, or .json with --fit."""
    options: Annotated[DataOptions, FLAT] = field(default_factory=DataOptions)

    def run(self, overrides: Mapping[str, str]) -> int:
        """Run the command and return its exit code."""
        if self.fit:
            return self._fit(overrides)
        if self.predictions is None or self.method is None:
            raise InputError("link: expected PREDICTIONS and --method NAME, or --fit DATA PREDICTIONS")
        if self.options != DataOptions():
            raise InputError(
                "--format, --subset, --classes, --images, --skip-bad: need --fit DATA PREDICTIONS, since "
                "linking reads no annotations"
            )
        return self._link(self.predictions, self.method, overrides)

    def _fit(self, overrides: Mapping[str, str]) -> int:
        """Fit a pair model."""
        from megavid.jobs.fit_on_predictions import fit_on_predictions

        if self.predictions is not None or self.method is not None or overrides:
            raise InputError("--fit: expected no PREDICTIONS to link, --method or settings beside it")
        sources = [(self.options.source(data), predictions) for data, predictions in self.fit]
        problems = self.options.problems()
        fitted = fit_on_predictions(sources, self.output, problems=problems)
        report_problems(problems)
        say(f"{self.output}: fitted on {fitted.boxes} boxes; tells {fitted.accuracy:.1%} of the pairs apart")
        return 0

    def _link(self, predictions: Path, method: str, overrides: Mapping[str, str]) -> int:
        """Link predictions."""
        from megavid.jobs.link_predictions import link_predictions

        config, others = read_linker(method, overrides, option="--method")
        assert config is not None
        refuse_overrides(others, "link")
        summary = link_predictions(predictions, self.output, config)
        filled = f", {summary.interpolated} of them interpolated" if summary.interpolated else ""
        say(f"{self.output}: {summary.after} boxes{filled}, from {summary.before}; {summary.tracks} tracks")
        return 0
