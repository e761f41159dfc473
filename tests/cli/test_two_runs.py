"""Several runs in one output folder, and the files that killed runs leave there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from megavid.cli import main
from megavid.core.files.atomic import make_aside
from megavid.core.files.locks import LOCK, locked_folder
from tests.cli.conftest import MakeFrames, Run
from tests.cli.helpers import error_of, write_video
from tests.training.small_run import recipe_values, write_recipe, write_videos


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def test_long_commands_lock_their_output_folder(
    weights: dict[str, Path], folder: Path, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = str(write_videos(tmp_path / "data", videos=1, frames=2))
    recipe = str(write_recipe(tmp_path / "recipe.yaml", recipe_values(tmp_path / "data" / "index.parquet")))
    model = ["--weights", str(weights["mega"]), "--device", "cpu"]
    for line in (
        ["detect", str(folder), *model, "-o", str(out)],
        ["train", recipe, "--device", "cpu", "-o", str(out)],
        ["evaluate", "--data", data, "--weights", "single_frame_generated", "-o", str(out)],
        ["data", "index", data, "-o", str(out)],
        ["data", "synthesize", str(out), "--videos", "1", "--frames", "1", "--workers", "1"],
        ["demo", "-o", str(out), "--videos", "1", "--device", "cpu"],
    ):
        with locked_folder(out):
            assert main(line) == 2, line
            assert "another run of this process writes to it" in capsys.readouterr().err, line
            assert [p.name for p in out.iterdir()] == [LOCK], line


def test_new_run_replaces_an_earlier_one(run: Run, folder: Path, out: Path) -> None:
    for _ in range(2):
        assert run(folder) == 0
        assert sorted(p.name for p in out.iterdir()) == ["annotated.mp4", "predictions.parquet"]


KILLED = """
import os, sys
from pathlib import Path
from megavid.cli import main
replace = Path.replace
def killed(self, target):
    replace(self, target)
    if Path(target).name == "annotated.mp4":
        os._exit(9)
Path.replace = killed
main(sys.argv[1:])
"""


def test_a_kill_never_mixes_files_of_two_runs(
    weights: dict[str, Path], run: Run, folder: Path, out: Path, make_frames: MakeFrames
) -> None:
    assert run(folder) == 0
    before = (out / "annotated.mp4").read_bytes()
    video = write_video(out.parent / "other.mp4", make_frames(3))
    line = ["detect", str(video), "--weights", str(weights["mega"]), "-o", str(out), "--device", "cpu"]
    subprocess.run([sys.executable, "-c", KILLED, *line], check=False, capture_output=True)
    assert (out / "annotated.mp4").read_bytes() != before
    assert not (out / "predictions.parquet").exists()  # the earlier run's file is gone
    assert len(list(out.glob(".unfinished-*"))) == 1
    assert run(folder) == 0
    assert sorted(p.name for p in out.iterdir()) == ["annotated.mp4", "predictions.parquet"]


def test_video_of_an_earlier_run_gives_a_warning(
    run: Run, folder: Path, out: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert run(folder) == 0
    assert caplog.messages == []
    assert run(folder, "--save-frames") == 0
    message = "is from an earlier run, but the predictions are from this one"
    assert caplog.messages == [f"{out}/annotated.mp4: {message}"]


@pytest.mark.parametrize("name", ["annotated.mp4", "predictions.parquet", "annotated.partial.mp4"])
def test_user_files_are_kept(
    run: Run, folder: Path, out: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (out / name).write_text("mine")
    assert run(folder) == 2
    assert f"{name}: exists already and was not written by megavid" in error_of(capsys)
    assert (out / name).read_text() == "mine"
    assert [p.name for p in out.iterdir()] == [name]


def test_user_frames_are_kept(run: Run, folder: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (out / "frames.partial").mkdir()
    (out / "frames.partial" / "000000.jpg").write_bytes(b"mine")
    assert run(folder, "--save-frames") == 2
    assert "frames.partial: exists already" in error_of(capsys)
    assert (out / "frames.partial" / "000000.jpg").read_bytes() == b"mine"


def test_temporary_folder_of_an_active_run_is_kept(run: Run, folder: Path, out: Path) -> None:
    other = make_aside(out)  # belongs to this process, which is alive
    assert run(folder) == 0
    assert other.is_dir()


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_workers_of_a_killed_run_end_and_a_new_run_starts_over(tmp_path: Path, out: Path) -> None:
    code = "import sys; from megavid.cli import main; sys.exit(main())"
    line = ["data", "synthesize", str(out), "--videos", "50", "--workers", "2"]
    process = subprocess.Popen([sys.executable, "-c", code, *line], stderr=subprocess.DEVNULL)
    end = time.monotonic() + 60
    while not list(out.rglob("*.JPEG")) and time.monotonic() < end:
        time.sleep(0.05)
    workers = children(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert workers
    end = time.monotonic() + 60
    while any(map(is_running, workers)) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(map(is_running, workers))
    (out / "Data" / "VID" / "notes.txt").write_text("mine")
    again = ["data", "synthesize", str(out), "--videos", "1", "--frames", "1", "--workers", "1"]
    assert main(again) == 2  # the user's file stays; those of the killed run are removed
    assert [p.name for p in out.rglob("*") if p.is_file()] == [".unfinished", "notes.txt"]
    (out / "Data" / "VID" / "notes.txt").unlink()
    assert main(again) == 0
    assert not (out / ".unfinished").exists()
