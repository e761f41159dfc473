"""Training in several processes, and signals that stop them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from megavid.datasets.table.annotations import load_annotations
from megavid.training.checkpoint import list_checkpoints, load_checkpoint
from megavid.training.clips.clip_reader import Share
from megavid.training.logs.run_log import read_log
from tests.training.small_run import numbers, recipe_values, train, write_recipe


def torchrun(processes: int, *arguments: str, restarts: int = 0) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command += [f"--max-restarts={restarts}", "-m", "megavid", *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def run(processes: int, recipe: Path, folder: Path) -> list[dict[str, Any]]:
    """Train in the given number of processes, each with one thread, and return the log."""
    process = torchrun(processes, "train", str(recipe), "-o", str(folder), "--device", "cpu")
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return numbers(folder)


def test_two_processes_have_the_same_losses_as_one(data: Path, tmp_path: Path) -> None:
    """Compare the losses of 50 steps.

    The batch has two clips because a sum of two gradients is rounded only once. Any difference in rounding
    would grow as soon as two proposals changed places and other RoIs were sampled.
    """
    values = recipe_values(
        data, run__steps=50, data__val=None, optimizer__milestones=[40], optimizer__clip_norm=5.0
    )
    recipe = write_recipe(tmp_path / "recipe.yaml", values)
    one, two = run(1, recipe, tmp_path / "one"), run(2, recipe, tmp_path / "two")
    assert len(one) == 50
    assert one[-1]["loss"] < 0.7 * one[0]["loss"]
    for a, b in zip(one, two, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], abs=1e-4), a["step"]


def test_two_processes_agree_on_adamw_and_averaged_weights(data: Path, tmp_path: Path) -> None:
    values = recipe_values(data, "single_frame", data__val=None, log__save_every=8)
    values["run"]["steps"] = 8
    values["optimizer"] = {
        "name": "adamw",
        "learning_rate": 0.001,
        "schedule": "cosine",
        "warmup": 2,
        "clip_norm": 5.0,
        "ema": 0.9,
    }
    recipe = write_recipe(tmp_path / "recipe.yaml", values)
    one, two = run(1, recipe, tmp_path / "one"), run(2, recipe, tmp_path / "two")
    for a, b in zip(one, two, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], abs=1e-4), a["step"]
    averages = [
        load_checkpoint(list_checkpoints(tmp_path / name / "checkpoints")[-1]).ema for name in ("one", "two")
    ]
    assert averages[0] is not None
    torch.testing.assert_close(averages[0], averages[1], rtol=0, atol=1e-4)


def test_torchrun_resumes_after_a_process_is_killed(data: Path, tmp_path: Path) -> None:
    values = recipe_values(data, run__steps=60, data__val=None, log__save_every=5, log__keep=20)
    recipe, folder = write_recipe(tmp_path / "recipe.yaml", values), tmp_path / "run"
    process = torchrun(2, "train", str(recipe), "-o", str(folder), "--device", "cpu", restarts=1)
    deadline = time.monotonic() + 120
    while len(list_checkpoints(folder / "checkpoints")) < 2:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    [victim, *_] = children_of(process.pid)
    os.kill(victim, signal.SIGKILL)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert "resumes from step" in output
    for a, b in zip(run(2, recipe, tmp_path / "whole"), numbers(folder), strict=True):
        assert a["step"] == b["step"]
        assert a["loss"] == pytest.approx(b["loss"], abs=1e-4)


def children_of(pid: int) -> list[int]:
    """Return the child processes of a process, on Linux."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children]


def wait_for_steps(process: subprocess.Popen[str], folder: Path) -> None:
    """Wait until a run has done five steps."""
    deadline = time.monotonic() + 120
    while not (folder / "log.jsonl").exists() or len(read_log(folder / "log.jsonl")) < 5:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_a_checkpoint(data: Path, tmp_path: Path, how: signal.Signals) -> None:
    """Send a signal to all processes, including those that read ahead, as a terminal or a cluster does."""
    values = recipe_values(
        data, run__steps=5000, data__val=None, log__save_every=1000, optimizer__milestones=[]
    )
    values["run"]["workers"] = 2
    recipe, folder = write_recipe(tmp_path / "recipe.yaml", values), tmp_path / "run"
    command = [sys.executable, "-m", "megavid", "train", str(recipe), "-o", str(folder), "--device", "cpu"]
    process = subprocess.Popen(
        command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )
    wait_for_steps(process, folder)
    os.killpg(process.pid, how)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    [path] = list_checkpoints(folder / "checkpoints")
    step = load_checkpoint(path).step
    assert f"stopped at step {step}; --resume continues" in output
    assert read_log(folder / "log.jsonl")[-1]["step"] == step
    assert train(recipe, folder, "--resume", "--run.steps", str(step + 2)) == 0
    assert [line["step"] for line in numbers(folder)] == list(range(1, step + 3))


def test_ending_torchrun_saves_a_checkpoint(data: Path, tmp_path: Path) -> None:
    values = recipe_values(
        data, run__steps=5000, data__val=None, log__save_every=1000, optimizer__milestones=[]
    )
    values["run"]["workers"] = 1
    recipe, folder = write_recipe(tmp_path / "recipe.yaml", values), tmp_path / "run"
    process = torchrun(2, "train", str(recipe), "-o", str(folder), "--device", "cpu")
    wait_for_steps(process, folder)
    process.terminate()
    output, _ = process.communicate(timeout=120)
    [path] = list_checkpoints(folder / "checkpoints")
    assert f"stopped at step {load_checkpoint(path).step}; --resume continues" in output


def test_restarts_do_not_resume_a_run_of_another_launch(data: Path, tmp_path: Path) -> None:
    values = recipe_values(data, data__val=None)
    recipe, folder = write_recipe(tmp_path / "recipe.yaml", values), tmp_path / "run"
    assert train(recipe, folder, "--run.steps", "3", "--optimizer.milestones", "[]") == 0
    process = torchrun(2, "train", str(recipe), "-o", str(folder), "--device", "cpu", restarts=1)
    output, _ = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "holds a run already" in output
    assert [load_checkpoint(path).step for path in list_checkpoints(folder / "checkpoints")] == [3]


def test_the_batch_must_be_a_multiple_of_the_processes(data: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", recipe_values(data, run__batch=3))
    process = torchrun(2, "train", str(recipe), "--check", "--device", "cpu")
    output, _ = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "run.batch: expected a multiple of the 2 processes, got 3" in output


def test_processes_share_a_batch_evenly(data: Path, tmp_path: Path) -> None:
    shares = [Share(batch=6, rank=rank, world_size=2, micro_batch=2) for rank in (0, 1)]
    assert shares[0].numbers(0) == [[0, 1], [2]]
    assert shares[1].numbers(0) == [[3, 4], [5]]
    assert shares[1].numbers(2) == [[15, 16], [17]]


def test_an_error_in_one_process_is_reported_without_traceback(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(data.parent, folder)
    replace(load_annotations(data), root=folder).save(folder / "index.parquet")
    (folder / "clip_1" / "000004.png").unlink()
    values = recipe_values(folder / "index.parquet", "single_frame", run__steps=40)
    recipe = write_recipe(tmp_path / "recipe.yaml", values)
    process = torchrun(2, "train", str(recipe), "-o", str(tmp_path / "run"), "--device", "cpu")
    output, _ = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "clip_1/000004.png" in output
    assert "training/loop.py" not in output  # the only traceback is torchrun's
