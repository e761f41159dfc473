"""Fixtures for tests of the command line: tiny weights, frames, data sets, and `megavid detect`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import PIL.Image
import pytest
import torch

from megavid.checkpoints.weights import write_weights
from megavid.cli import main
from megavid.core.frames import Image
from megavid.datasets.synthetic.write_data_set import SyntheticSet, write_synthetic_set
from tests.cli.init_project import NAMES
from tests.conftest import TINY_METHODS, build_tiny
from tests.datasets.formats.cvat.cvat_export import write_cvat_export

MakeFrames = Callable[[int], list[Image]]
Run = Callable[..., int]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Write the weights of one tiny detector per method, and return their paths."""
    folder = tmp_path_factory.mktemp("weights")
    for method in TINY_METHODS:
        detector = build_tiny(method)
        config = detector.config.model_dump(mode="json")
        path = folder / f"{method}.safetensors"
        write_weights(path, detector.state_dict(), config=config, about={"licence": "none"})
    return {method: folder / f"{method}.safetensors" for method in TINY_METHODS}


@pytest.fixture
def run(weights: dict[str, Path], tmp_path: Path, device: torch.device) -> Run:
    """Return a function that runs `megavid detect INPUT -o tmp_path/out` and returns the exit code."""

    def detect(video: object, *arguments: str, method: str = "mega") -> int:
        fixed = ["--weights", str(weights[method]), "-o", str(tmp_path / "out"), "--device", str(device)]
        return main(["detect", str(video), *fixed, *arguments])

    return detect


@pytest.fixture
def folder(tmp_path: Path, make_frames: MakeFrames) -> Path:
    """Write nine 96x64 images whose numbers start at 7 and have gaps."""
    path = tmp_path / "frames"
    path.mkdir()
    for number, image in zip([7, 8, 9, 10, 11, 20, 21, 100, 101], make_frames(9), strict=True):
        PIL.Image.fromarray(image).save(path / f"img{number}.png")
    return path


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a CVAT export, and other videos in the formats ImageNet VID, CocoVID and YOLO."""
    folder = tmp_path_factory.mktemp("data")
    write_cvat_export(folder / "clips", names=NAMES, frames=6)
    write_synthetic_set(folder / "balls", SyntheticSet(videos=5, frames=4, height=144, width=192))
    parts = ["--subset", "vid_train"]
    for form, name in (("coco", "balls.json"), ("yolo", "yolo")):
        target = folder / name
        assert main(["data", "export", str(folder / "balls"), "--as", form, *parts, "-o", str(target)]) == 0
    return folder


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make an empty folder the working directory, and return it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
