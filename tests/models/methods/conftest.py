"""Fixtures: the name of each method in turn, and a tiny detector of that method."""

from __future__ import annotations

import pytest
import torch

from megavid.models.faster_rcnn.faster_rcnn import FasterRCNN
from tests.conftest import TINY_METHODS, build_tiny


@pytest.fixture(params=TINY_METHODS)
def method(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def detector(method: str, device: torch.device) -> FasterRCNN:
    return build_tiny(method, device)
