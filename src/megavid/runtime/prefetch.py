"""Read frames ahead on another thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

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
