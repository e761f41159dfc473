"""Records in the output folder of an archive: small JSON files, read strictly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from megavid.core.errors import InputError
from megavid.jobs.archive.segments import ListedVideo

_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

RecordT = TypeVar("RecordT")


@dataclass(frozen=True)
class DoneRecord:
    """What is known of a segment that is done.

    Attributes:
        video: The video.
        first: Number of the first key frame.
        last: One past the last key frame; None for the end of the video.
        frames: Number of key frames.
        detections: Number of boxes.
        objects: Number of boxes of each class that has any.
        seconds: Time that it took.
        worker: Name of the worker.
        attempt: Number of attempts before the one that succeeded.
        finished: Unix time.
    """

    __pydantic_config__: ClassVar = _STRICT

    video: ListedVideo
    first: int
    last: int | None
    frames: int
    detections: int
    objects: Mapping[str, int]
    seconds: float
    worker: str
    attempt: int
    finished: float


@dataclass(frozen=True)
class FailRecord:
    """What is known of a segment that failed.

    Attributes:
        video: The video.
        first: Number of the first key frame.
        last: One past the last key frame; None for the end of the video.
        cause: "video" if the video is broken, "worker" if its workers were lost.
        reason: Message for the user.
        worker: Name of the last worker.
        attempts: Number of attempts.
        finished: Unix time.
    """

    __pydantic_config__: ClassVar = _STRICT

    video: ListedVideo
    first: int
    last: int | None
    cause: Literal["video", "worker"]
    reason: str
    worker: str
    attempts: int
    finished: float


@dataclass(frozen=True)
class VideoLength:
    """The number of frames of a video, in a file of its own."""

    __pydantic_config__: ClassVar = _STRICT

    frames: int


def parse_record(kind: type[RecordT], data: bytes, origin: str) -> RecordT:
    """Read a record, of which every value has to be there and of its type.

    Args:
        kind: Class of the record.
        data: JSON.
        origin: Name of the file, for messages.

    Raises:
        InputError: The data is something else.
    """
    try:
        record: RecordT = _ADAPTERS[kind].validate_json(data)
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(map(str, problem["loc"]))
        raise InputError(f"{origin}: broken record: {key + ': ' if key else ''}{problem['msg']}") from error
    return record


def dump_record(record: DoneRecord | FailRecord | VideoLength) -> bytes:
    """Write a record as JSON."""
    return _ADAPTERS[type(record)].dump_json(record)


_ADAPTERS: dict[type, TypeAdapter[Any]] = {
    kind: TypeAdapter(kind) for kind in (DoneRecord, FailRecord, VideoLength)
}
