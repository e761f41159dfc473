"""What is left to do in an archive, in the order in which workers are given it."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from megavid.jobs.archive.segments import ListedVideo, Segment, split_video, video_id
from megavid.jobs.executors.engine import Task


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What is known of an archive when work begins.

    Attributes:
        settings: Hash of the settings.
        segment_frames: Largest number of key frames of a segment.
        done: Identifiers of the segments that are done.
        failed: Identifiers of the segments that failed and are not tried again.
        lengths: Number of key frames of the videos that are longer than a segment, by `video_id`.
    """

    settings: str
    segment_frames: int
    done: Collection[str]
    failed: Collection[str]
    lengths: Mapping[str, int]

    def segments(self, video: ListedVideo) -> list[Segment]:
        """Return the segments of a video; if its frames are not counted, the whole video."""
        length = self.lengths.get(video_id(video, self.settings))
        if length is None:
            return [Segment(video, 0, None, None)]
        return split_video(video, length, most=self.segment_frames)


class WorkQueue:
    """The tasks that are left, in constant memory for each video.

    Large videos come before small ones, so that all workers end at about the same time. The segments of a
    video follow each other, so that workers can keep its copy.

    Args:
        videos: The videos of the archive.
        progress: What is done already.

    Attributes:
        bytes_left: Size of what is left, in bytes of the video files.
        failed: Number of segments that failed in earlier runs and are not tried again.
    """

    def __init__(self, videos: Sequence[ListedVideo], progress: Progress) -> None:
        self._progress = progress
        self._retries: deque[Task] = deque()
        self._opened: deque[Iterator[Segment]] = deque()
        self._videos: list[ListedVideo] = []
        self._unfinished: dict[ListedVideo, int] = {}
        self.bytes_left, self.failed = 0.0, 0
        for video in dict.fromkeys(videos):
            unfinished = self._not_done(progress.segments(video))
            left = self._not_failed(unfinished)
            self.failed += len(unfinished) - len(left)
            self.bytes_left += sum(map(size, left))
            if left:
                self._videos.append(video)
        self._videos.sort(key=lambda video: video.bytes)  # the next one is taken from the end

    def take(self) -> Task | None:
        """Return the next task; None if nothing is left to begin."""
        if self._retries:
            return self._retries.popleft()
        while self._opened:
            segment = next(self._opened[0], None)
            if segment is not None:
                return Task(segment, 0)
            self._opened.popleft()
        if not self._videos:
            return None
        video = self._videos.pop()
        self._open(video, self._progress.segments(video))
        return self.take()

    def retry(self, task: Task) -> None:
        """Put back a task whose worker was lost."""
        self._retries.append(Task(task.segment, task.attempt + 1))

    def count(self, video: ListedVideo, length: int) -> None:
        """Split a video that turned out to be longer than a segment."""
        self._open(video, split_video(video, length, most=self._progress.segment_frames))

    def finish(self, segment: Segment) -> bool:
        """Record that a segment is done; return whether it was the last one of its video."""
        left = self._unfinished[segment.video] - 1
        if left:
            self._unfinished[segment.video] = left
        else:
            del self._unfinished[segment.video]
        return left == 0

    def _open(self, video: ListedVideo, segments: Sequence[Segment]) -> None:
        unfinished = self._not_done(segments)
        self._unfinished[video] = len(unfinished)
        self._opened.append(iter(self._not_failed(unfinished)))

    def _not_done(self, segments: Sequence[Segment]) -> list[Segment]:
        return [segment for segment in segments if self._id(segment) not in self._progress.done]

    def _not_failed(self, segments: Sequence[Segment]) -> list[Segment]:
        return [segment for segment in segments if self._id(segment) not in self._progress.failed]

    def _id(self, segment: Segment) -> str:
        return segment.identifier(self._progress.settings)


def size(segment: Segment) -> float:
    """Return a segment's share of its video's size, in bytes."""
    if segment.length is None:
        return float(segment.video.bytes)
    last = segment.length if segment.last is None else segment.last
    return segment.video.bytes * (last - segment.first) / segment.length
