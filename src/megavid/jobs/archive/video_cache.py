"""Keep copies of remote videos on the machine that detects in them."""

from __future__ import annotations

import shutil
import tempfile
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from megavid.jobs.archive.manifest import fetch, is_remote
from megavid.jobs.archive.segments import ListedVideo


@dataclass(frozen=True, eq=False)
class _Copy:
    """A video that is copied, or was."""

    video: ListedVideo
    folder: Path
    path: Future[Path]


class VideoCache:
    """Holds the video that is being read, and fetches the next one at the same time.

    Local videos are read where they are.

    Args:
        folder: An existing folder for the copies.
        limit: Largest size of all copies, bytes.
    """

    def __init__(self, folder: Path, *, limit: int) -> None:
        self._folder, self._limit = folder, limit
        self._pool = ThreadPoolExecutor(2, "fetch")
        self._lock = threading.Lock()
        self._current: _Copy | None = None
        self._next: _Copy | None = None

    def path(self, video: ListedVideo) -> Path:
        """Return the path of a video, and remove the copy of the video before it.

        Raises:
            InputError: The video cannot be read, or is larger than the cache.
        """
        if not is_remote(video.address):
            return fetch(video, self._folder, limit=self._limit)
        with self._lock:
            if self._current is None or self._current.video != video:
                self._replace_current(video)
            current = self._current
            assert current is not None
        try:
            return current.path.result()
        except BaseException:
            with self._lock:
                self._current = None
            raise

    def fetch_ahead(self, video: ListedVideo) -> None:
        """Begin to copy the video that is read next, if there is room for it beside the current one."""
        if not is_remote(video.address):
            return
        with self._lock:
            if any(copy is not None and copy.video == video for copy in (self._current, self._next)):
                return
            used = 0 if self._current is None else self._current.video.bytes
            if used + video.bytes > self._limit:
                return
            if self._next is not None:
                if not self._next.path.done():  # one at a time
                    return
                _remove(self._next)
            self._next = self._begin(video)

    def close(self) -> None:
        """Remove all copies."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _replace_current(self, video: ListedVideo) -> None:
        if self._current is not None:
            _remove(self._current)
        waiting = self._next
        if waiting is not None and waiting.video == video:
            self._current, self._next = waiting, None
            return
        if waiting is not None and waiting.video.bytes + video.bytes > self._limit:
            _remove(waiting)
            self._next = None
        self._current = self._begin(video)

    def _begin(self, video: ListedVideo) -> _Copy:
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        return _Copy(video, folder, self._pool.submit(fetch, video, folder, limit=self._limit))


def _remove(copy: _Copy) -> None:
    """Remove a copy, as soon as it is complete."""
    copy.path.add_done_callback(lambda _: shutil.rmtree(copy.folder, ignore_errors=True))
