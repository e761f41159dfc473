"""`megavid evaluate`: detect in a data set and score what was found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from megavid.cli.inference import InferenceOptions
from megavid.cli.method import OutsideMethods
from megavid.cli.output import say
from megavid.cli.source import DataSource, report_problems
from megavid.cli.threads import ThreadOptions


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Detect in all videos of a data set and score the detections.

    Writes predictions.parquet, scores.json, pr_curves.png, confusion.png and report.html to the output
    folder. A run that is broken off goes on where it was when it is started again. For several processes or
    GPUs: torchrun --nproc-per-node 4 --no-python megavid evaluate ...
    Any value of the model's configuration can be set by its path: --method.window 6
    """

    source: Annotated[DataSource, tyro.conf.OmitArgPrefixes]
    weights: Path
    """Weights: megavid's .safetensors, a checkpoint of the original release, or the name of weights that come
    with the package: single_frame_generated, mega_generated."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Output folder."""
    model: Annotated[str | None, tyro.conf.arg(metavar="NAME|YAML")] = None
    """A shipped configuration's name or a YAML file; by default what the weights say."""
    motion: Annotated[str, tyro.conf.arg(metavar="auto|tracks|none|FILE.mat")] = "auto"
    """Where the motion of objects comes from: their tracks, or ImageNet VID's official file."""
    coco: bool = False
    """COCO's metrics, too (needs the extra coco)."""
    causal: bool = False
    """Detect without look-ahead."""
    official_quirks: bool = False
    """Reproduce the original release's defect at the first frame of a video."""
    seed: int = 0
    """Of the choice of global frames."""
    device: str = "auto"
    """auto, cpu, cuda or mps; with torchrun, auto gives each process a GPU of its own."""
    inference: Annotated[InferenceOptions, tyro.conf.OmitArgPrefixes] = field(
        default_factory=InferenceOptions
    )
    batch_size: int = 1
    """Frames that go through the network together."""
    threads: Annotated[ThreadOptions, tyro.conf.OmitArgPrefixes] = field(default_factory=ThreadOptions)
    methods: Annotated[OutsideMethods, tyro.conf.OmitArgPrefixes] = field(default_factory=OutsideMethods)

    def run(self, overrides: Mapping[str, str]) -> int:
        """Do it; the exit code."""
        from megavid.checkpoints.load import load_detector
        from megavid.checkpoints.weights import describe_weights
        from megavid.cli.score_tables import print_scores
        from megavid.core.config import parse_overrides
        from megavid.datasets.sizes import check_sizes
        from megavid.evaluation.coco_metrics import require_library
        from megavid.evaluation.formats.prediction_files import open_predictions
        from megavid.jobs.detect_in_data_set import EvaluateOptions, detect_in_data_set
        from megavid.jobs.evaluation_parts import threads_before
        from megavid.jobs.executors.torchrun import joined_ranks
        from megavid.jobs.find_motion import find_motion
        from megavid.jobs.output_folder import PREDICTIONS
        from megavid.jobs.score_predictions import describe_predictions, score_predictions
        from megavid.jobs.write_scores import write_scores
        from megavid.models.acceleration.compiling import compiler_watched

        self.methods.add()
        options = EvaluateOptions(
            batch_size=self.batch_size,
            causal=self.causal,
            seed=self.seed,
            official_quirks=self.official_quirks,
        )
        if self.coco:
            require_library()
        with joined_ranks() as ranks:
            annotations, problems = self.source.open()
            annotations = check_sizes(annotations, problems=problems)
            motion = find_motion(annotations, self.motion)  # a mistake there is told before hours of work
            before = threads_before(self.output, ranks)
            self.threads.choose(ranks.device(self.device), ranks=ranks, before=before)
            detector = load_detector(
                self.model,
                weights=self.weights,
                device=ranks.device(self.device),
                overrides=parse_overrides(overrides),
                inference=self.inference.chosen(),
            )
            with compiler_watched("--compile"):
                complete = detect_in_data_set(
                    detector,
                    annotations,
                    self.output,
                    options,
                    ranks=ranks,
                    metadata=describe_weights(self.weights),
                    problems=problems,
                )
            if not complete:
                say("megavid: interrupted; the same command goes on from here")
                return 130
            if not ranks.first:
                return 0
        path = self.output / PREDICTIONS
        found = open_predictions(path, annotations, problems=problems)
        scores = score_predictions(found, annotations, motion=motion, coco=self.coco, problems=problems)
        report_problems(problems)
        print_scores(scores)
        about = {"data": str(self.source.data), "motion": self.motion, **describe_predictions(found)}
        for written in (path, *write_scores(self.output, scores, annotations, about)):
            say(f"  {written}")
        return 0
