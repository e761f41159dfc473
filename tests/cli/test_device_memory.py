"""A device whose memory is full: one line that names the batch size and what to set."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import PIL.Image
import pytest
import torch
import yaml

from megavid.checkpoints.load import load_detector
from megavid.checkpoints.weights import write_weights
from megavid.cli import main
from megavid.cli.detector_options import DetectorOptions
from megavid.cli.inference import InferenceOptions
from megavid.core.errors import InputError
from megavid.core.frames import Image
from megavid.datasets.synthetic.camera import film
from megavid.datasets.synthetic.scene import CLASSES
from megavid.models.acceleration.device_memory import translate_memory_errors
from megavid.models.method_registry import METHODS
from megavid.models.outside_methods import add_methods
from tests.cli.helpers import read_predictions
from tests.models.base.test_toy_detector import TOY
from tests.training.small_run import write_videos

_FULL = """
encoded = 0
def fill(frames):
    global encoded
    encoded += frames
    if encoded > 6:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\\nGPU 0 has ...")
"""

SMALL = TOY.replace("class ToyConfig", f"{_FULL}\n\nclass ToyConfig").replace(
    "        return [ToyFeatures", "        fill(len(images))\n        return [ToyFeatures"
)
"""A module with a method for which the memory is full after six frames."""

OPTIONS = ["--method-module", "small", "--device", "cpu"]


@pytest.fixture
def here(here: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Change to a working directory that holds the module small.py, its weights and a folder of videos."""
    known = dict(METHODS)
    monkeypatch.setattr(sys, "path", list(sys.path))
    Path("small.py").write_text(SMALL)
    Path("toy.yaml").write_text(yaml.safe_dump({"classes": list(CLASSES), "method": {"name": "toy"}}))
    add_methods("small")
    detector = load_detector("toy.yaml", device="cpu", inference=None)
    config = detector.config.model_dump(mode="json")
    write_weights(Path("w.safetensors"), detector.state_dict(), config=config, about={"licence": "none"})
    yield here
    sys.modules.pop("small", None)
    METHODS.clear()
    METHODS.update(known)


def error_of(capsys: pytest.CaptureFixture[str]) -> str:
    """Return the last line of the output, after progress and notes; there must be no traceback."""
    lines = capsys.readouterr().err.strip().splitlines()
    assert not any("Traceback" in line for line in lines)
    return lines[-1]


def images() -> list[Image]:
    return [frame.image for frame in film(seed=0, video=3, frames=12, height=64, width=96)]


def test_detect_keeps_partial_results(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("frames").mkdir()
    for i, image in enumerate(images()):
        PIL.Image.fromarray(image).save(f"frames/{i:02}.png")
    arguments = ["--weights", "w.safetensors", "--batch-size", "3", "-o", "out"]
    assert main(["detect", "frames", *arguments, *OPTIONS]) == 2
    assert error_of(capsys) == (
        "megavid: error: the device's memory is full with --batch-size 3; try a smaller --batch-size or "
        "--dtype bfloat16 or a smaller network input (--input.max-size)"
    )
    _, metadata = read_predictions(Path("out/predictions.partial.parquet"))
    assert 0 < metadata["frames"] < 6  # the sixth frame waits for the seventh
    assert metadata["complete"] is False


def test_evaluate_keeps_finished_videos(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = str(write_videos(Path("set"), videos=2, frames=4))
    arguments = ["--data", data, "--weights", "w.safetensors", "-o", "out", "--dtype", "bfloat16"]
    assert main(["evaluate", *arguments, *OPTIONS]) == 2
    assert error_of(capsys) == (
        "megavid: error: the device's memory is full with --batch-size 1; try a smaller network input "
        "(--input.max-size)"
    )
    assert len(list(Path("out/parts").glob("*.parquet"))) == 1


def test_benchmark(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--weights", "w.safetensors", "--height", "48", "--width", "64", "--batch-size", "4"]
    assert main(["benchmark", *arguments, *OPTIONS]) == 2
    assert "memory is full with --batch-size 4; try a smaller --batch-size" in error_of(capsys)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("losses", "step 3: the device's memory is full with run.micro_batch 2; checkpoints up to there"),
        ("encode", "the device's memory is full in the evaluation after step 4, with one frame at a time"),
    ],
)
def test_train(here: Path, capsys: pytest.CaptureFixture[str], part: str, message: str) -> None:
    if part == "losses":
        module = TOY.replace("class ToyConfig", f"{_FULL}\n\nclass ToyConfig")
        Path("small.py").write_text(module.replace("        present =", "        fill(1)\n        present ="))
        sys.modules.pop("small")
        METHODS.pop("toy")
    data = str(write_videos(Path("set"), videos=2, frames=4))
    recipe = {
        "model": "toy.yaml",
        "data": {"train": [{"path": data}], "val": {"path": data}},
        "optimizer": {"learning_rate": 0.5, "warmup": 0},
        "run": {"steps": 4, "batch": 2, "micro_batch": 2, "workers": 0, "frozen_stages": 0},
        "log": {"evaluate_every": 4},
    }
    Path("recipe.yaml").write_text(yaml.safe_dump(recipe))
    assert main(["train", "recipe.yaml", "-o", "run", *OPTIONS]) == 2
    assert message in error_of(capsys)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("Allocation on device"),
        RuntimeError("MPS backend out of memory (MPS allocated: 9.00 GB, max allowed: 9.07 GB)."),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
def test_errors_about_memory_are_translated(error: RuntimeError) -> None:
    with pytest.raises(InputError, match="take fewer frames"), translate_memory_errors("take fewer frames"):
        raise error


def test_allocations_that_fail_on_a_cpu_are_translated() -> None:
    with pytest.raises(InputError, match="take fewer frames"), translate_memory_errors("take fewer frames"):
        torch.empty(1 << 60, dtype=torch.uint8)


def test_full_memory_is_found_behind_the_error_that_followed() -> None:
    error = RuntimeError("operation not permitted when stream is capturing")
    error.__context__ = torch.OutOfMemoryError("Allocation on device")
    with pytest.raises(InputError, match="take fewer frames"), translate_memory_errors("take fewer frames"):
        raise error


def test_other_errors_pass() -> None:
    with pytest.raises(RuntimeError, match="shapes"), translate_memory_errors("take fewer frames"):
        raise RuntimeError("shapes cannot be multiplied")


@pytest.mark.parametrize(
    ("detector", "dtype", "advice"),
    [
        (
            "torchvision:fasterrcnn_resnet50_fpn_v2",
            "float32",
            "; try --dtype bfloat16 or a smaller network input (--method.max-size)",
        ),
        ("torchvision:ssd300_vgg16", "float32", "; try --dtype bfloat16"),  # its input has a fixed size
        ("transformers:PekingU/rtdetr_v2_r18vd", "bfloat16", ""),
    ],
)
def test_settings_that_a_detector_lacks_are_not_advised(
    detector: str, dtype: Literal["float32", "bfloat16"], advice: str
) -> None:
    options = DetectorOptions(detector=detector, inference=InferenceOptions(dtype=dtype))
    with pytest.raises(InputError) as caught, options.translate_errors():
        raise torch.OutOfMemoryError("CUDA out of memory.")
    assert str(caught.value) == f"the device's memory is full with --batch-size 1{advice}"
