"""The output folder of an archive keeps settings, detections and records, and refuses what is broken."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from megavid.core.errors import InputError
from megavid.core.files.storage import Storage
from megavid.jobs.archive.archive_folder import ArchiveFolder, part_name
from megavid.jobs.archive.archive_records import DoneRecord, FailRecord
from megavid.jobs.archive.segments import ListedVideo

VIDEO = ListedVideo("s3://bucket/a.mp4", 1000, "17")
DONE = DoneRecord(VIDEO, 0, 300, 300, 5, {"car": 3, "dog": 2}, 1.5, "gpu0", 0, 1.7e9)
FAILED = FailRecord(VIDEO, 300, None, "video", "frame 310: broken", "gpu0", 1, 1.7e9)
A, B, C = "aa" + "0" * 30, "ab" + "1" * 30, "ff" + "2" * 30


@pytest.fixture
def folder(place: str) -> ArchiveFolder:
    """Return an archive on this machine, in S3 or in memory."""
    return ArchiveFolder(Storage.open(place))


@pytest.fixture
def local(tmp_path: Path) -> ArchiveFolder:
    """Return an archive on this machine."""
    return ArchiveFolder(Storage.open(tmp_path / "out"))


@pytest.fixture
def part(tmp_path: Path) -> Path:
    """Return a file with detections."""
    path = tmp_path / "part.parquet"
    path.write_bytes(b"detections")
    return path


def test_a_segment_is_committed_once(folder: ArchiveFolder, part: Path) -> None:
    assert folder.done_ids() == set()
    assert folder.record(A) is None
    assert folder.commit(A, part, DONE)
    assert folder.commit(B, part, replace(DONE, first=300, last=None))
    part.write_bytes(b"later")
    assert not folder.commit(A, part, replace(DONE, attempt=1))
    assert folder.storage.read(f"parts/aa/{A}.parquet") == b"detections"
    assert folder.done_ids() == {A, B}
    assert folder.record(A) == DONE
    assert dict(folder.records()) == {A: DONE, B: replace(DONE, first=300, last=None)}
    assert list(folder.records([C, A])) == [(A, DONE)]


def test_failures_end_when_the_segment_is_done_or_retried(folder: ArchiveFolder, part: Path) -> None:
    for segment in (A, B, C):
        folder.fail(segment, FAILED)
    folder.fail(C, replace(FAILED, attempts=2))
    folder.commit(A, part, DONE)
    assert folder.failures() == {B: FAILED, C: replace(FAILED, attempts=2)}
    folder.retry([B])
    assert list(folder.failures()) == [C]


def test_lengths_of_videos_are_kept(folder: ArchiveFolder) -> None:
    folder.set_length(A, 9000)
    folder.set_length(B, 3001)
    assert folder.lengths() == {A: 9000, B: 3001}
    assert (folder.length(B), folder.length(C)) == (3001, None)


def test_parts_without_a_record_are_removed(folder: ArchiveFolder, part: Path) -> None:
    folder.commit(A, part, DONE)
    folder.storage.upload(part_name(B), part)
    folder.storage.write("parts/notes.txt", b"of a user")
    assert folder.clean() == 0  # it may be about to be committed
    assert folder.clean(older_than=0) == 1
    assert list(folder.storage.names("parts")) == [f"parts/aa/{A}.parquet", "parts/notes.txt"]


def test_all_of_a_segment_is_removed(folder: ArchiveFolder, part: Path) -> None:
    folder.begin({})
    folder.commit(A, part, DONE)
    folder.fail(A, FAILED)
    folder.remove(A)
    assert list(folder.storage.names()) == ["run.json"]


def test_the_hash_is_that_of_the_settings_in_any_order(folder: ArchiveFolder) -> None:
    with pytest.raises(InputError, match="out: no archive: expected run.json in it"):
        folder.settings()
    settings = {"detector": {"method": "mega", "window": 12}, "classes": ("car", "dog")}
    hashed = folder.begin(settings)
    assert hashed == folder.begin({"classes": ["car", "dog"], "detector": {"window": 12, "method": "mega"}})
    assert hashed == folder.settings_hash()
    assert len(hashed) == 32
    assert folder.settings() == {"detector": {"method": "mega", "window": 12}, "classes": ["car", "dog"]}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"a": {"b": 1, "c": True}}, r"a\.c was 1, got true"),
        ({"a": {"b": 1}}, r"a\.c was 1, got not set"),
        ({"a": {"b": 1, "c": 1}, "d": "x"}, 'd was not set, got "x"'),
        ({"a": {"b": 2, "c": 2}}, r"a\.b was 1, got 2"),
    ],
)
def test_other_settings_are_refused(local: ArchiveFolder, settings: dict[str, Any], message: str) -> None:
    local.begin({"a": {"b": 1, "c": 1}})
    with pytest.raises(InputError, match=f"out: has results of other settings: {message}; choose another"):
        local.begin(settings)


@pytest.mark.parametrize("data", [b"{}", b"[]", b'{"settings": 1}', b'{"settings": {', b"\xff", b""])
def test_a_foreign_settings_file_is_refused(local: ArchiveFolder, data: bytes) -> None:
    local.storage.write("run.json", data)
    with pytest.raises(InputError, match="out/run.json: expected"):
        local.begin({"a": 1})
    assert local.storage.read("run.json") == data


def broken_records() -> list[tuple[bytes, str]]:
    """Return broken records with what is wrong with them."""
    good = {"video": {"address": "a", "bytes": 1, "version": "2"}, "first": 0, "last": None, "frames": 3}
    good |= {"detections": 1, "objects": {"car": 1}, "seconds": 1.5, "worker": "w", "attempt": 0}
    good |= {"finished": 1.0}
    text = json.dumps(good)
    return [
        (b"", "Invalid JSON"),
        (text[:-10].encode(), "Invalid JSON"),
        (b"[]", ""),
        (json.dumps({**good, "frames": "3"}).encode(), "frames: "),
        (json.dumps({**good, "frames": 3.5}).encode(), "frames: "),
        (json.dumps({**good, "more": 1}).encode(), "more: "),
        (text.replace('"worker": "w", ', "").encode(), "worker: "),
        (json.dumps({**good, "video": {"address": "a", "bytes": 1}}).encode(), "video.version: "),
        (json.dumps({**good, "objects": {"car": None}}).encode(), "objects.car: "),
        (text.replace("1.5", "NaN").encode(), "seconds: "),
    ]


@pytest.mark.parametrize(("data", "message"), broken_records())
def test_a_broken_record_counts_as_not_done_and_is_reported(
    local: ArchiveFolder, part: Path, data: bytes, message: str
) -> None:
    local.commit(B, part, DONE)
    local.storage.write(f"done/aa/{A}.json", data)
    assert local.record(A) is None
    records = dict(local.records())
    assert records[B] == DONE
    assert f"done/aa/{A}.json: broken record: {message}" in str(records[A])
    assert local.commit(A, part, DONE)
    assert local.record(A) == DONE


def test_other_files_are_not_listed_as_done(local: ArchiveFolder) -> None:
    for name in (f"aa/{A}.json.old", "aa/notes.json", f"{A}.json", f"x/y/{A}.json"):
        local.storage.write(f"done/{name}", b"{}")
    assert local.done_ids() == set()


def test_a_broken_failure_or_length_is_an_error(local: ArchiveFolder) -> None:
    local.storage.write(f"failed/{A}.json", b'{"reason": 1}')
    local.storage.write(f"videos/{A}.json", b'{"frames": -')
    with pytest.raises(InputError, match=f"failed/{A}.json: broken record: "):
        local.failures()
    with pytest.raises(InputError, match=f"videos/{A}.json: broken record: "):
        local.lengths()
