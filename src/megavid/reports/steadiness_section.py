"""The section of a page that shows how steadily objects are found over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from megavid.evaluation.plots import as_svg, draw_strips
from megavid.evaluation.scores import Scores
from megavid.evaluation.steadiness import MEASURES, NOT_MEASURED, Steadiness
from megavid.evaluation.steadiness_groups import GroupSteadiness, steadiness_by_class, steadiness_by_video
from megavid.evaluation.steadiness_text import (
    NAMES,
    describe_tracks,
    group_cells,
    group_columns,
    steadiness_table,
)

_MOST_GROUPS = 1000
"""Largest number of rows in the tables of classes and videos; `scores.json` lists all of them."""


def steadiness_section(runs: Mapping[str, Scores]) -> dict[str, Any]:
    """Return the variables of the template `steadiness.html.j2`.

    Args:
        runs: Scores of one or two runs on the same data set, by name.

    Returns:
        The content of the section as `steadiness`, or None for it and the reason as `not_measured`.
    """
    measured = {name: run.steadiness for name, run in runs.items() if run.steadiness is not None}
    if len(measured) < len(runs):
        return {"steadiness": None, "not_measured": NOT_MEASURED}
    classes = next(iter(runs.values())).classes
    section = {
        "about": describe_tracks(measured),
        "table": steadiness_table(measured),
        "names": NAMES,
        "meanings": MEASURES,
        "strips": as_svg(draw_strips(measured, classes)),
        "groups": _tables(*measured.values(), classes=classes) if len(measured) == 1 else [],
        "group_columns": group_columns(),
    }
    return {"steadiness": section}


def _tables(steadiness: Steadiness, *, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Return the tables of classes and of videos."""
    kinds: dict[str, list[GroupSteadiness]] = {
        "class": steadiness_by_class(steadiness, classes),
        "video": steadiness_by_video(steadiness),
    }
    return [
        {
            "kind": kind,
            "left_out": max(0, len(groups) - _MOST_GROUPS),
            "rows": [{"name": one.name, "cells": group_cells(one)} for one in groups[:_MOST_GROUPS]],
        }
        for kind, groups in kinds.items()
    ]
