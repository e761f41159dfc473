"""Training, scoring and benchmarks work with a detector that fulfills the contract but is no Faster R-CNN."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from megavid import VideoSession, detect_video, load_detector
from megavid.checkpoints.weights import write_weights
from megavid.cli import main
from megavid.core.errors import InputError
from megavid.core.frames import Image
from megavid.datasets.synthetic.scene import CLASSES
from megavid.models.method_registry import METHODS
from megavid.models.outside_methods import add_methods
from tests.agreement import assert_same
from tests.training.small_run import write_videos

TOY = '''
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from megavid import Detections
from megavid.core.reference_plans import ReferencePlan
from megavid.models.base.detector_config import DetectorConfig, MethodConfig
from megavid.models.base.features import FrameFeatures
from megavid.models.base.video_detector import VideoDetector


class ToyConfig(MethodConfig):
    name: Literal["toy"]


@dataclass(frozen=True, eq=False)
class ToyFeatures(FrameFeatures):
    color: torch.Tensor


class Toy(VideoDetector):
    """Detects the frame once per class, scored by the mean color of the window. Memory counts frames."""

    config_type = DetectorConfig[ToyConfig]

    def __init__(self, config):
        super().__init__(config)
        self.scores = nn.Linear(3, len(config.classes))

    @property
    def plan(self):
        return ReferencePlan(past=1, future=1)

    def preprocess(self, frames):
        return frames.permute(0, 3, 1, 2).float() / 255

    def encode(self, images):
        return [ToyFeatures(tuple(image.shape[1:]), image.mean((1, 2))) for image in images]

    def initial_memory(self):
        return 0

    def detect(self, window, memory, *, score_threshold=None):
        height, width = window.frame_size
        color = torch.stack([frame.color for frame in window.local]).mean(0)
        scores, labels = self.scores(color).float().sigmoid().sort(descending=True)
        kept = scores > (score_threshold or 0)
        boxes = torch.tensor([[0.0, 0.0, width, height]], device=scores.device).expand(len(scores), 4)
        return Detections(boxes[kept], scores[kept], labels[kept], self.class_names), memory + 1

    def losses(self, clip):
        present = torch.zeros(len(self.class_names), device=clip.labels.device)
        present[clip.labels] = 1
        logits = self.scores(clip.images[0].mean((1, 2)))
        return {"presence": nn.functional.binary_cross_entropy_with_logits(logits, present)}
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Change to a working directory that holds the module toy.py and the configuration toy.yaml."""
    known = dict(METHODS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    Path("toy.py").write_text(TOY)
    Path("toy.yaml").write_text(yaml.safe_dump({"classes": list(CLASSES), "method": {"name": "toy"}}))
    add_methods("toy")
    yield tmp_path
    sys.modules.pop("toy", None)
    METHODS.clear()
    METHODS.update(known)


def test_detections_by_hand_and_streaming_equals_offline(
    folder: Path, make_frames: Callable[[int], list[Image]], device: torch.device
) -> None:
    detector = load_detector("toy.yaml", device=device)
    weight, bias = (p.detach().cpu().numpy() for p in detector.parameters())
    frames = make_frames(5)
    results = list(detect_video(detector, frames, batch_size=2))
    colors = [(frame / np.float32(255)).mean((0, 1)) for frame in frames]
    window = np.mean([colors[1], colors[2], colors[3]], axis=0)
    expected = np.sort(1 / (1 + np.exp(-(weight @ window + bias))))[::-1]
    np.testing.assert_allclose(results[2].detections.scores, expected, rtol=1e-5)
    assert results[2].detections.boxes.tolist() == [[0, 0, 96, 64]] * len(CLASSES)
    session = VideoSession(detector)
    assert session.look_ahead == 1
    streamed = [result for frame in frames for result in session.push(frame)] + session.flush()
    assert_same(streamed, list(detect_video(detector, frames)), device)
    threshold = float(expected[2])
    few = list(detect_video(detector, frames, score_threshold=threshold + 1e-4))
    assert len(few[2].detections) == 2


def test_weights_round_trip(
    folder: Path, make_frames: Callable[[int], list[Image]], device: torch.device
) -> None:
    detector = load_detector("toy.yaml", device=device, inference=None)
    config = detector.config.model_dump(mode="json")
    write_weights(folder / "toy.safetensors", detector.state_dict(), config=config, about={"licence": "none"})
    again = load_detector(weights=folder / "toy.safetensors", device=device)
    frames = make_frames(3)
    assert_same(list(detect_video(again, frames)), list(detect_video(detector, frames)), device)


def test_toy_detector_is_trained_evaluated_and_benchmarked(
    folder: Path, capsys: pytest.CaptureFixture[str], device: torch.device
) -> None:
    data = str(write_videos(folder / "set"))
    recipe = {
        "model": "toy.yaml",
        "data": {"train": [{"path": data}], "val": {"path": data}},
        "optimizer": {"learning_rate": 0.5, "warmup": 0},
        "run": {"steps": 30, "batch": 2, "workers": 0, "frozen_stages": 0},
        "log": {"every": 10},
    }
    Path("recipe.yaml").write_text(yaml.safe_dump(recipe))
    options = ["--method-module", "toy", "--device", str(device)]
    assert main(["train", "recipe.yaml", *options, "-o", "run"]) == 0, capsys.readouterr().err
    log = [yaml.safe_load(line) for line in Path("run/log.jsonl").read_text().splitlines()]
    losses = [line["presence"] for line in log if "presence" in line]
    assert losses[-1] < losses[0]
    weights = ["--weights", "run/model.safetensors"]
    assert main(["evaluate", "--data", data, *weights, *options, "-o", "eval"]) == 0
    assert Path("eval/report.html").exists()
    assert main(["benchmark", *weights, *options, "--frames", "2", "--height", "48", "--width", "64"]) == 0
    assert "frames per second" in capsys.readouterr().out
    assert main(["detect", "set/clip_0", *weights, *options, "--save-frames", "-o", "out"]) == 0


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (["--run.frozen_stages", "2"], "run.frozen_stages: expected 0, got 2"),
        (["--run.activation_checkpointing", "true"], "run.activation_checkpointing: expected false"),
        (["--run.compile", "true"], "run.compile: expected false"),
        (["--start.backbone", "toy.py"], "start.backbone: expected null"),
    ],
)
def test_settings_of_parts_that_the_detector_lacks_are_refused(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    setting: list[str],
    message: str,
    device: torch.device,
) -> None:
    data = str(write_videos(folder / "set", videos=1, frames=4))
    recipe = {
        "model": "toy.yaml",
        "data": {"train": [{"path": data}]},
        "optimizer": {"learning_rate": 0.5},
        "run": {"steps": 1, "batch": 1, "workers": 0, "frozen_stages": 0},
    }
    Path("recipe.yaml").write_text(yaml.safe_dump(recipe))
    options = ["--method-module", "toy", "--device", str(device)]
    assert main(["train", "recipe.yaml", *setting, *options, "-o", "run"]) == 2
    assert message in capsys.readouterr().err


def test_reserved_names_of_loss_terms_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], device: torch.device
) -> None:
    Path("toy.py").write_text(TOY.replace('"presence"', '"loss"'))
    data = str(write_videos(folder / "set", videos=1, frames=4))
    recipe = {
        "model": "toy.yaml",
        "data": {"train": [{"path": data}]},
        "optimizer": {"learning_rate": 0.5},
        "run": {"steps": 1, "batch": 1, "workers": 0, "frozen_stages": 0},
    }
    Path("recipe.yaml").write_text(yaml.safe_dump(recipe))
    sys.modules.pop("toy")
    METHODS.pop("toy")
    assert main(["train", "recipe.yaml", "--method-module", "toy", "--device", str(device), "-o", "run"]) == 2
    assert "loss 'loss': expected another name" in capsys.readouterr().err


def test_other_classes_are_refused(folder: Path, device: torch.device) -> None:
    detector = load_detector("toy.yaml", device=device, inference=None)
    with pytest.raises(InputError, match="expected weights for the same classes"):
        detector.adapt_classes(detector.state_dict(), ["dog"])
