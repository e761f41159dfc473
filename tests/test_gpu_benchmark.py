"""The benchmark for GPUs runs on a CPU with tiny networks."""

from __future__ import annotations

import json
import re
from itertools import islice
from pathlib import Path

import pytest
import torch

from benchmarks import gpu, gpu_worker
from benchmarks.gpu_networks import CLEAR, PASSING, Bench, calibrate_scores
from benchmarks.gpu_report import GOALS
from megavid import VideoSession, load_detector
from megavid.models.faster_rcnn.faster_rcnn import FasterRCNN
from megavid.runtime.detect_video import run_session

CPU = torch.device("cpu")


def test_every_row_has_a_limit_and_goals_are_of_rows() -> None:
    assert list(gpu_worker.ROWS) == list(gpu.ROWS)
    assert GOALS.keys() <= gpu.ROWS.keys()


def test_rows_after_one_that_hangs_are_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(gpu.ROWS, "single_frame_float16", 0.01)
    monkeypatch.chdir(Path(__file__).parents[1])
    rows = ["single_frame_float16", "dff_float16", "training_micro_batch_4"]
    path = tmp_path / "gpu.json"
    gpu.main(["--tiny", "--device", "cpu", "--json", str(path), "--only", ",".join(rows)])
    report = json.loads(path.read_text())
    late, *measured = (report["rows"][name] for name in rows)
    assert list(late) == ["error"]
    # It ends with exit code 1, or, as it is stopped at any place, by a signal.
    assert re.match(r"not measured: exit code (1|-\d+): Timeout", late["error"])
    assert [row.get("error") for row in measured] == [None] * 2
    dff, training = measured
    assert dff["frames_per_second"] > 0
    assert dff["detections"] > 10
    assert training["clips_per_second"] > 0
    printed = capsys.readouterr().out
    assert "| dff_float16 | 300 | " in printed
    assert "| single_frame_float16 | 300 | - |" in printed


def test_rows_without_time_are_reported(tmp_path: Path) -> None:
    path = tmp_path / "gpu.json"
    gpu.main(["--tiny", "--device", "cpu", "--json", str(path), "--only", "memory", "--limit", "1"])
    assert json.loads(path.read_text())["rows"] == {"memory": {"error": "not measured: no time left"}}


def test_random_weights_give_the_scores_of_trained_ones(tmp_path: Path) -> None:
    bench = Bench(CPU, True, 0.0, tmp_path)
    name, overrides = bench.configuration("mega")
    torch.manual_seed(0)
    detector = load_detector(name, device="cpu", overrides=overrides, inference=None)
    assert isinstance(detector, FasterRCNN)
    calibrate_scores(detector, bench.images)
    outputs = []
    detector.predictor.register_forward_hook(lambda _, args, output: outputs.append(output))
    results = list(run_session(VideoSession(detector), islice(bench.video(), 80), batch_size=8))[40:]
    for above, expected in ((0.001, PASSING), (0.5, CLEAR)):
        passing = [int((output.logits.softmax(1)[:, 1:] > above).sum()) for output in outputs[40:]]
        assert expected / 2 < sum(passing) / len(passing) < 2 * expected
    assert sum(len(result.detections) for result in results) / len(results) > PASSING / 3
