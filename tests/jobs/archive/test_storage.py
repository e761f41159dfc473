"""Storages keep files whole, list them, and survive lost connections."""

from __future__ import annotations

import os
import resource
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from megavid.core.errors import InputError
from megavid.core.files.backends import retries
from megavid.core.files.storage import ConnectionLostError, MissingFileError, Storage, StorageError
from tests.jobs.archive.s3_server import BUCKET, S3Server


def test_files_are_written_replaced_read_and_removed(place: str) -> None:
    storage = Storage.open(place)
    storage.write("a/b.json", b"1")
    storage.write("a/b.json", b"22")
    assert storage.read("a/b.json") == b"22"
    assert storage.address_of("a/b.json") == f"{place}/a/b.json"
    storage.remove("a/b.json")
    storage.remove("a/b.json")
    with pytest.raises(MissingFileError, match="a/b.json: no such file"):
        storage.read("a/b.json")


def test_a_file_is_created_only_if_absent(place: str) -> None:
    storage = Storage.open(place)
    assert storage.create("done/1.json", b"first")
    assert not storage.create("done/1.json", b"second")
    assert storage.read("done/1.json") == b"first"


def test_files_are_listed_with_sizes_and_without_hidden_ones(place: str) -> None:
    storage = Storage.open(place)
    assert list(storage.names()) == []
    for name in ("b/2", "b/c/3", "a", "b/.hidden", ".aside/4"):
        storage.write(name, name.encode())
    assert list(storage.names()) == ["a", "b/2", "b/c/3"]
    assert list(storage.names("b")) == ["b/2", "b/c/3"]
    assert list(storage.names("nothing")) == []
    assert storage.folders("b") == ["b/c"]
    assert storage.folders("nothing") == []
    assert [(file.name, file.bytes) for file in storage.files()] == [("a", 1), ("b/2", 3), ("b/c/3", 5)]
    file = next(storage.files("b"))
    assert list(storage.stat_many(["b/2", "b", "none"])) == [file, None, None]
    assert file.modified is not None
    assert abs(file.modified - time.time()) < 60


def test_a_local_file_is_copied_there_and_back(place: str, tmp_path: Path) -> None:
    storage = Storage.open(place)
    content = os.urandom(12_000_000)  # two parts of an upload to S3
    (tmp_path / "big").write_bytes(content)
    (tmp_path / "empty").write_bytes(b"")
    storage.upload("x/big", tmp_path / "big")
    storage.upload("x/empty", tmp_path / "empty")
    storage.download("x/big", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == content
    assert storage.read("x/empty") == b""
    with storage.filesystem.open_input_file(storage.path("x/big")) as file:
        assert file.size() == 12_000_000


def test_many_files_are_read_in_order_without_missing_ones(place: str) -> None:
    storage = Storage.open(place)
    names = [f"done/{number}" for number in range(40)]
    for name in names:
        storage.write(name, name.encode())
    storage.remove("done/7")
    left = [name for name in names if name != "done/7"]
    assert list(storage.read_many(iter(names))) == [(name, name.encode()) for name in left]


def test_one_of_many_writers_creates_a_local_file(tmp_path: Path) -> None:
    storage = Storage.open(tmp_path / "out")
    with ThreadPoolExecutor(8) as pool:
        wrote = list(pool.map(lambda n: storage.create("done", b"%d" % n), range(64)))
    assert wrote.count(True) == 1
    assert storage.read("done") == b"%d" % wrote.index(True)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["done"]


def test_a_write_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    storage = Storage.open(tmp_path)
    storage.write("a", b"before")
    with pytest.raises(MissingFileError):
        storage.upload("a", tmp_path / "none")
    assert storage.read("a") == b"before"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_full_disk_is_an_error_at_once(tmp_path: Path) -> None:
    storage = Storage.open(tmp_path)
    storage.write("a", b"before")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    begin = time.monotonic()
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
    try:
        with pytest.raises(StorageError, match=f"^{tmp_path}/a: cannot be written: File too large$"):
            storage.write("a", bytes(2 << 20))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert time.monotonic() - begin < 5
    assert storage.read("a") == b"before"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_links_that_form_a_loop_are_entered_once(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1").touch()
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "z").symlink_to(tmp_path / "a" / "1")
    assert list(Storage.open(tmp_path).names()) == ["a/1", "z"]


def test_a_server_that_is_away_for_seconds_is_waited_for(s3: S3Server) -> None:
    storage = Storage.open(f"s3://{BUCKET}/away")
    storage.write("a", b"1")
    s3.stop()
    restart = threading.Timer(2.0, s3.start)
    restart.start()
    begin = time.monotonic()
    assert storage.create("b", b"2")
    assert time.monotonic() - begin > 1.5
    restart.join()
    assert list(storage.read_many(iter(["a", "b"]))) == [("a", b"1"), ("b", b"2")]


def test_a_server_that_stays_away_is_one_error(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    assert retries.PATIENCE >= 30
    monkeypatch.setattr(retries, "PATIENCE", 0.1)
    storage = Storage.open(f"s3://{BUCKET}/out")
    s3.stop()
    with pytest.raises(ConnectionLostError, match=f"^s3://{BUCKET}/out/a: no connection for"):
        storage.write("a", b"1")


def test_a_missing_bucket_is_an_error_at_once(s3: S3Server) -> None:
    storage = Storage.open("s3://other/out")
    with pytest.raises(StorageError, match="^s3://other/out/a: the bucket does not exist$"):
        storage.write("a", b"1")
    with pytest.raises(StorageError, match="the bucket does not exist"):
        list(storage.names())


def test_refused_credentials_are_an_error_at_once(s3: S3Server) -> None:
    storage = Storage.open(f"s3://{BUCKET}/out")
    s3.check_keys(True)
    try:
        with pytest.raises(StorageError, match="out/a: the credentials were not accepted"):
            storage.write("a", b"1")
        with pytest.raises(InputError, match="out/a: access denied"):
            storage.read("a")
    finally:
        s3.check_keys(False)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("", "expected a folder, got an empty name"),
        ("s3://", "s3://: expected s3://PLACE/FOLDER"),
        ("nothing://a/b", "nothing://a/b: cannot be opened: .*nothing"),
    ],
)
def test_impossible_addresses_are_refused(address: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Storage.open(address)


def test_an_impossible_server_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "localhost:9000")
    with pytest.raises(InputError, match="AWS_ENDPOINT_URL: expected http://.*, got localhost:9000"):
        Storage.open("s3://bucket/a")
