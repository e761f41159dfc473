"""`megavid score`: scores of saved predictions, without a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from megavid.cli.arguments import check_is_not_read
from megavid.cli.detect import refuse_overrides
from megavid.cli.output import say
from megavid.cli.source import DataSource, report_problems
from megavid.core.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Score:
    """Score saved predictions: AP50 overall and for fast, medium and slow objects, per class.

    Writes scores.json, pr_curves.png, confusion.png and report.html to the output folder. Intervals hold 95 %
    of 1000 resamples of the videos.
    Predictions: megavid's .parquet, the original release's predictions.pth, ILSVRC's text format (.txt) or
    COCO results (.json).
    """

    predictions: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="PREDICTIONS")] = None
    """The predictions; or give --compare."""
    source: Annotated[DataSource, tyro.conf.OmitArgPrefixes]
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """Output folder; none: the table is printed and nothing written."""
    compare: Annotated[tuple[Path, Path] | None, tyro.conf.arg(metavar="A B")] = None
    """Two predictions of the same data to put side by side, with an interval of each difference: whether it
    is more than noise. Writes comparison.json and comparison.html."""
    motion: Annotated[str, tyro.conf.arg(metavar="auto|tracks|none|FILE.mat")] = "auto"
    """Where the motion of objects comes from: their tracks, or ImageNet VID's official file."""
    coco: bool = False
    """COCO's metrics, too (needs the extra coco)."""

    save_as: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Also write the predictions in another format, by its suffix: .parquet, .pth, .txt or .json."""

    def run(self, overrides: Mapping[str, str]) -> int:
        """Do it; the exit code."""
        from megavid.cli.score_tables import print_comparison, print_scores
        from megavid.core.files.atomic import check_target
        from megavid.evaluation.comparison import difference, verdict
        from megavid.evaluation.formats.prediction_files import open_predictions, write_predictions
        from megavid.jobs.find_motion import find_motion
        from megavid.jobs.score_predictions import describe_predictions, score_predictions
        from megavid.jobs.write_scores import write_comparison, write_scores

        refuse_overrides(overrides, "score")
        if (self.predictions is None) == (self.compare is None):
            raise InputError("expected either PREDICTIONS or --compare A B")
        if self.compare is not None and self.save_as is not None:
            raise InputError("save_as: takes one PREDICTIONS")
        if self.save_as is not None:
            check_is_not_read(self.save_as, self.predictions, self.source.data)
            check_target(self.save_as)
        paths = [self.predictions] if self.predictions is not None else list(self.compare or ())
        annotations, problems = self.source.open()
        motion = find_motion(annotations, self.motion)
        all_scores, about = [], {}
        for path in paths:
            found = open_predictions(path, annotations, problems=problems)
            about = describe_predictions(found)
            if self.save_as is not None:
                write_predictions(found, annotations, self.save_as, problems=problems)
            all_scores.append(
                score_predictions(found, annotations, motion=motion, coco=self.coco, problems=problems)
            )
        report_problems(problems)
        data = {"data": str(self.source.data), "motion": self.motion}
        if len(all_scores) == 1:
            print_scores(all_scores[0])
            written = write_scores(self.output, all_scores[0], annotations, data | about)
        else:
            names = (str(paths[0]), str(paths[1]))
            one, two = all_scores
            words = verdict(difference(one, two, "all"), videos=len(one.videos))
            print_comparison(one, two, names, words)
            written = write_comparison(self.output, (one, two), names, data)
        for path in (*([self.save_as] if self.save_as else []), *written):
            say(f"  {path}")
        return 0
