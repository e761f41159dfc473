"""Descriptions of evaluations and of a complete run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from megavid.training.logs.summary import describe_evaluation, summarize
from megavid.training.recipe import Recipe
from tests.training.small_run import recipe_values


def summary_of(folder: Path, scores: dict[int, float | None], **changes: Any) -> str:
    folder.mkdir(exist_ok=True)
    lines = [{"step": step, "AP50": score} for step, score in scores.items()]
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    recipe = Recipe.model_validate(recipe_values(Path("my data.parquet"), **changes))
    return "\n".join(summarize(folder, recipe))


def test_an_evaluation_is_described() -> None:
    assert describe_evaluation(0.412, step=200, best=(0.412, 200)) == "step 200: AP50 41.2, the best so far"
    later = describe_evaluation(0.4, step=400, best=(0.412, 200))
    assert later == "step 400: AP50 40.0 (best: 41.2 at step 200)"
    assert "nothing is annotated" in describe_evaluation(None, step=400, best=(-1, 0))


def test_scores_and_commands_of_a_complete_run(tmp_path: Path) -> None:
    run = tmp_path / "run"
    text = summary_of(run, {2: 0.3, 5: 0.45, 6: 0.44})
    assert "AP50 44.0 at step 6; best 45.0 at step 5, in best.safetensors" in text
    assert "peaked early" not in text
    assert f"  megavid evaluate --data 'my data.parquet' --weights {run}/model.safetensors" in text
    (run / "best.safetensors").touch()
    assert f"  megavid detect VIDEO --weights {run}/best.safetensors -o {run}/out" in summary_of(
        run, {6: 0.4}
    )


def test_advice_if_ap50_peaked_early(tmp_path: Path) -> None:
    text = summary_of(tmp_path / "run", {2: 0.5, 4: 0.45, 6: 0.44})
    assert "AP50 peaked early: it has not risen since step 2 of 6" in text
    assert "--run.steps 2" in text
    assert "peaked early" not in summary_of(tmp_path / "run", {2: 0.0, 4: 0.0, 6: 0.0})


def test_no_scores_without_validation_data(tmp_path: Path) -> None:
    text = summary_of(tmp_path / "run", {}, data__val=None)
    assert "AP50" not in text
    assert "evaluate" not in text
    assert "model.safetensors" in text
    assert "AP50" not in summary_of(tmp_path / "run", {6: None})
    options = {"path": "set", "format": "yolo", "subset": "valid", "classes": ["a", "b c"]}
    text = summary_of(tmp_path / "run", {6: 0.5}, data__val=options)
    assert "--data set --format yolo --subset valid --classes 'a,b c' --weights" in text
