"""Conversion of weights to `.safetensors`."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors
import torch

from megavid import InputError, detect_video, load_detector, load_flownet
from megavid.checkpoints.load import convert_weights
from megavid.checkpoints.weights import Weights, read_weights, write_weights
from megavid.core.frames import Image
from tests.official import flownet_shapes

MakeFrames = Callable[[int], list[Image]]


SMALL_INPUT: Any = {"min_size": 64, "max_size": 96}


def boxes_of(detector: Any, frames: list[Image]) -> torch.Tensor:
    return torch.cat([r.detections.boxes for r in detect_video(detector, frames)])


def test_conversion_keeps_detections_and_records_its_origin(
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
    convert_weights(target, again)  # converting a converted file keeps the licence note
    with safetensors.safe_open(again, "pt") as file:
        assert file.metadata()["licence"] == metadata["licence"]


def test_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
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


def test_failed_conversion_leaves_no_files(official: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="its method.name is single_frame"):
        convert_weights(official, tmp_path / "out.safetensors", config="mega_r50")
    with pytest.raises(InputError, match="expected a file name that ends in .safetensors"):
        convert_weights(official, tmp_path / "out.pth")
    with pytest.raises(InputError, match="can"):
        convert_weights(official, tmp_path / "missing" / "out.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_tensors_that_share_memory_are_converted(tmp_path: Path) -> None:
    tensors = {name: torch.rand(tuple(shape)) for name, shape in flownet_shapes().items()}
    tensors["conv5.weight"] = tensors["conv4_1.weight"]
    torch.save(tensors, tmp_path / "flownet.ckpt")
    convert_weights(tmp_path / "flownet.ckpt", tmp_path / "out.safetensors")
    detector = load_detector("dff_r50", device="cpu", overrides={"backbone.depth": 18}, inference=None)
    load_flownet(detector, tmp_path / "out.safetensors")
    loaded = detector.state_dict()
    assert torch.equal(loaded["flow.conv4_1.weight"], tensors["conv4_1.weight"])
    assert torch.equal(loaded["flow.conv5.weight"], tensors["conv4_1.weight"])
