"""Format measures of steadiness for tables, on the terminal and in reports."""

from __future__ import annotations

import math
from collections.abc import Mapping

from megavid.evaluation.bootstrap import Interval, percentile_interval
from megavid.evaluation.comparison import steadiness_differences
from megavid.evaluation.number_text import percent, percent_interval
from megavid.evaluation.steadiness import Steadiness

HEADINGS = {
    "flickers": "flickers",
    "class_switches": "class switches",
    "fragments": "fragments",
    "found": "found %",
    "longest_gap": "longest gap",
    "center_jitter": "center jitter %",
    "size_jitter": "size jitter %",
}
"""Heading of the column for each of `MEASURES`."""

_SHARES = {"found", "center_jitter", "size_jitter"}


def steadiness_columns() -> list[str]:
    """Return the headings of all columns of the table of steadiness."""
    return ["scores above", *HEADINGS.values(), "never found"]


def steadiness_rows(runs: Mapping[str, Steadiness]) -> dict[str, list[str]]:
    """Return the cells of the table of steadiness, keyed by the names of the rows.

    Args:
        runs: Steadiness of one or two runs, by name.

    Returns:
        A row for each run; for two runs A and B, a row "B-A" with their difference; and a row "interval" for
        the single run or the difference, if the tracks are in more than one video.
    """
    rows = {name: _row(steadiness) for name, steadiness in runs.items()}
    one, *others = runs.values()
    if others:
        [two] = others
        a, b = runs
        differences = steadiness_differences(one, two)
        never = f"{two.never_found - one.never_found:+d}"
        rows[f"{b}-{a}"] = ["", *(_text(name, d.value, "+") for name, d in differences.items()), never]
        intervals = {name: d.interval for name, d in differences.items()}
    else:
        intervals = {name: percentile_interval(x) for name, x in (one.samples() or {}).items()}
    if any(interval is not None for interval in intervals.values()):
        sign = "+" if others else ""
        rows["interval"] = ["", *(_interval_text(name, i, sign) for name, i in intervals.items()), ""]
    return rows


def describe_tracks(steadiness: Steadiness) -> str:
    """Describe in words what was measured, and at which threshold."""
    tracks, frames = len(steadiness), len(steadiness.state)
    measured = f"{tracks} track{'s' * (tracks != 1)} with {frames} frame{'s' * (frames != 1)} in all"
    if steadiness.score_threshold is None:
        return f"{measured}; no detection is a hit, so there is no threshold"
    return f"{measured}, at scores above {steadiness.score_threshold:.3f}, where the run has its best F1"


def _row(steadiness: Steadiness) -> list[str]:
    threshold, values = steadiness.score_threshold, steadiness.measures()
    measures = [_text(name, values[name]) for name in HEADINGS]
    return ["-" if threshold is None else f"{threshold:.3f}", *measures, str(steadiness.never_found)]


def _text(name: str, value: float, sign: str = "") -> str:
    if name in _SHARES:
        return percent(value, sign)
    return "-" if math.isnan(value) else f"{value:{sign}.2f}"


def _interval_text(name: str, interval: Interval | None, sign: str) -> str:
    if name in _SHARES or interval is None:
        return percent_interval(interval, sign)
    return f"{interval.low:{sign}.2f} to {interval.high:{sign}.2f}"
