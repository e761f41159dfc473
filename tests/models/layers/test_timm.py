"""Backbones of the library timm: sizes, colors, freezing, weights, and every method on them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from megavid import InputError, detect_video, load_detector
from megavid.checkpoints.starting_weights import load_backbone
from megavid.checkpoints.weights import write_weights
from megavid.core.frames import Image
from megavid.models.acceleration.inference import Inference
from megavid.models.layers.timm_parts import create, timm_parts
from tests.agreement import assert_close, assert_same
from tests.conftest import TINY_METHODS, build_tiny, total
from tests.models.methods.test_contract import make_clip

MakeFrames = Callable[[int], list[Image]]

SMALL = {"convnext": "convnext_atto", "swin": "swin_tiny_patch4_window7_224", "resnet": "resnet18"}


@pytest.mark.parametrize("name", SMALL.values())
@pytest.mark.parametrize(("height", "width"), [(64, 96), (50, 81), (16, 33)])
@torch.no_grad()
def test_maps_have_stride_16(name: str, height: int, width: int, device: torch.device) -> None:
    trunk, stage5 = (part.to(device) for part in timm_parts(name))
    c4 = trunk(torch.randn(2, 3, height, width).to(device))
    size = (-(-height // 16), -(-width // 16))
    assert c4.shape == (2, trunk.out_channels, *size)
    assert stage5(c4).shape == (2, stage5.out_channels, *size)


@pytest.mark.parametrize("name", SMALL.values())
@torch.no_grad()
def test_maps_equal_those_of_timm(name: str, device: torch.device) -> None:
    torch.manual_seed(0)
    trunk, stage5 = (part.eval().to(device) for part in timm_parts(name))
    whole = create(name).eval().to(device)
    trunk.take(whole)
    stage5.take(whole)
    rgb = torch.rand(1, 3, 64, 96).to(device)
    std = torch.tensor((0.229, 0.224, 0.225), device=device)[:, None, None]
    mean = torch.tensor((0.485, 0.456, 0.406), device=device)[:, None, None]
    *_, at_16, at_32 = whole((rgb - mean) / std)
    if name == SMALL["swin"]:
        at_16, at_32 = at_16.permute(0, 3, 1, 2), at_32.permute(0, 3, 1, 2)
    c4 = trunk(255 * (rgb - mean).flip(1))
    assert_close(c4, at_16, rtol=1e-4, atol=1e-4)
    # The map of stage 5 is upsampled by 2, so only its corner equals a cell of timm's map.
    c5 = stage5(c4)
    assert_close(c5[..., 0, 0], at_32[..., 0, 0], rtol=1e-4, atol=1e-4)


def test_first_stages() -> None:
    trunk, _ = timm_parts("resnet18")
    names = {id(layer): name for name, layer in trunk.layers.items()}
    assert [names[id(layer)] for layer in trunk.first_stages(1)] == ["conv1", "bn1", "act1"]
    assert [names[id(layer)] for layer in trunk.first_stages(2)][3:] == ["maxpool", "layer1"]
    assert len(trunk.first_stages(4)) == len(trunk.layers)
    atto, _ = timm_parts("convnext_atto")
    assert atto.first_stages(1) == []
    assert len(atto.first_stages(2)) == 3  # the stem and the stage of stride 4
    assert len(atto.leading_layers()) == 4  # also the stage of stride 8


def test_new_weights_follow_the_seed(device: torch.device) -> None:
    states = []
    for seed in (3, 3, 4):
        detector = build_tiny("single_frame", device, **{"backbone.timm": "convnext_atto"})
        torch.manual_seed(seed)
        detector.initialize()
        states.append(detector.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    stem = "backbone.trunk.layers.stem_0.weight"
    assert not torch.equal(states[0][stem], states[2][stem])


def test_weights_are_loaded_from_a_file(tmp_path: Path, device: torch.device) -> None:
    torch.manual_seed(5)
    whole = timm.create_model("convnext_atto", pretrained=False)
    torch.save(whole.state_dict(), tmp_path / "atto.pth")
    detector = build_tiny("single_frame", device, **{"backbone.timm": "convnext_atto"})
    loaded = load_backbone(detector, tmp_path / "atto.pth")
    assert loaded.taken > 100
    state = whole.state_dict()
    loaded_state = detector.cpu().state_dict()
    assert torch.equal(loaded_state["backbone.trunk.layers.stem_0.weight"], state["stem.0.weight"])
    last = "backbone.stage5.layers.stages_3.blocks.1.mlp.fc2.weight"
    assert torch.equal(loaded_state[last], state["stages.3.blocks.1.mlp.fc2.weight"])
    with pytest.raises(InputError, match="nowhere"):
        load_backbone(detector, tmp_path / "nowhere.pth")
    with pytest.raises(InputError, match=r"needs backbone\.timm"):
        load_backbone(build_tiny("single_frame", device), Path("pretrained"))


@pytest.mark.parametrize("method", TINY_METHODS)
def test_every_method_on_convnext(
    method: str, make_frames: MakeFrames, tmp_path: Path, device: torch.device
) -> None:
    detector = build_tiny(method, device, **{"backbone.timm": "convnext_atto"})
    detector.freeze(stages=2)
    total(detector.losses(make_clip(detector, make_frames(3)))).backward()
    for name, parameter in detector.named_parameters():
        frozen = name.startswith(("backbone.trunk.layers.stem", "backbone.trunk.layers.stages_0"))
        assert (parameter.grad is not None) is not frozen, name
    path = tmp_path / "weights.safetensors"
    config = detector.config.model_dump(mode="json")
    write_weights(path, detector.state_dict(), config=config, about={"licence": "none"})
    frames = make_frames(4)
    plain = load_detector(weights=path, device=device, inference=None)
    assert_same(list(detect_video(plain, frames)), list(detect_video(detector, frames)), device)
    fast: Any = load_detector(weights=path, device=device, inference=Inference(dtype="bfloat16"))
    assert len(list(detect_video(fast, frames))) == 4


def test_activation_checkpointing_does_not_change_gradients(
    make_frames: MakeFrames, device: torch.device
) -> None:
    detector = build_tiny("mega", device, **{"backbone.timm": "convnext_atto"})
    totals = []
    for enabled in (False, True):
        detector.use_activation_checkpointing(enabled=enabled)
        totals.append(total(detector.losses(make_clip(detector, make_frames(3)))))
        totals[-1].backward()
    assert torch.equal(*totals)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("convnext_nano_but_not", "timm has no model"),
        ("vit_tiny_patch16_224", "expected a model that is a sequence of stages"),
        ("efficientnet_b0", "expected a model that is a sequence of stages"),
        ("maxvit_rmlp_pico_rw_256", "does not accept images of any size"),
        ("levit_128s", "does not accept images of any size"),
        ("inception_v3", "not of strides 16 and 32 throughout"),
    ],
)
def test_unsuitable_models_are_refused(name: str, message: str, device: torch.device) -> None:
    with pytest.raises(InputError, match=message):
        build_tiny("single_frame", device, **{"backbone.timm": name})


def test_missing_library_is_explained(monkeypatch: pytest.MonkeyPatch, device: torch.device) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(InputError, match="pip install timm"):
        build_tiny("single_frame", device, **{"backbone.timm": "convnext_atto"})
