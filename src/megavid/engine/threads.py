"""How many threads a network computes on: fewer where other programs use the cores."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import torch

from megavid.core.cores import usable_cores
from megavid.core.errors import InputError

MOST_THREADS = 1024
"""As many as any machine has cores; where too many cannot be started, PyTorch ends the process."""

_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")

_ROUNDS, _PRODUCTS, _SIDE = 4, 6, 192
"""Measurements of each number of threads, the matrix products in each, and the rows of a product for each
thread: a tenth of a second in all."""

_CLEARLY = 1.25
"""By how much fewer threads have to be faster: it is several times where cores are shared, for a thread that
waits for a core holds up all others at the end of every operation."""


def choose_threads(wanted: int | None, *, device: str) -> str:
    """Set the number of threads that PyTorch computes on in this process.

    That is what the user wants, or what `OMP_NUM_THREADS` says. Otherwise PyTorch's own default, which is all
    cores, but no more than `usable_cores`; and on a CPU it is halved as long as half as many are clearly
    faster in a short measurement, as they are where other programs use the same cores.

    Args:
        wanted: The user's choice, if any.
        device: What the network computes on: "cpu", "cuda" or "mps".

    Returns:
        What was chosen and why, for the user; "" where the user has chosen.

    Raises:
        InputError: `wanted` is no number of threads.
    """
    if wanted is not None:
        if not 1 <= wanted <= MOST_THREADS:
            raise InputError(f"--threads: expected 1 to {MOST_THREADS}, got {wanted}")
        torch.set_num_threads(wanted)
        return ""
    if any(os.environ.get(name) for name in _VARIABLES):
        return ""
    default = torch.get_num_threads()
    threads = min(default, usable_cores())
    torch.set_num_threads(threads)
    if device != "cpu":
        return ""
    chosen = fewer_if_faster(threads, _seconds)
    torch.set_num_threads(chosen)
    why = ""
    if chosen < threads:
        why = f": measured to be faster than {threads}, other programs use the cores"
    elif threads < default:
        why = f": as many cores as it may use of {default}"
    return f"computes on {chosen} thread{'s' if chosen > 1 else ''}{why}; --threads sets another number"


def fewer_if_faster(threads: int, seconds: Callable[[int, int], float]) -> int:
    """Halve a number of threads as long as half as many are clearly faster.

    Args:
        threads: To begin with.
        seconds: Measures the time that a piece of work takes on so many threads; the second number says how
            many the work is large enough for.
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
