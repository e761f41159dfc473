"""Make the output of a loop on another thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

from megavid.jobs.stop_requests import uninterrupted


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
