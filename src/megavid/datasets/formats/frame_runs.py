"""Frame numbers as runs of first number, last number and step, as files of many frames store them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from megavid.core.errors import InputError
from megavid.datasets.formats.limits import MOST_FRAMES
from megavid.datasets.table.index_file import LARGEST_NUMBER


class FrameRuns:
    """Collects ascending frame numbers as runs.

    Args:
        numbers: The first numbers to collect.

    Attributes:
        runs: First number, last number and step of each run.
    """

    def __init__(self, numbers: Iterable[int] = ()) -> None:
        self.runs: list[list[int]] = []
        for number in numbers:
            self.add(number)

    def add(self, number: int) -> None:
        """Append a frame number."""
        run = self.runs[-1] if self.runs else None
        if run is not None and run[0] == run[1] < number:  # the second number determines the step
            run[1:] = [number, number - run[0]]
        elif run is not None and number == run[1] + run[2]:
            run[1] = number
        else:
            self.runs.append([number, number, 1])


def join_runs(runs: Sequence[Sequence[int]], later: Sequence[Sequence[int]]) -> list[list[int]]:
    """Join the runs of two stretches of a video, the second of which follows the first.

    Args:
        runs: First number, last number and step of each run.
        later: The same of the second stretch.

    Examples:
        >>> join_runs([[0, 2, 1]], [[3, 5, 1]])
        [[0, 5, 1]]
    """
    joined = [list(run) for run in runs]
    for first, last, step in later:
        gap = first - joined[-1][1] if joined else 0
        steps = [step for first, last, step in (*joined[-1:], (first, last, step)) if first != last]
        if gap > 0 and all(step == gap for step in steps):
            joined[-1][1:] = [last, gap]
        else:
            joined.append([first, last, step])
    return joined


def expand_runs(runs: Sequence[Sequence[int]], where: str) -> NDArray[np.int64]:
    """Return the numbers in runs, ascending.

    Args:
        runs: First number, last number and step of each run.
        where: The file and the key that has the runs, for messages.

    Raises:
        InputError: The runs are not ascending, or have too many numbers.
    """
    total, before = 0, -1
    for run in runs:
        if len(run) != 3 or not before < run[0] <= run[1] <= LARGEST_NUMBER or run[2] < 1:
            raise InputError(f"{where}: expected ascending runs of first, last and step, got {run}")
        total, before = total + (run[1] - run[0]) // run[2] + 1, run[1]
    if total > MOST_FRAMES:
        raise InputError(f"{where}: expected at most {MOST_FRAMES} frames, got {total}")
    numbers = [np.arange(first, last + 1, step, dtype=np.int64) for first, last, step in runs]
    return np.concatenate(numbers) if numbers else np.empty(0, np.int64)
