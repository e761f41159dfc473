"""Copies of detectors, and detectors in forked processes."""

from __future__ import annotations

import copy
import io
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch

from megavid import Inference, InputError, detect_video, load_detector
from megavid.core.frames import Image
from tests.agreement import assert_same
from tests.conftest import TINY_METHODS, build_tiny

MakeFrames = Callable[[int], list[Image]]


def saved_and_loaded(detector: Any) -> Any:
    buffer = io.BytesIO()
    torch.save(detector, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=False)


COPIES: dict[str, Callable[[Any], Any]] = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda detector: pickle.loads(pickle.dumps(detector)),
    "torch.save": saved_and_loaded,
}


@pytest.mark.parametrize("method", TINY_METHODS)
def test_copies_detect_the_same(method: str, make_frames: MakeFrames, device: torch.device) -> None:
    detector = build_tiny(method, device)
    state = detector.state_dict()
    for name, act in COPIES.items():
        made = act(detector)
        assert made.config == detector.config, name
        assert type(made.config) is type(detector.config)
        assert all(torch.equal(tensor, state[key]) for key, tensor in made.state_dict().items())
    detector.prepare(Inference())
    made.prepare(Inference())
    for one, other in zip(*(detect_video(d, make_frames(2)) for d in (detector, made)), strict=True):
        assert_same([one], [other], device)


@pytest.mark.parametrize(
    ("act", "what"),
    [
        *((act, "copied, pickled or saved") for act in COPIES.values()),
        (lambda detector: detector.state_dict(), "saved"),
        (lambda detector: detector.load_state_dict({}), "given other weights"),
        (lambda detector: detector.half(), "moved or converted"),
        (lambda detector: detector.to(torch.float64), "moved or converted"),
        (lambda detector: detector.to("meta"), "moved or converted"),
    ],
)
def test_changing_a_prepared_detector_is_refused(
    act: Callable[[Any], Any], what: str, device: torch.device
) -> None:
    detector = load_detector(weights="mega_generated", device=device)
    expected = f"expected one loaded with inference=None to be {what}, got one prepared for inference"
    with pytest.raises(InputError, match=expected):
        act(detector)


def test_conversions_that_change_nothing_are_allowed(device: torch.device) -> None:
    detector = load_detector(weights="mega_generated", device=device)
    assert detector.to(device) is detector
    assert detector.float().eval() is detector
    half = load_detector(weights="mega_generated", device=device, inference=Inference(dtype="bfloat16"))
    with pytest.raises(InputError, match="moved or converted"):
        half.float()


@pytest.mark.parametrize(
    ("act", "got"),
    [
        (lambda detector: detector.half(), "float16"),
        (lambda detector: detector.to(torch.bfloat16), "bfloat16"),
        (lambda detector: detector.double(), "float64"),
        (lambda detector: detector.to("meta"), "none"),
    ],
)
def test_detecting_with_converted_weights_is_refused(
    act: Callable[[Any], Any], got: str, make_frames: MakeFrames, device: torch.device
) -> None:
    with pytest.raises(InputError, match=f"detector: expected weights in float32, got {got}.*; for half"):
        list(detect_video(act(build_tiny("mega", device)), make_frames(2)))


FORKED = """
import os, signal
import numpy as np, torch, megavid
torch.set_num_threads(2)
detector = megavid.load_detector(weights="mega_generated", device="cpu")
frames = [np.full((96, 128, 3), 90, np.uint8)] * 2
before = [r.detections.boxes.tolist() for r in megavid.detect_video(detector, frames)]
child = os.fork()
if child == 0:
    signal.alarm(60)
    after = [r.detections.boxes.tolist() for r in megavid.detect_video(detector, frames)]
    os._exit(0 if np.allclose(after, before, atol=0.01) and torch.get_num_threads() == 1 else 1)
print(os.waitpid(child, 0)[1], torch.get_num_threads())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_forked_process_detects() -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "2"}
    command = [sys.executable, "-c", FORKED]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert run.stdout == "0 2\n", run.stderr
