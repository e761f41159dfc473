"""`megavid evaluate --link`: the results of evaluate, link and score in one command, also in processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from megavid.checkpoints.weights import write_weights
from megavid.cli import main
from megavid.datasets.synthetic.scene import CLASSES
from megavid.linking.linkers import LINKERS
from tests.cli.helpers import error_of, read_predictions
from tests.conftest import build_tiny
from tests.evaluation.generated import write_data_set


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory, device: torch.device) -> list[str]:
    """Write a data set of four clips and weights, and return the command that evaluates the weights."""
    folder = tmp_path_factory.mktemp("inputs")
    write_data_set(folder / "set", videos=4, height=64, width=96).save(folder / "index.parquet")
    detector = build_tiny("mega", classes=list(CLASSES))
    config = detector.config.model_dump(mode="json")
    write_weights(folder / "m.safetensors", detector.state_dict(), config=config, about={"licence": "none"})
    inputs = ["--data", str(folder / "index.parquet"), "--weights", str(folder / "m.safetensors")]
    return ["evaluate", *inputs, "--device", str(device)]


@pytest.fixture(scope="module")
def unlinked(line: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("unlinked") / "out"
    assert main([*line, "-o", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def linked(line: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Evaluate with a linker in one process, and return the output folder."""
    out = tmp_path_factory.mktemp("linked") / "out"
    assert main([*line, "--link", "seq_bbox", "-o", str(out)]) == 0
    return out


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return read_predictions(folder / "predictions.parquet")[0]


@pytest.mark.parametrize(("name", "setting"), [("seq_nms", "0.001"), ("repp", "0.2")])
def test_results_are_those_of_three_commands(
    line: list[str], unlinked: Path, tmp_path: Path, name: str, setting: str
) -> None:
    settings = ["--link.min-score", setting]
    file, data = tmp_path / "linked.parquet", line[1:3]
    saved = str(unlinked / "predictions.parquet")
    assert main(["link", saved, "--method", name, *settings, "-o", str(file)]) == 0
    assert main(["score", str(file), *data, "-o", str(tmp_path / "three")]) == 0
    assert main([*line, "--link", name, *settings, "-o", str(tmp_path / "one")]) == 0
    rows = rows_of(tmp_path / "one")
    assert rows == read_predictions(file)[0]
    assert rows != rows_of(unlinked)
    one, three = (json.loads((tmp_path / out / "scores.json").read_text()) for out in ("one", "three"))
    for key in ("AP50", "classes", "found", "linked"):
        assert one[key] == three[key]
    _, about = read_predictions(tmp_path / "one" / "predictions.parquet")
    assert about["linking"] == LINKERS[name](min_score=float(setting)).model_dump(mode="json")


def test_a_run_is_not_continued_with_another_linker(
    line: list[str], linked: Path, unlinked: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for out, options in (
        (linked, ["--link", "seq_nms"]),
        (linked, ["--link", "seq_bbox", "--link.max-gap", "1"]),
        (linked, []),
        (unlinked, ["--link", "seq_bbox"]),
    ):
        assert main([*line, *options, "-o", str(out)]) == 2
        assert "holds parts of a run with different linking; choose another" in error_of(capsys)
    assert main([*line, "--link", "seq_bbox", "-o", str(linked)]) == 0  # is scored again


def test_two_processes_give_the_same_result_as_one(line: list[str], linked: Path, tmp_path: Path) -> None:
    script, out = tmp_path / "run.py", tmp_path / "out"
    script.write_text("import sys; from megavid.cli import main; sys.exit(main())")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    variables = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [*launch, str(script), *line, "--link", "seq_bbox", "-o", str(out)]
    subprocess.run(command, env=variables, check=True, capture_output=True, timeout=300)
    assert rows_of(out) == rows_of(linked)


def test_mistakes_come_before_the_work(
    line: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for options, message in (
        (["--link", "nms"], "--link: expected one of seq_nms, "),
        (["--link.min-score", "0.1"], "--link.min_score: needs --link NAME"),
        (["--link", "repp", "--link.model", "none.json"], "none.json: no such file"),
    ):
        assert main([*line, *options, "-o", str(tmp_path / "out")]) == 2
        assert message in error_of(capsys)
        assert not (tmp_path / "out").exists()
