"""A tiny detector of every method."""

from __future__ import annotations

from typing import Any

import pytest

from megavid.models.base.detector import VideoDetector
from megavid.models.methods import METHODS
from tests.conftest import build_tiny


@pytest.fixture(params=METHODS)
def method(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def detector(method: str) -> VideoDetector[Any, Any]:
    return build_tiny(method)
