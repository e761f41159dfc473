"""Weights that training starts from."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

from megavid.checkpoints.backbone_weights import read_backbone
from megavid.checkpoints.detectron import read_detectron
from megavid.checkpoints.starting_weights import load_backbone, load_flow, load_from_detector
from megavid.checkpoints.weights import write_weights
from megavid.core.errors import InputError
from megavid.models.base.video_detector import VideoDetector
from megavid.models.faster_rcnn.faster_rcnn import FasterRCNN
from megavid.models.layers.flownet import FlowNet
from tests.conftest import build_tiny
from tests.mutations import ends_well, mutated_bytes, mutators

MEAN = (102.9801, 115.9465, 122.7717)


@pytest.fixture(scope="module")
def resnet() -> nn.Module:
    torch.manual_seed(0)
    model: nn.Module = torchvision.models.resnet18(weights=None).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
            assert module.running_mean is not None
            assert module.running_var is not None
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return model


def wide(**changes: Any) -> FasterRCNN:
    return build_tiny("single_frame", **{"backbone.width": 64, "backbone.reduce_channels": None, **changes})


THEIR_MEAN, THEIR_STD = torch.tensor((0.485, 0.456, 0.406)), torch.tensor((0.229, 0.224, 0.225))


def test_loaded_torchvision_backbone_computes_as_in_torchvision(resnet: nn.Module, tmp_path: Path) -> None:
    torch.save(resnet.state_dict(), tmp_path / "resnet18.pth")
    mean = (THEIR_MEAN.flip(0) * 255).tolist()
    detector = wide(**{"input.mean": mean})
    loaded = load_backbone(detector, tmp_path / "resnet18.pth")
    assert (loaded.new, loaded.unused) == ((), 0)
    rgb = torch.rand(1, 3, 96, 128)
    x = (rgb - THEIR_MEAN[:, None, None]) / THEIR_STD[:, None, None]
    with torch.no_grad():
        for name in ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3"):
            x = resnet.get_submodule(name)(x)
        ours = detector.backbone.c4(rgb.flip(1) * 255 - torch.tensor(mean)[:, None, None])
    torch.testing.assert_close(ours, x, rtol=1e-3, atol=1e-3)


def test_a_different_input_mean_is_folded_into_the_weights(resnet: nn.Module, tmp_path: Path) -> None:
    torch.save(resnet.state_dict(), tmp_path / "resnet18.pth")
    mean = (90.0, 110.0, 150.0)
    detector = wide(**{"input.mean": list(mean)})
    load_backbone(detector, tmp_path / "resnet18.pth")
    rgb = torch.rand(1, 3, 96, 128)
    x = (rgb - THEIR_MEAN[:, None, None]) / THEIR_STD[:, None, None]
    with torch.no_grad():
        for name in ("conv1", "bn1", "relu", "maxpool"):
            x = resnet.get_submodule(name)(x)
        ours = detector.backbone.trunk.get_submodule("stem")(
            rgb.flip(1) * 255 - torch.tensor(mean)[:, None, None]
        )
    # Outputs near the border differ, since zero padding stands for a different color there.
    inner = (slice(None), slice(None), slice(2, -2), slice(2, -2))
    torch.testing.assert_close(ours[inner], x[inner], rtol=1e-3, atol=1e-3)


def test_detectron_backbone_is_loaded(resnet: nn.Module, tmp_path: Path) -> None:
    blobs: dict[str, Any] = {"fc1000_w": np.ones(3, np.float32), "conv1_w_momentum": np.ones(1)}
    rng = np.random.default_rng(0)
    detector = build_tiny("single_frame", **{"backbone.depth": 50, "backbone.reduce_channels": None})
    wanted = {n: t for n, t in detector.backbone.state_dict().items() if not n.startswith("reduce")}
    for name, tensor in wanted.items():
        if name.endswith(("running_mean", "running_var")):
            continue
        blobs[detectron_name(name)] = rng.normal(size=tensor.shape).astype(np.float32)
    path = tmp_path / "R-50.pkl"
    path.write_bytes(pickle.dumps({"blobs": blobs}))
    loaded = load_backbone(detector, path)
    assert (loaded.taken, loaded.new, loaded.unused) == (len(wanted), (), 0)
    state = detector.backbone.state_dict()
    for name in wanted:
        if name.endswith("running_mean"):
            assert not state[name].any()
        elif name.endswith("running_var"):
            assert (state[name] == 1).all()
        else:
            np.testing.assert_array_equal(state[name], blobs[detectron_name(name)])


def detectron_name(name: str) -> str:
    """Return the name that Detectron gives to a tensor of the backbone."""
    *module, part = name.split(".")
    if module[0] == "trunk" and module[1] == "stem":
        return {"conv1.weight": "conv1_w", "bn1.weight": "res_conv1_bn_s", "bn1.bias": "res_conv1_bn_b"}[
            f"{module[2]}.{part}"
        ]
    stage, block, *layer = module[1:]
    branch = {
        "conv1": "branch2a",
        "bn1": "branch2a",
        "conv2": "branch2b",
        "bn2": "branch2b",
        "conv3": "branch2c",
        "bn3": "branch2c",
        "downsample": "branch1",
    }[layer[0]]
    is_norm = layer[0].startswith("bn") or layer == ["downsample", "1"]
    suffix = ("bn_s" if part == "weight" else "bn_b") if is_norm else "w"
    return f"res{int(stage[-1]) + 1}_{block}_{branch}_{suffix}"


class Evil:
    """An object that prints "run" when it is unpickled."""

    def __reduce__(self) -> Any:
        return (print, ("run",))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.pkl", pickle.dumps(Evil()), "expected a pickle of arrays only: it refers to builtins.print"),
        ("b.pkl", pickle.dumps({"blobs": {"x": np.ones(1)}}), "expected a ResNet in Detectron's format"),
        ("c.pkl", b"nothing", "expected a pickle of arrays only, got a text \\('nothing'\\)"),
        ("e.pkl", b"<!DOCTYPE html><p>log in", "expected a pickle of arrays only, got a web page"),
        ("d.pth", b"nothing", "expected a PyTorch checkpoint"),
    ],
)
def test_files_without_a_backbone_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_backbone(path, mean=MEAN)
    assert "run" not in capsys.readouterr().out


OBJECTS = (
    b"\x80\x02cnumpy\ndtype\nU\x02%b\x89\x88\x87R(K\x03U\x01%b%bNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb."
)
"""Template of a pickled NumPy dtype; the placeholders are its type string, byte order and sub-dtype."""


def array_pickle(*, kind: bytes = b"f4", order: bytes = b"<", shape: bytes = b"K\x02\x85") -> bytes:
    """Return a pickled dict, as Python 2 wrote it, with an array of two numbers under the key "x"."""
    return (
        b"\x80\x02}U\x01xcnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01"
        + shape
        + b"cnumpy\ndtype\nU\x02"
        + kind
        + b"K\x00K\x01\x87R(K\x03U\x01"
        + order
        + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x08\x00\x00\x80\x3f\x00\x00\x00\x40tbs."
    )


def test_arrays_written_by_python_2_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(array_pickle())
    assert read_detectron(path)["x"].tolist() == [1, 2]
    path.write_bytes(array_pickle(kind=b"i4", order=b">"))
    assert read_detectron(path)["x"].tolist() == [0x0000803F, 0x00000040]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (OBJECTS % (b"O8", b"|", b"N"), "of the type 'O8', expected numbers"),
        (OBJECTS % (b"V8", b"|", b"N"), "of the type 'V8', expected numbers"),
        (OBJECTS % (b"f4", b"|", b"cnumpy\ndtype\nU\x02O8\x89\x88\x87RK\x01\x85\x86"), "of the type 'O8'"),
        (OBJECTS % (b"f4", b"|", b"cnumpy\ndtype\nU\x02f8\x89\x88\x87RK\x01\x85\x86"), "structured type"),
        (OBJECTS % (b"f4", b"O", b"N"), "unknown byte order"),
        (array_pickle(shape=b"K\x03\x85"), r"of shape \(3,\) with 2 numbers"),
        (array_pickle(shape=b"J\xff\xff\xff\xff\x85"), "without a shape"),
        (array_pickle(kind=b"f8"), r"of shape \(2,\) with 1 numbers"),
        (array_pickle(kind=b"O8"), "of the type 'O8'"),
    ],
)
def test_arrays_of_other_types_than_numbers_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"a.pkl: expected a pickle of arrays only: .*{message}"):
        read_backbone(path, mean=MEAN)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_mutated_pickles_are_read_or_refused(tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "a.pkl"
    arrays = {"x": np.arange(6.0).reshape(2, 3).T, "lr": np.float64(0.1), "step": 3}
    content, read = pickle.dumps({"blobs": arrays}, protocol), 0
    path.write_bytes(content)
    assert read_detectron(path)["x"].tolist() == [[0, 3], [1, 4], [2, 5]]
    for random in mutators(200):
        path.write_bytes(mutated_bytes(content, random))
        read += ends_well(lambda: read_detectron(path))
    assert 0 < read < 100


def test_nan_and_wrong_shapes_in_a_backbone_are_refused(tmp_path: Path) -> None:
    blobs = {"res2_0_branch2a_w": np.full((2, 3, 1, 1), np.nan, np.float32)}
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(blobs))
    with pytest.raises(InputError, match=r"a.pkl: 'trunk.layer1.0.conv1.weight': expected numbers, got NaN"):
        read_backbone(tmp_path / "a.pkl", mean=MEAN)
    state = {name: torch.zeros(4, 1, 7, 7) for name in ("conv1.weight", "layer1.0.conv1.weight")}
    torch.save(state | {"bn1.running_mean": torch.zeros(4)}, tmp_path / "a.pth")
    with pytest.raises(InputError, match=r"expected conv1.weight \(C, 3, h, w\) .* got \(4, 1, 7, 7\)"):
        read_backbone(tmp_path / "a.pth", mean=MEAN)


def test_backbone_of_another_depth_or_norm_is_refused(resnet: nn.Module, tmp_path: Path) -> None:
    torch.save(resnet.state_dict(), tmp_path / "resnet18.pth")
    with pytest.raises(InputError, match="does not fit single_frame with ResNet-18 of width 8"):
        load_backbone(build_tiny("single_frame"), tmp_path / "resnet18.pth")
    with pytest.raises(InputError, match=r"needs backbone\.norm frozen_batch"):
        load_backbone(wide(**{"backbone.norm": "group"}), tmp_path / "resnet18.pth")


def save(detector: VideoDetector, path: Path) -> Path:
    config = detector.config.model_dump(mode="json")
    write_weights(path, detector.state_dict(), config=config, about={"licence": "as it was"})
    return path


def test_rdn_starts_from_rdn_base(tmp_path: Path) -> None:
    base, rdn = build_tiny("rdn_base"), build_tiny("rdn", **{"rpn.post_nms_top_n": 9})
    torch.manual_seed(7)
    rdn.initialize()
    loaded = load_from_detector(rdn, save(base, tmp_path / "base.safetensors"))
    assert set(loaded.new) == {
        "advanced_fc.weight",
        "advanced_fc.bias",
        "advanced_relations.0",
        "advanced_relations.1",
    }
    assert loaded.licence == "as it was"
    assert "not in it: advanced_fc" in str(loaded)
    for name, tensor in base.state_dict().items():
        assert torch.equal(rdn.state_dict()[name], tensor), name


def test_only_predictors_of_new_classes_are_initialized(tmp_path: Path) -> None:
    path = save(build_tiny("mega"), tmp_path / "mega.safetensors")  # classes: disc, ring, square
    old = build_tiny("mega").predictor
    new = build_tiny("mega", classes=["cat", "square"])
    torch.manual_seed(7)
    new.initialize()
    before = new.predictor.scores.weight.clone()
    loaded = load_from_detector(new, path)
    assert loaded.new_classes == ("cat",)
    assert "new weights for the classes cat" in str(loaded)
    scores = new.predictor.scores.weight
    assert torch.equal(scores[0], old.scores.weight[0])  # background
    assert torch.equal(scores[1], before[1])  # cat: new
    assert torch.equal(scores[2], old.scores.weight[3])  # square
    assert torch.equal(new.predictor.deltas.weight[8:12], old.deltas.weight[12:16])
    first = "fcs.0.weight"
    assert torch.equal(new.state_dict()[first], build_tiny("mega").state_dict()[first])


def test_detector_of_another_width_is_refused(tmp_path: Path) -> None:
    path = save(build_tiny("mega"), tmp_path / "mega.safetensors")
    with pytest.raises(InputError, match=r"does not fit mega .* for "):
        load_from_detector(build_tiny("mega", **{"method.hidden": 16}), path)


def test_flownet_is_loaded(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = FlowNet(width=64)
    write_weights(tmp_path / "flow.safetensors", network.state_dict(), config=None, about={"part": "flownet"})
    detector = build_tiny("fgfa", **{"method.flow_width": 64})
    load_flow(detector, tmp_path / "flow.safetensors")
    have = detector.get_submodule("flow").state_dict()
    assert all(torch.equal(have[name], tensor) for name, tensor in network.state_dict().items())
