"""Detectors of torchvision give what torchvision gives, and mistakes are explained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torchvision.models import detection, get_model, list_models
from torchvision.ops import FrozenBatchNorm2d

from megavid import Inference, InputError, detect_video, load_detector
from megavid.checkpoints.other_libraries import describe_outside_weights
from megavid.core.files.checksums import file_sha256
from megavid.core.frames import Image
from megavid.models.adapters.torchvision_detector import TorchvisionDetector, find_model, network_of_state
from tests.models.adapters.outside_models import FASTER_RCNN, SSDLITE, torchvision_model, write_torchvision

MakeFrames = Callable[[int], list[Image]]


def load(name: str, weights: Path | None = None, **options: Any) -> TorchvisionDetector:
    detector = load_detector(f"torchvision:{name}", weights=weights, device="cpu", **options)
    assert isinstance(detector, TorchvisionDetector)
    return detector


def by_torchvision(model: Any, frame: Image) -> dict[str, torch.Tensor]:
    """Call a model of torchvision as its documentation says."""
    with torch.no_grad():
        [found] = model([torch.from_numpy(frame).permute(2, 0, 1).float() / 255])
    return dict(found)


@pytest.fixture
def downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change to an empty folder of downloads, and return it."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize("name", [SSDLITE, FASTER_RCNN])
def test_detections_are_those_of_torchvision(name: str, outside_files: Path, make_frames: MakeFrames) -> None:
    model, [frame] = torchvision_model(name), make_frames(1)
    expected = by_torchvision(model, frame)
    [result] = detect_video(load(name, outside_files / f"{name}.pth"), [frame], score_threshold=0.1)
    found, kept = result.detections, expected["scores"] > 0.1
    assert 0 < len(found) == kept.sum()
    order = expected["scores"][kept].argsort(descending=True, stable=True)
    torch.testing.assert_close(found.boxes, expected["boxes"][kept][order])
    torch.testing.assert_close(found.scores, expected["scores"][kept][order])
    assert torch.equal(found.labels, expected["labels"][kept][order] - 1)
    assert found.class_names == ("class_1", "class_2", "class_3")
    assert found.class_scores is None


@pytest.mark.parametrize("name", list_models(module=detection))
def test_the_number_of_classes_is_found_in_any_state_dict(name: str) -> None:
    with torch.device("meta"):
        state = get_model(name, weights=None, weights_backbone=None, num_classes=7).state_dict()
        network, _ = network_of_state(find_model(name), state)
    shapes = {key: value.shape for key, value in network.state_dict().items()}
    assert shapes == {key: value.shape for key, value in state.items()}


def test_published_weights_and_their_classes(downloaded: Path, make_frames: MakeFrames) -> None:
    model = find_model(SSDLITE)
    assert model.spelled == f"torchvision:{SSDLITE}:COCO_V1"
    assert model.downloaded.parent == downloaded
    write_torchvision(model.downloaded, labels=91)
    detector, from_file = load(SSDLITE), load(SSDLITE, model.downloaded)
    assert len(detector.class_names) == 80
    assert detector.class_names[:2] == ("person", "bicycle")
    assert detector.class_names[-1] == "toothbrush"
    assert from_file.class_names == detector.class_names
    about = {"weights": model.downloaded.name, "weights_sha256": file_sha256(model.downloaded)}
    assert describe_outside_weights(detector) == about
    [frame] = make_frames(1)
    expected = by_torchvision(torchvision_model(labels=91), frame)
    pairs = zip(expected["scores"].tolist(), expected["labels"].tolist(), strict=True)
    theirs = [(score, model.categories[label]) for score, label in pairs if score > 0.05]
    kept = [name for _, name in sorted(theirs, key=lambda pair: -pair[0]) if name != "N/A"]
    [result] = detect_video(detector, [frame], score_threshold=0.05)
    assert [detector.class_names[label] for label in result.detections.labels] == kept
    assert 0 < len(kept) < len(theirs)  # the random network also finds gaps in COCO's numbering
    [same] = detect_video(from_file, [frame], score_threshold=0.05)
    assert torch.equal(same.detections.boxes, result.detections.boxes)


def test_frozen_norms_without_epsilon_are_kept_in_files(downloaded: Path, tmp_path: Path) -> None:
    model = find_model("fasterrcnn_resnet50_fpn")
    state = torchvision_model("fasterrcnn_resnet50_fpn", labels=91).state_dict()
    frozen = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    torch.save(frozen, model.downloaded)
    published, from_file = load(model.name), load(model.name, model.downloaded)
    norms = [m for m in published.modules() if isinstance(m, FrozenBatchNorm2d)]
    others = [m for m in from_file.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert len(norms) == len(others) == 53
    assert {m.eps for m in norms} == {m.eps for m in others} == {0.0}
    torch.save(state, tmp_path / "unfrozen.pth")
    trained = load(model.name, tmp_path / "unfrozen.pth")
    assert {m.eps for m in trained.modules() if isinstance(m, torch.nn.BatchNorm2d)} == {1e-5}


def test_settings_of_the_model(outside_files: Path, make_frames: MakeFrames) -> None:
    weights, frames = outside_files / f"{FASTER_RCNN}.pth", make_frames(1)
    changes = {
        "method.max_detections": 7,
        "method.class_names": ["fox", "hare", "owl"],
        "method.min_size": 96,
        "method.max_size": 128,
        "method.score_threshold": 0.1,
    }
    detector = load(FASTER_RCNN, weights, overrides=changes)
    assert detector.class_names == ("fox", "hare", "owl")
    sizes: list[tuple[int, ...]] = []
    backbone = detector.network.get_submodule("backbone")
    backbone.register_forward_hook(lambda module, images, maps: sizes.append(tuple(images[0].shape[2:])))
    [result] = detect_video(detector, frames)
    assert sizes == [(96, 128)]  # 64 x 96 scaled by 128 / 96, and padded to multiples of 32
    assert len(result.detections) == 7
    with pytest.raises(InputError, match=r"at least method\.score_threshold, 0\.1, .* got 0\.05; set both"):
        list(detect_video(detector, frames, score_threshold=0.05))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_computes_boxes_in_float32(
    dtype: Any, outside_files: Path, make_frames: MakeFrames
) -> None:
    weights, frames = outside_files / f"{SSDLITE}.pth", make_frames(1)
    detector = load(SSDLITE, weights, inference=Inference(dtype=dtype))
    dtypes = []
    backbone = detector.network.get_submodule("backbone")
    backbone.register_forward_hook(lambda module, images, maps: dtypes.append(maps["0"].dtype))
    [half] = detect_video(detector, frames)
    [full] = detect_video(load(SSDLITE, weights), frames)
    assert dtypes == [getattr(torch, dtype)]
    for numbers in (half.detections.boxes, half.detections.scores):
        assert not torch.equal(numbers.to(dtypes[0]).float(), numbers)
    best = full.detections
    nearest = (half.detections.boxes[None] - best.boxes[:20, None]).abs().amax(2).amin(1)
    assert nearest.median() < 0.5
    assert (half.detections.scores[0] - best.scores[0]).abs() < 0.02


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("resnet50", {}, "no detector 'resnet50'; expected one of .*ssd300_vgg16"),
        ("SSD300-VGG16", {}, "no detector 'SSD300-VGG16'; .*; 'ssd300_vgg16' differs by case"),
        (f"{SSDLITE}:COCO_V2", {}, f"torchvision:{SSDLITE}: expected weights COCO_V1, got 'COCO_V2'"),
        (SSDLITE, {"method.window": 6}, "method.window: unknown key"),
        (SSDLITE, {"input.min_size": 6}, "input: unknown key"),
        (SSDLITE, {"method.min_size": 480}, f"{SSDLITE} has input of fixed size, 320x320"),
        (SSDLITE, {"method.class_names": ["fox"]}, "has 3 classes, but method.class_names has 1 names"),
        (FASTER_RCNN, {}, f"the weights don't fit torchvision:{FASTER_RCNN}"),
        (SSDLITE, {"method.score_threshold": 2}, "method.score_threshold: should be less than 1"),
    ],
)
def test_mistakes_are_explained(
    name: str, changes: dict[str, Any], message: str, outside_files: Path
) -> None:
    with pytest.raises(InputError, match=message):
        load(name, outside_files / f"{SSDLITE}.pth", overrides=changes)


def test_names_of_published_classes_cannot_be_changed() -> None:
    with pytest.raises(InputError, match=r"method\.class_names: expected weights in a file"):
        load(SSDLITE, overrides={"method.class_names": ["fox"]})


def test_a_failed_download_says_where_to_put_the_file(
    downloaded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nothing listens there
    with pytest.raises(InputError) as caught:
        load("ssd300_vgg16")
    message = str(caught.value)
    assert message.startswith("torchvision:ssd300_vgg16:COCO_V1: cannot load https://download.pytorch.org/")
    assert message.endswith(f"save it as {downloaded}/ssd300_vgg16_coco-b556d3b4.pth")
    assert list(downloaded.iterdir()) == []


def test_a_broken_download_is_explained(downloaded: Path) -> None:
    path = find_model(SSDLITE).downloaded
    path.write_bytes(b"not weights")
    with pytest.raises(InputError, match=f"torchvision:{SSDLITE}:COCO_V1: cannot load"):
        load(SSDLITE)
