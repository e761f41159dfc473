"""A method defined outside the package and found by the name of its module."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml

from megavid.checkpoints.load import load_detector, read_config
from megavid.cli import main
from megavid.core.config import with_overrides
from megavid.core.errors import InputError
from megavid.datasets.synthetic.write_data_set import SyntheticSet, write_synthetic_set
from megavid.models.method_registry import METHODS
from megavid.models.outside_methods import add_methods
from tests.cli.helpers import error_of
from tests.conftest import tiny_overrides

METHOD = '''
from typing import Literal

from torch import Tensor

from megavid.models.faster_rcnn.faster_rcnn_config import FasterRCNNConfig
from megavid.models.faster_rcnn.faster_rcnn import RoIFeatures
from megavid.models.methods.single_frame import SingleFrame, SingleFrameConfig


class MirroredConfig(SingleFrameConfig):
    """Settings of the method."""

    name: Literal["mirrored"]
    times: int


class Mirrored(SingleFrame):
    """Looks at mirrored frames."""

    config_type = FasterRCNNConfig[MirroredConfig]

    def encode(self, images: Tensor) -> list[RoIFeatures]:
        for _ in range(self.config.method.times):
            images = images.flip(3)
        return super().encode(images)
'''


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Change to a working directory that holds the module mirrored.py and the configuration mirrored.yaml."""
    known = dict(METHODS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    Path("mirrored.py").write_text(METHOD)
    data, _ = read_config("single_frame_r50")
    data = with_overrides(data, tiny_overrides("single_frame"))
    data["method"] |= {"name": "mirrored", "times": 2}
    Path("mirrored.yaml").write_text(yaml.safe_dump(data))
    yield tmp_path
    sys.modules.pop("mirrored", None)
    METHODS.clear()
    METHODS.update(known)


def test_an_added_method_is_built_by_name(here: Path, device: torch.device) -> None:
    with pytest.raises(InputError, match="--method-module"):
        load_detector("mirrored.yaml", device=device)
    assert add_methods("mirrored") == ["mirrored"]
    assert add_methods("mirrored") == ["mirrored"]  # adding it again changes nothing
    detector = load_detector("mirrored.yaml", device=device)
    assert type(detector).__name__ == "Mirrored"
    assert detector.config.method.model_dump()["times"] == 2


def test_an_added_method_trains_evaluates_and_detects(
    here: Path, capsys: pytest.CaptureFixture[str], device: torch.device
) -> None:
    write_synthetic_set(Path("set"), SyntheticSet(videos=5, frames=4, height=64, width=96))
    module = ["--method-module", "mirrored", "--device", str(device)]
    steps = ["--run.steps", "2", "--run.workers", "0", "--run.frozen_stages", "0", "--data.val", "null"]
    steps += ["--optimizer.milestones", "[]"]
    norm = ["--backbone.norm", "group"]
    recipe = ["train", "generated", "--data", "set", "--model", "mirrored.yaml", *steps, *norm]
    assert main([*recipe, *module, "-o", "run"]) == 0, capsys.readouterr().err
    assert "--weights run/model.safetensors --method-module mirrored -o run/out" in capsys.readouterr().out
    weights = ["--weights", "run/model.safetensors"]
    assert main(["evaluate", "--data", "set", "--subset", "vid_val", *weights, *module, "-o", "eval"]) == 0
    video = next(path for path in Path("set").rglob("*") if path.is_dir() and any(path.glob("*.JPEG")))
    assert main(["detect", str(video), *weights, *module, "--save-frames", "-o", "out"]) == 0
    assert Path("out/predictions.parquet").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "ModuleNotFoundError"),
        ("1 / 0", "ZeroDivisionError"),
        ("from megavid.models.methods.mega import Mega", "defines a subclass"),
        (METHOD.replace('"mirrored"]', '"mega"]'), "'mega' already"),
        (METHOD.replace('Literal["mirrored"]', "str"), 'name: Literal["its_name"]'),
        ("raise SystemExit(0)", "SystemExit"),
        ("#" * (17 << 20), "at most 16777216 bytes"),
    ],
)
def test_unsuitable_modules_are_refused(
    here: Path, capsys: pytest.CaptureFixture[str], text: str | None, message: str
) -> None:
    Path("wrong.py").unlink(missing_ok=True)
    if text is not None:
        Path("wrong.py").write_text(text)
    sys.modules.pop("wrong", None)
    known = dict(METHODS)
    assert main(["benchmark", "mega_r50", "--method-module", "wrong"]) == 2
    error = error_of(capsys)
    assert "wrong" in error
    assert message in error
    assert known == METHODS


@pytest.mark.parametrize("name", ["", "../wrong", ".wrong", "a b", "wrong.py/", "a\x00b"])
def test_invalid_module_names_are_refused(here: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"expected the dotted name of a module"):
        add_methods(name)


def test_a_pipe_or_device_is_not_a_module(here: Path) -> None:
    os.mkfifo("pipe.py")
    Path("zero.py").symlink_to("/dev/zero")
    for name in ("pipe", "zero"):
        with pytest.raises(InputError, match=f"{name}: cannot be imported: ModuleNotFoundError"):
            add_methods(name)
