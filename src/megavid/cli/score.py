"""`megavid score`: score saved predictions, without running a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from megavid.cli.arguments import check_output_is_no_input, refuse_overrides
from megavid.cli.options import FLAT, optional
from megavid.cli.output import say
from megavid.cli.score_options import ScoreOptions
from megavid.cli.source import DataSource, report_problems
from megavid.core.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from megavid.datasets.table.annotations import Annotations
    from megavid.datasets.table.problems import Problems


@dataclass(frozen=True, kw_only=True)
class Score:
    """Score saved predictions: AP50 overall and for fast, medium and slow objects, per class.

    Writes scores.json, pr_curves.png, confusion.png and report.html to the output folder. Intervals are 95 %
    bootstrap intervals over the videos (1000 resamples).
    Formats of predictions: megavid's .parquet, the original release's predictions.pth, ILSVRC's text format
    (.txt), COCO results and COCO annotations with scores (.json), and MOT's det.txt for data of one video.
    """

    predictions: Annotated[Path | None, tyro.conf.Positional, optional("PREDICTIONS")] = None
    """Predictions to score; leave out with --compare."""
    source: Annotated[DataSource, FLAT]
    output: Annotated[Path | None, optional("PATH", "only print the table", aliases=("-o",))] = None
    """Output folder."""
    compare: Annotated[tuple[Path, Path] | None, optional("A B")] = None
    """Two files of predictions for the same data to compare, with an interval for each difference, which
    shows whether it is more than noise. Writes comparison.json and comparison.html."""
    scoring: Annotated[ScoreOptions, FLAT] = field(default_factory=ScoreOptions)
    save_as: Annotated[Path | None, optional("FILE")] = None
    """Also write the predictions to this file, in the format of its suffix: .parquet, .pth, .txt or .json."""

    def run(self, overrides: Mapping[str, str]) -> int:
        """Run the command and return its exit code."""
        from megavid.jobs.find_motion import find_motion

        refuse_overrides(overrides, "score")
        self._check_options()
        annotations, problems = self.source.open()
        motion = find_motion(annotations, self.scoring.motion)
        if self.predictions is not None:
            written = self._score(self.predictions, annotations, motion, problems)
        else:
            assert self.compare is not None
            written = self._compare(self.compare, annotations, motion, problems)
        for path in written:
            say(f"  {path}")
        return 0

    def _check_options(self) -> None:
        from megavid.core.files.atomic import check_target

        if (self.predictions is None) == (self.compare is None):
            raise InputError("expected either PREDICTIONS or --compare A B")
        if self.compare is not None and self.save_as is not None:
            raise InputError("--save-as: expected PREDICTIONS, got --compare")
        if self.save_as is not None:
            check_output_is_no_input(self.save_as, self.predictions, self.source.data)
            check_target(self.save_as)

    def _score(
        self, path: Path, annotations: Annotations, motion: NDArray[np.float64] | None, problems: Problems
    ) -> list[Path]:
        """Score one file of predictions, print the scores and return the files written."""
        from megavid.evaluation.formats.prediction_files import open_predictions, write_predictions

        predictions = open_predictions(path, annotations, problems=problems)
        written = []
        if self.save_as is not None:
            write_predictions(predictions, annotations, self.save_as, problems=problems)
            written.append(self.save_as)
        data, output = self.source.data, self.output
        reports = self.scoring.report(predictions, annotations, motion, problems, data=data, output=output)
        return [*written, *reports]

    def _compare(
        self,
        paths: tuple[Path, Path],
        annotations: Annotations,
        motion: NDArray[np.float64] | None,
        problems: Problems,
    ) -> list[Path]:
        """Score two files of predictions, print the differences and return the files written."""
        from megavid.cli.score_tables import print_comparison
        from megavid.evaluation.comparison import difference, verdict
        from megavid.evaluation.formats.prediction_files import open_predictions
        from megavid.jobs.write_scores import write_comparison

        tables = [open_predictions(path, annotations, problems=problems) for path in paths]
        one, two = (self.scoring.score(table, annotations, motion, problems) for table in tables)
        report_problems(problems)
        names = (str(paths[0]), str(paths[1]))
        print_comparison(one, two, names, verdict(difference(one, two, "all"), videos=len(one.videos)))
        about = {"data": str(self.source.data), "motion": self.scoring.motion}
        return write_comparison(self.output, (one, two), names, about)
