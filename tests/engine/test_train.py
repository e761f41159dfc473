"""Training: the numbers do not depend on how a run is cut up."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from megavid import load_detector
from megavid.cli import main
from megavid.convert.load import read_config
from megavid.core.annotations import AnnotationBuilder, load_annotations
from megavid.core.config import validate
from megavid.core.errors import InputError
from megavid.core.sampling import ReferenceGroup, TrainingPlan
from megavid.data.clips import ClipOrder
from megavid.data.coco import write_cocovid
from megavid.data.generated.camera import film
from megavid.data.generated.scene import CLASSES
from megavid.engine.checkpoint import list_checkpoints, load_checkpoint
from megavid.engine.clips import ClipReader, Share
from megavid.engine.optimiser import learning_rate, make_optimiser, set_learning_rate
from megavid.engine.recipe import OptimiserConfig, Recipe
from megavid.engine.training_log import read_log
from megavid.methods import METHODS
from megavid.video.folder import read_image
from megavid.video.writer import VideoWriter
from tests.conftest import build_tiny
from tests.data.ilsvrc_set import write_ilsvrc
from tests.data.test_motion import write_mat
from tests.engine.training import recipe_values, write_recipe, write_videos

Train = Callable[..., Path]

TIMES = {"clips_per_second", "data_wait", "memory_mb"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_videos(tmp_path_factory.mktemp("data"))


def numbers(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's log without what depends on the machine."""
    return [{k: v for k, v in line.items() if k not in TIMES} for line in read_log(folder / "log.jsonl")]


def train(path: Path, folder: Path, *more: str) -> int:
    return main(["train", str(path), "-o", str(folder), "--device", "cpu", *more])


def weights(path: Path) -> dict[str, torch.Tensor]:
    return load_detector(weights=path, device="cpu").state_dict()


@pytest.mark.parametrize("method", METHODS)
def test_a_resumed_run_is_the_same_to_the_last_bit(method: str, data: Path, tmp_path: Path) -> None:
    whole = write_recipe(tmp_path / "whole.yaml", recipe_values(data, method))
    assert train(whole, tmp_path / "whole") == 0
    half = write_recipe(
        tmp_path / "half.yaml", recipe_values(data, method, run__steps=3, optimiser__drops=[])
    )
    values = recipe_values(data, method)
    assert train(half, tmp_path / "parts") == 0
    # As if the first run had been stopped after three steps.
    checkpoint = tmp_path / "parts" / "checkpoints" / "step_00000003.pt"
    state = torch.load(checkpoint, weights_only=True)
    state["recipe"] = validate(Recipe, values, origin="").model_dump(mode="json")
    state["best"] = (-1.0, 0)
    torch.save(state, checkpoint)
    assert train(whole, tmp_path / "parts", "--resume") == 0
    lines = [line for line in numbers(tmp_path / "parts") if not ("AP50" in line and line["step"] == 3)]
    assert lines == numbers(tmp_path / "whole")
    one, other = (weights(tmp_path / name / "model.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_what_comes_out(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = recipe_values(data, log__save_every=1, log__keep=3, log__evaluate_every=3)
    assert train(write_recipe(tmp_path / "recipe.yaml", values), tmp_path / "run") == 0
    assert "15 frames to train on" in capsys.readouterr().out  # listed, with objects
    steps = [load_checkpoint(path).step for path in list_checkpoints(tmp_path / "run" / "checkpoints")]
    assert steps == [4, 5, 6]
    lines = numbers(tmp_path / "run")
    trained = [line for line in lines if "loss" in line]
    assert [line["step"] for line in trained] == [1, 2, 3, 4, 5, 6]
    assert trained[-1]["loss"] < trained[0]["loss"]
    rates = [line["learning_rate"] for line in trained]
    # From a third to all over four steps; a tenth after five.
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


def test_tensorboard_has_it_all(data: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", recipe_values(data, "single_frame"))
    assert train(recipe, tmp_path / "run") == 0
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"), size_guidance={"images": 0}).Reload()
    for line in read_log(tmp_path / "run" / "log.jsonl"):
        for name, value in line.items():
            if name != "step" and value is not None:
                [there] = [event.value for event in events.Scalars(name) if event.step == line["step"]]
                assert there == pytest.approx(value, rel=1e-5), name
    pictures = events.Tags()["images"]
    assert len(pictures) == 4
    assert all(name.startswith("clip_") for name in pictures)


def test_an_evaluation_that_was_broken_off_is_made_up_for(data: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", recipe_values(data, log__evaluate_every=3))
    folder = tmp_path / "run"
    assert train(recipe, folder) == 0
    whole = numbers(folder)
    # As if it had been killed in the evaluation after step 3, and in the last one.
    log = folder / "log.jsonl"
    for step in (6, 3):
        kept = [line for line in whole if not (line["step"] == step and "AP50" in line)]
        log.write_text("".join(json.dumps(line) + "\n" for line in kept if line["step"] <= step))
        for path in list_checkpoints(folder / "checkpoints"):
            if load_checkpoint(path).step > step:
                path.unlink()
        assert train(recipe, folder, "--resume") == 0
        assert numbers(folder) == whole


def test_frozen_stages_stay(data: Path, tmp_path: Path) -> None:
    values = recipe_values(data, "single_frame", run__frozen_stages=2)
    assert train(write_recipe(tmp_path / "recipe.yaml", values), tmp_path / "run") == 0
    first, last = (load_checkpoint(p).model for p in list_checkpoints(tmp_path / "run" / "checkpoints"))
    changed = {name for name in first if not torch.equal(first[name], last[name])}
    frozen = ("backbone.trunk.stem", "backbone.trunk.layer1")
    assert not any(name.startswith(frozen) for name in changed)
    trained = {name for name in first if not name.startswith(frozen)}
    assert len(changed) > 0.9 * len(trained)


def test_clips_at_once_and_gradients_added_up_are_the_same(data: Path, tmp_path: Path) -> None:
    for count in (1, 2, 4):
        values = recipe_values(data, run__batch=4, run__clips_at_once=count, data__val=None)
        assert train(write_recipe(tmp_path / f"{count}.yaml", values), tmp_path / str(count)) == 0
    one, *others = (numbers(tmp_path / str(count)) for count in (1, 2, 4))
    for other in others:
        for a, b in zip(one, other, strict=True):
            assert a["loss"] == pytest.approx(b["loss"], rel=1e-4)


@pytest.mark.parametrize("changes", [{"run__recompute": True}, {"run__workers": 2}])
def test_what_changes_nothing(data: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    for name, more in (("plain", {}), ("changed", changes)):
        values = recipe_values(data, data__val=None, **more)
        assert train(write_recipe(tmp_path / f"{name}.yaml", values), tmp_path / name) == 0
    for a, b in zip(numbers(tmp_path / "plain"), numbers(tmp_path / "changed"), strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-5)


@pytest.mark.skipif(shutil.which("g++") is None, reason="PyTorch compiles with a C++ compiler")
def test_a_compiled_backbone_is_the_same(data: Path, tmp_path: Path) -> None:
    for name, compiled in (("plain", False), ("compiled", True)):
        values = recipe_values(data, "single_frame", data__val=None, run__compile=compiled, run__steps=2)
        values["optimiser"]["drops"] = []
        assert train(write_recipe(tmp_path / f"{name}.yaml", values), tmp_path / name) == 0
    for a, b in zip(numbers(tmp_path / "plain"), numbers(tmp_path / "compiled"), strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-4)


def test_no_compiler(data: Path, tmp_path: Path) -> None:
    values = recipe_values(data, "single_frame", data__val=None, run__compile=True)
    recipe = write_recipe(tmp_path / "recipe.yaml", values)
    command = [sys.executable, "-m", "megavid", "train", str(recipe), "-o", str(tmp_path / "run")]
    nowhere = {"CXX": str(tmp_path / "none"), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
    process = subprocess.run(
        [*command, "--device", "cpu"], env=os.environ | nowhere, text=True, capture_output=True, check=False
    )
    assert process.returncode == 2, process.stderr
    assert "run.compile: expected what PyTorch compiles with" in process.stderr
    assert "Traceback" not in process.stderr


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("method", METHODS)
def test_half_precision_learns(method: str, data: Path, tmp_path: Path, dtype: str) -> None:
    values = recipe_values(data, method, run__dtype=dtype, optimiser__clip_norm=5.0, data__val=None)
    assert train(write_recipe(tmp_path / "recipe.yaml", values), tmp_path / "run") == 0
    losses = [line["loss"] for line in numbers(tmp_path / "run")]
    assert losses[-1] < losses[0]


def torchrun(processes: int, *arguments: str, restarts: int = 0) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command += [f"--max-restarts={restarts}", "-m", "megavid", *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def run(processes: int, recipe: Path, folder: Path) -> list[dict[str, Any]]:
    """The log of a run in processes of one thread each."""
    process = torchrun(processes, "train", str(recipe), "-o", str(folder), "--device", "cpu")
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return numbers(folder)


def test_two_processes_are_one(data: Path, tmp_path: Path) -> None:
    """50 steps of the same batch.

    Of two clips, since the sum of two gradients has one rounding only; the smallest difference grows, as soon
    as two proposals change places and others are sampled.
    """
    values = recipe_values(
        data, run__steps=50, data__val=None, optimiser__drops=[40], optimiser__clip_norm=5.0
    )
    recipe = write_recipe(tmp_path / "recipe.yaml", values)
    one, two = run(1, recipe, tmp_path / "one"), run(2, recipe, tmp_path / "two")
    assert len(one) == 50
    assert one[-1]["loss"] < 0.7 * one[0]["loss"]
    for a, b in zip(one, two, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], abs=1e-4), a["step"]


def test_a_killed_rank_goes_on_from_the_last_checkpoint(data: Path, tmp_path: Path) -> None:
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
    assert "goes on from step" in output
    for a, b in zip(run(2, recipe, tmp_path / "whole"), numbers(folder), strict=True):
        assert a["step"] == b["step"]
        assert a["loss"] == pytest.approx(b["loss"], abs=1e-4)


def children_of(pid: int) -> list[int]:
    """The processes that torchrun started, by Linux's account."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children]


def wait_for_steps(process: subprocess.Popen[str], folder: Path) -> None:
    """Until a run has done five steps."""
    deadline = time.monotonic() + 120
    while not (folder / "log.jsonl").exists() or len(read_log(folder / "log.jsonl")) < 5:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_first(data: Path, tmp_path: Path, how: signal.Signals) -> None:
    """Sent to all processes, as by a terminal or a cluster, those that read ahead among them."""
    values = recipe_values(data, run__steps=5000, data__val=None, log__save_every=1000, optimiser__drops=[])
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
    assert f"stopped at step {step}; --resume goes on" in output
    assert read_log(folder / "log.jsonl")[-1]["step"] == step
    assert train(recipe, folder, "--resume", "--run.steps", str(step + 2)) == 0
    assert [line["step"] for line in numbers(folder)] == list(range(1, step + 3))


def test_torchrun_that_is_ended_saves_first(data: Path, tmp_path: Path) -> None:
    values = recipe_values(data, run__steps=5000, data__val=None, log__save_every=1000, optimiser__drops=[])
    values["run"]["workers"] = 1
    recipe, folder = write_recipe(tmp_path / "recipe.yaml", values), tmp_path / "run"
    process = torchrun(2, "train", str(recipe), "-o", str(folder), "--device", "cpu")
    wait_for_steps(process, folder)
    process.terminate()
    output, _ = process.communicate(timeout=120)
    [path] = list_checkpoints(folder / "checkpoints")
    assert f"stopped at step {load_checkpoint(path).step}; --resume goes on" in output


def test_restarts_leave_other_runs_alone(data: Path, tmp_path: Path) -> None:
    values = recipe_values(data, data__val=None)
    recipe, folder = write_recipe(tmp_path / "recipe.yaml", values), tmp_path / "run"
    assert train(recipe, folder, "--run.steps", "3", "--optimiser.drops", "[]") == 0
    process = torchrun(2, "train", str(recipe), "-o", str(folder), "--device", "cpu", restarts=1)
    output, _ = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "holds a run already" in output
    assert [load_checkpoint(path).step for path in list_checkpoints(folder / "checkpoints")] == [3]


def test_a_loss_that_is_not_finite(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = recipe_values(data, data__val=None, optimiser__warmup=0, optimiser__drops=[], log__save_every=2)
    recipe, folder = write_recipe(tmp_path / "recipe.yaml", values), tmp_path / "run"
    assert train(recipe, folder, "--run.steps", "2") == 0
    assert (
        train(recipe, folder, "--resume", "--optimiser.learning_rate", "1e9", "--log.save_every", "99") == 2
    )
    message = capsys.readouterr().err
    assert "the loss is not finite" in message
    assert "clip_" in message  # the clips' files
    assert int(message.partition("error: step ")[2].partition(":")[0]) > 2
    # What it advises.
    assert "--resume and a lower optimiser.learning_rate" in message
    assert train(recipe, folder, "--resume", "--optimiser.learning_rate", "0.001") == 0
    output = capsys.readouterr().out
    assert "goes on from step 2" in output
    assert "with another optimiser.learning_rate than before" in output
    assert numbers(folder)[-1]["learning_rate"] == 0.001


def test_a_full_disk_keeps_what_was_saved(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    values = recipe_values(data, data__val=None)
    recipe, folder = write_recipe(tmp_path / "recipe.yaml", values), tmp_path / "run"
    assert train(recipe, folder, "--run.steps", "3", "--optimiser.drops", "[]") == 0
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:  # no file may grow beyond 20 kB: what a full disk says
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
        assert train(recipe, folder, "--resume", "--run.steps", "6", "--optimiser.drops", "[]") == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert "cannot be written" in capsys.readouterr().err
    assert load_checkpoint(list_checkpoints(folder / "checkpoints")[-1]).step == 3
    assert train(recipe, folder, "--resume", "--run.steps", "6", "--optimiser.drops", "[]") == 0


def test_schedule() -> None:
    config = OptimiserConfig(learning_rate=0.001, reference_batch=4, warmup=500, drops=(80_000, 100_000))
    rates = [learning_rate(config, step, batch=4) for step in (0, 250, 500, 79_999, 80_000, 100_000)]
    assert rates == pytest.approx([0.001 / 3, 0.001 * 2 / 3, 0.001, 0.001, 1e-4, 1e-5])
    assert learning_rate(config, 500, batch=16) == pytest.approx(0.004)


def test_biases_learn_faster_and_do_not_decay() -> None:
    detector = build_tiny("mega")
    detector.freeze(stages=2)
    optimiser = make_optimiser(detector, OptimiserConfig(learning_rate=0.001))
    set_learning_rate(optimiser, 0.5)
    weights, biases = optimiser.param_groups
    assert (weights["lr"], weights["weight_decay"], weights["momentum"]) == (0.5, 1e-4, 0.9)
    assert (biases["lr"], biases["weight_decay"]) == (1.0, 0.0)
    trained = [p for p in detector.parameters() if p.requires_grad]
    assert len(weights["params"]) + len(biases["params"]) == len(trained)
    assert any(p is detector.predictor.scores.bias for p in biases["params"])


def test_the_best_cannot_be_written(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe, folder = write_recipe(tmp_path / "recipe.yaml", recipe_values(data)), tmp_path / "run"
    (folder / "best.safetensors").mkdir(parents=True)  # is in the way
    assert train(recipe, folder) == 2
    assert "best.safetensors: " in capsys.readouterr().err
    assert (folder / "model.safetensors").exists()
    (folder / "best.safetensors").rmdir()
    assert train(recipe, folder, "--resume") == 0
    assert load_checkpoint(list_checkpoints(folder / "checkpoints")[-1]).best[1] == 6
    assert (folder / "best.safetensors").exists()


def test_a_broken_checkpoint_is_passed_over(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recipe, folder = (
        write_recipe(tmp_path / "recipe.yaml", recipe_values(data, data__val=None)),
        tmp_path / "run",
    )
    assert train(recipe, folder) == 0
    whole = numbers(folder)
    list_checkpoints(folder / "checkpoints")[-1].write_bytes(b"")
    (folder / "checkpoints" / ".step_00000005.77.partial.pt").touch()
    assert (
        train(recipe, folder, "--resume", "--log.keep", "1", "--run.steps", "5", "--optimiser.drops", "[]")
        == 0
    )
    assert "goes on from step_00000003.pt" in caplog.text
    steps = [path.name for path in list_checkpoints(folder / "checkpoints")]
    assert steps == ["step_00000005.pt", "step_00000006.pt"]  # the broken one is not the one that is kept
    assert train(recipe, folder, "--resume") == 0
    assert numbers(folder)[:5] == whole[:5]
    assert len(list((folder / "checkpoints").glob(".*"))) == 0


def test_another_model_under_the_same_name(
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


def test_classes_that_only_one_side_has(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = load_annotations(data)
    replace(table, classes=("fox", *table.classes[1:])).save(data.parent / "other.parquet")
    values = recipe_values(data, "single_frame", data__val={"path": str(data.parent / "other.parquet")})
    recipe, folder = write_recipe(tmp_path / "recipe.yaml", values), tmp_path / "run"
    assert train(recipe, folder) == 2  # before a step is done
    message = capsys.readouterr().err
    assert "the detector has no class 'fox'" in message
    assert "data.skip_bad" in message
    assert not (folder / "log.jsonl").exists()
    assert train(recipe, folder, "--data.skip_bad", "true") == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"run__steps": 0}, "run.steps"),
        ({"optimiser__learning_rate": "fast"}, "optimiser.learning_rate"),
        ({"optimiser__drops": [9]}, "optimiser.drops should rise and be less than run.steps 6"),
        ({"optimiser__speed": 1}, "optimiser.speed: unknown key"),
        ({"model": "mega_r49"}, "mega_r49: no such configuration"),
        ({"data__train": []}, "data.train"),
        ({"data__train": [{"path": "nowhere"}]}, "nowhere: no such file or folder"),
        ({"start__detector": "nowhere.pth"}, "nowhere.pth: no such weight file"),
        ({"start__backbone": "resnet.pth"}, "resnet.pth: its batch norm needs backbone.norm frozen_batch"),
        ({"settings": {"method.windows": 3}}, "method.windows: unknown key"),
        ({"settings": 5}, "settings"),
        ({"method_settings": {"mgea": {"method.window": 3}}}, "got 'mgea'"),
        ({"log__motion": "motion.mat"}, "motion.mat: "),
    ],
)
def test_mistakes(
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, Any],
    message: str,
) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", recipe_values(data, **changes))
    assert train(recipe, tmp_path / "run", "--method.window", "2") == 2
    assert message in capsys.readouterr().err


def test_a_run_is_not_written_over(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", recipe_values(data, "single_frame", data__val=None))
    assert train(recipe, tmp_path / "run") == 0
    assert train(recipe, tmp_path / "run") == 2
    assert "holds a run already; --resume" in capsys.readouterr().err
    assert train(recipe, tmp_path / "run", "--resume", "--run.seed", "5") == 2
    assert "begun with another run.seed" in capsys.readouterr().err


def test_check_finds_what_is_wrong_and_keeps_nothing(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = recipe_values(data, run__steps=10_000, run__batch=4)
    recipe = write_recipe(tmp_path / "recipe.yaml", values)
    before = sorted(tmp_path.rglob("*"))
    check = ["train", str(recipe), "--check", "--device", "cpu"]
    assert main(check) == 0
    assert "all is well" in capsys.readouterr().out
    assert sorted(tmp_path.rglob("*")) == before
    folder = tmp_path / "run"
    assert main([*check, "-o", str(folder)]) == 0
    assert list(folder.iterdir()) == []
    assert train(recipe, folder, "--run.steps", "1", "--optimiser.drops", "[]", "--data.val", "null") == 0
    assert main([*check, "-o", str(folder)]) == 2
    assert "holds a run already" in capsys.readouterr().err
    assert main([*check, "-o", str(folder), "--resume", "--run.seed", "5"]) == 2
    assert "begun with another run.seed" in capsys.readouterr().err
    assert main([*check, "-o", str(recipe)]) == 2
    assert "recipe.yaml: " in capsys.readouterr().err
    # Of all frames, of which only some are detected in.
    objects = np.diff(load_annotations(data).offsets).tolist()
    official = write_mat(tmp_path / "motion.mat", [[0.8] * count for count in objects])
    assert main([*check, "--log.motion", str(official)]) == 0
    assert main([*check, "--log.motion", str(write_mat(official, [[0.8]]))]) == 2


def test_two_processes_check_the_batch(data: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", recipe_values(data, run__batch=3))
    process = torchrun(2, "train", str(recipe), "--check", "--device", "cpu")
    output, _ = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "run.batch: expected a multiple of the 2 processes, got 3" in output


def test_processes_share_a_batch_evenly(data: Path, tmp_path: Path) -> None:
    shares = [Share(batch=6, rank=rank, world=2, at_once=2) for rank in (0, 1)]
    assert shares[0].numbers(0) == [[0, 1], [2]]
    assert shares[1].numbers(0) == [[3, 4], [5]]
    assert shares[1].numbers(2) == [[15, 16], [17]]


def test_checkpoints_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "step_00000001.pt"
    path.write_bytes(b"nothing")
    with pytest.raises(InputError, match="cannot be read as a checkpoint"):
        load_checkpoint(path)


def test_stills_and_videos_of_the_published_layout(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_ilsvrc(tmp_path / "ILSVRC2015", train_videos=2, val_videos=1, frames=5, stills=3)
    values = recipe_values(root)
    values["data"] = {
        "train": [{"path": str(root), "subset": "vid_train"}, {"path": str(root), "subset": "det_train"}],
        "val": {"path": str(root), "subset": "vid_val"},
    }
    assert train(write_recipe(tmp_path / "recipe.yaml", values), tmp_path / "run") == 0
    assert "30 classes, 13 frames to train on" in capsys.readouterr().out
    assert [line["step"] for line in numbers(tmp_path / "run")] == [1, 2, 3, 4, 5, 6, 6]


def test_a_cocovid_set_with_other_classes(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = load_annotations(data)
    own = replace(table, classes=("fox", "badger", "deer", "owl", "hare", "boar"))
    write_cocovid(own, tmp_path / "own.json")
    values = recipe_values(data)
    part = {"path": str(tmp_path / "own.json"), "images": str(data.parent)}
    values["data"] = {"train": [part], "val": part}
    assert train(write_recipe(tmp_path / "recipe.yaml", values), tmp_path / "run") == 0
    detector = load_detector(weights=tmp_path / "run" / "model.safetensors", device="cpu")
    assert detector.class_names == own.classes


def test_training_on_video_files(tmp_path: Path) -> None:
    frames = list(film(seed=0, video=1, frames=12, height=64, width=96))
    with VideoWriter(tmp_path / "clip.mp4", rate=Fraction(25), width=96, height=64) as writer:
        for t, frame in enumerate(frames):
            writer.write(frame.image, t / 25)
    builder = AnnotationBuilder(CLASSES, root=tmp_path)
    builder.video("clip", source="clip.mp4")
    for t, frame in enumerate(frames):
        builder.frame(t, width=96, height=64)
        for box, label, track in zip(frame.boxes.tolist(), frame.labels, frame.tracks, strict=True):
            builder.box(*box, label=int(label), track=int(track))
    builder.build().save(tmp_path / "index.parquet")
    recipe = write_recipe(tmp_path / "recipe.yaml", recipe_values(tmp_path / "index.parquet"))
    assert train(recipe, tmp_path / "run") == 0
    assert numbers(tmp_path / "run")[-1]["AP50"] >= 0


def test_a_clip_that_was_read(data: Path) -> None:
    """Boxes in pixels of the network's input; mirrored, they are at the mirrored place."""
    plan = TrainingPlan((ReferenceGroup(name="local", count=2, low=-3, high=3),))
    detector = build_tiny("rdn", **{"input.min_size": 96, "input.max_size": 144})  # half as large again
    table = load_annotations(data)
    read = {
        flip: ClipReader(ClipOrder([table], plan, seed=0, flip=flip), detector.network_input)[0]
        for flip in (0.0, 1.0)
    }
    plain, mirrored = read[0.0].clip, read[1.0].clip
    key = ClipOrder([table], plan, seed=0, flip=0.0)[0]
    rows = slice(*table.offsets[key.key : key.key + 2])
    # Inclusive coordinates are scaled, as in the original.
    expected = (table.boxes[rows] - [0, 0, 1, 1]) * 1.5 + [0, 0, 1, 1]
    np.testing.assert_allclose(plain.boxes, expected, atol=1e-4)
    assert plain.labels.tolist() == table.labels[rows].tolist()
    assert torch.equal(mirrored.images, plain.images.flip(3))
    width = plain.images.shape[3]
    torch.testing.assert_close(mirrored.boxes[:, [0, 2]], width - plain.boxes[:, [2, 0]])
    image = detector.network_input(read_image(data.parent / table.files[key.key].as_py()))
    assert torch.equal(plain.images[0], image)
    assert len(plain.images) == len({0, *plain.references["local"]})


def test_crowds_and_slivers_are_not_learnt(data: Path) -> None:
    table = load_annotations(data)
    key = ClipOrder([table], build_tiny("single_frame").training_plan, seed=0, flip=0.0)[0].key
    rows = slice(*table.offsets[key : key + 2])

    def learnt(boxes: np.ndarray[Any, Any], difficult: np.ndarray[Any, Any]) -> int:
        order = ClipOrder(
            [replace(table, boxes=boxes, difficult=difficult)],
            build_tiny("single_frame").training_plan,
            seed=0,
            flip=0.0,
        )
        reader = ClipReader(order, build_tiny("single_frame").network_input)
        [found] = [clip for i in range(len(order)) if order[i].key == key for clip in [reader[i].clip]]
        assert len(found.boxes) == len(found.labels)
        return len(found.boxes)

    none = np.zeros(len(table.boxes), np.bool_)
    assert learnt(table.boxes, none) == rows.stop - rows.start > 1
    crowd = none.copy()
    crowd[rows.start] = True
    assert learnt(table.boxes, crowd) == rows.stop - rows.start - 1
    sliver = table.boxes.copy()
    sliver[rows.start] = (10, 10, 10.5, 40)
    assert learnt(sliver, none) == rows.stop - rows.start - 1


def test_a_recipe_may_leave_model_and_data_to_the_command_line(data: Path, tmp_path: Path) -> None:
    values = recipe_values(data, data__val=None)
    del values["model"], values["data"]["train"][0]["path"]
    recipe = write_recipe(tmp_path / "recipe.yaml", values)
    given = ["--model", "mega_r50", "--data", str(data), "--method.window", "2"]
    assert train(recipe, tmp_path / "run", *given) == 0


def test_frames_of_several_sizes_are_named(data: Path, tmp_path: Path) -> None:
    table = load_annotations(data)
    folder = tmp_path / "copy"
    shutil.copytree(data.parent, folder)
    PIL.Image.new("RGB", (50, 40)).save(folder / "clip_0" / "000003.png")
    order = ClipOrder([replace(table, root=folder)], build_tiny("rdn").training_plan, seed=0)
    reader = ClipReader(order, build_tiny("rdn").network_input)
    with pytest.raises(InputError, match=r"clip_0.000003.png|frames of one size"):
        [reader[i] for i in range(60)]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_missing_image_is_named(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], workers: int
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(data.parent, folder)
    replace(load_annotations(data), root=folder).save(folder / "index.parquet")
    (folder / "clip_1" / "000004.png").unlink()
    values = recipe_values(folder / "index.parquet", "single_frame", run__workers=workers, run__steps=40)
    assert train(write_recipe(tmp_path / "recipe.yaml", values), tmp_path / "run") == 2
    message = capsys.readouterr().err
    assert "clip_1/000004.png" in message
    assert "Traceback" not in message


def test_the_other_process_says_what_is_wrong(data: Path, tmp_path: Path) -> None:
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
    assert "engine/train.py" not in output  # no traceback but that of torchrun


def test_frozen_batch_norm_without_weights_is_told(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    values = recipe_values(data, "single_frame", data__val=None, run__steps=1, optimiser__drops=[])
    values["settings"]["backbone.norm"] = "frozen_batch"
    assert train(write_recipe(tmp_path / "recipe.yaml", values), tmp_path / "run") == 0
    assert "this will hardly learn" in caplog.text
    assert "stages of the backbone are frozen" not in caplog.text


def test_random_stages_that_stay_so_are_told(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    values = recipe_values(data, "single_frame", data__val=None, run__steps=1, optimiser__drops=[])
    recipe = write_recipe(tmp_path / "recipe.yaml", values)
    assert train(recipe, tmp_path / "run", "--run.frozen_stages", "2") == 0
    assert "the first 2 stages of the backbone are frozen" in caplog.text
