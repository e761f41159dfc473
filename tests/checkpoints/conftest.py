"""Fixture: a checkpoint in the format of the original release."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.official import official_shapes, write_official


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a single-frame ResNet-50 checkpoint in the format of the original release."""
    shapes = official_shapes("single_frame", 50)
    return write_official(tmp_path_factory.mktemp("official") / "base.pth", shapes, prefix="module.")
