"""Choose how many threads a network computes on: fewer if other programs use the cores."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import torch

from megavid.core.machine.cores import usable_cores
from megavid.jobs.executors.ranks import Ranks

_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")

_ALONE = Ranks()

_ROUNDS, _PRODUCTS, _SIDE = 4, 6, 192
"""Number of measurements, number of matrix products in each of them, and number of rows of a product per
thread. All measurements together take a tenth of a second."""

_CLEARLY = 1.25
"""Factor by which half as many threads have to be faster. If other programs use the cores, they are several
times as fast, because all threads wait for the slowest one at the end of every operation."""


def choose_threads(
    wanted: int | None, *, device: str, before: int | None = None, ranks: Ranks = _ALONE
) -> str:
    """Set the number of threads that PyTorch computes on in this process.

    The user's choice comes first, whether passed as `wanted` or set by an environment variable such as
    `OMP_NUM_THREADS`. Without one, a run that is continued on a CPU computes on as many threads as before, so
    that its results stay the same to the last bit. A new run starts from PyTorch's default, which is all
    cores, but at most `usable_cores`. On a CPU the number is then halved as long as half as many threads are
    clearly faster in a short measurement, which they are if other programs use the same cores.

    Args:
        wanted: The user's choice, at least 1; None without one.
        device: Type of the device: "cpu", "cuda" or "mps".
        before: Number of threads of the earlier part of the run (`recorded_threads`); None if unknown.
        ranks: The rank of this process; on a CPU all processes use the first one's number.

    Returns:
        A message to the user about the choice; "" if there is nothing to tell.
    """
    chosen = users_threads(wanted)
    threads, why = chosen or torch.get_num_threads(), ""
    if chosen is None and device == "cpu" and before is not None:
        threads, why = before, ", as this run did before"
    elif chosen is None:
        threads, why = _measured(device)
    first = ranks.agree(threads)  # even if unused, since all processes have to take part
    if device == "cpu" and chosen is None:
        threads = first
    torch.set_num_threads(threads)
    if device != "cpu":
        return ""
    if chosen is None:
        return f"computes on {_count(threads)}{why}; --threads sets another number"
    if before not in (None, threads):
        return f"computes on {_count(threads)}, on {before} before: results may differ in their last digits"
    return ""


def users_threads(wanted: int | None) -> int | None:
    """Return the number of threads that the user chose, as an option or by a variable; None without a choice.

    Args:
        wanted: The value of the option; None if it was not given.
    """
    if wanted is None and any(os.environ.get(name) for name in _VARIABLES):
        return torch.get_num_threads()  # PyTorch reads the variables
    return wanted


def recorded_threads(device: str) -> int | None:
    """Return the number of threads to record for a run; None on devices where it does not affect results.

    Args:
        device: Type of the device: "cpu", "cuda" or "mps".
    """
    return torch.get_num_threads() if device == "cpu" else None


def _measured(device: str) -> tuple[int, str]:
    """Return the number of threads for a new run, and why it is lower than PyTorch's default."""
    default = torch.get_num_threads()
    threads = min(default, usable_cores())
    chosen = fewer_if_faster(threads, _seconds) if device == "cpu" else threads
    if chosen < threads:
        return chosen, f": measured to be faster than {threads}, other programs use the cores"
    return chosen, f": as many cores as it may use of {default}" if threads < default else ""


def _count(threads: int) -> str:
    return f"{threads} thread{'s' if threads > 1 else ''}"


def fewer_if_faster(threads: int, seconds: Callable[[int, int], float]) -> int:
    """Halve a number of threads as long as half as many are clearly faster.

    Args:
        threads: The first number to try.
        seconds: Returns the seconds that a piece of work takes on a number of threads; its second argument is
            the number of threads that the work is large enough for.
    """
    while threads > 1:
        half = threads // 2
        both = [(seconds(threads, threads), seconds(half, threads)) for _ in range(_ROUNDS)]
        if sum(time for time, _ in both) <= _CLEARLY * sum(time for _, time in both):
            return threads
        threads = half
    return threads


def _seconds(threads: int, size: int) -> float:
    torch.set_num_threads(threads)
    rows, matrix = torch.ones(_SIDE * size, 2 * _SIDE), torch.ones(2 * _SIDE, 2 * _SIDE)
    torch.mm(rows, matrix)  # starts the threads
    began = time.perf_counter()
    for _ in range(_PRODUCTS):
        torch.mm(rows, matrix)
    return time.perf_counter() - began
