"""`megavid evaluate`: detect in all videos of a data set and score the detections."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from megavid.cli.detector_options import DetectorOptions
from megavid.cli.linker_options import read_linker
from megavid.cli.options import FLAT, optional
from megavid.cli.output import say
from megavid.cli.score_options import ScoreOptions
from megavid.cli.source import DataSource

if TYPE_CHECKING:
    from megavid.datasets.table.annotations import Annotations
    from megavid.datasets.table.problems import Problems
    from megavid.jobs.executors.ranks import Ranks
    from megavid.linking.linker_config import LinkerConfig
    from megavid.models.base.video_detector import VideoDetector


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Detect in all videos of a data set and score the detections.

    Writes predictions.parquet, scores.json, pr_curves.png, confusion.png and report.html to the output
    folder. The same command resumes an interrupted run. On several GPUs:
    torchrun --nproc-per-node 4 --no-python megavid evaluate ...
    Any value of the model's configuration can be set by its path: --method.window 6
    """

    source: Annotated[DataSource, FLAT]
    detector: Annotated[DetectorOptions, FLAT]
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Output folder."""
    scoring: Annotated[ScoreOptions, FLAT] = field(default_factory=ScoreOptions)
    causal: bool = False
    """Detect without looking ahead."""
    official_quirks: bool = False
    """Reproduce a defect of the original release at the first frame of a video."""
    seed: int = 0
    """Random seed for the choice of global frames."""
    link: Annotated[str | None, optional("NAME")] = None
    """Link the detections of each video over time before they are saved and scored, as megavid link does with
    saved ones. Linkers: seq_nms, seq_diou, repp, seq_bbox and seq_bbox_online. A setting is given by its
    path: --link.min-score 0.01"""

    def run(self, overrides: Mapping[str, str]) -> int:
        """Run the command and return its exit code."""
        from megavid.datasets.sizes import check_sizes
        from megavid.evaluation.coco_metrics import require_library
        from megavid.evaluation.formats.prediction_files import open_predictions
        from megavid.jobs.evaluation_parts import threads_before
        from megavid.jobs.executors.torchrun import joined_ranks
        from megavid.jobs.find_motion import find_motion
        from megavid.jobs.output_folder import PREDICTIONS

        if self.scoring.coco:
            require_library()
        link, overrides = read_linker(self.link, overrides, option="--link")
        with joined_ranks() as ranks, self.detector.translate_errors():
            annotations, problems = self.source.open()
            annotations = check_sizes(annotations, problems=problems)
            # The motion is found before detection, to report mistakes early.
            motion = find_motion(annotations, self.scoring.motion)
            before = threads_before(self.output, ranks)
            detector = self.detector.load(overrides, ranks=ranks, threads_before=before)
            if not self._detect(detector, annotations, problems, ranks, link):
                say("megavid: interrupted; the same command resumes the run")
                return 130
            if not ranks.first:
                return 0
        path, data = self.output / PREDICTIONS, self.source.data
        predictions = open_predictions(path, annotations, problems=problems)
        written = self.scoring.report(
            predictions, annotations, motion, problems, data=data, output=self.output
        )
        for file in (path, *written):
            say(f"  {file}")
        return 0

    def _detect(
        self,
        detector: VideoDetector,
        annotations: Annotations,
        problems: Problems,
        ranks: Ranks,
        link: LinkerConfig | None,
    ) -> bool:
        """Write the predictions of all videos; return whether the run is complete."""
        from megavid.jobs.detect_in_data_set import EvaluateOptions, detect_in_data_set

        options = EvaluateOptions(
            batch_size=self.detector.batch_size,
            causal=self.causal,
            seed=self.seed,
            official_quirks=self.official_quirks,
            link=link,
        )
        return detect_in_data_set(
            detector,
            annotations,
            self.output,
            options,
            ranks=ranks,
            metadata=self.detector.about_weights(detector),
            problems=problems,
        )
