"""Loading detectors from weight files: inferred configurations, mismatches, devices."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from megavid import InputError, load_detector
from megavid.checkpoints.load import convert_weights, find_device
from megavid.models.faster_rcnn.faster_rcnn import FasterRCNN
from tests.conftest import build_tiny
from tests.official import OFFICIAL_METHODS, official_shapes, write_official


@pytest.mark.parametrize("method", OFFICIAL_METHODS)
@pytest.mark.parametrize("classes", [30, 4])
def test_configuration_is_inferred(method: str, classes: int, tmp_path: Path) -> None:
    path = write_official(tmp_path / "official.pth", official_shapes(method, 50, classes=classes))
    detector = load_detector(weights=path, device="cpu")
    assert isinstance(detector, FasterRCNN)
    assert detector.config.method.name == method
    assert detector.config.backbone.depth == 50
    names = ("airplane", "antelope") if classes == 30 else ("class_1", "class_2")
    assert detector.class_names[:2] == names
    assert len(detector.class_names) == classes


def test_model_that_does_not_match_the_weights_is_refused(official: Path) -> None:
    with pytest.raises(InputError, match="base.pth: its method.name is single_frame, but mega_r50 has mega"):
        load_detector("mega_r50", weights=official)
    with pytest.raises(InputError, match="base.pth: its backbone.depth is 50, but single_frame_r101 has 101"):
        load_detector("single_frame_r101", weights=official)
    with pytest.raises(InputError, match="its number of classes is 30, but single_frame_r50 has 2"):
        load_detector("single_frame_r50", weights=official, overrides={"classes": ["cat", "dog"]})


def test_tensors_of_other_shapes_are_named(official: Path) -> None:
    with pytest.raises(InputError, match=r"1 of another shape \(fcs.0.weight .*12544.*6400"):
        load_detector("single_frame_r50", weights=official, overrides={"head.pool_size": 5})
    with pytest.raises(InputError, match=r"2 unexpected \(backbone.reduce.bias, backbone.reduce.weight\)"):
        load_detector("single_frame_r50", weights=official, overrides={"backbone.reduce_channels": None})


def test_different_class_names_are_refused(official: Path, tmp_path: Path) -> None:
    target = tmp_path / "base.safetensors"
    convert_weights(official, target)
    names = list(load_detector(weights=target).class_names)
    names[3] = "motorbike"
    with pytest.raises(InputError, match="one of its classes is 'bicycle', .* calls 'motorbike'"):
        load_detector("single_frame_r50", weights=target, overrides={"classes": names})


def test_missing_and_unknown_tensors_are_named(tmp_path: Path) -> None:
    shapes = official_shapes("single_frame", 50)
    del shapes["rpn.head.conv.bias"]
    path = write_official(tmp_path / "lacking.pth", shapes)
    with pytest.raises(InputError, match=r"lacking.pth: .*1 missing \(rpn.conv.bias\)"):
        load_detector(weights=path)
    path = write_official(tmp_path / "strange.pth", shapes | {"selsa.conv1.weight": [2, 2]})
    with pytest.raises(InputError, match="strange.pth: 'selsa.conv1.weight' belongs to none"):
        load_detector(weights=path)
    path = write_official(tmp_path / "mixed.pth", shapes | {"roi_heads.box.feature_extractor.l_us.0": [2, 2]})
    with pytest.raises(InputError, match=r"mixed.pth: expected the tensors of one method, got some"):
        load_detector(weights=path)


def test_kind_of_file_is_recognized_from_its_content(official: Path, tmp_path: Path) -> None:
    converted = tmp_path / "base.safetensors"
    convert_weights(official, converted)
    for source, name in ((converted, "renamed.pth"), (official, "renamed.safetensors")):
        shutil.copy(source, tmp_path / name)
        assert load_detector(weights=tmp_path / name).config.method.name == "single_frame"


def test_missing_file_and_missing_configuration_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere.pth: no such weight file"):
        load_detector(weights=tmp_path / "nowhere.pth")
    with pytest.raises(InputError, match="expected a configuration, one of .*mega_r50"):
        load_detector()


@pytest.mark.parametrize("name", ["cud", "tpu", "", "cuda:x"])
def test_unknown_device_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="device: "):
        find_device(name)


def test_available_devices_are_found() -> None:
    assert find_device("cpu") == torch.device("cpu")
    assert find_device("auto").type in {"cuda", "mps", "cpu"}
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="device: expected one of .*cpu on this machine, got 'cuda'"):
            find_device("cuda")


def test_input_sizes_can_be_set() -> None:
    assert build_tiny("mega", **{"input.min_size": 80}).config.input.min_size == 80
    detector = load_detector("single_frame_r50", device="cpu", min_size=80, max_size=90)
    assert isinstance(detector, FasterRCNN)
    assert (detector.config.input.min_size, detector.config.input.max_size) == (80, 90)
    assert not detector.training
