"""Fixtures for tests of training."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.training.small_run import write_videos


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write three generated videos and return the path of their index."""
    return write_videos(tmp_path_factory.mktemp("data"))
