"""Resumed runs: their results, changed settings, and failures."""

from __future__ import annotations

import json
import resource
import shutil
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from megavid import load_detector
from megavid.checkpoints.load import read_config
from megavid.core.errors import InputError
from megavid.datasets.clip_order import ClipOrder
from megavid.datasets.table.annotations import load_annotations
from megavid.training.checkpoint import Checkpoint, list_checkpoints, load_checkpoint
from megavid.training.clips.clip_reader import ClipReader
from tests.conftest import TINY_METHODS, build_tiny
from tests.training.small_run import numbers, recipe_values, train, write_recipe


def weights(path: Path) -> dict[str, torch.Tensor]:
    return load_detector(weights=path, device="cpu", inference=None).state_dict()


def train_twice(values: dict[str, Any], folder: Path) -> tuple[Path, Path]:
    """Train six steps, once without and once with an interruption after step 3; return both folders."""
    recipe, whole, parts = write_recipe(folder / "recipe.yaml", values), folder / "whole", folder / "parts"
    assert train(recipe, whole) == 0
    shutil.copytree(whole / "checkpoints", parts / "checkpoints")
    (parts / "checkpoints" / "step_00000006.pt").unlink()
    shutil.copy(whole / "log.jsonl", parts)
    assert train(recipe, parts, "--resume") == 0
    return whole, parts


def assert_same_run(one: Path, other: Path) -> None:
    """Assert that losses, weights and checkpoints of two runs are equal to the last bit."""
    assert numbers(other) == numbers(one)
    for name in ("model.safetensors", "best.safetensors"):
        first, second = weights(one / name), weights(other / name)
        assert all(torch.equal(first[key], second[key]) for key in first)
    a, b = (load_checkpoint(list_checkpoints(folder / "checkpoints")[-1]) for folder in (one, other))
    for field in ("model", "ema", "optimizer", "scaler", "random", "best"):
        assert_same(getattr(a, field), getattr(b, field))


def assert_same(one: Any, other: Any) -> None:
    """Assert that nested values of two checkpoints are equal to the last bit."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    else:
        assert one == other


@pytest.mark.parametrize("method", TINY_METHODS)
def test_a_resumed_run_has_identical_results(method: str, data: Path, tmp_path: Path) -> None:
    assert_same_run(*train_twice(recipe_values(data, method), tmp_path))


@pytest.mark.parametrize(
    ("optimizer", "dtype"),
    [
        ({"name": "sgd", "milestones": [5], "ema": 0.9}, "float16"),
        ({"name": "adamw", "schedule": "cosine", "ema": 0.99}, "float32"),
    ],
)
def test_any_optimizer_is_resumed_with_identical_results(
    optimizer: dict[str, Any], dtype: str, data: Path, tmp_path: Path
) -> None:
    values = recipe_values(data, "single_frame", run__dtype=dtype)
    values["optimizer"] = {"learning_rate": 0.003, "warmup": 2, **optimizer}
    whole, parts = train_twice(values, tmp_path)
    assert_same_run(whole, parts)
    checkpoint = load_checkpoint(list_checkpoints(whole / "checkpoints")[-1])
    assert checkpoint.ema is not None
    for name, weight in weights(
        whole / "model.safetensors"
    ).items():  # the model file has the averaged weights
        assert torch.equal(weight, checkpoint.ema[f"module.{name}"])
    assert not torch.equal(checkpoint.model["rpn.conv.weight"], checkpoint.ema["module.rpn.conv.weight"])


def test_a_checkpoint_of_an_earlier_version_is_resumed(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = recipe_values(data, "single_frame", data__val=None, run__micro_batch=2)
    recipe, folder = write_recipe(tmp_path / "recipe.yaml", values), tmp_path / "run"
    assert train(recipe, folder) == 0
    whole = numbers(folder)
    last, path = reversed(list_checkpoints(folder / "checkpoints"))
    last.unlink()
    saved = torch.load(path, weights_only=True)
    del saved["ema"]
    saved["optimiser"] = saved.pop("optimizer")
    optimizer = saved["recipe"].pop("optimizer")
    saved["recipe"]["optimiser"] = {
        "drops": optimizer["milestones"],
        **{key: optimizer[key] for key in ("learning_rate", "momentum", "weight_decay", "warmup")},
    }
    rpn, settings = saved["config"]["rpn"], saved["recipe"]["settings"]
    rpn["proposals"] = rpn.pop("post_nms_top_n")
    settings["rpn.proposals"] = settings.pop("rpn.post_nms_top_n")
    run = saved["recipe"]["run"]
    run["clips_at_once"], run["recompute"] = run.pop("micro_batch"), run.pop("activation_checkpointing")
    torch.save(saved, path)
    capsys.readouterr()
    assert train(recipe, folder, "--resume") == 0
    output = capsys.readouterr().out
    assert "resumes from step 3" in output
    assert "differs from" not in output
    assert numbers(folder) == whole


def test_a_run_is_not_resumed_with_another_optimizer(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = recipe_values(data, "single_frame", data__val=None, run__steps=1, optimizer__milestones=[])
    recipe, folder = write_recipe(tmp_path / "recipe.yaml", values), tmp_path / "run"
    assert train(recipe, folder) == 0
    assert train(recipe, folder, "--resume", "--run.steps", "2", "--optimizer.name", "adamw") == 2
    assert "begun with another optimizer.name" in capsys.readouterr().err


def test_an_interrupted_evaluation_is_repeated(data: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", recipe_values(data, log__evaluate_every=3))
    folder = tmp_path / "run"
    assert train(recipe, folder) == 0
    whole = numbers(folder)
    # Leave the files that a run would have if it had been killed during the evaluation after `step`.
    log = folder / "log.jsonl"
    for step in (6, 3):
        kept = [line for line in whole if not (line["step"] == step and "AP50" in line)]
        log.write_text("".join(json.dumps(line) + "\n" for line in kept if line["step"] <= step))
        for path in list_checkpoints(folder / "checkpoints"):
            if load_checkpoint(path).step > step:
                path.unlink()
        assert train(recipe, folder, "--resume") == 0
        assert numbers(folder) == whole


def test_an_infinite_loss_stops_the_run(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = recipe_values(
        data, data__val=None, optimizer__warmup=0, optimizer__milestones=[], log__save_every=2
    )
    recipe, folder = write_recipe(tmp_path / "recipe.yaml", values), tmp_path / "run"
    assert train(recipe, folder, "--run.steps", "2") == 0
    assert (
        train(recipe, folder, "--resume", "--optimizer.learning_rate", "1e9", "--log.save_every", "99") == 2
    )
    message = capsys.readouterr().err
    assert "the loss is not finite" in message
    assert "clip_" in message  # the message names the files of the clips
    assert int(message.partition("error: step ")[2].partition(":")[0]) > 2
    # Following the advice in the message helps.
    assert "--resume and a lower optimizer.learning_rate" in message
    assert train(recipe, folder, "--resume", "--optimizer.learning_rate", "0.001") == 0
    output = capsys.readouterr().out
    assert "resumes from step 2" in output
    assert "optimizer.learning_rate differs from the interrupted run" in output
    assert numbers(folder)[-1]["learning_rate"] == 0.001


@pytest.mark.parametrize("save_every", [1, 99])
def test_nothing_is_saved_after_an_infinite_loss(
    save_every: int, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Losses are checked a step late, but before each checkpoint, and the message names the right step."""
    values = recipe_values(data, data__val=None, optimizer__warmup=0, optimizer__milestones=[])
    values["log"] = {"every": 99, "save_every": save_every}
    recipe, folder = write_recipe(tmp_path / "recipe.yaml", values), tmp_path / "run"
    assert train(recipe, folder, "--optimizer.learning_rate", "1e9", "--run.steps", "50") == 2
    message = capsys.readouterr().err
    assert "the loss is not finite" in message
    failed = int(message.partition("error: step ")[2].partition(":")[0])
    order = ClipOrder([load_annotations(data)], build_tiny("mega").training_plan, seed=0, flip=0.5)
    clips = [ClipReader(order)[number].name for number in (2 * failed, 2 * failed + 1)]
    assert any(clip in message for clip in clips)
    saved = [load_checkpoint(path) for path in list_checkpoints(folder / "checkpoints")]
    assert [checkpoint.step for checkpoint in saved][-1:] == ([failed] if save_every == 1 else [])
    assert all(value.isfinite().all() for checkpoint in saved for value in checkpoint.model.values())


def test_changed_optimizer_settings_apply_after_resuming(data: Path, tmp_path: Path) -> None:
    values = recipe_values(data, "single_frame", data__val=None, optimizer__weight_decay=0.0)
    values["optimizer"] |= {"milestones": [], "warmup": 0}
    recipe, folder = write_recipe(tmp_path / "recipe.yaml", values), tmp_path / "run"
    assert train(recipe, folder, "--run.steps", "3") == 0
    [path] = list_checkpoints(folder / "checkpoints")
    before = load_checkpoint(path)

    def next_step(name: str, *changes: str) -> Checkpoint:
        shutil.copytree(folder, tmp_path / name)
        assert train(recipe, tmp_path / name, "--resume", "--run.steps", "4", *changes) == 0
        return load_checkpoint(list_checkpoints(tmp_path / name / "checkpoints")[-1])

    same, slower = next_step("same"), next_step("slower", "--optimizer.momentum", "0.5")
    other = next_step("other", "--optimizer.weight_decay", "0.1", "--optimizer.bias_factor", "4")
    # Step 4 has the same gradients in all three runs.
    for number, state in before.optimizer["state"].items():
        one, two = (after.optimizer["state"][number]["momentum_buffer"] for after in (same, slower))
        torch.testing.assert_close(one - two, (0.9 - 0.5) * state["momentum_buffer"], atol=1e-6, rtol=1e-4)
    for name, value in before.model.items():
        step, changed = same.model[name] - value, other.model[name] - value
        expected = 2 * step if name.endswith(".bias") else step - 0.01 * 0.1 * value
        torch.testing.assert_close(changed, expected, atol=1e-6, rtol=1e-4)


def test_a_full_disk_keeps_older_checkpoints(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    values = recipe_values(data, data__val=None)
    recipe, folder = write_recipe(tmp_path / "recipe.yaml", values), tmp_path / "run"
    assert train(recipe, folder, "--run.steps", "3", "--optimizer.milestones", "[]") == 0
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:  # files of more than 20 kB fail, as on a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
        assert train(recipe, folder, "--resume", "--run.steps", "6", "--optimizer.milestones", "[]") == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert "cannot be written" in capsys.readouterr().err
    assert load_checkpoint(list_checkpoints(folder / "checkpoints")[-1]).step == 3
    assert train(recipe, folder, "--resume", "--run.steps", "6", "--optimizer.milestones", "[]") == 0


def make_folder_later(path: Path, *, after: Path) -> None:
    """Make a folder as soon as a file exists."""
    while not after.exists():
        time.sleep(0.01)
    path.mkdir()


def test_best_weights_that_cannot_be_written_are_explained(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, folder = write_recipe(tmp_path / "recipe.yaml", recipe_values(data)), tmp_path / "run"
    (folder / "best.safetensors").mkdir(parents=True)  # blocks the output from the beginning
    assert train(recipe, folder) == 2
    assert "best.safetensors: " in capsys.readouterr().err
    assert not (folder / "log.jsonl").exists()
    (folder / "best.safetensors").rmdir()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(make_folder_later, folder / "best.safetensors", after=folder / "log.jsonl")
        assert train(recipe, folder) == 2
    assert "best.safetensors: " in capsys.readouterr().err
    assert (folder / "model.safetensors").exists()
    (folder / "best.safetensors").rmdir()
    assert train(recipe, folder, "--resume") == 0
    assert load_checkpoint(list_checkpoints(folder / "checkpoints")[-1]).best[1] == 6
    assert (folder / "best.safetensors").exists()


def test_a_broken_checkpoint_is_skipped(data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    recipe, folder = (
        write_recipe(tmp_path / "recipe.yaml", recipe_values(data, data__val=None)),
        tmp_path / "run",
    )
    assert train(recipe, folder) == 0
    whole = numbers(folder)
    list_checkpoints(folder / "checkpoints")[-1].write_bytes(b"")
    (folder / "checkpoints" / f".step_00000005.{'0' * 8}-77-{'0' * 16}.partial.pt").touch()
    assert (
        train(
            recipe, folder, "--resume", "--log.keep", "1", "--run.steps", "5", "--optimizer.milestones", "[]"
        )
        == 0
    )
    assert "resumes from step_00000003.pt" in caplog.text
    steps = [path.name for path in list_checkpoints(folder / "checkpoints")]
    assert steps == ["step_00000005.pt", "step_00000006.pt"]  # log.keep does not count the broken one
    assert train(recipe, folder, "--resume") == 0
    assert numbers(folder)[:5] == whole[:5]
    assert len(list((folder / "checkpoints").glob(".*"))) == 0


def test_a_changed_model_file_is_refused(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, _ = read_config("mega_r50")
    own = tmp_path / "own.yaml"
    own.write_text(yaml.safe_dump(model))
    recipe = write_recipe(tmp_path / "recipe.yaml", recipe_values(data, data__val=None, model=str(own)))
    assert train(recipe, tmp_path / "run") == 0
    model["rpn"]["nms_threshold"] = 0.5
    own.write_text(yaml.safe_dump(model))
    assert train(recipe, tmp_path / "run", "--resume") == 2
    assert "begun with another rpn.nms_threshold" in capsys.readouterr().err


def test_a_run_is_not_overwritten(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", recipe_values(data, "single_frame", data__val=None))
    assert train(recipe, tmp_path / "run") == 0
    assert train(recipe, tmp_path / "run") == 2
    assert "holds a run already; --resume" in capsys.readouterr().err
    assert train(recipe, tmp_path / "run", "--resume", "--run.seed", "5") == 2
    assert "begun with another run.seed" in capsys.readouterr().err


def test_a_file_that_is_not_a_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "step_00000001.pt"
    path.write_bytes(b"nothing")
    with pytest.raises(InputError, match="expected a checkpoint of a training run, got a text"):
        load_checkpoint(path)
