"""Write scores to a folder: JSON, plots and HTML pages."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from megavid.core.files.atomic import atomic_files
from megavid.core.files.ownership import MADE_BY
from megavid.datasets.table.annotations import Annotations
from megavid.evaluation.comparison import Difference, difference, steadiness_differences, verdict
from megavid.evaluation.plots import plot_confusion, plot_pr_curves
from megavid.evaluation.scores import Scores, interval_as_list
from megavid.jobs.output_folder import SCORE_FILES, make_output_folder
from megavid.reports.comparison_page import write_comparison_page
from megavid.reports.evaluation_page import write_evaluation_page

_COMPARISON_FILES = ("comparison.json", "comparison.html")


def write_scores(
    folder: Path | None, scores: Scores, annotations: Annotations, about: Mapping[str, str]
) -> list[Path]:
    """Write `scores.json`, `pr_curves.png`, `confusion.png` and `report.html`.

    Args:
        folder: Output folder, made if missing; None to write nothing.
        scores: Scores of the predictions.
        annotations: The data set, for pictures of its frames.
        about: Names and texts for the head of the report.

    Returns:
        Paths of the files.

    Raises:
        InputError: The folder cannot be written to.
    """
    if folder is None:
        return []
    make_output_folder(folder)
    with atomic_files(folder, SCORE_FILES) as aside:
        table, curves, confusion, page = (aside / name for name in SCORE_FILES)
        _write_json(table, {**about, **scores.as_dict()})
        plot_pr_curves(scores.results, scores.classes, curves)
        plot_confusion(scores.confusion, confusion)
        write_evaluation_page(page, annotations=annotations, scores=scores, about=about)
    return [folder / name for name in SCORE_FILES]


def write_comparison(
    folder: Path | None, scores: tuple[Scores, Scores], names: tuple[str, str], about: Mapping[str, str]
) -> list[Path]:
    """Write `comparison.json` and `comparison.html`.

    Args:
        folder: Output folder, made if missing; None to write nothing.
        scores: Scores of two runs on the same data set.
        names: Names of the two runs.
        about: Names and texts for the head of the page.

    Returns:
        Paths of the files.

    Raises:
        InputError: The folder cannot be written to.
    """
    if folder is None:
        return []
    make_output_folder(folder)
    one, two = scores
    both = {name: s.as_dict() for name, s in zip(names, scores, strict=True)}
    differences = {motion: difference(one, two, motion) for motion in one.results}
    steadier = {}
    if one.steadiness is not None and two.steadiness is not None:
        steadier = steadiness_differences(one.steadiness, two.steadiness)
    content = {
        **about,
        "difference": {motion: _as_dict("AP50", d) for motion, d in differences.items()},
        "steadiness_difference": {name: _as_dict("value", d) for name, d in steadier.items()},
    }
    words = verdict(differences["all"], videos=len(one.videos))
    with atomic_files(folder, _COMPARISON_FILES) as aside:
        table, page = (aside / name for name in _COMPARISON_FILES)
        _write_json(table, {**content, "verdict": words, "scores": both})
        write_comparison_page(
            page, scores=scores, about={"A": names[0], "B": names[1], **about}, verdict=words
        )
    return [folder / name for name in _COMPARISON_FILES]


def _as_dict(name: str, difference: Difference) -> dict[str, Any]:
    value = None if np.isnan(difference.value) else difference.value
    return {name: value, "interval": interval_as_list(difference.interval)}


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps({**MADE_BY, **content}, indent=1) + "\n", "utf-8")
