"""`megavid archive`: runs on this machine, their status, and exports that other commands take."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from megavid.cli import main
from megavid.core.frames import Image
from megavid.datasets.synthetic.camera import film
from tests.cli.helpers import error_of, read_predictions, write_video

LENGTHS = {"north/pond.mp4": 7, "north/lake.mp4": 3, "south/river.mp4": 4}
SEGMENT_FRAMES = 4

LIST = "path,camera\nnorth/pond.mp4,a\nnorth/lake.mp4,a\nsouth/river.mp4,b\n"


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write three 96x64 videos and a list of them."""
    folder = tmp_path_factory.mktemp("videos")
    for number, (name, frames) in enumerate(LENGTHS.items()):
        (folder / name).parent.mkdir(exist_ok=True)
        images: list[Image] = [
            f.image for f in film(seed=0, video=number, frames=frames, height=64, width=96)
        ]
        write_video(folder / name, images)
    (folder / "list.csv").write_text(LIST)
    return folder


def arguments(videos: Path, out: Path, weights: dict[str, Path], *others: str) -> list[str]:
    detector = ["--weights", str(weights["mega"]), "--device", "cpu", "--threads", "1", "--workers", "1"]
    return ["archive", "run", str(videos), "-o", str(out), *detector, "--score-threshold", "0.2", *others]


@pytest.fixture(scope="module")
def archive(videos: Path, weights: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run over the list of videos, the first of which is longer than a segment; return the output folder."""
    out = tmp_path_factory.mktemp("archive") / "out"
    assert main(arguments(videos / "list.csv", out, weights, "--segment-frames", str(SEGMENT_FRAMES))) == 0
    return out


def expected_rows(videos: Path, weights: Path, folder: Path) -> list[dict[str, Any]]:
    """Return the rows that `megavid detect` writes for each video, with the name that an export gives it."""
    rows = []
    for name in LENGTHS:
        detector = ["--weights", str(weights), "--device", "cpu", "--threads", "1"]
        out = folder / Path(name).stem
        assert (
            main(["detect", str(videos / name), *detector, "-o", str(out), "--score-threshold", "0.2"]) == 0
        )
        rows += [{**row, "video": name} for row in read_predictions(out / "predictions.parquet")[0]]
    return rows


def test_an_export_equals_what_detect_writes(
    archive: Path, videos: Path, weights: dict[str, Path], tmp_path: Path
) -> None:
    assert main(["archive", "export", str(archive), "-o", str(tmp_path / "all.parquet")]) == 0
    rows, about = read_predictions(tmp_path / "all.parquet")
    assert rows == expected_rows(videos, weights["mega"], tmp_path)
    assert about["videos"] == LENGTHS
    info = about["video_info"]["north/pond.mp4"]
    assert info == {"width": 96, "height": 64, "frame_numbers": [[0, 6, 1]]}
    _, one = read_predictions(tmp_path / "pond" / "predictions.parquet")
    assert {key: about[key] for key in ("architecture", "config", "weights_sha256", "every", "classes")} == {
        key: one[key] for key in ("architecture", "config", "weights_sha256", "every", "classes")
    }


def test_parts_are_a_data_set_of_the_same_rows(archive: Path, tmp_path: Path) -> None:
    assert main(["archive", "export", str(archive), "-o", str(tmp_path / "all.parquet")]) == 0
    count = pq.read_metadata(tmp_path / "all.parquet").num_rows
    assert count > 0
    assert ds.dataset(archive / "parts").count_rows() == count
    assert len(pd.read_parquet(archive / "parts")) == count


def test_duckdb_reads_the_parts(archive: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    count = duckdb.sql(f"SELECT count(*) FROM '{archive}/parts/*/*.parquet'").fetchall()
    assert count == [(ds.dataset(archive / "parts").count_rows(),)]


def test_the_same_command_finds_nothing_left_to_do(
    archive: Path, videos: Path, weights: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in archive.rglob("*") if path.is_file()}
    line = arguments(videos / "list.csv", archive, weights, "--segment-frames", str(SEGMENT_FRAMES))
    assert main(line) == 0
    assert f"{archive}: 0 videos done, 0 frames" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in archive.rglob("*") if path.is_file()} == before


def test_status_counts_and_lists(archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["archive", "status", str(archive), "--json", "--table", str(tmp_path / "t.parquet")]) == 0
    about = json.loads(capsys.readouterr().out)
    assert about["videos"] == {"all": 3, "done": 3, "running": 0, "failed": 0, "left": 0}
    assert about["segments"] == {"done": 4, "failed": 0, "known": 4}
    assert about["frames"] == sum(LENGTHS.values())
    rows = pq.read_table(tmp_path / "t.parquet").to_pylist()
    assert {row["name"]: row["frames"] for row in rows} == LENGTHS
    assert [row["camera"] for row in rows] == ["a", "a", "b"]
    assert sum(row["detections"] for row in rows) == ds.dataset(archive / "parts").count_rows()
    assert main(["archive", "status", str(archive)]) == 0
    assert "3 videos: 3 done, 0 running, 0 failed, 0 left" in capsys.readouterr().out


def test_chosen_videos_and_boxes_are_exported(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "some.parquet"
    choice = ["--where", "camera=a", "--videos", "*/lake.mp4,river.mp4", "--classes", "disc"]
    assert main(["archive", "export", str(archive), "-o", str(path), *choice]) == 2
    assert "--videos: 'river.mp4' fits none" in error_of(capsys)  # camera b has it
    assert main(["archive", "export", str(archive), "-o", str(path), "--where", "camera"]) == 2
    assert "--where: expected COLUMN=VALUE, each column once, got 'camera'" in error_of(capsys)
    assert main(["archive", "export", str(archive), "-o", str(path), *choice[:2]]) == 0
    assert read_predictions(path)[1]["videos"] == {"north/pond.mp4": 7, "north/lake.mp4": 3}
    assert main(["archive", "export", str(archive), "-o", str(path), "--classes", "disc"]) == 0
    assert {row["class_name"] for row in read_predictions(path)[0]} <= {"disc"}


def test_link_score_and_exports_take_an_export(archive: Path, videos: Path, tmp_path: Path) -> None:
    path = tmp_path / "all.parquet"
    assert main(["archive", "export", str(archive), "-o", str(path)]) == 0
    assert main(["link", str(path), "--method", "seq_nms", "-o", str(tmp_path / "linked.parquet")]) == 0
    linked = read_predictions(tmp_path / "linked.parquet")[1]
    assert linked["videos"] == LENGTHS
    csv = tmp_path / "boxes.csv"
    assert main(["predictions", "to", str(csv), str(path), "--as", "csv", "--video", str(videos)]) == 0
    assert {line.split(",")[0] for line in csv.read_text().splitlines()[1:]} <= set(LENGTHS)
    assert main(["score", str(path), "--data", str(csv), "-o", str(tmp_path / "scores")]) == 0
    assert (tmp_path / "scores" / "report.html").exists()


def test_a_broken_video_fails_and_the_others_are_done(
    videos: Path, weights: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tmp_path / "videos", tmp_path / "out"
    folder.mkdir()
    shutil.copy(videos / "north/lake.mp4", folder / "good.mp4")
    (folder / "bad.mp4").write_bytes(b"no video")
    assert main(arguments(folder, out, weights)) == 1
    assert "1 videos done, 3 frames" in capsys.readouterr().out
    assert main(["archive", "status", str(out), "--json"]) == 0
    about = json.loads(capsys.readouterr().out)
    assert [failure["video"] for failure in about["failures"]] == [str(folder / "bad.mp4")]
    assert main(["archive", "export", str(out), "-o", str(tmp_path / "done.parquet")]) == 0
    assert "without 1 videos that are not done" in capsys.readouterr().out
    shutil.copy(videos / "south/river.mp4", folder / "bad.mp4")  # repaired: it has another size and time
    assert main(arguments(folder, out, weights)) == 0
    assert main(["archive", "export", str(out), "-o", str(tmp_path / "done.parquet")]) == 0
    assert read_predictions(tmp_path / "done.parquet")[1]["videos"] == {"bad.mp4": 4, "good.mp4": 3}


def test_two_runs_at_once_lose_and_double_nothing(
    archive: Path, videos: Path, weights: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    line = arguments(videos / "list.csv", out, weights, "--segment-frames", str(SEGMENT_FRAMES))
    with ThreadPoolExecutor(2) as pool:  # each run has a worker process of its own
        assert list(pool.map(main, [line, line])) == [0, 0]
    one, two = (
        sorted(ds.dataset(folder / "parts").to_table().to_pylist(), key=json.dumps)
        for folder in (archive, out)
    )
    assert one == two
    assert len(list((out / "done").rglob("*.json"))) == 4


def test_shares_make_up_the_whole(
    archive: Path, videos: Path, weights: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    line = arguments(videos / "list.csv", out, weights, "--segment-frames", str(SEGMENT_FRAMES))
    done = []
    for shard in ("0/2", "1/2"):
        assert main([*line, "--shard", shard]) == 0
        capsys.readouterr()
        assert main(["archive", "status", str(out), "--json"]) == 0
        about = json.loads(capsys.readouterr().out)["videos"]
        assert about == {**about, "all": 3, "failed": 0, "running": 0, "left": 3 - about["done"]}
        done.append(about["done"])
    assert 0 < done[0] < done[1] == 3
    names = {path.name for path in (out / "parts").rglob("*.parquet")}
    assert names == {path.name for path in (archive / "parts").rglob("*.parquet")}


@pytest.mark.parametrize(
    ("others", "message"),
    [
        (
            ["--segment-frames", "5", "--batch-size", "2"],
            "--segment-frames: expected a multiple of --batch-size 2",
        ),
        (["--address", "auto"], "--address: is for --engine ray, got --engine local"),
        (["--gpus-per-actor", "0.5"], "--gpus-per-actor: is for --engine ray, got --engine local"),
        (["--shard", "2/2"], "--shard: expected I/N, the number of this run from 0"),
        (["--workers", "0"], "--workers: expected at least 1, got 0"),
        (["--cache-bytes", "0"], "--cache-bytes: expected at least 1, got 0"),
        (["--score-threshold", "2"], "score_threshold: expected a number between 0 and 1, got 2"),
        (["--column", "day"], "list.csv"),
        (["--weights", "nowhere.safetensors"], "nowhere.safetensors"),
    ],
)
def test_mistakes_are_found_before_anything_is_written(
    videos: Path,
    weights: dict[str, Path],
    tmp_path: Path,
    others: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(arguments(videos / "list.csv", tmp_path / "out", weights, *others)) == 2
    assert message in error_of(capsys)
    assert not (tmp_path / "out").exists()


def test_other_settings_in_the_same_folder_are_refused(
    archive: Path, videos: Path, weights: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    line = arguments(videos / "list.csv", archive, weights, "--segment-frames", str(SEGMENT_FRAMES))
    for others, message in (
        (["--score-threshold", "0.3"], "score_threshold was 0.2, got 0.3"),
        (["--weights", str(weights["rdn"])], "has results of other settings"),
        (["--method.window", "2"], "config.method.window was 3, got 2"),
    ):
        assert main([*line, *others]) == 2
        assert message in error_of(capsys)


def test_saved_boxes_of_a_video_are_no_detector_for_others(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    boxes = tmp_path / "det.txt"
    boxes.write_text("1,-1,10,10,20,20,0.9\n")
    detector = ["--detector", f"boxes:{boxes}", "--method.class-names", "[disc]"]
    assert main(["archive", "run", str(videos), "-o", str(tmp_path / "out"), *detector]) == 2
    assert "expected a detector for any video, got the saved boxes of one" in error_of(capsys)


@pytest.mark.parametrize("command", [["status"], ["export", "-o", "x.parquet"]])
def test_a_folder_that_is_no_archive_is_refused(
    here: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["archive", command[0], "nowhere", *command[1:]]) == 2
    assert "no archive: expected run.json in it" in error_of(capsys)
