"""Copies of remote videos: fetched ahead, bounded and removed."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from megavid.core.errors import InputError
from megavid.core.files.storage import Storage
from megavid.jobs.archive.manifest import list_videos
from megavid.jobs.archive.segments import ListedVideo
from megavid.jobs.archive.video_cache import VideoCache
from tests.jobs.archive.archive_runs import InlineEngine, make_spec, rows_of, run, slow, write_videos

Videos = dict[str, ListedVideo]


@pytest.fixture
def videos(tmp_path: Path) -> Videos:
    """Return remote videos of 100 bytes, whose content is their name."""
    storage = Storage.open(f"memory://{tmp_path.name}")
    for name in "abc":
        storage.write(f"{name}.mp4", name.encode() * 100)
    return {video.address[-5]: video for video in list_videos(storage.address).videos}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "cache").mkdir()
    return tmp_path / "cache"


def copies(folder: Path) -> str:
    """Return the content of all complete copies, a letter for each."""
    return "".join(sorted(path.read_text()[0] for path in folder.glob("*/[!.]*.mp4")))


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def test_the_next_video_is_fetched_ahead_and_the_last_one_removed(videos: Videos, folder: Path) -> None:
    cache = VideoCache(folder, limit=200)
    assert cache.path(videos["a"]).read_text() == "a" * 100
    assert cache.path(videos["a"]) == cache.path(videos["a"])  # another segment of it
    cache.fetch_ahead(videos["b"])
    wait_for(lambda: copies(folder) == "ab")
    [ahead] = [path for path in folder.glob("*/*.mp4") if path.read_text()[0] == "b"]
    assert cache.path(videos["b"]) == ahead
    wait_for(lambda: copies(folder) == "b")
    cache.close()
    assert not folder.exists()


def test_a_video_that_was_fetched_for_nothing_makes_room(videos: Videos, folder: Path) -> None:
    cache = VideoCache(folder, limit=200)
    cache.path(videos["a"])
    cache.fetch_ahead(videos["b"])
    wait_for(lambda: copies(folder) == "ab")
    assert cache.path(videos["c"]).read_text() == "c" * 100
    wait_for(lambda: copies(folder) == "bc")  # there is room for both
    cache.fetch_ahead(videos["a"])
    wait_for(lambda: copies(folder) == "ac")


def test_the_limit_of_the_cache_is_kept(videos: Videos, folder: Path) -> None:
    cache = VideoCache(folder, limit=199)
    cache.path(videos["a"])
    cache.fetch_ahead(videos["b"])
    time.sleep(0.2)
    assert copies(folder) == "a"
    assert cache.path(videos["b"]).read_text() == "b" * 100
    small = VideoCache(folder, limit=99)
    small.fetch_ahead(videos["a"])
    with pytest.raises(InputError, match=r"a\.mp4: expected at most 99 bytes to copy, got 100"):
        small.path(videos["a"])
    with pytest.raises(InputError, match=r"c\.mp4: expected at most 99 bytes to copy, got 100"):
        small.path(videos["c"])


def test_remote_videos_give_what_local_ones_give(tmp_path: Path) -> None:
    remote = Storage.open(f"memory://{tmp_path.name}")
    for path in write_videos(tmp_path / "videos", [3, 12, 5]):
        remote.upload(path.name, path)
    for name, source in (("local", tmp_path / "videos"), ("remote", remote.address)):
        spec = make_spec(tmp_path / name, slow(0, tmp_path))
        listed = list_videos(str(source)).videos
        assert run(spec, listed, InlineEngine(spec)).exit_code == 0
    assert rows_of(tmp_path / "remote") == rows_of(tmp_path / "local")
    assert len(rows_of(tmp_path / "local")) == 20
    assert list((tmp_path / "cache").iterdir()) == []
