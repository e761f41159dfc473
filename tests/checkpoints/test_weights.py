"""Weight files: what is read, what is refused, what a conversion records."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import torch

from megavid import InputError, detect_video, load_detector, load_flownet
from megavid.checkpoints.load import convert_weights, find_device
from megavid.checkpoints.weights import Weights, read_weights, write_weights
from megavid.core.frames import Image
from megavid.models.methods.dff import Dff
from megavid.models.methods.fgfa import Fgfa
from tests.conftest import build_tiny
from tests.mutations import ends_well, mutated_bytes, mutators
from tests.official import OFFICIAL_METHODS, flownet_shapes, official_shapes, write_official
from tests.parity.recipe import make_weights

MakeFrames = Callable[[int], list[Image]]

SMALL_INPUT: Any = {"min_size": 64, "max_size": 96}


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A single-frame R-50 checkpoint in the original's form."""
    shapes = official_shapes("single_frame", 50)
    return write_official(tmp_path_factory.mktemp("official") / "base.pth", shapes, prefix="module.")


def boxes_of(detector: Any, frames: list[Image]) -> torch.Tensor:
    return torch.cat([r.detections.boxes for r in detect_video(detector, frames)])


def test_conversion_keeps_detections_and_records_what_it_is(
    official: Path, tmp_path: Path, make_frames: MakeFrames
) -> None:
    target = tmp_path / "base.safetensors"
    convert_weights(official, target)
    with safetensors.safe_open(target, "pt") as file:
        metadata = file.metadata()
    config = json.loads(metadata["config"])
    assert (config["method"]["name"], config["backbone"]["depth"]) == ("single_frame", 50)
    assert json.loads(metadata["class_names"]) == config["classes"]
    assert len(config["classes"]) == 30
    assert metadata["source"] == "base.pth"
    assert metadata["source_sha256"] == hashlib.sha256(official.read_bytes()).hexdigest()
    assert "non-commercial" in metadata["licence"]
    frames = make_frames(2)
    before = load_detector(weights=official, device="cpu", **SMALL_INPUT)
    after = load_detector(weights=target, device="cpu", **SMALL_INPUT)
    assert after.config == before.config
    assert torch.equal(boxes_of(before, frames), boxes_of(after, frames))
    umask = os.umask(0)
    os.umask(umask)
    assert target.stat().st_mode & 0o777 == 0o666 & ~umask
    again = tmp_path / "again.safetensors"
    convert_weights(target, again)  # a converted file converts too, with the same licence note
    with safetensors.safe_open(again, "pt") as file:
        assert file.metadata()["licence"] == metadata["licence"]


@pytest.mark.parametrize("method", OFFICIAL_METHODS)
@pytest.mark.parametrize("classes", [30, 4])
def test_official_names_and_shapes_tell_the_configuration(method: str, classes: int, tmp_path: Path) -> None:
    path = write_official(tmp_path / "official.pth", official_shapes(method, 50, classes=classes))
    detector = load_detector(weights=path, device="cpu")
    assert detector.config.method.name == method
    assert detector.config.backbone.depth == 50
    names = ("airplane", "antelope") if classes == 30 else ("class_1", "class_2")
    assert detector.class_names[:2] == names
    assert len(detector.class_names) == classes


def test_wrong_model_for_the_weights(official: Path) -> None:
    with pytest.raises(InputError, match="base.pth: its method is single_frame, but mega_r50 has mega"):
        load_detector("mega_r50", weights=official)
    with pytest.raises(InputError, match="base.pth: its backbone.depth is 50, but single_frame_r101 has 101"):
        load_detector("single_frame_r101", weights=official)
    with pytest.raises(InputError, match="its number of classes is 30, but single_frame_r50 has 2"):
        load_detector("single_frame_r50", weights=official, overrides={"classes": ["cat", "dog"]})


def test_single_tensors_that_do_not_fit_are_named(official: Path) -> None:
    with pytest.raises(InputError, match=r"1 of another shape \(fcs.0.weight .*12544.*6400"):
        load_detector("single_frame_r50", weights=official, overrides={"head.pool_size": 5})
    with pytest.raises(InputError, match=r"2 unexpected \(backbone.reduce.bias, backbone.reduce.weight\)"):
        load_detector("single_frame_r50", weights=official, overrides={"backbone.reduce_channels": None})


def test_class_names_that_differ_are_not_mixed_up(official: Path, tmp_path: Path) -> None:
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


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.path,)


def test_a_pickle_bomb_does_not_go_off(tmp_path: Path) -> None:
    trace = tmp_path / "executed"
    torch.save({"model": Bomb(trace)}, tmp_path / "zip.pth")
    (tmp_path / "legacy.pth").write_bytes(pickle.dumps({"model": Bomb(trace)}))
    for name in ("zip.pth", "legacy.pth"):
        with pytest.raises(InputError, match=f"{name}: expected a PyTorch checkpoint of tensors only"):
            load_detector(weights=tmp_path / name)
        assert not trace.exists()


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 123\n", "a Git LFS pointer"),
        (b"<!DOCTYPE html><html>Google Drive - Virus scan warning</html>", "a web page"),
        (b"", "an empty file"),
        (b"\x00\x00\x00\x1cftypisom\x00\x00\x02\x00", "an MP4 or MOV video"),
    ],
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_that_are_none_say_what_they_are(
    tmp_path: Path, content: bytes, kind: str, suffix: str
) -> None:
    path = tmp_path / f"w{suffix}"
    path.write_bytes(content)
    expected = "a PyTorch checkpoint of tensors only" if suffix == ".pth" else "a safetensors file"
    with pytest.raises(InputError, match=f"w{suffix}: expected {expected}, got {kind}"):
        load_detector(weights=path)


def test_a_checkpoint_with_numpy_scalars_names_the_way_out(tmp_path: Path) -> None:
    torch.save({"model": {"a": torch.zeros(2)}, "best": np.float64(3)}, tmp_path / "w.pth")
    way = r'it holds a NumPy scalar \(numpy.*torch.load\("w.pth", weights_only=False\)\["model"\], "tensors'
    with pytest.raises(InputError, match=way):
        load_detector(weights=tmp_path / "w.pth")


def test_a_file_is_what_its_content_says(official: Path, tmp_path: Path) -> None:
    converted = tmp_path / "base.safetensors"
    convert_weights(official, converted)
    for source, name in ((converted, "renamed.pth"), (official, "renamed.safetensors")):
        shutil.copy(source, tmp_path / name)
        assert load_detector(weights=tmp_path / name).config.method.name == "single_frame"


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    config = {"classes": ["größer\x1f"], "method": {"name": "mega"}, "backbone": {"depth": 50}}
    state = {name: torch.arange(3.0) for name in "abc"}
    made = set()
    for number in range(8):
        path = tmp_path / f"{number}.safetensors"
        write_weights(path, state, config=config, about={"source": "é\x1f", "licence": "as it was"})
        made.add(path.read_bytes())
    assert len(made) == 1
    read = read_weights(path)
    assert isinstance(read, Weights)
    assert (read.config, read.licence) == (config, "as it was")
    assert all(torch.equal(read.state[name], state[name]) for name in state)


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_weights_that_are_no_numbers_are_named(tmp_path: Path, value: float) -> None:
    tensors = {name: torch.zeros(tuple(shape)) for name, shape in flownet_shapes().items()}
    tensors["conv3.weight"][5, 0] = value
    torch.save(tensors, tmp_path / "flow.pth")
    with pytest.raises(InputError, match=r"flow.pth: 'conv3.weight': expected .* in 25 of 819200 places"):
        convert_weights(tmp_path / "flow.pth", tmp_path / "out.safetensors")
    detector = build_tiny("single_frame")
    state = detector.state_dict()
    state["rpn.conv.bias"][1] = value
    config = detector.config.model_dump(mode="json")
    write_weights(tmp_path / "ours.safetensors", state, config=config, about={})
    with pytest.raises(InputError, match=r"ours.safetensors: 'rpn.conv.bias': expected numbers, got NaN"):
        load_detector(weights=tmp_path / "ours.safetensors")
    state["rpn.conv.bias"] = torch.zeros_like(state["rpn.conv.bias"], dtype=torch.int32)
    write_weights(tmp_path / "ours.safetensors", state, config=config, about={})
    with pytest.raises(InputError, match=r"1 of another type \(rpn.conv.bias torch.int32 for torch.float32"):
        load_detector(weights=tmp_path / "ours.safetensors")
    state["rpn.conv.bias"] = torch.zeros(config["backbone"]["width"])
    name = next(name for name in state if name.endswith("running_var"))
    state[name] = state[name] - 2
    write_weights(tmp_path / "ours.safetensors", state, config=config, about={})
    with pytest.raises(InputError, match=f"ours.safetensors: '{name}': expected variances"):
        load_detector(weights=tmp_path / "ours.safetensors")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{", "is broken: expected JSON"),
        ("[" * 100_000, "is broken: expected JSON"),
        ("[]", "is broken: expected a mapping of keys, got list"),
        ("{}", "is broken: classes: missing; method: missing; backbone: missing"),
        (
            '{"classes": "dog", "method": {"name": 5}, "backbone": {"depth": "50"}}',
            "is broken: classes: should be a valid list, got 'dog'; method.name: .*; backbone.depth: ",
        ),
    ],
)
def test_metadata_that_is_broken(tmp_path: Path, config: str, message: str) -> None:
    path = tmp_path / "w.safetensors"
    safetensors.torch.save_file({"a": torch.zeros(1)}, path, {"config": config})
    with pytest.raises(InputError, match=f"w.safetensors: the configuration in its metadata {message}"):
        load_detector(weights=path)


def test_a_safetensors_file_has_a_limit(tmp_path: Path) -> None:
    header = b'{"a":{"dtype":"F32","shape":[5000000000],"data_offsets":[0,20000000000]}}'
    path = tmp_path / "w.safetensors"
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + 20_000_000_000)
    with pytest.raises(InputError, match=r"w.safetensors: expected at most 4294967296 bytes of tensors"):
        read_weights(path)


def test_names_of_one_large_tensor_have_a_limit(tmp_path: Path) -> None:
    large = torch.ones(1_000_000)
    torch.save({f"x{i}": large for i in range(1100)}, tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"w.pth: expected at most 4294967296 bytes of tensors"):
        read_weights(tmp_path / "w.pth")


def test_mutations_of_a_safetensors_file_are_read_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    config = {"classes": ["a"], "method": {"name": "mega"}, "backbone": {"depth": 50}}
    state = {"a": torch.zeros(3, 4), "b": torch.ones(5, dtype=torch.int64)}
    write_weights(path, state, config=config, about={"licence": "as it was"})
    content, read = path.read_bytes(), 0
    for random in mutators(300):
        path.write_bytes(mutated_bytes(content, random))
        read += ends_well(lambda: read_weights(path))
    assert 0 < read < 150


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("content", [b"", b"no weights at all", b"\x80\x02}q\x00.", bytes(1000)])
def test_files_that_hold_no_weights(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"junk{suffix}"
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"junk{suffix}: ") as error:
        load_detector(weights=path)
    assert "\n" not in str(error.value)


def test_truncated_files_are_refused(official: Path, tmp_path: Path) -> None:
    for fraction in (0.1, 0.5, 0.999):
        path = tmp_path / "truncated.pth"
        data = official.read_bytes()
        path.write_bytes(data[: int(len(data) * fraction)])
        with pytest.raises(InputError, match="truncated.pth: "):
            load_detector(weights=path)
    whole = tmp_path / "whole.safetensors"
    convert_weights(official, whole)
    path = tmp_path / "truncated.safetensors"
    path.write_bytes(whole.read_bytes()[:-100])
    with pytest.raises(InputError, match="truncated.safetensors: "):
        load_detector(weights=path)


def test_other_peoples_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    stem = {"backbone.body.stem.conv1.weight": torch.tensor(1.0)}
    for content in (
        [1, 2],
        {"model": {0: torch.zeros(1)}},
        {"model": stem},
        {"model": {"a": 1}},
        {"model": {"conv.weight": torch.zeros(1)}},
        {},
    ):
        torch.save(content, path)
        with pytest.raises(InputError, match="other.pth: "):
            load_detector(weights=path)
    safe = tmp_path / "other.safetensors"
    safetensors.torch.save_file({"a": torch.zeros(1)}, safe)
    with pytest.raises(InputError, match="other.safetensors: has no megavid configuration"):
        load_detector(weights=safe)


def test_nothing_is_left_of_a_conversion_that_fails(official: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="its method is single_frame"):
        convert_weights(official, tmp_path / "out.safetensors", config="mega_r50")
    with pytest.raises(InputError, match="expected a file name that ends in .safetensors"):
        convert_weights(official, tmp_path / "out.pth")
    with pytest.raises(InputError, match="can"):
        convert_weights(official, tmp_path / "missing" / "out.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere.pth: no such weight file"):
        load_detector(weights=tmp_path / "nowhere.pth")
    with pytest.raises(InputError, match="expected a configuration, one of .*mega_r50"):
        load_detector()


@pytest.mark.parametrize("name", ["cud", "tpu", "", "cuda:x"])
def test_unknown_device_is_named(name: str) -> None:
    with pytest.raises(InputError, match="device: "):
        find_device(name)


def test_devices_that_are_there() -> None:
    assert find_device("cpu") == torch.device("cpu")
    assert find_device("auto").type in {"cuda", "mps", "cpu"}
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="device: 'cuda' is not available here; there is .*cpu"):
            find_device("cuda")


def test_input_sizes_can_be_given() -> None:
    assert build_tiny("mega", **{"input.min_size": 80}).config.input.min_size == 80
    detector = load_detector("single_frame_r50", device="cpu", min_size=80, max_size=90)
    assert (detector.config.input.min_size, detector.config.input.max_size) == (80, 90)
    assert not detector.training


def test_tensors_of_impossible_shapes_are_named(tmp_path: Path) -> None:
    for name, shape in {
        "roi_heads.box.predictor.cls_score.weight": [31],
        "backbone.body.stem.conv1.weight": [],
        "roi_heads.box.feature_extractor.conv.weight": [256],
    }.items():
        state = {n: torch.zeros(s) for n, s in official_shapes("single_frame", 50).items() if "fc6" not in n}
        torch.save({"model": state | {name: torch.zeros(shape)}}, tmp_path / "odd.pth")
        with pytest.raises(InputError, match=f"odd.pth: '{name}': expected . dimensions"):
            load_detector(weights=tmp_path / "odd.pth")


FLOWNET_NAMES = {
    "conv1": "flow_conv1",
    "conv2": "conv2",
    "conv3": "conv3",
    "conv3_1": "conv3_1",
    "conv4": "conv4",
    "conv4_1": "conv4_1",
    "conv5": "conv5",
    "conv5_1": "conv5_1",
    "conv6": "conv6",
    "conv6_1": "conv6_1",
    "refine5.predict": "Convolution1",
    "refine4.predict": "Convolution2",
    "refine3.predict": "Convolution3",
    "refine2.predict": "Convolution4",
    "predict": "Convolution5",
    "refine5.deconv": "deconv5",
    "refine4.deconv": "deconv4",
    "refine3.deconv": "deconv3",
    "refine2.deconv": "deconv2",
    "refine5.upsample_flow": "upsample_flow6to5",
    "refine4.upsample_flow": "upsample_flow5to4",
    "refine3.upsample_flow": "upsample_flow4to3",
    "refine2.upsample_flow": "upsample_flow3to2",
}


@pytest.mark.parametrize("form", ["state_dict", "model", "bare", "inside a model", "with a scale map"])
def test_flownet_alone_is_read_and_converted(form: str, tmp_path: Path) -> None:
    shapes = flownet_shapes("module.flownet." if form == "inside a model" else "")
    if form == "with a scale map":
        shapes["Convolution5_scale.weight"] = [1024, 194, 1, 1]
    tensors = {name: torch.from_numpy(w) for name, w in make_weights(shapes, 1).items()}
    path = tmp_path / "flownet.ckpt"
    torch.save({form: tensors} if form in {"state_dict", "model"} else tensors, path)
    converted = tmp_path / "flownet.safetensors"
    assert convert_weights(path, converted) is None
    again = tmp_path / "again.safetensors"
    assert convert_weights(converted, again) is None
    for method in ("dff", "fgfa"):
        detector = load_detector(f"{method}_r50", device="cpu", overrides={"backbone.depth": 18})
        assert isinstance(detector, Dff | Fgfa)
        for file in (path, again):
            load_flownet(detector, file)
            prefix = "module.flownet." if form == "inside a model" else ""
            state = detector.flow.state_dict()
            assert len(state) == 2 * len(FLOWNET_NAMES)
            for ours, theirs in FLOWNET_NAMES.items():
                for part in ("weight", "bias"):
                    assert torch.equal(state[f"{ours}.{part}"], tensors[f"{prefix}{theirs}.{part}"]), ours
            for parameter in detector.flow.parameters():
                torch.nn.init.zeros_(parameter)


def test_flownet_and_detectors_are_not_mixed_up(official: Path, tmp_path: Path) -> None:
    path = write_official(tmp_path / "flownet.pth", flownet_shapes(), buffers=False)
    with pytest.raises(InputError, match="flownet.pth: holds FlowNet's weights only, not a whole detector"):
        load_detector("dff_r50", weights=path)
    with pytest.raises(InputError, match="flownet.pth: holds FlowNet's weights only, which take no conf"):
        convert_weights(path, tmp_path / "out.safetensors", config="dff_r50")
    with pytest.raises(InputError, match="flownet.pth: single_frame has no flow network"):
        load_flownet(build_tiny("single_frame"), path)
    with pytest.raises(InputError, match="base.pth: expected FlowNet's weights alone"):
        load_flownet(build_tiny("dff"), official)
    with pytest.raises(
        InputError, match=r"flownet.pth: the weights don't fit.*conv1.bias \(64,\) for \(4,\)"
    ):
        load_flownet(build_tiny("fgfa"), path)
    lacking = {name: shape for name, shape in flownet_shapes().items() if name != "conv4_1.weight"}
    path = write_official(tmp_path / "lacking.pth", lacking, buffers=False)
    with pytest.raises(InputError, match=r"lacking.pth: .*1 missing \(conv4_1.weight\)"):
        convert_weights(path, tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize(
    "odd",
    [
        torch.zeros(64).to_sparse(),
        torch.zeros(64, dtype=torch.complex64),
        torch.zeros(64, device="meta"),
    ],
    ids=["sparse", "complex", "meta"],
)
def test_tensors_that_are_not_plain_are_named(tmp_path: Path, odd: torch.Tensor) -> None:
    path = tmp_path / "odd.pth"
    torch.save({"state_dict": {"flow_conv1.weight": torch.zeros(1), "flow_conv1.bias": odd}}, path)
    with pytest.raises(InputError, match="odd.pth: .*plain tensor of real numbers"):
        convert_weights(path, tmp_path / "out.safetensors")


def test_tensors_that_share_memory_are_converted(tmp_path: Path) -> None:
    tensors = {name: torch.zeros(tuple(shape)) for name, shape in flownet_shapes().items()}
    tensors["conv5.weight"] = tensors["conv4_1.weight"]
    torch.save(tensors, tmp_path / "flownet.ckpt")
    convert_weights(tmp_path / "flownet.ckpt", tmp_path / "out.safetensors")
    load_flownet(
        load_detector("dff_r50", device="cpu", overrides={"backbone.depth": 18}),
        tmp_path / "out.safetensors",
    )
