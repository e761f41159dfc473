"""Commands with detectors of other libraries."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch

from megavid.cli import main
from megavid.datasets.synthetic.scene import CLASSES
from megavid.linking.linkers import LINKERS
from tests.cli.helpers import error_of, read_predictions
from tests.models.adapters.outside_models import SSDLITE, write_torchvision, write_transformers
from tests.training.small_run import write_videos

NAME = f"torchvision:{SSDLITE}"


@pytest.fixture(scope="module")
def ssdlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the weights of a detector with as many classes as the generated data set."""
    return write_torchvision(tmp_path_factory.mktemp("ssdlite") / "small.pth", labels=len(CLASSES) + 1)


@pytest.fixture
def options(ssdlite: Path, device: torch.device) -> list[str]:
    return ["--detector", NAME, "--weights", str(ssdlite), "--device", str(device)]


def test_detect(folder: Path, options: list[str], tmp_path: Path) -> None:
    names = ["--method.class_names", "[a, b, c, d, e, f]", "--dtype", "bfloat16", "--batch-size", "2"]
    assert (
        main(["detect", str(folder), *options, *names, "--classes", "b,d", "-o", str(tmp_path / "out")]) == 0
    )
    rows, metadata = read_predictions(tmp_path / "out" / "predictions.parquet")
    assert {row["class_name"] for row in rows} == {"b", "d"}
    assert min(row["score"] for row in rows) > 0.5
    assert metadata["weights"] == "small.pth"
    assert metadata["config"]["method"]["model"] == SSDLITE
    assert metadata["inference"]["dtype"] == "bfloat16"
    assert metadata["inference"]["fold_norms"] is False


@pytest.mark.parametrize("linker", sorted(LINKERS))
def test_detections_are_linked(linker: str, folder: Path, options: list[str], tmp_path: Path) -> None:
    assert main(["detect", str(folder), *options, "--link", linker, "-o", str(tmp_path / "out")]) == 0
    rows, metadata = read_predictions(tmp_path / "out" / "predictions.parquet")
    assert metadata["linking"]["name"] == linker
    assert max(row["track"] for row in rows) >= 0


def test_detect_with_transformers(folder: Path, tmp_path: Path, device: torch.device) -> None:
    weights = write_transformers(tmp_path / "rt_detr", "rt_detr_v2")
    name = f"transformers:{weights}"
    line = ["detect", str(folder), "--detector", name, "--device", str(device), "--score-threshold", "0.01"]
    assert main([*line, "--save-frames", "-o", str(tmp_path / "out")]) == 0
    rows, metadata = read_predictions(tmp_path / "out" / "predictions.parquet")
    assert {row["class_name"] for row in rows} <= {"fox", "hare"}
    assert len(rows) > 0
    assert metadata["architecture"] == "rt_detr_v2"
    assert metadata["weights"] == "model.safetensors"
    digest = hashlib.sha256((weights / "model.safetensors").read_bytes()).hexdigest()
    assert metadata["weights_sha256"] == digest


def test_evaluate_matches_classes_by_name(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = str(write_videos(tmp_path / "set", videos=1, frames=3))
    order = json.dumps([*reversed(CLASSES[1:]), "zebra"])  # another order, and another class
    line = ["evaluate", "--data", data, *options, "--method.class_names", order]
    assert main([*line, "-o", str(tmp_path / "eval")]) == 2
    assert f"classes of the data set: the detector has no class {CLASSES[0]!r}" in error_of(capsys)
    assert main([*line, "--skip-bad", "-o", str(tmp_path / "eval")]) == 0
    skipped = capsys.readouterr().err
    assert "unknown class" in skipped
    scores = json.loads((tmp_path / "eval" / "scores.json").read_text())
    assert set(scores["classes"]) == set(CLASSES)


def test_benchmark(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmark", *options, "--frames", "2", "--height", "48", "--width", "64"]) == 0
    printed = capsys.readouterr().out
    assert f"torchvision, {SSDLITE}, input 64x48, float32, plain" in printed
    assert "  network" in printed


def test_wrong_options_are_explained(
    folder: Path, options: list[str], ssdlite: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["-o", str(tmp_path / "out")]
    weights = ["--weights", str(ssdlite)]
    for line, message in (
        (["detect", str(folder)], "expected --weights, or --detector for a detector of another library"),
        (["detect", str(folder), *options, "--model", "mega_r50"], "--detector: cannot be combined"),
        (["detect", str(folder), *weights, "--model", NAME], "a detector of another library is --detector"),
        (["detect", str(folder), "--detector", SSDLITE], "--detector: expected LIBRARY:NAME"),
        (["detect", str(folder), "--detector", "mega_r101_vid"], "got weights: --weights mega_r101_vid"),
        (
            ["detect", str(folder), "--model", "mega_generated"],
            "--model: expected a configuration, got weights: --weights mega_generated",
        ),
        (
            ["detect", str(folder), "--detector", NAME, "--weights", "mega_generated"],
            f"mega_generated: expected a file of weights for {NAME}, got the name of other weights",
        ),
        (
            ["detect", str(folder), "--detector", NAME, "--weights", "https://localhost/x.pth"],
            f"expected a file of weights for {NAME}, got an address; download it first",
        ),
        (["detect", str(folder), *options, "--loose"], "inference.loose: expected false on cpu"),
        (["detect", str(folder), *options, "--score-threshold", "0"], "method.score_threshold"),
        (["detect", str(folder), *options, "--method.window", "3"], "method.window: unknown key"),
        (["detect", str(folder), "--detector", "x:y"], "--detector: expected LIBRARY:NAME with a library"),
    ):
        assert main([*line, *out]) == 2, line
        assert message in error_of(capsys)
    assert main(["benchmark", NAME]) == 2
    assert "a detector of another library is --detector" in error_of(capsys)
    assert main(["benchmark", "mega_r50", *options]) == 2
    assert "--detector: cannot be combined" in error_of(capsys)
    assert main(["convert", NAME, str(tmp_path / "x.safetensors")]) == 2
    assert "a detector of another library cannot be converted" in error_of(capsys)
