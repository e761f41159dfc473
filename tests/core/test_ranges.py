"""Refusing numbers outside their limits."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from megavid.core.errors import InputError
from megavid.core.ranges import check_range, check_seed
from megavid.jobs.detect_in_data_set import EvaluateOptions
from megavid.jobs.detect_to_folder import DetectOptions
from megavid.jobs.measure_speed import BenchmarkOptions


def test_limits_are_inclusive() -> None:
    for value in (None, 2, 5):
        check_range("--workers", value, least=2, most=5)
    with pytest.raises(InputError, match=r"^--workers: expected at least 2, got 1$"):
        check_range("--workers", 1, least=2, most=5)
    with pytest.raises(InputError, match=r"^--workers: expected at most 5, got 6$"):
        check_range("--workers", 6, least=2, most=5)


def test_seeds_out_of_range_are_refused() -> None:
    check_seed(2**63 - 1)
    for seed in (-1, 2**63, 10**100):
        with pytest.raises(InputError, match="--seed: expected at"):
            check_seed(seed)


@pytest.mark.parametrize(
    ("options", "name", "value"),
    [
        *((BenchmarkOptions, name, 10**9) for name in ("height", "width", "frames", "batch_size")),
        (DetectOptions, "every", 10**18),
        (DetectOptions, "batch_size", 10**9),
        (EvaluateOptions, "batch_size", 10**9),
    ],
)
def test_options_that_determine_sizes_have_limits(
    options: Callable[..., object], name: str, value: int
) -> None:
    with pytest.raises(InputError, match=rf"^{name}: expected at most \d+, got {value}$"):
        options(**{name: value})
    with pytest.raises(InputError, match=rf"^{name}: expected at least 1, got 0$"):
        options(**{name: 0})
