"""How scores are written in tables, on the terminal and in reports."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from megavid.evaluation.bootstrap import Interval

COLUMNS = {"all": "AP50", "fast": "fast", "medium": "med", "slow": "slow"}
"""Heads of a table's columns, by the names of `MOTION_RANGES`."""


def percent(value: float, sign: str = "") -> str:
    """Write a share in percent; "-" for NaN.

    Args:
        value: The share.
        sign: "+" writes the sign of positive numbers, too.
    """
    return "-" if math.isnan(value) else f"{100 * value:{sign}.2f}"


def percent_interval(interval: Interval | None, sign: str = "") -> str:
    """Write an interval of shares in percent; "-" where there is none. `sign`: as for `percent`."""
    return "-" if interval is None else f"{100 * interval.low:{sign}.1f} to {100 * interval.high:{sign}.1f}"
