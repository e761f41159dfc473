"""Weight files that are broken or malicious are refused, and so are files of other kinds."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import torch

from megavid import InputError, load_detector
from megavid.checkpoints.load import convert_weights
from megavid.checkpoints.weights import read_weights, write_weights
from tests.conftest import build_tiny
from tests.mutations import ends_well, mutated_bytes, mutators
from tests.official import flownet_shapes, official_shapes


class Bomb:
    """An object that creates a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.path,)


def test_pickles_are_not_executed(tmp_path: Path) -> None:
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
def test_message_names_the_actual_kind_of_file(
    tmp_path: Path, content: bytes, kind: str, suffix: str
) -> None:
    path = tmp_path / f"w{suffix}"
    path.write_bytes(content)
    expected = "a PyTorch checkpoint of tensors only" if suffix == ".pth" else "a safetensors file"
    with pytest.raises(InputError, match=f"w{suffix}: expected {expected}, got {kind}"):
        load_detector(weights=path)


def test_message_explains_how_to_save_tensors_alone(tmp_path: Path) -> None:
    torch.save({"model": {"a": torch.zeros(2)}, "best": np.float64(3)}, tmp_path / "w.pth")
    way = r'it holds a NumPy scalar \(numpy.*torch.load\("w.pth", weights_only=False\)\["model"\], "tensors'
    with pytest.raises(InputError, match=way):
        load_detector(weights=tmp_path / "w.pth")


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_nan_infinity_and_wrong_types_are_refused(tmp_path: Path, value: float) -> None:
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
        ("{}", "is broken: classes: missing; method: missing"),
        (
            '{"classes": "dog", "method": {"name": 5}, "backbone": {"depth": "50"}}',
            "is broken: classes: should be a valid list, got 'dog'; method.name: ",
        ),
    ],
)
def test_broken_metadata_is_refused(tmp_path: Path, config: str, message: str) -> None:
    path = tmp_path / "w.safetensors"
    safetensors.torch.save_file({"a": torch.zeros(1)}, path, {"config": config})
    with pytest.raises(InputError, match=f"w.safetensors: the configuration in its metadata {message}"):
        load_detector(weights=path)


def test_safetensors_files_have_a_size_limit(tmp_path: Path) -> None:
    header = b'{"a":{"dtype":"F32","shape":[5000000000],"data_offsets":[0,20000000000]}}'
    path = tmp_path / "w.safetensors"
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + 20_000_000_000)
    with pytest.raises(InputError, match=r"w.safetensors: expected at most 4294967296 bytes of tensors"):
        read_weights(path)


def test_tensor_with_many_names_counts_once_per_name_toward_the_limit(tmp_path: Path) -> None:
    large = torch.ones(1_000_000)
    torch.save({f"x{i}": large for i in range(1100)}, tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"w.pth: expected at most 4294967296 bytes of tensors"):
        read_weights(tmp_path / "w.pth")


def test_mutated_safetensors_files_are_read_or_refused(tmp_path: Path) -> None:
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
def test_files_without_weights_are_refused(tmp_path: Path, suffix: str, content: bytes) -> None:
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


def test_files_of_other_programs_are_refused(tmp_path: Path) -> None:
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


def test_wrong_dimensions_are_named(tmp_path: Path) -> None:
    for name, shape in {
        "roi_heads.box.predictor.cls_score.weight": [31],
        "backbone.body.stem.conv1.weight": [],
        "roi_heads.box.feature_extractor.conv.weight": [256],
    }.items():
        state = {n: torch.zeros(s) for n, s in official_shapes("single_frame", 50).items() if "fc6" not in n}
        torch.save({"model": state | {name: torch.zeros(shape)}}, tmp_path / "odd.pth")
        with pytest.raises(InputError, match=f"odd.pth: '{name}': expected . dimensions"):
            load_detector(weights=tmp_path / "odd.pth")


@pytest.mark.parametrize(
    "odd",
    [
        torch.zeros(64).to_sparse(),
        torch.zeros(64, dtype=torch.complex64),
        torch.zeros(64, device="meta"),
    ],
    ids=["sparse", "complex", "meta"],
)
def test_sparse_complex_and_meta_tensors_are_refused(tmp_path: Path, odd: torch.Tensor) -> None:
    path = tmp_path / "odd.pth"
    torch.save({"state_dict": {"flow_conv1.weight": torch.zeros(1), "flow_conv1.bias": odd}}, path)
    with pytest.raises(InputError, match="odd.pth: .*plain tensor of real numbers"):
        convert_weights(path, tmp_path / "out.safetensors")
