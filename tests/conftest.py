"""Options, fixtures and helpers that several folders of tests share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from megavid.checkpoints.load import find_device, load_detector, read_config
from megavid.core.errors import InputError
from megavid.core.frames import Image
from megavid.datasets.synthetic.camera import film
from megavid.models.base.video_detector import VideoDetector
from megavid.models.faster_rcnn.faster_rcnn import FasterRCNN
from megavid.models.method_registry import METHODS

# Networks this small are faster on one thread, and other tests use the other cores.
torch.set_num_threads(1)
os.environ.setdefault("OMP_NUM_THREADS", "1")  # for processes that tests start

# Let a GPU compute in full float32 precision, as a CPU does, and repeat its results exactly.
torch.backends.cuda.matmul.allow_tf32 = False
torch.backends.cudnn.allow_tf32 = False
torch.backends.cudnn.deterministic = True

SHARED = Path(__file__).parents[2] / "shared"

TINY: dict[str, Any] = {
    "classes": ["disc", "ring", "square"],
    "input.min_size": 64,
    "input.max_size": 96,
    "backbone.depth": 18,
    "backbone.width": 8,
    "backbone.reduce_channels": 16,
    "rpn.anchor_sizes": [16, 32],
    "rpn.pre_nms_top_n": 200,
    "rpn.post_nms_top_n": 20,
    "head.pool_size": 3,
    "method.hidden": 32,
}
"""Settings with which a detector of any method runs in milliseconds."""

TINY_METHOD = {
    "heads": 4,
    "window": 3,
    "memory": 4,
    "global_frames": 3,
    "reference_proposals": 8,
    "distilled_proposals": 3,
    "key_interval": 3,
    "flow_width": 4,
}
"""Further such settings, under `method`, that only some methods have."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--device", default="cpu", help="device that tests of networks run on: cpu, cuda, cuda:1 or mps"
    )


def pytest_configure(config: pytest.Config) -> None:
    try:
        find_device(config.getoption("device"))
    except InputError as error:
        raise pytest.UsageError(f"--{error}") from error


@pytest.fixture(scope="session")
def device(pytestconfig: pytest.Config) -> torch.device:
    """Return the device that tests run networks on."""
    return find_device(pytestconfig.getoption("device"))


@pytest.fixture
def restored_threads() -> Iterator[None]:
    """After the test, restore the number of threads that networks compute on."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


TINY_METHODS = [name for name, method in METHODS.items() if issubclass(method, FasterRCNN)]
"""Methods that `build_tiny` builds."""


def tiny_overrides(method: str) -> dict[str, Any]:
    settings, _ = read_config(f"{method}_r50")
    own = {f"method.{key}": value for key, value in TINY_METHOD.items() if key in settings["method"]}
    return TINY | own


def build_tiny(method: str, device: torch.device | str = "cpu", /, **changes: Any) -> FasterRCNN:
    """Build a tiny detector with random weights that are the same every time, on every device."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        overrides = tiny_overrides(method) | changes
        detector = load_detector(f"{method}_r50", device="cpu", overrides=overrides, inference=None)
        assert isinstance(detector, FasterRCNN)
        for parameter in detector.predictor.parameters():
            torch.nn.init.normal_(parameter, std=0.3)  # so that scores differ
    return detector.to(device)


@pytest.fixture
def make_frames() -> Callable[[int], list[Image]]:
    """Return a function that takes n and returns the first n frames of a generated 96x64 video."""

    def make(n: int) -> list[Image]:
        return [frame.image for frame in film(seed=0, video=3, frames=n, height=64, width=96)]

    return make


def network_input(detector: VideoDetector, frames: Sequence[Image]) -> Tensor:
    """Preprocess frames as one batch, (B, 3, h, w)."""
    return detector.preprocess(torch.from_numpy(np.stack(frames)).to(detector.device))


def total(losses: Mapping[str, Tensor]) -> Tensor:
    """Return the sum of losses, which training minimizes."""
    return torch.stack(list(losses.values())).sum()


def require_shared(path: Path) -> Path:
    """Return the path; if it is absent, skip the test, or fail it if MEGAVID_REQUIRE_SHARED is set."""
    if not path.exists():
        message = f"{path} does not exist"
        if os.environ.get("MEGAVID_REQUIRE_SHARED"):
            pytest.fail(message)
        pytest.skip(message)
    return path
