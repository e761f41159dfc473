"""`megavid evaluate` and `megavid score`: outputs, resuming and mistakes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from megavid.checkpoints.weights import write_weights
from megavid.cli import main
from megavid.datasets.synthetic.scene import CLASSES
from megavid.datasets.table.annotations import Annotations, load_annotations
from megavid.evaluation.formats.parquet_table import write_parquet
from tests.cli.helpers import error_of
from tests.conftest import build_tiny
from tests.evaluation.generated import noisy_predictions, write_data_set

Evaluate = Callable[..., int]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write an index of five generated clips."""
    folder = tmp_path_factory.mktemp("data")
    write_data_set(folder / "set", videos=5, height=64, width=96).save(folder / "index.parquet")
    return folder / "index.parquet"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    detector = build_tiny("mega", classes=list(CLASSES))
    path = tmp_path_factory.mktemp("weights") / "mega.safetensors"
    config = detector.config.model_dump(mode="json")
    write_weights(path, detector.state_dict(), config=config, about={"licence": "none"})
    return path


def arguments(data: Path, weights: Path, out: Path) -> list[str]:
    return ["evaluate", "--data", str(data), "--weights", str(weights), "-o", str(out), "--device", "cpu"]


@pytest.fixture(scope="module")
def whole(data: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Evaluate in one process without interruption, and return the output folder."""
    out = tmp_path_factory.mktemp("whole") / "out"
    assert main(arguments(data, weights, out)) == 0
    return out


def predictions(folder: Path) -> Any:
    return pq.read_table(folder / "predictions.parquet")


def scores(folder: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((folder / "scores.json").read_text())
    return loaded


def test_evaluate_writes_scores_and_reports(
    whole: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["confusion.png", "parts", "pr_curves.png", "predictions.parquet", "report.html", "scores.json"]
    assert sorted(p.name for p in whole.iterdir()) == names
    about = scores(whole)
    assert about["frames"] == 30
    assert about["AP50"].keys() == {"all", "fast", "medium", "slow"}
    assert about["classes"].keys() == set(CLASSES)
    assert about["found"] == predictions(whole).num_rows > 100
    assert about["weights"] == "mega.safetensors"
    assert about["model"] == "mega, ResNet-18 of width 8"
    assert "mega, ResNet-18" in (whole / "report.html").read_text()


def test_score_gives_the_same_result_without_a_model(
    whole: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = whole / "predictions.parquet"
    assert main(["score", str(file), "--data", str(data), "-o", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    again = scores(tmp_path)
    for key in ("AP50", "classes", "frames", "objects", "found"):
        assert again[key] == scores(whole)[key]
    assert f"{100 * again['AP50']['all']:.2f}" in out
    assert str(tmp_path / "report.html") in out


@pytest.mark.parametrize("suffix", [".pth", ".txt", ".json", ".parquet"])
def test_score_is_the_same_in_all_formats(whole: Path, data: Path, tmp_path: Path, suffix: str) -> None:
    copy = tmp_path / f"copy{suffix}"
    fixed = ["--data", str(data)]
    assert main(["score", str(whole / "predictions.parquet"), *fixed, "--save-as", str(copy)]) == 0
    assert main(["score", str(copy), *fixed, "-o", str(tmp_path / "out")]) == 0
    for motion, ap in scores(whole)["AP50"].items():
        assert scores(tmp_path / "out")["AP50"][motion] == pytest.approx(ap, abs=1e-6)


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path), **more}


def test_two_processes_give_the_same_result_as_one(
    whole: Path, data: Path, weights: Path, tmp_path: Path
) -> None:
    code = "import sys; from megavid.cli import main; sys.exit(main())"
    script = tmp_path / "run.py"
    script.write_text(code)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    out = tmp_path / "out"
    subprocess.run(
        [*launch, str(script), *arguments(data, weights, out)],
        env=environment(),
        check=True,
        capture_output=True,
        timeout=300,
    )
    assert predictions(out).equals(predictions(whole))
    assert scores(out)["classes"] == scores(whole)["classes"]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_killed_run_is_resumed(weights: Path, tmp_path: Path, how: signal.Signals) -> None:
    data, out = tmp_path / "index.parquet", tmp_path / "out"
    write_data_set(tmp_path / "set", videos=8, frames=40, height=64, width=96).save(data)
    code = "import sys; from megavid.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code, *arguments(data, weights, out)]
    process = subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while not list(out.glob("parts/0*.parquet")) and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(how)
    process.communicate()
    if how == signal.SIGTERM and process.returncode != 0:
        assert process.returncode == 130
    assert 0 < len(list(out.glob("parts/0*.parquet"))) < 8
    assert main(arguments(data, weights, out)) == 0
    assert main(arguments(data, weights, tmp_path / "whole")) == 0
    assert predictions(out).equals(predictions(tmp_path / "whole"))
    assert [p.name for p in (out / "parts").iterdir()] == ["run.json"]


@pytest.fixture
def two(data: Path, tmp_path: Path) -> list[str]:
    """Write two files of predictions, and return their paths."""
    table = load_annotations(data)
    for seed in (1, 2):
        write_parquet(noisy_predictions(table, seed=seed), tmp_path / f"{seed}.parquet")
    return [str(tmp_path / f"{seed}.parquet") for seed in (1, 2)]


def test_two_runs_are_compared(
    two: list[str], data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["score", "--compare", *two, "--data", str(data), "-o", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    content = json.loads((tmp_path / "out" / "comparison.json").read_text())["scores"]
    a, b = (content[name]["AP50"]["all"] for name in two)
    for text in (f"{100 * a:.2f}", f"{100 * b:.2f}", f"{100 * (b - a):+.2f}"):
        assert text in out
        assert text in (tmp_path / "out" / "comparison.html").read_text()


def test_coco_metrics_are_printed(two: list[str], data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["score", two[0], "--data", str(data), "--coco", "--motion", "none"]) == 0
    out = capsys.readouterr().out
    assert "AR 100" in out
    assert "fast" not in out


@pytest.fixture
def without_tracks(data: Path, tmp_path: Path) -> Path:
    table: Annotations = load_annotations(data)
    replace(table, tracks=table.tracks * 0 - 1).save(tmp_path / "tracks.parquet")
    return tmp_path / "tracks.parquet"


def test_motion_needs_track_ids(
    two: list[str], without_tracks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["score", two[0], "--data", str(without_tracks)]) == 0
    assert "fast" not in capsys.readouterr().out
    assert main(["score", two[0], "--data", str(without_tracks), "--motion", "tracks"]) == 2
    assert "no object has a track id" in error_of(capsys)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--compare", "a.parquet", "b.parquet"], "expected either PREDICTIONS or --compare A B"),
        (["--motion", "x"], "motion: expected auto, tracks, none or a .mat file, got 'x'"),
        (["--motion", "x.mat"], "x.mat: no such file"),
        (["--save-as", "x.csv"], "x.csv: expected a name that ends in"),
        (["--method.window", "3"], "--method.window: megavid score has no such option"),
        (["--classes", "cat"], "classes: .* has no use for it"),
    ],
)
def test_mistakes_in_scoring_are_explained(
    two: list[str], data: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert main(["score", two[0], "--data", str(data), *options]) == 2
    assert re.search(message, error_of(capsys))


def test_predictions_of_other_videos_are_refused_or_skipped(
    whole: Path, two: list[str], data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_data_set(tmp_path / "set", videos=6, frames=7, height=64, width=96).save(tmp_path / "i.parquet")
    assert main(["score", two[0], "--data", str(tmp_path / "i.parquet")]) == 2
    assert "video 'clip 0': has 6 of its 7 frames" in error_of(capsys)
    assert main(["score", two[0], "--data", str(tmp_path / "i.parquet"), "--skip-bad"]) == 0
    assert "skipped: 6 x " in capsys.readouterr().err


def test_mistakes_in_evaluating_are_explained(
    data: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fixed = arguments(data, weights, tmp_path / "out")
    assert main([*fixed, "--batch-size", "0"]) == 2
    assert "batch_size: expected at least 1, got 0" in error_of(capsys)
    assert main([*fixed, "--method.window", "x"]) == 2
    assert "method.window" in error_of(capsys)
    assert main(arguments(tmp_path / "none.parquet", weights, tmp_path / "out")) == 2
    assert "none.parquet: no such file" in error_of(capsys)
    assert not (tmp_path / "out").exists()
