"""The page of an evaluation: scores, plots, and pictures of the frames with the most errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from megavid.core.files.atomic import atomic_path
from megavid.datasets.table.annotations import Annotations
from megavid.evaluation.by_size import SIZES
from megavid.evaluation.error_analysis import KINDS
from megavid.evaluation.number_text import COLUMNS
from megavid.evaluation.plots import (
    as_png,
    as_svg,
    draw_ap_bars,
    draw_confusion,
    draw_error_bars,
    draw_pr_curves,
)
from megavid.evaluation.scores import Scores
from megavid.reports.error_pictures import ErrorPicture, draw_errors
from megavid.reports.page_templates import render_page
from megavid.reports.steadiness_section import steadiness_section
from megavid.reports.worst_frames import worst_frames

_PICTURES = 12

_MOST_VIDEOS = 1000
"""Largest number of rows in the table of videos; `scores.json` lists all videos."""


def write_evaluation_page(
    path: Path, *, annotations: Annotations, scores: Scores, about: Mapping[str, str]
) -> None:
    """Write the report of an evaluation as an HTML file.

    Args:
        path: The file to write; it appears whole or not at all.
        annotations: The data set. A frame that cannot be read is shown without its picture.
        scores: Scores of the predictions.
        about: Names and texts for the head of the page.

    Raises:
        InputError: The file cannot be written.
    """
    errors = scores.errors.per_frame.sum(axis=1)
    frames = worst_frames(annotations, errors, count=_PICTURES)
    pictures = [draw_errors(annotations, frame, scores) for frame in frames]
    page = _render(scores, about, pictures)
    with atomic_path(path) as aside:
        aside.write_text(page, "utf-8")


def _render(scores: Scores, about: Mapping[str, str], pictures: list[ErrorPicture]) -> str:
    plots = {
        "AP50 of each class": ("image/svg+xml", as_svg(draw_ap_bars(scores.results, scores.classes))),
        "Precision and recall": ("image/svg+xml", as_svg(draw_pr_curves(scores.results, scores.classes))),
        "Confusion": ("image/png", as_png(draw_confusion(scores.confusion))),
        "Errors by kind": ("image/svg+xml", as_svg(draw_error_bars(scores.errors.totals))),
    }
    return render_page(
        "evaluation_page.html.j2",
        about=about,
        scores=scores,
        columns=[COLUMNS[motion] for motion in scores.results],
        sizes=list(SIZES),
        rows=list(_rows(scores)),
        intervals=[scores.interval(motion) for motion in scores.results],
        plots=plots,
        pictures=pictures,
        kinds=KINDS,
        most_videos=_MOST_VIDEOS,
        **steadiness_section({"": scores}),
    )


def _rows(scores: Scores) -> Iterator[dict[str, Any]]:
    """Iterate over the rows of the table: one for each class, and one for the mean over classes."""
    for label, name in [*enumerate(scores.classes), (None, "mean")]:
        curves = [curve for i, curve in enumerate(scores.results["all"].curves) if label in {i, None}]
        yield {
            "name": name,
            "values": [scores.ap(motion, label) for motion in scores.results],
            "interval": scores.interval("all", label),
            "sizes": [result.of(label) for result in scores.sizes.values()],
            "best": scores.best if label is None else scores.class_best[label],
            "objects": sum(curve.objects for curve in curves),
            "found": sum(curve.found for curve in curves),
        }
