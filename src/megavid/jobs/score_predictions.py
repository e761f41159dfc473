"""Score saved predictions against a data set."""

from __future__ import annotations

from datetime import date
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megavid.core.errors import InputError
from megavid.datasets.table.annotations import Annotations
from megavid.datasets.table.problems import Problems
from megavid.evaluation import AveragePrecision, Boxes
from megavid.evaluation.best_f1 import best_f1
from megavid.evaluation.bootstrap import ResampledAP, draw_videos, resample_ap
from megavid.evaluation.by_size import average_precision_by_size
from megavid.evaluation.by_video import ap_by_video
from megavid.evaluation.coco_metrics import coco_metrics
from megavid.evaluation.confusion import confusion_matrix
from megavid.evaluation.error_analysis import find_errors
from megavid.evaluation.locate import detected_frames, locate
from megavid.evaluation.measure_steadiness import measure_steadiness
from megavid.evaluation.outcomes import Outcomes, outcomes_by_class
from megavid.evaluation.prediction_table import PredictionTable
from megavid.evaluation.scores import Scores, rank_videos
from megavid.evaluation.scoring import Curve, select_by_motion


def score_predictions(
    predictions: PredictionTable,
    annotations: Annotations,
    *,
    motion: NDArray[np.float64] | None,
    coco: bool = False,
    problems: Problems,
) -> Scores:
    """Score predictions and analyze their errors.

    Args:
        predictions: Predictions of the data set's videos.
        annotations: The data set, M objects.
        motion: (M,), motion IoU of each object from `find_motion`; if None, there are no scores by motion.
        coco: Whether to compute COCO's metrics, too.
        problems: Collects videos, frames and classes that only the predictions or only the data set has.

    Raises:
        InputError: The data set is empty, or `problems` does not skip what it collects.
    """
    if len(annotations) == 0:
        raise InputError(f"{annotations.root}: the data set has no frames")
    located = locate(predictions, annotations, problems=problems)
    found = located.boxes(predictions)
    truth = Boxes(annotations.box_frames, annotations.boxes, annotations.labels)
    frames, ignored, areas = len(annotations), annotations.difficult, annotations.object_areas
    size: dict[str, Any] = {"num_frames": frames, "num_classes": len(annotations.classes)}
    results, samples, outcomes = _score_by_motion(found, truth, annotations, motion)
    errors = find_errors(found, truth, num_frames=frames, ignored=ignored)
    metrics = {"crowds": annotations.crowds, "areas": areas, "ignored": ignored, **size}
    best = best_f1(outcomes)
    video_ap = ap_by_video(outcomes, annotations.video, num_videos=len(annotations.videos))
    return Scores(
        classes=annotations.classes,
        results=results,
        samples=samples,
        sizes=average_precision_by_size(found, truth, areas=areas, ignored=ignored, **size),
        videos=rank_videos(annotations.videos, annotations.video, video_ap, truth, errors),
        best=best,
        class_best=tuple(best_f1([one]) for one in outcomes),
        errors=errors,
        confusion=confusion_matrix(found, truth, errors, classes=annotations.classes, num_frames=frames),
        steadiness=measure_steadiness(
            found,
            truth,
            annotations,
            score_threshold=None if best is None else best.score_threshold,
            detected=detected_frames(predictions, annotations),
            interpolated=None if predictions.interpolated is None else predictions.interpolated[located.rows],
        ),
        found=found,
        truth=truth,
        frames=frames,
        coco=coco_metrics(found, truth, **metrics) if coco else {},
    )


def describe_predictions(predictions: PredictionTable) -> dict[str, str]:
    """Describe the model and weights that a predictions file records, for the head of a report."""
    metadata = predictions.metadata
    about = {"predictions": str(predictions.origin)}
    method = metadata.get("config", {}).get("method", {}).get("name")
    model = [str(name) for name in (method, metadata.get("architecture")) if name is not None]
    if model:
        about["model"] = ", ".join(model)
    if metadata.get("linking") is not None:
        about["linked"] = ", ".join(f"{key} {value}" for key, value in metadata["linking"].items())
    for key in ("weights", "weights_sha256"):
        if metadata.get(key) is not None:
            about[key] = metadata[key]
    about["scored"] = f"{date.today()}, megavid {version('megavid')}"
    return about


_Resampled = tuple[NDArray[np.float64], NDArray[np.bool_]]
"""AP50 of a class in each resample, (R,), and which videos have objects of the class, (V,)."""


def _score_by_motion(
    found: Boxes, truth: Boxes, annotations: Annotations, motion: NDArray[np.float64] | None
) -> tuple[dict[str, AveragePrecision], dict[str, ResampledAP], list[Outcomes]]:
    """Compute AP50 by motion, AP50 in resamples, and each class's outcomes for objects of any motion."""
    frames = len(annotations)
    selections = select_by_motion(truth, num_frames=frames, motion_iou=motion, ignored=annotations.difficult)
    resamples = draw_videos(annotations.video)

    def reduce(outcomes: list[Outcomes]) -> tuple[list[Curve], list[_Resampled], Outcomes]:
        resampled: list[_Resampled] = []
        if resamples is not None:
            resampled = [(resample_ap(one, resamples), resamples.objects(one) > 0) for one in outcomes]
        return [Curve.of(one) for one in outcomes], resampled, outcomes[list(selections).index("all")]

    parts = outcomes_by_class(
        found,
        truth,
        list(selections.values()),
        reduce,
        num_frames=frames,
        num_classes=len(annotations.classes),
    )
    results, samples = {}, {}
    for i, name in enumerate(selections):
        results[name] = AveragePrecision(tuple(curves[i] for curves, _, _ in parts))
        if parts and resamples is not None:
            ap, has_objects = zip(*(resampled[i] for _, resampled, _ in parts), strict=True)
            samples[name] = ResampledAP(np.stack(ap, axis=1), np.stack(has_objects))
    return results, samples, [outcomes for _, _, outcomes in parts]
