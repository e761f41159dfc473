"""Stop long work at a point where the finished part can be kept."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class StoppedError(Exception):
    """The user asked a job to stop."""


@contextmanager
def stop_request() -> Iterator[threading.Event]:
    """Yield an event that Ctrl-C and SIGTERM set instead of ending the program.

    A second Ctrl-C raises `KeyboardInterrupt`. A second SIGTERM changes nothing, since it may be part of the
    same request: a cluster sends SIGTERM to every process, and torchrun also passes on the one that it gets
    itself.

    Outside the main thread, which alone receives signals, nothing sets the event.
    """
    stop = threading.Event()

    def request(number: int, frame: FrameType | None) -> None:
        if stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.set()

    with _handling(request):
        yield stop


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ignore Ctrl-C and SIGTERM while files are finished, which takes seconds."""
    with _handling(signal.SIG_IGN):
        yield


def ignore_stop_requests() -> None:
    """Ignore Ctrl-C and SIGTERM in a worker process; the process that started it ends it."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def _handling(handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
