"""The status of an archive and its table of videos."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from megavid.core.errors import InputError
from megavid.core.files.storage import Storage
from megavid.jobs.archive.archive_folder import ArchiveFolder
from megavid.jobs.archive.archive_status import read_status, write_table
from megavid.jobs.archive.segments import ListedVideo, Segment
from tests.evaluation.prediction_tables import frame_result
from tests.jobs.archive.small_archive import LONG, SHORT, SmallArchive, video_list, write_small_archive

NEW = ListedVideo("/data/new.mp4", 5, "1")


def test_counts_add_up(tmp_path: Path) -> None:
    archive = write_small_archive(tmp_path / "out")
    about = read_status(archive.folder).as_dict()
    assert about["videos"] == {"all": 3, "done": 2, "running": 0, "failed": 1, "left": 0}
    assert about["segments"] == {"done": 3, "failed": 1, "known": 4}
    assert (about["frames"], about["detections"]) == (7, 5)
    assert about["objects"] == {"cat": 3, "dog": 2}
    assert about["worker_seconds"] == 4.0
    assert about["frames_per_worker_second"] == 1.75
    # The first segment began at 1004 s, the last one ended at 1010 s.
    assert about["latest_frames_per_second"] == round(7 / 6, 3)
    assert about["failures"] == [
        {"video": "/data/south/broken.mp4", "reason": "no video in it", "attempts": 1}
    ]
    json.dumps(about)


def test_the_latest_speed_is_that_of_the_last_ten_minutes(tmp_path: Path) -> None:
    archive = SmallArchive(tmp_path / "out", video_list(SHORT, NEW))
    results = [frame_result(number) for number in range(10)]
    archive.commit(Segment(SHORT, 0, None, 10), *results, seconds=100.0, ended=1000.0)
    archive.commit(Segment(NEW, 0, None, 10), *results, seconds=100.0, ended=1550.0)
    # Of the first segment, which ran from 900 s to 1000 s, the second half is within 600 s of the end.
    assert read_status(archive.folder).latest_speed == round((5 + 10) / 600, 3)


def test_states_of_a_video(tmp_path: Path) -> None:
    archive = SmallArchive(tmp_path / "out", video_list(LONG, SHORT))
    archive.count(LONG, 5)
    assert read_status(archive.folder).states == {"done": 0, "running": 0, "failed": 0, "left": 2}
    archive.commit(Segment(LONG, 3, None, 5), frame_result(3), frame_result(4))
    assert read_status(archive.folder).states == {"done": 0, "running": 1, "failed": 0, "left": 1}
    archive.commit(Segment(LONG, 0, 3, 5), *map(frame_result, range(3)))
    assert read_status(archive.folder).states == {"done": 1, "running": 0, "failed": 0, "left": 1}


def test_a_failure_that_was_done_later_does_not_count(tmp_path: Path) -> None:
    archive = SmallArchive(tmp_path / "out", video_list(SHORT))
    archive.fail(SHORT, "its worker was lost")
    archive.commit(Segment(SHORT, 0, None, 1), frame_result(0))
    about = read_status(archive.folder).as_dict()
    assert about["videos"]["done"] == 1
    assert about["failures"] == []


def test_a_changed_video_is_left_to_do_and_its_results_are_removed(tmp_path: Path) -> None:
    archive = write_small_archive(tmp_path / "out")
    changed = ListedVideo(LONG.address, 501, "2")
    again = SmallArchive(archive.path, video_list(changed, SHORT))
    about = read_status(again.folder).as_dict()
    assert about["videos"] == {"all": 3, "done": 1, "running": 0, "failed": 1, "left": 1}
    assert len(list((archive.path / "parts").rglob("*.parquet"))) == 1
    assert again.folder.done_ids() == set(archive.segments(SHORT, 2))


def test_videos_that_later_lists_lack_keep_their_results(tmp_path: Path) -> None:
    archive = write_small_archive(tmp_path / "out")
    SmallArchive(archive.path, video_list(NEW))
    assert read_status(archive.folder).states == {"done": 2, "running": 0, "failed": 1, "left": 1}
    assert len(list((archive.path / "parts").rglob("*.parquet"))) == 3


def test_results_stay_if_the_lists_are_lost(tmp_path: Path) -> None:
    archive = write_small_archive(tmp_path / "out")
    for path in (archive.path / "lists").iterdir():
        path.unlink()
    SmallArchive(archive.path, video_list(SHORT))
    assert len(list((archive.path / "parts").rglob("*.parquet"))) == 3


def test_videos_that_cannot_be_listed_count_as_failed(tmp_path: Path) -> None:
    archive = SmallArchive(tmp_path / "out", video_list(SHORT, unreadable={"/data/gone.mp4": "no such file"}))
    about = read_status(archive.folder).as_dict()
    assert about["videos"] == {"all": 2, "done": 0, "running": 0, "failed": 1, "left": 1}
    assert about["failures"] == [{"video": "/data/gone.mp4", "reason": "no such file", "attempts": 1}]


def test_a_video_that_is_out_of_reach_for_a_while_keeps_its_results(tmp_path: Path) -> None:
    archive = write_small_archive(tmp_path / "out")
    SmallArchive(archive.path, video_list(SHORT, unreadable={LONG.address: "no such file"}))
    assert read_status(archive.folder).states == {"done": 2, "running": 0, "failed": 1, "left": 0}


def test_segments_with_broken_records_are_counted_apart(tmp_path: Path) -> None:
    archive = write_small_archive(tmp_path / "out")
    [segment] = archive.segments(SHORT, 2)
    (archive.path / "done" / segment[:2] / f"{segment}.json").write_text("{")
    about = read_status(archive.folder).as_dict()
    assert (about["frames"], about["broken_records"]) == (5, 1)


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_table_has_a_row_for_each_video(tmp_path: Path, suffix: str) -> None:
    archive = write_small_archive(tmp_path / "out")
    path = tmp_path / f"videos.{suffix}"
    write_table(read_status(archive.folder), path)
    if suffix == "csv":
        with path.open() as file:
            rows = [{name: value or None for name, value in row.items()} for row in csv.DictReader(file)]
    else:
        rows = [
            {name: None if value is None else str(value) for name, value in row.items()}
            for row in pq.read_table(path).to_pylist()
        ]
    assert [row["state"] for row in rows] == ["done", "done", "failed"]
    assert [row["name"] for row in rows] == ["north/long.mp4", "south/short.mp4", "south/broken.mp4"]
    assert [row["frames"] for row in rows] == ["5", "2", "0"]
    assert [row["objects_cat"] for row in rows] == ["2", "1", "0"]
    assert [row["workers"] for row in rows] == ["one, two", "one", "two"]
    assert [row["attempts"] for row in rows] == ["2", "1", "1"]
    assert [row["error"] for row in rows] == [None, None, "no video in it"]
    assert [row["camera"] for row in rows] == ["a", "b", "b"]


def test_a_table_can_be_written_again(tmp_path: Path) -> None:
    archive = write_small_archive(tmp_path / "out")
    for _ in range(2):
        write_table(read_status(archive.folder), tmp_path / "videos.parquet")
    with pytest.raises(InputError, match=r"videos\.txt: expected a name that ends in \.parquet or \.csv"):
        write_table(read_status(archive.folder), tmp_path / "videos.txt")


def test_a_folder_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no archive: expected run\.json in it"):
        read_status(ArchiveFolder(Storage.open(tmp_path)))
