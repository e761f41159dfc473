"""The lists of videos that runs write to an archive."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from megavid.core.errors import InputError
from megavid.core.files.storage import Storage
from megavid.jobs.archive.segments import ListedVideo
from megavid.jobs.archive.video_lists import VideoTable, record_list, recorded_videos

A, B, C = (ListedVideo(f"/data/{name}.mp4", 10, "1") for name in "abc")


def table(*videos: ListedVideo, **columns: list[object]) -> VideoTable:
    return VideoTable(videos, pa.table(columns))


def test_the_latest_list_counts_and_earlier_videos_stay(tmp_path: Path) -> None:
    storage = Storage.open(tmp_path)
    newer = ListedVideo(A.address, 11, "2")
    record_list(storage, table(A, B, camera=["x", "y"]))
    record_list(storage, table(newer, C, camera=["z", "w"]))
    found = recorded_videos(storage)
    assert found.videos == [newer, B, C]
    assert found.columns.to_pydict() == {"camera": ["z", "y", "w"]}


def test_the_same_list_is_written_once_but_again_after_another(tmp_path: Path) -> None:
    storage = Storage.open(tmp_path)
    for _ in range(3):
        record_list(storage, table(A))
    assert len(list(storage.names("lists"))) == 1
    record_list(storage, table(ListedVideo(A.address, 11, "2")))
    record_list(storage, table(A))
    assert len(list(storage.names("lists"))) == 3
    assert recorded_videos(storage).videos == [A]


def test_further_columns_of_other_types_become_text(tmp_path: Path) -> None:
    storage = Storage.open(tmp_path)
    record_list(storage, table(A, day=[3]))
    record_list(storage, table(B, day=["fourth"], camera=["x"]))
    assert recorded_videos(storage).columns.to_pydict() == {"day": ["3", "fourth"], "camera": [None, "x"]}


def test_an_archive_without_lists_has_no_videos(tmp_path: Path) -> None:
    assert recorded_videos(Storage.open(tmp_path)).videos == []


@pytest.mark.parametrize(
    ("addresses", "names"),
    [
        (["/data/a/1.mp4"], ["1.mp4"]),
        (["/data/a/1.mp4", "/data/a/2.mp4"], ["1.mp4", "2.mp4"]),
        (["/data/a/1.mp4", "/data/ab/1.mp4", "/data/a/b/1.mp4"], ["a/1.mp4", "ab/1.mp4", "a/b/1.mp4"]),
        (["s3://bucket/x/1.mp4", "s3://bucket/2.mp4"], ["x/1.mp4", "2.mp4"]),
    ],
)
def test_names_are_paths_within_the_common_folder(addresses: list[str], names: list[str]) -> None:
    assert table(*(ListedVideo(address, 1, "") for address in addresses)).names == names


def test_a_broken_list_is_an_error_that_names_it(tmp_path: Path) -> None:
    storage = Storage.open(tmp_path)
    storage.write("lists/00000000000000000001-0.parquet", b"no list")
    with pytest.raises(InputError, match=r"lists/00000000000000000001-0\.parquet: cannot be read as a list"):
        recorded_videos(storage)
