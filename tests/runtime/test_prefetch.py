"""Reading ahead on another thread: order, errors and the end of the thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from megavid.runtime.prefetch import prefetch


def test_another_thread_reads_items_in_order() -> None:
    threads = set()

    def numbers() -> Iterator[int]:
        for i in range(20):
            threads.add(threading.get_ident())
            yield i

    assert list(prefetch(numbers(), ahead=3)) == list(range(20))
    assert threading.get_ident() not in threads


def test_prefetch_reads_no_further_ahead_than_allowed() -> None:
    read = []

    def numbers() -> Iterator[int]:
        for i in range(100):
            read.append(i)
            yield i

    with closing(prefetch(numbers(), ahead=4)) as items:
        for _ in range(10):
            next(items)
        time.sleep(0.05)
        assert len(read) <= 14


def test_an_error_of_the_iterator_is_raised_after_its_items() -> None:
    def numbers() -> Iterator[int]:
        yield 1
        yield 2
        raise OSError("broken")

    got: list[int] = []
    with pytest.raises(OSError, match="broken"):
        got.extend(prefetch(numbers(), ahead=5))
    items = prefetch(numbers(), ahead=5)
    assert [next(items), next(items)] == [1, 2]
    with pytest.raises(OSError, match="broken"):
        next(items)
