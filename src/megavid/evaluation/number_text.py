"""Format scores for tables, on the terminal and in reports."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from megavid.evaluation.bootstrap import Interval

COLUMNS = {"all": "AP50", "fast": "fast", "medium": "med", "slow": "slow"}
"""Heading of the column for each of `MOTION_RANGES`."""


def percent(value: float, sign: str = "") -> str:
    """Format a share in percent; "-" for NaN.

    Args:
        value: The share.
        sign: "+" to put a plus sign before positive numbers.
    """
    return "-" if math.isnan(value) else f"{100 * value:{sign}.2f}"


def percent_interval(interval: Interval | None, sign: str = "") -> str:
    """Format an interval of shares in percent; "-" for None. See `percent` for `sign`."""
    return "-" if interval is None else f"{100 * interval.low:{sign}.1f} to {100 * interval.high:{sign}.1f}"
