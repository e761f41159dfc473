"""`megavid benchmark`: its measurements and its report."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from megavid.cli import main
from megavid.jobs.measure_speed import BenchmarkOptions, benchmark
from tests.cli.helpers import error_of, subprocess_arguments
from tests.conftest import TINY_METHODS, build_tiny

SMALL = ["--device", "cpu", "--height", "64", "--width", "96", "--frames", "4"]


@pytest.mark.parametrize("method", TINY_METHODS)
def test_measurements_are_consistent(method: str) -> None:
    detector = build_tiny(method)
    encode = detector.encode
    options = BenchmarkOptions(height=64, width=96, frames=6)
    result = benchmark(detector, options)
    assert detector.encode == encode
    assert result.encodes_per_frame == 1
    assert result.look_ahead == detector.plan.future
    assert result.input_size == (64, 96)
    assert result.frames_per_second == pytest.approx(1 / result.frame_seconds)
    assert result.unit_seconds is not None
    assert result.units_per_frame == pytest.approx(result.frame_seconds / result.unit_seconds)
    assert {"trunk", "RPN", "conv5", "RoI pooling", "fully connected", "post-processing"} <= set(
        result.range_seconds
    )
    assert ("flow" in result.range_seconds) == (method in {"dff", "fgfa"})
    assert all(seconds > 0 for seconds in result.range_seconds.values())
    assert result.first_seconds > 0
    assert result.peak_megabytes > 100


def test_batched_frames_are_counted_one_by_one() -> None:
    result = benchmark(build_tiny("mega"), BenchmarkOptions(height=64, width=96, frames=9, batch_size=3))
    assert result.encodes_per_frame == 1


def test_report_is_printed_and_written(
    weights: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "report.json"
    given = ["--weights", str(weights["mega"]), "--without", "reuse", "fold_norms", "--dtype", "bfloat16"]
    assert main(["benchmark", *given, *SMALL, "-o", str(output)]) == 0
    shown = capsys.readouterr().out
    report = json.loads(output.read_text())
    assert report["inference"] == {
        "dtype": "bfloat16",
        "loose": False,
        "fold_norms": False,
        "channels_last": True,
        "sum_cells": True,
        "winograd": True,
        "pack": False,
        "split_heads": True,
        "reuse": False,
        "cuda_graphs": False,
        "fused": False,
        "compile": False,
    }
    assert (report["model"], report["architecture"]) == ("mega", "ResNet-18 of width 8")
    assert {"device", "threads", "torch", "torchvision", "megavid", "python"} <= set(report["machine"])
    assert f"{report['frames_per_second']:.2f}" in shown
    enabled = "channels_last, sum_cells, winograd, split_heads"
    assert f"mega, ResNet-18 of width 8, input 96x64, bfloat16, {enabled}" in shown


def test_mistakes_are_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, message in [
        (["mega_r5"], "mega_r5: no such configuration"),
        ([], "expected a configuration"),
        (["mega_r50", "--frames", "0"], "frames: expected at least 1, got 0"),
        (["mega_r50", "--compile", "--plain"], "--plain: cannot be combined with --compile or --loose"),
    ]:
        assert main(["benchmark", *arguments, "--device", "cpu"]) == 2
        assert message in error_of(capsys)


def test_missing_compiler_is_explained(weights: dict[str, Path], tmp_path: Path, folder: Path) -> None:
    command = subprocess_arguments(folder, tmp_path / "out", weights["single_frame"])
    nowhere = {"CXX": str(tmp_path / "none"), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
    process = subprocess.run(
        [*command, "--compile"], env=os.environ | nowhere, text=True, capture_output=True, check=False
    )
    assert process.returncode == 2, process.stderr
    assert "this takes a minute" in process.stderr
    assert "--compile: expected a C++ compiler" in process.stderr
    assert "Traceback" not in process.stderr
