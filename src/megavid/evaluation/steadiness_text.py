"""Format measures of steadiness for tables, on the terminal and in reports."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from megavid.evaluation.bootstrap import Interval, percentile_interval
from megavid.evaluation.comparison import steadiness_differences
from megavid.evaluation.number_text import percent, percent_interval
from megavid.evaluation.steadiness import Steadiness
from megavid.evaluation.steadiness_groups import GroupSteadiness

NAMES = {
    "flickers": "flickers per 100 frames",
    "class_switches": "class switches per track",
    "fragments": "fragments per track",
    "found": "frames found, %",
    "longest_gap": "longest gap, frames",
    "center_jitter": "center jitter, %",
    "size_jitter": "size jitter, %",
    "interpolated": "found by interpolation only, %",
}
"""What each of `MEASURES` is called in tables."""

SHORT_NAMES = {
    "flickers": "flickers",
    "class_switches": "switches",
    "fragments": "fragments",
    "found": "found, %",
    "longest_gap": "gap",
    "center_jitter": "center, %",
    "size_jitter": "size, %",
    "interpolated": "interp., %",
}
"""What each of `MEASURES` is called in tables with a column for each of them."""

_SHARES = {"found", "center_jitter", "size_jitter", "interpolated"}


@dataclass(frozen=True)
class SteadinessTable:
    """The table of steadiness as text.

    Attributes:
        columns: Headings of the columns with numbers: the names of the runs, for two runs A and B also "B-A",
            and "interval", for the single run or the difference, if the tracks are in more than one video.
        rows: Cells of each measure, keyed by the names in `MEASURES`.
        never_found: Cells of the row with the number of tracks that are never found.
        thresholds: Cells of the row with the score thresholds.
    """

    columns: tuple[str, ...]
    rows: Mapping[str, tuple[str, ...]]
    never_found: tuple[str, ...]
    thresholds: tuple[str, ...]


def steadiness_table(runs: Mapping[str, Steadiness]) -> SteadinessTable:
    """Format the steadiness of one or two runs.

    Args:
        runs: Steadiness of the runs, by name.
    """
    columns, steadiness = [*runs], [*runs.values()]
    values = [one.measures() for one in steadiness]
    rows = {name: [measure_text(name, of_run[name]) for of_run in values] for name in NAMES}
    never_found = [str(one.never_found) for one in steadiness]
    if len(runs) == 2:
        differences = steadiness_differences(*steadiness)
        columns.append(f"{columns[1]}-{columns[0]}")
        for name, row in rows.items():
            row.append(measure_text(name, differences[name].value, "+"))
        never_found.append(f"{steadiness[1].never_found - steadiness[0].never_found:+d}")
        intervals = {name: one.interval for name, one in differences.items()}
    else:
        samples = steadiness[0].samples() or {}
        intervals = {name: percentile_interval(values) for name, values in samples.items()}
    if any(interval is not None for interval in intervals.values()):
        columns.append("interval")
        for name, row in rows.items():
            row.append(_interval_text(name, intervals[name], "+" if len(runs) == 2 else ""))
    thresholds = ["-" if one.score_threshold is None else f"{one.score_threshold:.3f}" for one in steadiness]
    for cells in (never_found, thresholds):
        cells.extend([""] * (len(columns) - len(cells)))
    texts = {name: tuple(row) for name, row in rows.items()}
    return SteadinessTable(tuple(columns), texts, tuple(never_found), tuple(thresholds))


def group_columns(measures: Iterable[str] = SHORT_NAMES) -> tuple[str, ...]:
    """Return the headings of the cells of `group_cells`."""
    return "tracks", "frames", "never found", *(SHORT_NAMES[name] for name in measures)


def group_cells(group: GroupSteadiness, measures: Iterable[str] = SHORT_NAMES) -> tuple[str, ...]:
    """Format the steadiness of a class or video for a row of a table.

    Args:
        group: Steadiness of the class or video.
        measures: Measures to show, names in `MEASURES`.
    """
    counts = (group.tracks, group.track_frames, group.never_found)
    return *map(str, counts), *(measure_text(name, group.measures[name]) for name in measures)


def describe_tracks(runs: Mapping[str, Steadiness]) -> str:
    """Describe in words what was measured, and at which thresholds.

    Args:
        runs: Steadiness of one or two runs, by name.
    """
    counts: dict[str, list[str]] = {}
    for name, one in runs.items():
        tracks, frames = len(one), len(one.state)
        words = f"{tracks} track{'s' * (tracks != 1)} with {frames} frame{'s' * (frames != 1)} in all"
        counts.setdefault(words, []).append(name)
    text = "; ".join(
        words if len(counts) == 1 else f"{words} ({', '.join(names)})" for words, names in counts.items()
    )
    whose = "each run" if len(runs) > 1 else "the run"
    text += f"; detections with a score above the threshold where {whose} has its best F1"
    if any(one.score_threshold is None for one in runs.values()):
        text += ", or none if no detection is a hit"
    return text


def measure_text(name: str, value: float, sign: str = "") -> str:
    """Format a measure, shares in percent; "-" for NaN.

    Args:
        name: Name of the measure, one of `MEASURES`.
        value: The measure.
        sign: "+" to put a plus sign before positive numbers.
    """
    if name in _SHARES:
        return percent(value, sign)
    return "-" if math.isnan(value) else f"{value:{sign}.2f}"


def _interval_text(name: str, interval: Interval | None, sign: str) -> str:
    if name in _SHARES or interval is None:
        return percent_interval(interval, sign)
    return f"{interval.low:{sign}.2f} to {interval.high:{sign}.2f}"
