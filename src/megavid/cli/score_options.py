"""Options for scoring predictions, shared by the commands that score."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from megavid.cli.source import report_problems

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from megavid.datasets.table.annotations import Annotations
    from megavid.datasets.table.problems import Problems
    from megavid.evaluation.prediction_table import PredictionTable
    from megavid.evaluation.scores import Scores


@dataclass(frozen=True, kw_only=True)
class ScoreOptions:
    """Options for the scores to compute."""

    motion: Annotated[str, tyro.conf.arg(metavar="auto|tracks|none|FILE.mat")] = "auto"
    """Source of objects' motion: their tracks, or ImageNet VID's official file (.mat). auto uses the tracks
    if there are any."""
    coco: bool = False
    """Also compute COCO's metrics. Needs the extra "coco"."""

    def score(
        self,
        predictions: PredictionTable,
        annotations: Annotations,
        motion: NDArray[np.float64] | None,
        problems: Problems,
    ) -> Scores:
        """Score predictions of a data set.

        Args:
            predictions: Predictions for the frames of the data set.
            annotations: The data set.
            motion: Motion IoU of the objects, from `jobs.find_motion`.
            problems: Collector of problems with the predictions.
        """
        from megavid.jobs.score_predictions import score_predictions

        return score_predictions(predictions, annotations, motion=motion, coco=self.coco, problems=problems)

    def report(
        self,
        predictions: PredictionTable,
        annotations: Annotations,
        motion: NDArray[np.float64] | None,
        problems: Problems,
        *,
        data: Path,
        output: Path | None,
    ) -> list[Path]:
        """Score predictions, print problems and scores, and write the reports.

        Args:
            predictions: As in `score`.
            annotations: As in `score`.
            motion: As in `score`.
            problems: As in `score`.
            data: Path of the data set, for the reports.
            output: Folder for the reports; None writes nothing.

        Returns:
            The files written.
        """
        from megavid.cli.score_tables import print_scores
        from megavid.jobs.score_predictions import describe_predictions
        from megavid.jobs.write_scores import write_scores

        scores = self.score(predictions, annotations, motion, problems)
        report_problems(problems)
        print_scores(scores)
        about = {"data": str(data), "motion": self.motion, **describe_predictions(predictions)}
        return write_scores(output, scores, annotations, about)
