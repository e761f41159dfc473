"""Parts of an archive, joined to one predictions file."""

from __future__ import annotations

from pathlib import Path

import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from megavid.core.errors import InputError
from megavid.datasets.table.problems import Problems
from megavid.evaluation.formats.parquet_schema import read_metadata
from megavid.evaluation.formats.parquet_table import read_parquet
from megavid.evaluation.formats.video_info import frame_numbers
from megavid.jobs.archive.archive_folder import part_name
from megavid.jobs.archive.archive_status import read_status
from megavid.jobs.archive.export_archive import VideoChoice, export_archive
from megavid.jobs.archive.join_parts import RowChoice
from tests.jobs.archive.s3_server import BUCKET, S3Server
from tests.jobs.archive.small_archive import LONG, SHORT, SmallArchive, write_small_archive


@pytest.fixture
def archive(tmp_path: Path) -> SmallArchive:
    return write_small_archive(tmp_path / "out")


def export(archive: SmallArchive, videos: VideoChoice | None = None, rows: RowChoice | None = None) -> Path:
    path = archive.path.parent / "exported.parquet"
    export_archive(archive.folder, path, videos or VideoChoice(), rows or RowChoice())
    return path


def boxes(path: Path) -> list[tuple[str, int, str, float]]:
    rows = pq.read_table(path).to_pylist()
    return [(row["video"], row["frame"], row["class_name"], round(row["score"], 2)) for row in rows]


def test_segments_are_joined_in_the_order_of_frames(archive: SmallArchive) -> None:
    path = archive.path.parent / "exported.parquet"
    exported = export_archive(archive.folder, path, VideoChoice(), RowChoice())
    assert boxes(path) == [
        ("north/long.mp4", 0, "cat", 0.9),
        ("north/long.mp4", 0, "dog", 0.25),
        ("north/long.mp4", 2, "cat", 0.9),
        ("north/long.mp4", 4, "dog", 0.25),
        ("south/short.mp4", 0, "cat", 0.9),
    ]
    assert (exported.written.videos, exported.written.frames, exported.written.boxes) == (2, 7, 5)
    assert exported.unfinished == 1


def test_metadata_is_that_of_one_run_over_whole_videos(archive: SmallArchive) -> None:
    about = read_metadata(export(archive))
    assert about["videos"] == {"north/long.mp4": 5, "south/short.mp4": 2}
    assert (about["frames"], about["classes"], about["weights"]) == (7, ["cat", "dog"], "x")
    assert about["video_info"]["north/long.mp4"] == {"width": 96, "height": 64, "frame_numbers": [[0, 4, 1]]}
    table = read_parquet(export(archive), problems=Problems())
    assert frame_numbers(table, "north/long.mp4").tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("choice", "videos"),
    [
        (VideoChoice(patterns=["south/*"]), {"south/short.mp4"}),
        (VideoChoice(patterns=["long.mp4"]), {"north/long.mp4"}),
        (VideoChoice(patterns=["/data/north/*", "short.*"]), {"north/long.mp4", "south/short.mp4"}),
        (VideoChoice(where={"camera": "b"}), {"south/short.mp4"}),
        (VideoChoice(patterns=["*.mp4"], where={"camera": "a"}), {"north/long.mp4"}),
    ],
)
def test_videos_are_chosen_by_pattern_and_column(
    archive: SmallArchive, choice: VideoChoice, videos: set[str]
) -> None:
    assert read_metadata(export(archive, choice))["videos"].keys() == videos


def test_boxes_are_chosen_by_class_and_score(archive: SmallArchive) -> None:
    dogs = export(archive, rows=RowChoice(classes=["dog"]))
    assert [row[1:] for row in boxes(dogs)] == [(0, "dog", 0.25), (4, "dog", 0.25)]
    assert read_metadata(dogs)["videos"] == {"north/long.mp4": 5, "south/short.mp4": 2}
    assert {row[2] for row in boxes(export(archive, rows=RowChoice(score_threshold=0.25)))} == {"cat"}


def test_a_part_that_is_not_committed_is_not_exported(archive: SmallArchive) -> None:
    second = archive.segments(LONG, 5)[1]
    archive.folder.storage.remove(f"done/{second[:2]}/{second}.json")
    assert (archive.path / part_name(second)).exists()
    assert read_metadata(export(archive))["videos"] == {"south/short.mp4": 2}


@pytest.mark.parametrize(
    ("videos", "rows", "message"),
    [
        (VideoChoice(patterns=["east/*"]), RowChoice(), r"--videos: 'east/\*' fits none of the videos"),
        (
            VideoChoice(where={"day": "1"}),
            RowChoice(),
            r"--where: expected a column .* \(camera\), got 'day'",
        ),
        (VideoChoice(where={"camera": "c"}), RowChoice(), "expected videos to export, but none is chosen"),
        (VideoChoice(patterns=["broken.mp4"]), RowChoice(), "expected videos that are done, got none"),
        (VideoChoice(), RowChoice(classes=["fox"]), "classes: 'fox' is not one of the detector's: cat, dog"),
    ],
)
def test_wrong_choices_are_refused(
    archive: SmallArchive, videos: VideoChoice, rows: RowChoice, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        export(archive, videos, rows)
    assert not (archive.path.parent / "exported.parquet").exists()


def test_an_archive_in_s3_is_read_as_a_local_one(archive: SmallArchive, s3: S3Server, tmp_path: Path) -> None:
    remote = write_small_archive(tmp_path / "remote", address=f"s3://{BUCKET}/archive")
    assert read_status(remote.folder).as_dict() == read_status(archive.folder).as_dict()
    local = boxes(export(archive))
    assert boxes(export(remote)) == local
    storage = remote.folder.storage
    parts = ds.dataset(storage.path("parts"), filesystem=storage.filesystem)
    assert parts.count_rows() == len(local)


def test_a_broken_part_is_an_error_that_names_it(archive: SmallArchive) -> None:
    [segment] = archive.segments(SHORT, 2)
    (archive.path / part_name(segment)).write_bytes(b"no table")
    with pytest.raises(InputError, match=f"{part_name(segment)}: cannot be read as predictions"):
        export(archive)
