"""`megavid evaluate`: detect in all videos of a data set and score the detections."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from megavid.cli.inference import InferenceOptions
from megavid.cli.method import OutsideMethods
from megavid.cli.options import FLAT, optional
from megavid.cli.output import say
from megavid.cli.source import DataSource, report_problems
from megavid.cli.threads import ThreadOptions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from megavid.datasets.table.annotations import Annotations
    from megavid.datasets.table.problems import Problems
    from megavid.jobs.executors.ranks import Ranks
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
    weights: Path
    """Weights: a .safetensors file of megavid, a checkpoint of the original release, or the name of weights
    that ship with megavid (single_frame_generated, mega_generated)."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Output folder."""
    model: Annotated[str | None, optional("NAME|YAML", "that of the weights")] = None
    """Name of a shipped configuration or a YAML file."""
    motion: Annotated[str, tyro.conf.arg(metavar="auto|tracks|none|FILE.mat")] = "auto"
    """Source of objects' motion: their tracks, or ImageNet VID's official file (.mat). auto uses the tracks
    if there are any."""
    coco: bool = False
    """Also compute COCO's metrics. Needs the extra "coco"."""
    causal: bool = False
    """Detect without looking ahead."""
    official_quirks: bool = False
    """Reproduce a defect of the original release at the first frame of a video."""
    seed: int = 0
    """Random seed for the choice of global frames."""
    device: str = "auto"
    """Device to compute on: auto, cpu, cuda or mps. With torchrun, auto gives each process its own GPU."""
    inference: Annotated[InferenceOptions, FLAT] = field(default_factory=InferenceOptions)
    batch_size: int = 1
    """Number of frames that go through the network together."""
    threads: Annotated[ThreadOptions, FLAT] = field(default_factory=ThreadOptions)
    methods: Annotated[OutsideMethods, FLAT] = field(default_factory=OutsideMethods)

    def run(self, overrides: Mapping[str, str]) -> int:
        """Run the command and return its exit code."""
        from megavid.datasets.sizes import check_sizes
        from megavid.evaluation.coco_metrics import require_library
        from megavid.jobs.executors.torchrun import joined_ranks
        from megavid.jobs.find_motion import find_motion

        self.methods.add()
        if self.coco:
            require_library()
        with joined_ranks() as ranks:
            annotations, problems = self.source.open()
            annotations = check_sizes(annotations, problems=problems)
            motion = find_motion(annotations, self.motion)  # before detection, to report a mistake early
            detector = self._load_detector(ranks, overrides)
            if not self._detect(detector, annotations, problems, ranks):
                say("megavid: interrupted; the same command resumes the run")
                return 130
            if not ranks.first:
                return 0
        self._score(annotations, motion, problems)
        return 0

    def _load_detector(self, ranks: Ranks, overrides: Mapping[str, str]) -> VideoDetector:
        from megavid.checkpoints.load import load_detector
        from megavid.core.config import parse_overrides
        from megavid.jobs.evaluation_parts import threads_before

        device, before = ranks.device(self.device), threads_before(self.output, ranks)
        self.threads.choose(device, ranks=ranks, before=before)
        return load_detector(
            self.model,
            weights=self.weights,
            device=device,
            overrides=parse_overrides(overrides),
            inference=self.inference.settings(),
        )

    def _detect(
        self, detector: VideoDetector, annotations: Annotations, problems: Problems, ranks: Ranks
    ) -> bool:
        """Write the predictions of all videos; return whether the run is complete."""
        from megavid.checkpoints.weights import describe_weights
        from megavid.jobs.detect_in_data_set import EvaluateOptions, detect_in_data_set
        from megavid.models.acceleration.compiling import compiler_watched

        options = EvaluateOptions(
            batch_size=self.batch_size,
            causal=self.causal,
            seed=self.seed,
            official_quirks=self.official_quirks,
        )
        with compiler_watched("--compile"):
            return detect_in_data_set(
                detector,
                annotations,
                self.output,
                options,
                ranks=ranks,
                metadata=describe_weights(self.weights),
                problems=problems,
            )

    def _score(
        self, annotations: Annotations, motion: NDArray[np.float64] | None, problems: Problems
    ) -> None:
        """Score the predictions in the output folder, print the scores and write the reports."""
        from megavid.cli.score_tables import print_scores
        from megavid.evaluation.formats.prediction_files import open_predictions
        from megavid.jobs.output_folder import PREDICTIONS
        from megavid.jobs.score_predictions import describe_predictions, score_predictions
        from megavid.jobs.write_scores import write_scores

        path = self.output / PREDICTIONS
        predictions = open_predictions(path, annotations, problems=problems)
        scores = score_predictions(predictions, annotations, motion=motion, coco=self.coco, problems=problems)
        report_problems(problems)
        print_scores(scores)
        about = {"data": str(self.source.data), "motion": self.motion, **describe_predictions(predictions)}
        for written in (path, *write_scores(self.output, scores, annotations, about)):
            say(f"  {written}")
