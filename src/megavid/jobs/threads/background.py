"""Do the input and output of a loop on other threads: read ahead, and write behind."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self, TypeVar

from megavid.jobs.stop_requests import uninterrupted

T = TypeVar("T")

_MOST_FRAMES = 8
_QUEUE_BYTES = 256 << 20


def queue_length(width: int, height: int) -> int:
    """Return how many frames may wait in a queue: 8, or fewer if they would take more than 256 MiB.

    Args:
        width: Width of the RGB frames, pixels.
        height: Height of the RGB frames, pixels.
    """
    return max(1, min(_MOST_FRAMES, _QUEUE_BYTES // (3 * width * height)))


def prefetch(items: Iterable[T], *, ahead: int) -> Generator[T, None, None]:
    """Iterate over items that another thread takes from their iterator, up to `ahead` items early.

    If the iterator raises an exception, it is raised again here, after the items before it.
    """
    iterator = iter(items)
    end: Any = object()
    pool = ThreadPoolExecutor(1, "prefetch")
    try:
        waiting = deque(pool.submit(next, iterator, end) for _ in range(ahead))
        while (item := waiting.popleft().result()) is not end:
            waiting.append(pool.submit(next, iterator, end))
            yield item
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


class InBackground:
    """Makes calls in order on another thread, while at most `behind` of them wait.

    If a call fails, its exception is raised by a later `submit` or at the end of the `with` block, and the
    calls after it are not made.
    """

    def __init__(self, *, behind: int) -> None:
        self._pool = ThreadPoolExecutor(1, "background")
        self._behind = behind
        self._waiting: deque[Future[None]] = deque()
        self._failed = False

    def submit(self, call: Callable[..., None], /, *args: Any) -> None:
        """Make `call(*args)` after the calls before it; block while too many calls wait."""
        self._waiting.append(self._pool.submit(self._make, call, *args))
        while len(self._waiting) > self._behind:
            self._waiting.popleft().result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with uninterrupted():
            self._pool.shutdown(wait=True)
        if error is None:
            for call in self._waiting:
                call.result()

    def _make(self, call: Callable[..., None], /, *args: Any) -> None:
        if self._failed:
            return
        try:
            call(*args)
        except BaseException:
            self._failed = True
            raise
