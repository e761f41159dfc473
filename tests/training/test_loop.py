"""The outputs of a training run, and settings that must not change its results."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from megavid import load_detector
from megavid.datasets.synthetic.scene import CLASSES
from megavid.training.checkpoint import list_checkpoints, load_checkpoint
from megavid.training.logs.run_log import read_log
from tests.conftest import TINY_METHODS
from tests.training.small_run import numbers, recipe_values, train, write_recipe


def test_outputs_of_a_run(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = recipe_values(data, log__save_every=1, log__keep=3, log__evaluate_every=3)
    assert train(write_recipe(tmp_path / "recipe.yaml", values), tmp_path / "run") == 0
    assert "15 frames to train on" in capsys.readouterr().out  # the listed frames that have objects
    steps = [load_checkpoint(path).step for path in list_checkpoints(tmp_path / "run" / "checkpoints")]
    assert steps == [4, 5, 6]
    lines = numbers(tmp_path / "run")
    trained = [line for line in lines if "loss" in line]
    assert [line["step"] for line in trained] == [1, 2, 3, 4, 5, 6]
    assert trained[-1]["loss"] < trained[0]["loss"]
    rates = [line["learning_rate"] for line in trained]
    # The rate rises from a third to its full value in four steps, and falls to a tenth after five.
    assert rates == pytest.approx([0.01 / 3, 0.005, 0.01 * 2 / 3, 0.01 * 5 / 6, 0.01, 0.001])
    scored = [line for line in lines if "AP50" in line]
    assert [line["step"] for line in scored] == [3, 6]
    for line in scored:
        report = tmp_path / "run" / "evaluations" / f"step_{line['step']:08d}" / "report.html"
        assert report.stat().st_size > 10_000
    best = max(scored, key=lambda line: (line["AP50"], -line["step"]))
    assert load_checkpoint(list_checkpoints(tmp_path / "run" / "checkpoints")[-1]).best == (
        best["AP50"],
        best["step"],
    )
    assert (tmp_path / "run" / "curves.png").stat().st_size > 10_000
    detector = load_detector(weights=tmp_path / "run" / "best.safetensors", device="cpu")
    assert detector.class_names == CLASSES


def test_tensorboard_has_all_numbers_and_pictures(data: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", recipe_values(data, "single_frame"))
    assert train(recipe, tmp_path / "run") == 0
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"), size_guidance={"images": 0}).Reload()
    for line in read_log(tmp_path / "run" / "log.jsonl"):
        for name, value in line.items():
            if name != "step" and value is not None:
                [written] = [event.value for event in events.Scalars(name) if event.step == line["step"]]
                assert written == pytest.approx(value, rel=1e-5), name
    pictures = events.Tags()["images"]
    assert len(pictures) == 4
    assert all(name.startswith("clip_") for name in pictures)


def test_frozen_stages_keep_their_weights(data: Path, tmp_path: Path) -> None:
    values = recipe_values(data, "single_frame", run__frozen_stages=2)
    assert train(write_recipe(tmp_path / "recipe.yaml", values), tmp_path / "run") == 0
    first, last = (load_checkpoint(p).model for p in list_checkpoints(tmp_path / "run" / "checkpoints"))
    changed = {name for name in first if not torch.equal(first[name], last[name])}
    frozen = ("backbone.trunk.stem", "backbone.trunk.layer1")
    assert not any(name.startswith(frozen) for name in changed)
    trained = {name for name in first if not name.startswith(frozen)}
    assert len(changed) > 0.9 * len(trained)


def test_the_micro_batch_does_not_change_losses(data: Path, tmp_path: Path) -> None:
    for count in (1, 2, 4):
        values = recipe_values(data, run__batch=4, run__micro_batch=count, data__val=None)
        assert train(write_recipe(tmp_path / f"{count}.yaml", values), tmp_path / str(count)) == 0
    one, *others = (numbers(tmp_path / str(count)) for count in (1, 2, 4))
    for other in others:
        for a, b in zip(one, other, strict=True):
            assert a["loss"] == pytest.approx(b["loss"], rel=1e-4)


@pytest.mark.parametrize("changes", [{"run__activation_checkpointing": True}, {"run__workers": 2}])
def test_settings_for_memory_and_speed_do_not_change_losses(
    data: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    for name, more in (("plain", {}), ("changed", changes)):
        values = recipe_values(data, data__val=None, **more)
        assert train(write_recipe(tmp_path / f"{name}.yaml", values), tmp_path / name) == 0
    for a, b in zip(numbers(tmp_path / "plain"), numbers(tmp_path / "changed"), strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-5)


@pytest.mark.skipif(shutil.which("g++") is None, reason="PyTorch compiles with a C++ compiler")
def test_compiling_does_not_change_losses(data: Path, tmp_path: Path) -> None:
    for name, compiled in (("plain", False), ("compiled", True)):
        values = recipe_values(data, "single_frame", data__val=None, run__compile=compiled, run__steps=2)
        values["optimizer"]["milestones"] = []
        assert train(write_recipe(tmp_path / f"{name}.yaml", values), tmp_path / name) == 0
    for a, b in zip(numbers(tmp_path / "plain"), numbers(tmp_path / "compiled"), strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-4)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("method", TINY_METHODS)
def test_half_precision_lowers_the_loss(method: str, data: Path, tmp_path: Path, dtype: str) -> None:
    values = recipe_values(data, method, run__dtype=dtype, optimizer__clip_norm=5.0, data__val=None)
    assert train(write_recipe(tmp_path / "recipe.yaml", values), tmp_path / "run") == 0
    losses = [line["loss"] for line in numbers(tmp_path / "run")]
    assert losses[-1] < losses[0]


def test_the_command_line_may_give_model_and_data(data: Path, tmp_path: Path) -> None:
    values = recipe_values(data, data__val=None)
    del values["model"], values["data"]["train"][0]["path"]
    recipe = write_recipe(tmp_path / "recipe.yaml", values)
    given = ["--model", "mega_r50", "--data", str(data), "--method.window", "2"]
    assert train(recipe, tmp_path / "run", *given) == 0
