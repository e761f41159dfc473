"""Evaluate a detector during its training."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from megavid.core.detections import Detections
from megavid.core.frames import Image
from megavid.datasets.frame_reader import read_frame
from megavid.datasets.table.annotations import Annotations
from megavid.evaluation.formats.parquet_table import read_parquet
from megavid.evaluation.scores import Scores
from megavid.jobs.detect_in_data_set import EvaluateOptions, detect_in_data_set
from megavid.jobs.executors.ranks import Ranks
from megavid.jobs.output_folder import PREDICTIONS, make_output_folder
from megavid.jobs.score_predictions import describe_predictions, score_predictions
from megavid.jobs.write_scores import write_scores
from megavid.models.acceleration.device_memory import translate_memory_errors
from megavid.models.base.video_detector import VideoDetector
from megavid.training.clips.training_data import TrainingData
from megavid.video.render import draw_detections

EVALUATIONS = "evaluations"
_PICTURES, _SHOWN_SCORE = 4, 0.5


@dataclass(frozen=True, eq=False)
class TrainingScores:
    """Scores of the detector after a training step.

    Attributes:
        values: AP50 in 0 .. 1, for all objects and by speed of motion; None where nothing is annotated.
        pictures: Frames on which detections are drawn, by file name.
    """

    values: Mapping[str, Any]
    pictures: Mapping[str, Image]


def evaluate_while_training(
    detector: VideoDetector,
    data: TrainingData,
    folder: Path,
    *,
    step: int,
    ranks: Ranks,
) -> TrainingScores | None:
    """Score the detector on the validation data.

    Predictions and scores are written to `evaluations/step_NNNNNNNN` in the run's folder.

    Args:
        detector: Detector in evaluation mode.
        data: Data of the run, with a validation set.
        folder: Folder of the run.
        step: Number of steps done.
        ranks: Rank of this process among those of the run.

    Returns:
        The scores in the first process, and empty scores in the other processes; None if the user asked to
            stop.
    """
    assert data.val is not None
    place = folder / EVALUATIONS / f"step_{step:08d}"
    if ranks.first:
        make_output_folder(folder / EVALUATIONS)
        shutil.rmtree(place, ignore_errors=True)  # a killed run may have left part of an evaluation
    ranks.wait()
    full = (
        f"the device's memory is full in the evaluation after step {step}, with one frame at a time; "
        "checkpoints are kept. Continue with --resume where more memory is free, or begin again with a "
        "smaller input.max_size"
    )
    with translate_memory_errors(full):
        complete = detect_in_data_set(
            detector,
            data.val,
            place,
            EvaluateOptions(),
            ranks=ranks,
            metadata={"step": step},
            problems=data.problems,
        )
    if not complete:
        return None
    return _score(data.val, data, place, step=step) if ranks.first else TrainingScores({}, {})


def _score(annotations: Annotations, data: TrainingData, place: Path, *, step: int) -> TrainingScores:
    """Score the predictions in a folder, and write the scores to the same folder."""
    predictions = read_parquet(place / PREDICTIONS, problems=data.problems)
    scores = score_predictions(predictions, annotations, motion=data.motion, problems=data.problems)
    write_scores(place, scores, annotations, {"step": str(step), **describe_predictions(predictions)})
    values = {("AP50" if name == "all" else name): v for name, v in scores.as_dict()["AP50"].items()}
    return TrainingScores(values, _pictures(scores, annotations))


def _pictures(scores: Scores, annotations: Annotations) -> dict[str, Image]:
    """Draw detections on a few annotated frames, which are spread evenly over the data set."""
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
