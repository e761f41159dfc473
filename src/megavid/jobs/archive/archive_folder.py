"""The output folder of an archive: its settings, and what is done, failed and known of each segment."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any

from megavid.core.errors import InputError
from megavid.core.files.json_yaml import load_json
from megavid.core.files.ownership import MADE_BY
from megavid.core.files.storage import MissingFileError, Storage, StoredFile
from megavid.jobs.archive.archive_records import (
    DoneRecord,
    FailRecord,
    RecordT,
    VideoLength,
    dump_record,
    parse_record,
)

SETTINGS = "run.json"

_THREADS = 16  # lists of a remote storage at a time
_RUNNING_SECONDS = 3600.0
"""Age up to which a part without a record may belong to a segment that is being committed."""

_PART = re.compile(r"parts/[0-9a-f]{2}/[0-9a-f]{32}\.parquet")
_DONE = re.compile(r"done/[0-9a-f]{2}/[0-9a-f]{32}\.json")


class ArchiveFolder:
    """The output folder of an archive.

    It has:

    - `run.json`: the settings;
    - `parts/<2 digits>/<segment>.parquet`: the detections of a segment, where the digits are the id's first;
    - `done/<2 digits>/<segment>.json`: a `DoneRecord`, written after the part;
    - `failed/<segment>.json`: a `FailRecord`;
    - `videos/<video>.json`: the number of frames of a video that is longer than a segment.

    All attempts at a segment give the same rows, so any number of runs may work on one folder: a part is
    right whoever wrote it, and a segment without a record is done again.

    Args:
        storage: The folder. All methods raise the errors of `Storage`.
    """

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    def begin(self, settings: Mapping[str, Any]) -> str:
        """Write the settings of a new archive, or check that they are those of an existing one.

        Args:
            settings: Everything that detections depend on, as JSON has it.

        Returns:
            Hash of the settings: 32 hexadecimal digits.

        Raises:
            InputError: The archive has other settings; the message names the first key that differs.
        """
        settings = json.loads(json.dumps(settings, allow_nan=False))
        data = json.dumps({**MADE_BY, "settings": settings}, indent=1)
        if not self.storage.create(SETTINGS, data.encode()):
            self._check_same(settings)
        return _hash(settings)

    def settings(self) -> dict[str, Any]:
        """Read the settings.

        Raises:
            InputError: The folder is not an archive.
        """
        origin = self.storage.address_of(SETTINGS)
        try:
            data = load_json(self.storage.read(SETTINGS), origin=origin)
        except MissingFileError as error:
            raise InputError(f"{self.storage.address}: no archive: expected {SETTINGS} in it") from error
        if not isinstance(data, dict) or not isinstance(data.get("settings"), dict):
            raise InputError(f"{origin}: expected the settings of an archive")
        settings: dict[str, Any] = data["settings"]
        return settings

    def settings_hash(self) -> str:
        """Return the hash of the settings, as `begin` does.

        Raises:
            InputError: The folder is not an archive.
        """
        return _hash(self.settings())

    def commit(self, segment: str, part: Path, record: DoneRecord) -> bool:
        """Store the detections of a segment, and then that it is done.

        Args:
            segment: Id of the segment.
            part: A local Parquet file.
            record: What is known of the segment.

        Returns:
            Whether it was stored; False if it was done already.
        """
        name, data = _done_name(segment), dump_record(record)
        if self.record(segment) is not None:
            return False
        self.storage.upload(part_name(segment), part)
        if self.storage.create(name, data):
            return True
        if self.record(segment) is not None:
            return False
        self.storage.write(name, data)  # the record that is there is broken
        return True

    def record(self, segment: str) -> DoneRecord | None:
        """Read the record of a segment; None if it is not done, or if its record is broken."""
        try:
            data = self.storage.read(_done_name(segment))
        except MissingFileError:
            return None
        try:
            return parse_record(DoneRecord, data, segment)
        except InputError:
            return None

    def done_ids(self) -> set[str]:
        """List the segments that have a record, without reading it."""
        with ThreadPoolExecutor(1 if self.storage.is_local else _THREADS) as pool:
            return set(chain.from_iterable(pool.map(self._done_in, self.storage.folders("done"))))

    def records(self, segments: Iterable[str] | None = None) -> Iterator[tuple[str, DoneRecord | InputError]]:
        """Read the records of segments.

        Args:
            segments: Ids, of which those that are not done are left out; by default all that are done.

        Yields:
            The id and the record, or an error if the record is broken: then the segment counts as not done.
        """
        ids = sorted(self.done_ids()) if segments is None else segments
        for name, data in self.storage.read_many(map(_done_name, ids)):
            segment = _stem(name)
            try:
                yield segment, parse_record(DoneRecord, data, self.storage.address_of(name))
            except InputError as error:
                yield segment, error

    def fail(self, segment: str, record: FailRecord) -> None:
        """Store that a segment failed."""
        self.storage.write(_failed_name(segment), dump_record(record))

    def failures(self) -> dict[str, FailRecord]:
        """Read what failed, by segment, without segments that are done now.

        Raises:
            InputError: A record is broken.
        """
        records = self._read_all("failed", FailRecord)
        done = self.storage.stat_many(map(_done_name, records))
        return {
            segment: record
            for (segment, record), found in zip(records.items(), done, strict=True)
            if found is None
        }

    def retry(self, segments: Iterable[str]) -> None:
        """Forget that segments failed."""
        for segment in segments:
            self.storage.remove(_failed_name(segment))

    def lengths(self) -> dict[str, int]:
        """Read the numbers of frames of long videos, by the id of the video.

        Raises:
            InputError: A record is broken.
        """
        return {video: length.frames for video, length in self._read_all("videos", VideoLength).items()}

    def length(self, video: str) -> int | None:
        """Read the number of frames of a long video; None if no worker has counted them."""
        name = _length_name(video)
        try:
            data = self.storage.read(name)
        except MissingFileError:
            return None
        return parse_record(VideoLength, data, self.storage.address_of(name)).frames

    def set_length(self, video: str, frames: int) -> None:
        """Store the number of frames of a video."""
        self.storage.write(_length_name(video), dump_record(VideoLength(frames)))

    def remove(self, segment: str) -> None:
        """Remove all that is stored of a segment."""
        for name in (_done_name(segment), part_name(segment), _failed_name(segment)):
            self.storage.remove(name)

    def clean(self, *, older_than: float = _RUNNING_SECONDS) -> int:
        """Remove detections of segments that are not done, which killed workers left.

        Args:
            older_than: Age in seconds of what is removed, so that no run that is about to commit loses its
                part.

        Returns:
            Number of removed files.
        """
        self.storage.remove_leftovers()
        parts = [file for file in self.storage.files("parts") if _PART.fullmatch(file.name)]
        done = self.done_ids()
        left = [file for file in parts if _stem(file.name) not in done and _is_older(file, older_than)]
        for file in left:
            self.storage.remove(file.name)
        return len(left)

    def _done_in(self, folder: str) -> list[str]:
        return [_stem(name) for name in self.storage.names(folder) if _DONE.fullmatch(name)]

    def _read_all(self, folder: str, kind: type[RecordT]) -> dict[str, RecordT]:
        names = (name for name in self.storage.names(folder) if name.endswith(".json"))
        return {
            _stem(name): parse_record(kind, data, self.storage.address_of(name))
            for name, data in self.storage.read_many(names)
        }

    def _check_same(self, settings: Mapping[str, Any]) -> None:
        before, now = dict(_flat(self.settings())), dict(_flat(settings))
        for key in sorted(before.keys() | now.keys()):
            if _shown(before, key) != _shown(now, key):
                raise InputError(
                    f"{self.storage.address}: has results of other settings: {key} was "
                    f"{_shown(before, key)}, got {_shown(now, key)}; choose another output folder"
                )


def part_name(segment: str) -> str:
    """Return the name of the file with a segment's detections within the archive's folder."""
    return f"parts/{segment[:2]}/{segment}.parquet"


def _done_name(segment: str) -> str:
    return f"done/{segment[:2]}/{segment}.json"


def _failed_name(segment: str) -> str:
    return f"failed/{segment}.json"


def _length_name(video: str) -> str:
    return f"videos/{video}.json"


def _stem(name: str) -> str:
    return name.rpartition("/")[2].partition(".")[0]


def _is_older(file: StoredFile, seconds: float) -> bool:
    """Return whether a file is older than some seconds; one of unknown age is older than 0 seconds only."""
    return seconds <= 0 if file.modified is None else time.time() - file.modified >= seconds


def _hash(settings: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:32]


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of nested settings by dotted key."""
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _shown(settings: Mapping[str, Any], key: str) -> str:
    return json.dumps(settings[key]) if key in settings else "not set"
