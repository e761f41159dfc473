"""Fit REPP's pair model on saved predictions of annotated videos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from megavid.core.errors import InputError
from megavid.core.files.atomic import check_target
from megavid.datasets.open import Source, open_annotations
from megavid.datasets.table.problems import Problems
from megavid.evaluation.formats.parquet_metadata import check_not_linked
from megavid.evaluation.formats.prediction_files import open_predictions
from megavid.evaluation.locate import locate
from megavid.linking.fit_pair_model import FittedPairModel, TrackedBoxes, fit_pair_model, match_tracks
from megavid.linking.pair_model import write_pair_model


def fit_on_predictions(
    sources: Sequence[tuple[Source, Path]], target: Path, *, problems: Problems
) -> FittedPairModel:
    """Fit the pair model (`linking.pair_model`) and write it.

    Args:
        sources: Data sets, whose objects have track ids, each with the predictions of a detector for it.
        target: The file to write (.json); it appears whole or not at all.
        problems: Collects what the data sets or the predictions lack, as in `score_predictions`.

    Raises:
        InputError: A data set or predictions cannot be read or do not fit each other, predictions are linked,
            scikit-learn is not installed, or `target` cannot be written.
    """
    if target.suffix != ".json":
        raise InputError(f"{target}: expected a name that ends in .json")
    check_target(target)
    fitted = fit_pair_model([_tracked_boxes(data, path, problems) for data, path in sources])
    about = {"boxes": fitted.boxes, "accuracy": round(fitted.accuracy, 4)}
    write_pair_model(fitted.model, target, about=about)
    return fitted


def _tracked_boxes(data: Source, predictions: Path, problems: Problems) -> TrackedBoxes:
    """Match predictions to the tracks of their data set."""
    annotations = open_annotations(data, problems=problems)
    table = open_predictions(predictions, annotations, problems=problems)
    check_not_linked(table.metadata, origin=predictions)
    return match_tracks(locate(table, annotations, problems=problems).boxes(table), annotations)
