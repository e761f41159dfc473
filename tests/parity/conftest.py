"""Fixture: run tests on as many threads as the recordings were made on, since rounding depends on it."""

from __future__ import annotations

import pytest
import torch

THREADS = 2


@pytest.fixture(autouse=True)
def recorded_threads(restored_threads: None) -> None:
    torch.set_num_threads(THREADS)
