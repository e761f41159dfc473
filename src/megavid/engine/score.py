"""Scoring saved predictions against a data set: no model is run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megavid.core.annotations import NO_TRACK, Annotations
from megavid.core.errors import InputError
from megavid.core.files import atomic_files, atomic_path
from megavid.core.ownership import MADE_BY
from megavid.core.problems import Problems
from megavid.data.motion import motion_iou, read_motion_mat
from megavid.engine.outputs import SCORE_FILES, make_output_folder
from megavid.engine.report import write_comparison as write_comparison_report
from megavid.engine.report import write_report
from megavid.evaluation import AveragePrecision, Boxes, average_precision_by_motion
from megavid.evaluation.coco_metrics import coco_metrics
from megavid.evaluation.locate import locate
from megavid.evaluation.plots import plot_pr_curves
from megavid.evaluation.table import Predictions

_COMPARISON_FILES = ("comparison.json", "comparison.html")


@dataclass(frozen=True, eq=False)
class Scores:
    """How good predictions are.

    Attributes:
        classes: (C,) names.
        results: AP50 by the names of `MOTION_RANGES`; "all" alone where motion is unknown.
        coco: COCO's metrics, where asked for.
        found, truth: What was compared; frames are rows of the data set.
        frames: How many the data set has.
    """

    classes: tuple[str, ...]
    results: Mapping[str, AveragePrecision]
    found: Boxes
    truth: Boxes
    frames: int
    coco: Mapping[str, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """As JSON values; None for NaN."""
        per_class = {
            name: {motion: _number(result.ap[i]) for motion, result in self.results.items()}
            | {"objects": self.results["all"].curves[i].objects, "found": self.results["all"].curves[i].found}
            for i, name in enumerate(self.classes)
        }
        return {
            "AP50": {motion: _number(result.mean) for motion, result in self.results.items()},
            "classes": per_class,
            "coco": {name: _number(value) for name, value in self.coco.items()},
            "frames": self.frames,
            "objects": len(self.truth),
            "found": len(self.found),
        }

    def save(self, path: Path, **about: Any) -> None:
        """Write `as_dict` and what else is to be said as a JSON file.

        Raises:
            InputError: The file cannot be written.
        """
        with atomic_path(path) as aside:
            aside.write_text(json.dumps(MADE_BY | about | self.as_dict(), indent=1) + "\n")


def find_motion(annotations: Annotations, motion: str) -> NDArray[np.float64] | None:
    """The motion IoU of all objects, (M,).

    Args:
        annotations: The data set.
        motion: "auto" computes it where the data set has track ids; "none"; "tracks"; or the path of
            ImageNet VID's official file (`.mat`).

    Returns:
        None where there is none.

    Raises:
        InputError: There are no track ids, or the file is none or of another data set.
    """
    if motion == "none":
        return None
    if motion in {"auto", "tracks"}:
        if len(annotations.tracks) and (annotations.tracks == NO_TRACK).all():
            if motion == "tracks":
                raise InputError(
                    f"{annotations.root}: no object has a track id, so there is no motion to score by; "
                    "use --motion none, or annotations with track ids"
                )
            return None
        return motion_iou(annotations)
    path = Path(motion)
    if path.suffix != ".mat":
        raise InputError(f"motion: expected auto, tracks, none or a .mat file, got {motion!r}")
    return read_motion_mat(path, annotations)


def score_predictions(
    predictions: Predictions,
    annotations: Annotations,
    *,
    motion: NDArray[np.float64] | None,
    coco: bool = False,
    problems: Problems,
) -> Scores:
    """AP50 overall and by motion, per class.

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
    results = average_precision_by_motion(found, truth, motion_iou=motion, ignored=ignored, **size)
    objects: dict[str, Any] = {"crowds": annotations.crowds, "areas": annotations.object_areas}
    metrics = coco_metrics(found, truth, ignored=ignored, **objects, **size) if coco else {}
    return Scores(annotations.classes, results, found, truth, len(annotations), metrics)


def write_scores(
    folder: Path | None, scores: Scores, annotations: Annotations, about: Mapping[str, str]
) -> list[Path]:
    """Write `scores.json`, `pr_curves.png` and `report.html`; nothing without a folder.

    Args:
        folder: Where; made if missing.
        scores: What to write.
        annotations: The data set, for pictures of its frames.
        about: What was scored, for the reader.

    Raises:
        InputError: The folder cannot be written to.
    """
    if folder is None:
        return []
    make_output_folder(folder)
    with atomic_files(folder, SCORE_FILES) as aside:
        table, curves, page = (aside / name for name in SCORE_FILES)
        scores.save(table, **about)
        plot_pr_curves(scores.results, scores.classes, curves)
        write_report(
            page,
            annotations=annotations,
            found=scores.found,
            truth=scores.truth,
            results=scores.results,
            about=about,
            coco=scores.coco,
        )
    return [folder / name for name in SCORE_FILES]


def write_comparison(
    folder: Path | None, scores: tuple[Scores, Scores], names: tuple[str, str], about: Mapping[str, str]
) -> list[Path]:
    """Write `comparison.json` and `comparison.html`; nothing without a folder.

    Raises:
        InputError: The folder cannot be written to.
    """
    if folder is None:
        return []
    make_output_folder(folder)
    one, two = scores
    with atomic_files(folder, _COMPARISON_FILES) as aside:
        table, page = (aside / name for name in _COMPARISON_FILES)
        both = {name: s.as_dict() for name, s in zip(names, scores, strict=True)}
        table.write_text(json.dumps({**MADE_BY, **about, "scores": both}, indent=1) + "\n")
        write_comparison_report(
            page,
            classes=one.classes,
            results=(one.results, two.results),
            about={"A": names[0], "B": names[1], **about},
        )
    return [folder / name for name in _COMPARISON_FILES]


def describe(predictions: Predictions) -> dict[str, str]:
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


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
