"""The section of a page that shows how steadily objects are found over time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from megavid.evaluation.plots import as_svg, draw_strips
from megavid.evaluation.scores import Scores
from megavid.evaluation.steadiness import MEASURES, NOT_MEASURED
from megavid.evaluation.steadiness_text import NAMES, describe_tracks, steadiness_table


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
    }
    return {"steadiness": section}
