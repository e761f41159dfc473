"""The option --threads of commands that run a network."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from megavid.cli import main
from tests.cli.helpers import error_of
from tests.training.small_run import recipe_values, write_recipe, write_videos

pytestmark = pytest.mark.usefixtures("restored_threads")


@pytest.mark.parametrize("command", ["detect", "evaluate", "train", "benchmark", "demo", "init"])
def test_the_number_of_threads_is_checked_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    index = write_videos(tmp_path / "videos", videos=2, frames=4)
    weights = ["--weights", "single_frame_generated"]
    arguments = {
        "detect": [str(tmp_path / "videos" / "clip_0"), *weights, "-o", str(tmp_path / "out")],
        "evaluate": ["--data", str(index), *weights, "-o", str(tmp_path / "out")],
        "train": [
            str(write_recipe(tmp_path / "recipe.yaml", recipe_values(index))),
            *("-o", str(tmp_path / "out")),
        ],
        "benchmark": ["single_frame_r50"],
        "demo": ["-o", str(tmp_path / "out")],
        "init": [str(tmp_path / "out"), "--data", str(index)],
    }[command]
    assert main([command, *arguments, "--device", "cpu", "--threads", "1000000000"]) == 2
    assert "--threads: expected at most 1024, got 1000000000" in error_of(capsys)
    assert not (tmp_path / "out").exists()


def test_resumed_runs_keep_their_number_of_threads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    index = write_videos(tmp_path / "videos", videos=1, frames=3)
    values = recipe_values(index, "single_frame", data__val=None, run__steps=1, optimizer__milestones=[])
    training = ["train", str(write_recipe(tmp_path / "recipe.yaml", values)), "-o", str(tmp_path / "run")]
    weights = str(tmp_path / "run" / "model.safetensors")
    evaluation = ["evaluate", "--data", str(index), "--weights", weights, "-o", str(tmp_path / "out")]
    for command, again in ((training, ["--resume", "--run.steps", "2"]), (evaluation, [])):
        assert main([*command, "--device", "cpu", "--threads", "3"]) == 0
        torch.set_num_threads(1)
        capsys.readouterr()
        assert main([*command, "--device", "cpu", *again]) == 0
        assert torch.get_num_threads() == 3
        assert "computes on 3 threads, as this run did before" in capsys.readouterr().err


def test_the_number_of_threads_is_set(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    index = write_videos(tmp_path / "videos", videos=2, frames=4)
    project = str(tmp_path / "project")
    start = ["--start.detector", "single_frame_generated"]
    assert main(["init", project, "--data", str(index), "--device", "cpu", "--threads", "3", *start]) == 0
    assert torch.get_num_threads() == 3
    assert "computes on" not in capsys.readouterr().err
