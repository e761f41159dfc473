"""Messages about mistakes in a recipe, its data or its weights."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from megavid.cli import main
from megavid.datasets.table.annotations import load_annotations
from tests.datasets.test_motion import write_mat
from tests.training.small_run import recipe_values, train, write_recipe


def test_a_missing_compiler_is_explained(data: Path, tmp_path: Path) -> None:
    values = recipe_values(data, "single_frame", data__val=None, run__compile=True)
    recipe = write_recipe(tmp_path / "recipe.yaml", values)
    command = [sys.executable, "-m", "megavid", "train", str(recipe), "-o", str(tmp_path / "run")]
    without_compiler = {"CXX": str(tmp_path / "none"), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
    process = subprocess.run(
        [*command, "--device", "cpu"],
        env=os.environ | without_compiler,
        text=True,
        capture_output=True,
        check=False,
    )
    assert process.returncode == 2, process.stderr
    assert "run.compile: expected a C++ compiler" in process.stderr
    assert "Traceback" not in process.stderr


def test_classes_found_only_in_the_validation_data_are_refused_or_skipped(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = load_annotations(data)
    replace(table, classes=("fox", *table.classes[1:])).save(data.parent / "other.parquet")
    values = recipe_values(data, "single_frame", data__val={"path": str(data.parent / "other.parquet")})
    recipe, folder = write_recipe(tmp_path / "recipe.yaml", values), tmp_path / "run"
    assert train(recipe, folder) == 2  # before the first training step
    message = capsys.readouterr().err
    assert "the detector has no class 'fox'" in message
    assert "data.skip_bad" in message
    assert not (folder / "log.jsonl").exists()
    assert train(recipe, folder, "--data.skip_bad", "true") == 0


def test_images_that_differ_from_the_annotated_size_are_refused(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = load_annotations(data)
    wrong = data.parent / "wrong.parquet"
    replace(table, width=table.width * 20, height=table.height * 20, boxes=table.boxes * 20).save(wrong)
    recipe = write_recipe(tmp_path / "recipe.yaml", recipe_values(wrong, "single_frame"))
    assert train(recipe, tmp_path / "run") == 2
    assert "annotated as 1920x1280, but it is 96x64" in capsys.readouterr().err
    assert main(["evaluate", "--data", str(wrong), "--weights", "any", "-o", str(tmp_path / "out")]) == 2
    assert "annotated as 1920x1280, but it is 96x64" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"run__steps": 0}, "run.steps"),
        ({"optimizer__learning_rate": "fast"}, "optimizer.learning_rate"),
        ({"optimizer__milestones": [9]}, "optimizer.milestones should rise and be less than run.steps 6"),
        ({"optimizer__speed": 1}, "optimizer.speed: unknown key"),
        ({"optimiser__drops": [5]}, "optimiser.drops: renamed to optimizer.milestones"),
        ({"run__clips_at_once": 2}, "run.clips_at_once: renamed to run.micro_batch"),
        ({"run__recompute": True}, "run.recompute: renamed to run.activation_checkpointing"),
        ({"model": "mega_r49"}, "mega_r49: no such configuration"),
        ({"data__train": []}, "data.train"),
        ({"data__train": [{"path": "nowhere"}]}, "nowhere: no such file or folder"),
        ({"start__detector": "nowhere.pth"}, "nowhere.pth: no such weight file"),
        ({"start__backbone": "resnet.pth"}, "resnet.pth: its batch norm needs backbone.norm frozen_batch"),
        ({"settings": {"method.windows": 3}}, "method.windows: unknown key"),
        ({"settings": 5}, "settings"),
        ({"settings_if_any": 5}, "settings_if_any"),
        ({"log__motion": "motion.mat"}, "motion.mat: "),
    ],
)
def test_mistakes_in_the_recipe_are_explained(
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, Any],
    message: str,
) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", recipe_values(data, **changes))
    assert train(recipe, tmp_path / "run", "--method.window", "2") == 2
    assert message in capsys.readouterr().err


def test_check_finds_mistakes_and_keeps_no_files(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = recipe_values(data, run__steps=10_000, run__batch=4)
    recipe = write_recipe(tmp_path / "recipe.yaml", values)
    before = sorted(tmp_path.rglob("*"))
    check = ["train", str(recipe), "--check", "--device", "cpu"]
    assert main(check) == 0
    assert "check passed" in capsys.readouterr().out
    assert sorted(tmp_path.rglob("*")) == before
    folder = tmp_path / "run"
    assert main([*check, "-o", str(folder)]) == 0
    assert list(folder.iterdir()) == []
    assert (
        train(recipe, folder, "--run.steps", "1", "--optimizer.milestones", "[]", "--data.val", "null") == 0
    )
    assert main([*check, "-o", str(folder)]) == 2
    assert "holds a run already" in capsys.readouterr().err
    assert main([*check, "-o", str(folder), "--resume", "--run.seed", "5"]) == 2
    assert "begun with another run.seed" in capsys.readouterr().err
    assert main([*check, "-o", str(recipe)]) == 2
    assert "recipe.yaml: " in capsys.readouterr().err
    # The file has the motion of all frames, also of those that --check leaves out.
    objects = np.diff(load_annotations(data).offsets).tolist()
    official = write_mat(tmp_path / "motion.mat", [[0.8] * count for count in objects])
    assert main([*check, "--log.motion", str(official)]) == 0
    assert main([*check, "--log.motion", str(write_mat(official, [[0.8]]))]) == 2


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


def test_warning_of_frozen_batch_norm_without_weights(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    values = recipe_values(data, "single_frame", data__val=None, run__steps=1, optimizer__milestones=[])
    values["settings"]["backbone.norm"] = "frozen_batch"
    assert train(write_recipe(tmp_path / "recipe.yaml", values), tmp_path / "run") == 0
    assert "this will hardly learn" in caplog.text
    assert "stages of the backbone are frozen" not in caplog.text


def test_warning_of_frozen_stages_without_weights(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    values = recipe_values(data, "single_frame", data__val=None, run__steps=1, optimizer__milestones=[])
    recipe = write_recipe(tmp_path / "recipe.yaml", values)
    assert train(recipe, tmp_path / "run", "--run.frozen_stages", "2") == 0
    assert "the first 2 stages of the backbone are frozen" in caplog.text
