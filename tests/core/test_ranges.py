"""Numbers within limits."""

from __future__ import annotations

import pytest

from megavid.core.errors import InputError
from megavid.core.ranges import check_range, check_seed


def test_limits_belong_to_the_range() -> None:
    for value in (None, 2, 5):
        check_range("--workers", value, least=2, most=5)
    with pytest.raises(InputError, match=r"^--workers: expected at least 2, got 1$"):
        check_range("--workers", 1, least=2, most=5)
    with pytest.raises(InputError, match=r"^--workers: expected at most 5, got 6$"):
        check_range("--workers", 6, least=2, most=5)


def test_seeds() -> None:
    check_seed(2**63 - 1)
    for seed in (-1, 2**63, 10**100):
        with pytest.raises(InputError, match="--seed: expected at"):
            check_seed(seed)
