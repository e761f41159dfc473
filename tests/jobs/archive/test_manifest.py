"""Videos are found in folders, patterns and manifests, on this machine and remote."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from megavid.core.errors import InputError
from megavid.core.files.storage import MissingFileError, Storage
from megavid.jobs.archive import manifest, manifest_rows
from megavid.jobs.archive.manifest import VideoList, fetch, list_videos
from megavid.jobs.archive.segments import ListedVideo

FILES = (
    "10.mp4",
    "2.MKV",
    "notes.txt",
    "north/1.avi",
    "north/deep/1.bin",
    "north/.old/1.mp4",
    "frames/1.png",
)


@pytest.fixture
def archive(place: str) -> Storage:
    """Return a folder with four files that are or could be videos, and others."""
    storage = Storage.open(place)
    for name in FILES:
        storage.write(name, name.encode())
    return storage


def names(found: VideoList, storage: Storage) -> list[str]:
    """Return the addresses of the videos, relative to the folder."""
    return [video.address.removeprefix(f"{storage.address}/") for video in found.videos]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("", ["2.MKV", "10.mp4", "north/1.avi"]),
        ("/", ["2.MKV", "10.mp4", "north/1.avi"]),
        ("/north", ["north/1.avi"]),
        ("/10.mp4", ["10.mp4"]),
        ("/north/deep/1.bin", ["north/deep/1.bin"]),
        ("/*.mp4", ["10.mp4"]),
        ("/[0-9]*.*", ["2.MKV", "10.mp4"]),
        ("/**/1.*", ["frames/1.png", "north/1.avi", "north/deep/1.bin"]),
        ("/nor*/**", ["north/1.avi", "north/deep/1.bin"]),
        ("/*/1.avi", ["north/1.avi"]),
    ],
)
def test_videos_of_folders_and_patterns(archive: Storage, spec: str, expected: list[str]) -> None:
    found = list_videos(archive.address + spec)
    assert names(found, archive) == expected
    assert [video.bytes for video in found.videos] == [len(name) for name in expected]
    assert all(video.version for video in found.videos)
    assert found.columns.to_pydict() == {"video": [video.address for video in found.videos]}
    assert found.unreadable == {}


def test_a_text_file_names_videos_relative_to_it(archive: Storage) -> None:
    # Written on Windows, with an empty line, a video twice, a missing one, a folder and a way out and back.
    archive.write(
        "north/list.txt", "\ufeff1.avi\r\n\r\n../10.mp4\r\n1.avi\r\nnone.mp4\r\n../frames\r\n".encode()
    )
    found = list_videos(f"{archive.address}/north/list.txt")
    assert names(found, archive) == ["north/1.avi", "10.mp4"]
    assert [video.bytes for video in found.videos] == [11, 6]
    missing, folder = f"{archive.address}/north/none.mp4", f"{archive.address}/frames"
    assert found.unreadable[missing] == "no such file"
    assert found.unreadable[folder] in {"expected a video file, got a folder", "no such file"}
    assert found.columns["video"].to_pylist() == [*(video.address for video in found.videos), missing, folder]


def test_further_columns_of_a_csv_file_are_kept(archive: Storage) -> None:
    rows = 'camera,path,note\nnorth,north/1.avi,"rain, fog"\n,10.mp4,\nsouth,none.mp4,x\n,10.mp4,\n'
    archive.write("list.csv", rows.encode())
    found = list_videos(f"{archive.address}/list.csv")
    assert names(found, archive) == ["north/1.avi", "10.mp4"]
    assert list(found.unreadable) == [f"{archive.address}/none.mp4"]
    assert found.columns.to_pydict() == {
        "video": [f"{archive.address}/{name}" for name in ("north/1.avi", "10.mp4", "none.mp4")],
        "camera": ["north", "", "south"],
        "note": ["rain, fog", "", "x"],
    }


def test_further_columns_of_a_parquet_file_keep_their_types(archive: Storage, tmp_path: Path) -> None:
    table = pa.table({"file": ["10.mp4", "north/1.avi"], "fps": [25.0, None], "tags": [["a"], []]})
    pq.write_table(table, tmp_path / "list.parquet")
    archive.upload("list.parquet", tmp_path / "list.parquet")
    found = list_videos(f"{archive.address}/list.parquet", column="file")
    assert names(found, archive) == ["10.mp4", "north/1.avi"]
    assert found.columns.drop_columns("video") == table.drop_columns("file")


def test_a_local_manifest_names_remote_and_local_videos(
    archive: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here.mp4").write_bytes(b"12345")
    (tmp_path / "list.txt").write_text(f"{archive.address}/10.mp4\nhere.mp4\n{tmp_path}/x/../here.mp4\n")
    monkeypatch.chdir(tmp_path)
    found = list_videos("list.txt")
    assert [(video.address, video.bytes) for video in found.videos] == [
        (f"{archive.address}/10.mp4", 6),
        (str(tmp_path / "here.mp4"), 5),
    ]


def test_a_video_keeps_its_version_until_it_changes(archive: Storage) -> None:
    (before,) = list_videos(f"{archive.address}/10.mp4").videos
    assert list_videos(archive.address).videos[1] == before
    archive.write("10.mp4", b"longer than before")
    assert list_videos(f"{archive.address}/10.mp4").videos != [before]


def test_a_video_is_fetched_whole(archive: Storage, tmp_path: Path) -> None:
    (video,) = list_videos(f"{archive.address}/10.mp4").videos
    cache = tmp_path / "cache"
    cache.mkdir()
    path = fetch(video, cache, limit=6)
    assert path.read_bytes() == b"10.mp4"
    assert path.suffix == ".mp4"
    assert list(cache.iterdir()) == ([] if archive.is_local else [path])
    assert archive.is_local == (str(path) == video.address)


def test_a_remote_folder_is_listed_without_asking_for_each_video(
    s3: object, caplog: pytest.LogCaptureFixture
) -> None:
    storage = Storage.open("s3://bucket/many")
    for number in range(30):
        storage.write(f"{number}.mp4", b"1")
    with caplog.at_level(logging.INFO, logger="werkzeug"):
        assert len(list_videos("s3://bucket/many").videos) == 30
    requests = [message for message in caplog.messages if "/bucket" in message]
    assert 1 <= len(requests) <= 4


def test_a_remote_video_that_is_too_large_is_refused(s3: object, tmp_path: Path) -> None:
    Storage.open("s3://bucket").write("a.mp4", b"1234567")
    (video,) = list_videos("s3://bucket/a.mp4").videos
    with pytest.raises(InputError, match="^s3://bucket/a.mp4: expected at most 6 bytes to copy, got 7$"):
        fetch(video, tmp_path, limit=6)


def test_a_video_that_changed_or_went_is_refused(archive: Storage, tmp_path: Path) -> None:
    (video,) = list_videos(f"{archive.address}/10.mp4").videos
    archive.write("10.mp4", b"other content")
    with pytest.raises(InputError, match="10.mp4: changed since it was listed"):
        fetch(video, tmp_path)
    archive.remove("10.mp4")
    with pytest.raises(MissingFileError, match="10.mp4: no such file"):
        fetch(video, tmp_path)
    assert not list(tmp_path.glob("*.mp4"))


def test_a_local_video_of_the_same_size_that_changed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"1")
    about = path.stat()
    (video,) = list_videos(path).videos
    assert video == ListedVideo(str(path), 1, str(about.st_mtime_ns))
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns + 1))
    with pytest.raises(InputError, match="changed since it was listed"):
        fetch(video, tmp_path)


BROKEN: dict[str, tuple[bytes, str]] = {
    "empty.txt": (b"\n \n", "expected paths of videos, got none"),
    "latin.txt": (b"a.mp4\n\xe9.mp4\n", "line 2: expected text in UTF-8"),
    "zero.txt": (b"a.mp4\n\na\0b\n", r"line 3: expected the path of a video"),
    "none.csv": (b"", "expected one column path or video, got none"),
    "header.csv": (b"a,b\n1,2\n", "expected one column path or video, got a, b"),
    "both.csv": (b"path,video\na,b\n", "expected one column path or video, got path, video"),
    "twice.csv": (b"path,a,a\nx,1,2\n", "expected columns of different names"),
    "fields.csv": (b'path,b\n"a\nb",2\nc\n', "line 4: expected 2 fields, got 1"),
    "quote.csv": (b'path\na\n"b\n', "line 3: unexpected end of data"),
    "gap.csv": (b"path,b\na,1\n,2\n", "line 3: expected the path of a video, got ''"),
    "differs.csv": (b"path,b\na,1\nb,1\n./a,2\n", r"line 4: './a' has other values than on line 2"),
    "broken.parquet": (b"PAR1", "expected a Parquet file"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_manifest_is_one_error_with_its_line(tmp_path: Path, name: str) -> None:
    data, message = BROKEN[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=f"{name}: {message}"):
        list_videos(tmp_path / name)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"path": [1, 2]}, "column path: expected text, got int64"),
        ({"path": ["a.mp4", None]}, "row 2: expected the path of a video"),
        ({"path": ["a.mp4"], "video": ["b"]}, "expected one column path or video"),
        ({"path": pa.array([], pa.string())}, "expected paths of videos, got none"),
    ],
)
def test_a_parquet_file_without_paths_is_refused(
    tmp_path: Path, table: dict[str, object], message: str
) -> None:
    pq.write_table(pa.table(table), tmp_path / "list.parquet")
    with pytest.raises(InputError, match=f"list.parquet: {message}"):
        list_videos(tmp_path / "list.parquet")


def test_mistakes_in_the_input_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "list.csv").write_text("file,video\na,b\n")
    for spec, column, message in [
        ("", None, "expected videos, got an empty name"),
        ("none", None, "none: no such file or folder"),
        ("none*", None, r"none\*: no such file, and no file matches it as a pattern"),
        ("empty", None, "empty: no videos in this folder"),
        ("empty", "file", "empty: expected a CSV or Parquet file for column 'file'"),
        ("list.csv", "file", "list.csv: column video: the addresses get this name"),
        ("list.csv", "other", "list.csv: expected one column other, got file, video"),
    ]:
        with pytest.raises(InputError, match=message):
            list_videos(spec, column=column)


def test_a_file_that_may_not_be_looked_at_does_not_hide_the_others(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"1")
    long = "x" * 300  # longer than a file name can be
    (tmp_path / "list.txt").write_text(f"{long}\na.mp4\n")
    found = list_videos(tmp_path / "list.txt")
    assert [video.address for video in found.videos] == [str(tmp_path / "a.mp4")]
    assert list(found.unreadable) == [str(tmp_path / long)]
    assert found.unreadable[str(tmp_path / long)].endswith("cannot be used: File name too long")


def test_a_name_that_is_not_unicode_is_refused(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"\xff.mp4")).touch()
    with pytest.raises(InputError, match=r"\\udcff.mp4: expected a name in UTF-8; rename the file"):
        list_videos(tmp_path)


def test_a_manifest_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pq.write_table(pa.table({"path": ["a", "b", "c"]}), tmp_path / "list.parquet")
    monkeypatch.setattr(manifest_rows, "_MOST_ROWS", 2)
    with pytest.raises(InputError, match="list.parquet: expected at most 2 rows, got 3"):
        list_videos(tmp_path / "list.parquet")
    monkeypatch.setattr(manifest, "LARGEST_MANIFEST", 3)
    (tmp_path / "list.txt").write_text("a\nb\n")
    with pytest.raises(InputError, match="list.txt: expected at most 3 bytes, got 4"):
        list_videos(tmp_path / "list.txt")
