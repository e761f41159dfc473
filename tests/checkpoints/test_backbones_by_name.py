"""Backbones by name: torchvision's, MSRA's, timm's, and those at an address of one's own."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

from megavid.checkpoints.backbone_weights import torchvision_path
from megavid.checkpoints.published import find_source
from megavid.checkpoints.starting_weights import load_backbone
from megavid.checkpoints.weights_cache import download_path
from megavid.core.errors import InputError
from megavid.models.acceleration.inference import FAST
from megavid.models.faster_rcnn.faster_rcnn import FasterRCNN
from tests.checkpoints.test_starting_weights import detectron_name
from tests.conftest import build_tiny

MEAN, STD = torch.tensor((0.485, 0.456, 0.406)), torch.tensor((0.229, 0.224, 0.225))


@pytest.fixture(autouse=True)
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make new folders the caches of megavid and of torchvision."""
    monkeypatch.setenv("MEGAVID_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


def build(depth: int, **changes: Any) -> FasterRCNN:
    settings = {"backbone.depth": depth, "backbone.width": 64, "backbone.reduce_channels": None}
    return build_tiny("single_frame", **settings, **changes)


def random_resnet(depth: int) -> nn.Module:
    """Make a ResNet of torchvision with random weights, norms and statistics."""
    torch.manual_seed(0)
    model: nn.Module = getattr(torchvision.models, f"resnet{depth}")(weights=None).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            nn.init.uniform_(module.weight, 0.2, 0.4)  # sums of many blocks stay near 1
            nn.init.normal_(module.bias, std=0.1)
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.001, 1.5)  # the epsilon matters in small ones
    return model


@pytest.mark.parametrize(("depth", "stride_in_1x1"), [(18, True), (34, False), (50, False), (101, False)])
def test_torchvision_by_name_computes_as_in_torchvision(depth: int, stride_in_1x1: bool) -> None:
    resnet, name = random_resnet(depth), f"torchvision:resnet{depth}"
    torchvision_path(name).parent.mkdir(parents=True)
    torch.save(resnet.state_dict(), torchvision_path(name))
    mean = (MEAN.flip(0) * 255).tolist()
    detector = build(depth, **{"input.mean": mean, "backbone.stride_in_1x1": stride_in_1x1})
    loaded = load_backbone(detector, Path(name))
    assert (loaded.new, loaded.unused) == ((), 0)
    rgb = torch.rand(1, 3, 75, 107)
    theirs = (rgb - MEAN[:, None, None]) / STD[:, None, None]
    with torch.no_grad():
        for layer in ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3"):
            theirs = resnet.get_submodule(layer)(theirs)
        images = rgb.flip(1) * 255 - torch.tensor(mean)[:, None, None]
        ours = detector.backbone.c4(images)
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
        detector.prepare(FAST)
        torch.testing.assert_close(detector.backbone.c4(images), theirs, rtol=1e-4, atol=1e-4)


def test_stride_of_the_weights_must_be_that_of_the_backbone(tmp_path: Path) -> None:
    torch.save(random_resnet(50).state_dict(), tmp_path / "resnet50.pth")
    with pytest.raises(InputError, match=r"set backbone.stride_in_1x1 to false, or start from other weights"):
        load_backbone(build(50), tmp_path / "resnet50.pth")
    write_msra(tmp_path / "R-50.pkl", build(50))
    with pytest.raises(InputError, match=r"set backbone.stride_in_1x1 to true, or start from other weights"):
        load_backbone(build(50, **{"backbone.stride_in_1x1": False}), tmp_path / "R-50.pkl")


def write_msra(path: Path, detector: FasterRCNN) -> None:
    """Write random weights in Detectron's format."""
    rng = np.random.default_rng(0)
    blobs = {
        detectron_name(name): rng.normal(size=tensor.shape).astype(np.float32)
        for name, tensor in detector.backbone.state_dict().items()
        if not name.endswith(("running_mean", "running_var"))
    }
    path.write_bytes(pickle.dumps({"blobs": blobs}))


def test_msra_by_name_and_backbones_by_address(tmp_path: Path) -> None:
    detector, other = build(50), build(50)
    source = find_source("msra:resnet50", backbone=True)
    assert source is not None
    download_path(source).parent.mkdir(parents=True)
    write_msra(download_path(source), detector)
    content = download_path(source).read_bytes()
    loaded = load_backbone(detector, Path("msra:resnet50"))
    assert loaded.new == ()
    assert loaded.path == tmp_path / "cache" / "weights" / "msra_resnet50.pkl"
    assert loaded.path.read_bytes() == content
    load_backbone(other, Path(loaded.path.as_uri()))
    state = other.backbone.state_dict()
    assert all(torch.equal(state[n], tensor) for n, tensor in detector.backbone.state_dict().items())
    (tmp_path / "page.pkl").write_text("<!doctype html><p>Log in")
    with pytest.raises(InputError, match=r"page.pkl: .*got a web page.*; download it by hand to"):
        load_backbone(other, Path((tmp_path / "page.pkl").as_uri()))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("torchvision:resnet152", "torchvision:resnet152: expected one of torchvision:resnet18, "),
        ("timm:convnext_atto", "expected a file or a name for a ResNet, got timm:convnext_atto, which needs"),
        ("mega_r101_vid", "mega_r101_vid: expected a backbone, got a detector"),
    ],
)
def test_names_of_other_weights_are_refused(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_backbone(build(18), Path(name))


def test_download_of_torchvision_that_fails_names_the_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")  # so that no test reaches the internet
    monkeypatch.setattr("urllib.request._opener", None)  # the one in use may have been made without a proxy
    with pytest.raises(InputError, match=r"download it by hand to .*torch/hub/checkpoints/resnet18-\w+.pth"):
        load_backbone(build(18), Path("torchvision:resnet18"))


TIMM = """
import shutil, sys
from pathlib import Path
from megavid.checkpoints.starting_weights import load_backbone
from megavid.core.errors import InputError
from tests.conftest import build_tiny

def load(name):
    try:
        print(load_backbone(detector, Path(name)).taken)
    except InputError as error:
        print(error)

detector = build_tiny("single_frame", **{"backbone.timm": "convnext_atto"})
load("timm:convnext_atto.d2_in1k")
print(float(detector.state_dict()["backbone.trunk.layers.stem_0.weight"].sum()))
load("timm:convnext_femto")
shutil.rmtree(sys.argv[1])
load("timm:convnext_atto.d2_in1k")
"""


def test_timm_by_name(tmp_path: Path) -> None:
    """A model in the cache of the Hugging Face Hub, which timm uses, is loaded without a network."""
    timm = pytest.importorskip("timm")
    torch.manual_seed(3)
    state = timm.create_model("convnext_atto", pretrained=False).state_dict()
    folder = tmp_path / "hub" / "models--timm--convnext_atto.d2_in1k"
    (folder / "snapshots" / "abc").mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("abc")
    torch.save(state, folder / "snapshots" / "abc" / "pytorch_model.bin")
    root = Path(__file__).parents[2]
    python_path = f"{root / 'src'}{os.pathsep}{root}"
    run = subprocess.run(
        [sys.executable, "-c", TIMM, str(folder)],
        capture_output=True,
        text=True,
        check=True,
        cwd=root,
        env=os.environ | {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "PYTHONPATH": python_path},
    )
    taken, total, other, missing = run.stdout.splitlines()
    assert int(taken) > 100
    assert float(total) == pytest.approx(float(state["stem.0.weight"].sum()), abs=1e-6)
    assert other.endswith("expected weights of convnext_atto, as in backbone.timm, got timm:convnext_femto")
    assert missing.startswith("timm:convnext_atto.d2_in1k: timm cannot download its weights: ")
