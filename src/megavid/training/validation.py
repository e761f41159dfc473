"""Evaluating a detector while it is trained."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from megavid.core.detections import Detections
from megavid.core.frames import Image
from megavid.datasets.frame_reader import read_frame
from megavid.datasets.table.annotations import Annotations
from megavid.datasets.table.problems import Problems
from megavid.evaluation.formats.parquet_table import read_parquet
from megavid.evaluation.scores import Scores
from megavid.jobs.detect_in_data_set import EvaluateOptions, detect_in_data_set
from megavid.jobs.executors.ranks import Ranks
from megavid.jobs.output_folder import PREDICTIONS, make_output_folder
from megavid.jobs.score_predictions import describe_predictions, score_predictions
from megavid.jobs.write_scores import write_scores
from megavid.models.base.detector import VideoDetector
from megavid.video.render import draw_detections

EVALUATIONS = "evaluations"
_PICTURES, _SHOWN_SCORE = 4, 0.5


@dataclass(frozen=True, eq=False)
class TrainingScores:
    """How good the detector is at a step.

    Attributes:
        values: AP50 by motion, in 0 .. 1; None where there is none.
        pictures: Detections in some frames, by name.
    """

    values: Mapping[str, Any]
    pictures: Mapping[str, Image]


def evaluate_while_training(
    detector: VideoDetector[Any, Any],
    annotations: Annotations,
    folder: Path,
    *,
    step: int,
    motion: NDArray[np.float64] | None,
    ranks: Ranks,
    problems: Problems,
) -> TrainingScores | None:
    """Detect in a data set and score, in `evaluations/step_NNNNNNNN` of a run's folder.

    Args:
        detector: In evaluation mode.
        annotations: The data set.
        folder: Of the run.
        step: How far it is.
        motion: Of its objects, from `find_motion`.
        ranks: This process among all.
        problems: Where what is wrong with the data goes.

    Returns:
        The scores, in the first process; empty ones in the others. None if the user asked to stop.
    """
    place = folder / EVALUATIONS / f"step_{step:08d}"
    if ranks.first:
        make_output_folder(folder / EVALUATIONS)
        shutil.rmtree(place, ignore_errors=True)  # what a run that was cut off had begun
    ranks.wait()
    complete = detect_in_data_set(
        detector,
        annotations,
        place,
        EvaluateOptions(),
        ranks=ranks,
        metadata={"step": step},
        problems=problems,
    )
    if not complete:
        return None
    if not ranks.first:
        return TrainingScores({}, {})
    predictions = read_parquet(place / PREDICTIONS, problems=problems)
    scores = score_predictions(predictions, annotations, motion=motion, problems=problems)
    write_scores(place, scores, annotations, {"step": str(step), **describe_predictions(predictions)})
    values = {("AP50" if name == "all" else name): v for name, v in scores.as_dict()["AP50"].items()}
    return TrainingScores(values, _pictures(scores, annotations))


def _pictures(scores: Scores, annotations: Annotations) -> dict[str, Image]:
    """Detections in a few annotated frames, evenly spread over the data set; of images only."""
    frames = np.unique(scores.truth.frame)
    chosen = frames[np.linspace(0, len(frames) - 1, min(_PICTURES, len(frames))).astype(int)]
    pictures = {}
    for frame in chosen:
        file = annotations.files[int(frame)].as_py()
        if file is None:
            continue
        found = scores.found.take(np.flatnonzero(scores.found.frame == frame))
        detections = Detections(
            torch.as_tensor(found.xyxy, dtype=torch.float32),
            torch.as_tensor(found.score, dtype=torch.float32),
            torch.as_tensor(found.label),
            annotations.classes,
        )
        shown = detections[detections.scores >= _SHOWN_SCORE]
        pictures[file] = draw_detections(read_frame(annotations, int(frame)), shown)
    return pictures
