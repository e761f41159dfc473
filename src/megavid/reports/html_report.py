"""The report of an evaluation: one HTML file that needs nothing else."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import jinja2

from megavid.core.text import printable
from megavid.evaluation.bootstrap import LEVEL, RESAMPLES
from megavid.evaluation.by_size import SIZES
from megavid.evaluation.comparison import difference
from megavid.evaluation.error_analysis import KINDS
from megavid.evaluation.number_text import COLUMNS, percent, percent_interval
from megavid.evaluation.plots import (
    as_png,
    as_svg,
    draw_ap_bars,
    draw_confusion,
    draw_error_bars,
    draw_pr_curves,
)
from megavid.evaluation.scores import Scores

_MOST_VIDEOS = 1000
"""Rows of the table of videos; `scores.json` has all."""


@dataclass(frozen=True)
class Picture:
    """A frame with what went wrong in it.

    Attributes:
        caption: Which frame, and its errors.
        jpeg: None if the frame cannot be read.
    """

    caption: str
    jpeg: bytes | None


def render_report(scores: Scores, *, about: Mapping[str, str], pictures: Sequence[Picture]) -> str:
    """Render the page of a run as HTML.

    Args:
        scores: What was scored.
        about: Names and texts that say what it is of.
        pictures: Frames in which much went wrong.
    """
    plots = {
        "AP50 of each class": ("image/svg+xml", as_svg(draw_ap_bars(scores.results, scores.classes))),
        "Precision and recall": ("image/svg+xml", as_svg(draw_pr_curves(scores.results, scores.classes))),
        "Confusion": ("image/png", as_png(draw_confusion(scores.confusion))),
        "Errors by kind": ("image/svg+xml", as_svg(draw_error_bars(scores.errors.totals))),
    }
    return _render(
        "report.html.j2",
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
    )


def render_comparison(one: Scores, two: Scores, *, about: Mapping[str, str], verdict: str) -> str:
    """Render two runs side by side as HTML.

    Args:
        one, two: What was scored, of the same data set.
        about: Names and texts that say what they are of.
        verdict: What their difference means.
    """
    rows = []
    for label, name in [*enumerate(one.classes), (None, "mean")]:
        values = [
            (_ap(one, motion, label), _ap(two, motion, label), difference(one, two, motion, label))
            for motion in one.results
        ]
        rows.append({"name": name, "values": values})
    return _render(
        "comparison.html.j2",
        about=about,
        scores=one,
        columns=[COLUMNS[motion] for motion in one.results],
        rows=rows,
        verdict=verdict,
    )


def _render(template: str, **values: Any) -> str:
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        loader=jinja2.FunctionLoader(_source),
    )
    environment.filters |= {
        "percent": percent,
        "interval": percent_interval,
        "data_uri": _data_uri,
        "plain": lambda text: printable(str(text), limit=300),
    }
    return environment.get_template(template).render(level=LEVEL, resamples=RESAMPLES, **values)


def _source(name: str) -> str:
    return (resources.files("megavid") / "reports" / name).read_text("utf-8")


def _rows(scores: Scores) -> Iterator[dict[str, Any]]:
    """A row a class, and one of their mean."""
    for label, name in [*enumerate(scores.classes), (None, "mean")]:
        curves = [curve for i, curve in enumerate(scores.results["all"].curves) if label in {i, None}]
        yield {
            "name": name,
            "values": [_ap(scores, motion, label) for motion in scores.results],
            "interval": scores.interval("all", label),
            "sizes": [
                result.mean if label is None else float(result.ap[label]) for result in scores.sizes.values()
            ],
            "best": scores.best if label is None else scores.class_best[label],
            "objects": sum(curve.objects for curve in curves),
            "found": sum(curve.found for curve in curves),
        }


def _ap(scores: Scores, motion: str, label: int | None) -> float:
    result = scores.results[motion]
    return result.mean if label is None else float(result.ap[label])


def _data_uri(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
