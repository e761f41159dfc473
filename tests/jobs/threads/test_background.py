"""Calls in the background: order and errors."""

from __future__ import annotations

import pytest

from megavid.jobs.threads.background import InBackground


def test_calls_are_made_in_order() -> None:
    done: list[int] = []
    with InBackground(behind=2) as background:
        for i in range(20):
            background.submit(done.append, i)
            assert len(done) >= i - 2
    assert done == list(range(20))


@pytest.mark.parametrize("calls", [1, 10])
def test_an_error_of_a_call_is_raised(calls: int) -> None:
    def fail() -> None:
        raise OSError("disk full")

    def submit_all() -> None:
        with InBackground(behind=2) as background:
            for _ in range(calls):
                background.submit(fail)

    with pytest.raises(OSError, match="disk full"):
        submit_all()


def test_no_call_is_made_after_a_failed_one() -> None:
    done: list[int] = []

    def call(i: int) -> None:
        if i == 3:
            raise OSError("disk full")
        done.append(i)

    def submit_all() -> None:
        with InBackground(behind=20) as background:
            for i in range(10):
                background.submit(call, i)

    with pytest.raises(OSError, match="disk full"):
        submit_all()
    assert done == [0, 1, 2]
