"""The report of an evaluation: one HTML file that needs nothing else."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources

import jinja2
import numpy as np

from megavid.evaluation.errors import KINDS
from megavid.evaluation.plots import as_svg, draw_ap_bars, draw_error_bars, draw_pr_curves
from megavid.evaluation.scoring import AveragePrecision

COLUMNS = {"all": "AP50", "fast": "fast", "medium": "med", "slow": "slow"}
"""Heads of the table's columns."""


@dataclass(frozen=True)
class Picture:
    """A frame with what went wrong in it.

    Attributes:
        caption: Which frame, and its errors.
        jpeg: None if the frame cannot be read.
    """

    caption: str
    jpeg: bytes | None


@dataclass(frozen=True)
class VideoErrors:
    """A video with many errors.

    Attributes:
        name: Of the video.
        frames, objects: How many it has.
        errors: How many of each of `KINDS`.
        pictures: Of its worst frames.
    """

    name: str
    frames: int
    objects: int
    errors: Mapping[str, int]
    pictures: Sequence[Picture]


@dataclass(frozen=True, eq=False)
class Report:
    """What a report shows.

    Attributes:
        classes: (C,) names.
        about: What was scored: names and texts.
        results: AP50 by motion.
        errors: How many of each of `KINDS`; none for a comparison.
        videos: The worst, worst first.
        coco: COCO's metrics, where asked for.
        other: The results of a second run to compare with; `results` are then those of the first.
    """

    classes: Sequence[str]
    about: Mapping[str, str]
    results: Mapping[str, AveragePrecision]
    errors: Mapping[str, int] = field(default_factory=dict)
    videos: Sequence[VideoErrors] = ()
    coco: Mapping[str, float] = field(default_factory=dict)
    other: Mapping[str, AveragePrecision] | None = None


def render_report(report: Report) -> str:
    """The page as HTML."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters["percent"] = _percent
    environment.filters["data_uri"] = _data_uri
    template = environment.from_string(_template())
    results, other = report.results, report.other
    rows = []
    for i, name in enumerate((*report.classes, "mean")):
        ours = [_value(result, i) for result in results.values()]
        theirs = [_value(result, i) for result in other.values()] if other else []
        curve = results["all"].curves[i] if i < len(report.classes) else None
        rows.append({"name": name, "values": ours, "others": theirs, "curve": curve})
    plots = (
        {}
        if other
        else {
            "AP50 of each class": as_svg(draw_ap_bars(results, report.classes)),
            "Precision and recall": as_svg(draw_pr_curves(results, report.classes)),
        }
    )
    return template.render(
        report=report,
        columns=[COLUMNS[motion] for motion in results],
        rows=rows,
        plots=plots,
        error_plot=as_svg(draw_error_bars(report.errors)) if report.errors else None,
        kinds=KINDS,
    )


def _template() -> str:
    return (resources.files("megavid") / "evaluation" / "report.html.j2").read_text("utf-8")


def _value(result: AveragePrecision, row: int) -> float:
    return float(result.ap[row]) if row < len(result.curves) else result.mean


def _percent(value: float, sign: str = "") -> str:
    return "-" if np.isnan(value) else f"{100 * value:{sign}.2f}"


def _data_uri(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
