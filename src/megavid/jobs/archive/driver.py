"""Detect in all videos of an archive: give the segments to workers, and follow what becomes of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from megavid.core.errors import InputError
from megavid.jobs.archive.archive_folder import ArchiveFolder
from megavid.jobs.archive.archive_records import FailRecord
from megavid.jobs.archive.segments import ListedVideo
from megavid.jobs.archive.work_queue import Progress, WorkQueue, size
from megavid.jobs.executors.engine import Counted, Done, Engine, Event, Failed
from megavid.jobs.progress import Meter, progress, say
from megavid.jobs.stop_requests import stop_request

TRIES = 3
"""Number of times that a segment is tried whose workers are lost."""

_MOST_LOST = 30
"""Number of workers, or three times that of all at work if it is more, that may be lost one after another
without a result before the run ends."""

_POLL = 0.5
"""Seconds until a request to stop is noticed."""


@dataclass(frozen=True, kw_only=True)
class ArchiveSummary:
    """Summary of a run over an archive.

    Attributes:
        videos: Number of videos that were completed.
        segments: Number of segments that were done.
        failed: Number of segments that failed, in this run or before.
        frames: Number of key frames of the segments that were done.
        detections: Number of boxes in them.
        seconds: Time that the run took.
        complete: Whether the run came to its end; False if the user stopped it.
    """

    videos: int
    segments: int
    failed: int
    frames: int
    detections: int
    seconds: float
    complete: bool

    @property
    def exit_code(self) -> int:
        """0 if all is done, 1 if something failed, 130 if the user stopped the run."""
        if not self.complete:
            return 130
        return 1 if self.failed else 0


def run_archive(
    videos: Sequence[ListedVideo],
    folder: ArchiveFolder,
    engine: Engine,
    *,
    settings: str,
    segment_frames: int,
    retry_failed: bool = False,
) -> ArchiveSummary:
    """Detect in everything that is left of an archive.

    What is done already stays. A broken video fails after one try; a segment whose worker is lost is tried
    three times. At the first Ctrl-C or SIGTERM, workers finish the segments that they are at work on; a
    second Ctrl-C ends at once. The engine is closed in any case.

    Args:
        videos: The videos.
        folder: The output, in which the run began with `ArchiveFolder.begin`.
        engine: What runs the workers.
        settings: Hash of the settings, from `ArchiveFolder.begin`.
        segment_frames: Largest number of key frames of a segment.
        retry_failed: Whether to try segments again that failed in earlier runs.

    Raises:
        InputError: The output cannot be read or written, the workers cannot load the detector, or they are
            lost again and again.
        KeyboardInterrupt: The user asked twice to stop.
    """
    began = time.monotonic()
    try:
        before = Progress(
            settings=settings,
            segment_frames=segment_frames,
            done=folder.done_ids(),
            failed=_failed(folder, retry=retry_failed),
            lengths=folder.lengths(),
        )
        queue = WorkQueue(videos, before)
        with stop_request() as stop, progress("archive", unit="frames") as meter:
            driver = _Driver(queue, folder, engine, settings=settings, meter=meter)
            complete = driver.run(stop)
    except BaseException:
        engine.close(drain=False)
        raise
    return driver.summary(seconds=time.monotonic() - began, complete=complete)


def _failed(folder: ArchiveFolder, *, retry: bool) -> Collection[str]:
    """Return the segments that failed in earlier runs, unless they are tried again."""
    failed = folder.failures()
    if retry:
        folder.retry(failed)
    return frozenset() if retry else frozenset(failed)


class _Driver:
    def __init__(
        self, queue: WorkQueue, folder: ArchiveFolder, engine: Engine, *, settings: str, meter: Meter
    ) -> None:
        self._queue, self._folder, self._engine = queue, folder, engine
        self._settings, self._meter = settings, meter
        self._given = 0  # tasks that the engine has
        self._lost_in_a_row = 0
        self._bytes = 0.0
        self._videos, self._segments, self._failed = 0, 0, queue.failed
        self._frames, self._detections = 0, 0

    def run(self, stop: threading.Event) -> bool:
        """Give tasks and take events until nothing is left; return False if stopped early."""
        while not stop.is_set():
            nothing_left = self._give_tasks()
            if nothing_left and not self._given:
                self._engine.close(drain=True)
                return True
            event = self._engine.next_event(_POLL)
            if event is not None:
                self._handle(event)
        say("finishing the segments at work; Ctrl-C again ends at once")
        self._engine.close(drain=True)
        while (event := self._engine.next_event(0)) is not None:
            self._handle(event)
        return False

    def _give_tasks(self) -> bool:
        """Give tasks as long as the engine takes them; return whether none is left to give."""
        while self._engine.free:
            task = self._queue.take()
            if task is None:
                return True
            self._engine.submit(task)
            self._given += 1
        return False

    def summary(self, *, seconds: float, complete: bool) -> ArchiveSummary:
        """Return what was done."""
        return ArchiveSummary(
            videos=self._videos,
            segments=self._segments,
            failed=self._failed,
            frames=self._frames,
            detections=self._detections,
            seconds=seconds,
            complete=complete,
        )

    def _handle(self, event: Event) -> None:
        self._given -= 1
        segment = event.task.segment
        if isinstance(event, Failed):
            self._handle_failure(event)
        else:
            self._lost_in_a_row = 0
        if isinstance(event, Counted):
            self._queue.count(segment.video, event.length)
        elif isinstance(event, Done):
            self._segments += 1
            self._videos += self._queue.finish(segment)
            self._frames += event.frames
            self._detections += event.detections
            self._bytes += size(segment)
        self._show()

    def _handle_failure(self, event: Failed) -> None:
        if event.cause == "output":
            raise InputError(event.reason)
        if event.cause == "video":
            self._lost_in_a_row = 0
            self._record(event, "video", event.reason)
            return
        self._lost_in_a_row += 1
        if self._lost_in_a_row >= max(_MOST_LOST, 3 * len(self._engine.workers)):
            raise InputError(f"{self._lost_in_a_row} workers were lost in a row; the last: {event.reason}")
        if event.task.attempt + 1 < TRIES:
            self._queue.retry(event.task)
        else:
            reason = f"lost its worker {TRIES} times, the last time because {event.reason}"
            self._record(event, "worker", reason)

    def _record(self, event: Failed, cause: Literal["video", "worker"], reason: str) -> None:
        """Record that a segment failed, and say so."""
        segment = event.task.segment
        self._failed += 1
        self._bytes += size(segment)
        record = FailRecord(
            video=segment.video,
            first=segment.first,
            last=segment.last,
            cause=cause,
            reason=reason,
            worker=event.worker,
            attempts=event.task.attempt + 1,
            finished=time.time(),
        )
        self._folder.fail(segment.identifier(self._settings), record)
        where = "" if segment.length is None else f", frames from {segment.first} on"
        say(f"failed: {segment.video.address}{where}: {reason.removeprefix(f'{segment.video.address}: ')}")

    def _show(self) -> None:
        """Show the progress; the number of all frames is estimated from the sizes of the files."""
        share = self._bytes / self._queue.bytes_left if self._queue.bytes_left else 0.0
        total = round(self._frames / share) if share else None
        running = min(self._given, len(self._engine.workers))
        note = f"{self._videos} videos done, {running} segments running, {self._failed} failed"
        self._meter.update(self._frames, total, note=note)
