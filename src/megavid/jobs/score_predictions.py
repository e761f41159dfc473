"""Scoring saved predictions against a data set: no model is run."""

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
from megavid.evaluation.locate import locate
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
    """Score predictions, and find out what explains the scores.

    Args:
        predictions: What was detected.
        annotations: The data set.
        motion: Of each object, (M,), from `find_motion`.
        coco: COCO's metrics, too.
        problems: Where rows and frames go that the other side lacks.

    Raises:
        InputError: The data set is empty, or see `problems`.
    """
    if len(annotations) == 0:
        raise InputError(f"{annotations.root}: the data set has no frames")
    located = locate(predictions, annotations, problems=problems)
    found = Boxes(
        located.frame, predictions.boxes[located.rows], located.label, predictions.scores[located.rows]
    )
    truth = Boxes(annotations.box_frames, annotations.boxes, annotations.labels)
    size: dict[str, Any] = {"num_frames": len(annotations), "num_classes": len(annotations.classes)}
    ignored = annotations.difficult
    results, samples, outcomes = _by_motion(found, truth, annotations, motion)
    errors = find_errors(found, truth, num_frames=len(annotations), ignored=ignored)
    areas = annotations.object_areas
    metrics = {"crowds": annotations.crowds, "areas": areas, "ignored": ignored, **size}
    video_ap = ap_by_video(outcomes, annotations.video, num_videos=len(annotations.videos))
    return Scores(
        classes=annotations.classes,
        results=results,
        samples=samples,
        sizes=average_precision_by_size(found, truth, areas=areas, ignored=ignored, **size),
        videos=rank_videos(annotations.videos, annotations.video, video_ap, truth, errors),
        best=best_f1(outcomes),
        class_best=tuple(best_f1([one]) for one in outcomes),
        errors=errors,
        confusion=confusion_matrix(
            found, truth, errors, classes=annotations.classes, num_frames=len(annotations)
        ),
        found=found,
        truth=truth,
        frames=len(annotations),
        coco=coco_metrics(found, truth, **metrics) if coco else {},
    )


_Drawn = tuple[NDArray[np.float64], NDArray[np.bool_]]
"""AP50 in resamples, (R,), and which videos have objects, (V,)."""


def _by_motion(
    found: Boxes, truth: Boxes, annotations: Annotations, motion: NDArray[np.float64] | None
) -> tuple[dict[str, AveragePrecision], dict[str, ResampledAP], list[Outcomes]]:
    """AP50 by motion, the same in resamples of the videos, and the outcomes of each class overall."""
    frames = len(annotations)
    selections = select_by_motion(truth, num_frames=frames, motion_iou=motion, ignored=annotations.difficult)
    resamples = draw_videos(annotations.video)

    def reduce(outcomes: list[Outcomes]) -> tuple[list[Curve], list[_Drawn], Outcomes]:
        drawn: list[_Drawn] = []
        if resamples is not None:
            drawn = [(resample_ap(one, resamples), resamples.objects(one) > 0) for one in outcomes]
        return [Curve.of(one) for one in outcomes], drawn, outcomes[list(selections).index("all")]

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
            ap, has_objects = zip(*(drawn[i] for _, drawn, _ in parts), strict=True)
            samples[name] = ResampledAP(np.stack(ap, axis=1), np.stack(has_objects))
    return results, samples, [outcomes for _, _, outcomes in parts]


def describe_predictions(predictions: PredictionTable) -> dict[str, str]:
    """What made predictions, as far as their file says, and what scores them, for the reader of a report."""
    told = predictions.metadata
    about = {"predictions": str(predictions.origin)}
    if "config" in told:
        method, backbone = (told["config"].get(part, {}) for part in ("method", "backbone"))
        trunk = backbone.get("timm") or f"ResNet-{backbone.get('depth', '?')}"
        about["model"] = f"{method.get('name', '?')}, {trunk}"
    for key in ("weights", "weights_sha256"):
        if told.get(key) is not None:
            about[key] = told[key]
    about["scored"] = f"{date.today()}, megavid {version('megavid')}"
    return about
