"""What runs the workers of an archive: processes of this machine, or actors of a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from megavid.jobs.archive.segments import Segment


@dataclass(frozen=True)
class Task:
    """A segment for a worker.

    Attributes:
        segment: The segment. If its video's frames are not counted yet, the worker counts them first, and
            detects only if the video is a single segment.
        attempt: Number of attempts before this one.
    """

    segment: Segment
    attempt: int


@dataclass(frozen=True)
class Done:
    """A worker committed a segment.

    Attributes:
        task: The task.
        worker: Name of the worker.
        frames: Number of key frames.
        detections: Number of boxes.
        seconds: Time that it took.
    """

    task: Task
    worker: str
    frames: int
    detections: int
    seconds: float


@dataclass(frozen=True)
class Counted:
    """A worker found a video to be longer than a segment; nothing was detected.

    Attributes:
        task: The task.
        worker: Name of the worker.
        length: Number of frames of the video.
    """

    task: Task
    worker: str
    length: int


@dataclass(frozen=True)
class Failed:
    """A task that failed.

    Attributes:
        task: The task.
        worker: Name of the worker.
        cause: "video": the video is broken, so that it fails everywhere. "worker": the process, its machine
            or the connection was lost. "output": the output cannot be written.
        reason: Message for the user.
    """

    task: Task
    worker: str
    cause: Literal["video", "worker", "output"]
    reason: str


Event = Done | Counted | Failed


class Engine(Protocol):
    """Runs tasks on workers.

    Attributes:
        workers: Names of the workers at work.
        free: Number of further tasks that it takes now. Each worker has a task at work and one waiting, whose
            video it fetches meanwhile.
    """

    @property
    def workers(self) -> list[str]: ...

    @property
    def free(self) -> int: ...

    def submit(self, task: Task) -> None:
        """Give a task to a worker; call only if `free` is not 0."""

    def next_event(self, timeout: float) -> Event | None:
        """Wait for the next event, at most `timeout` seconds.

        A task that was waiting when its worker was lost is no event: another worker gets it.

        Raises:
            InputError: The workers cannot load the detector.
        """

    def close(self, *, drain: bool) -> None:
        """End all workers; `next_event` then only returns the events that came before.

        Args:
            drain: Whether workers finish the segments that they are at work on. Tasks that wait are dropped.
        """
