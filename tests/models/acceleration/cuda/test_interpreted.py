"""Kernels in Triton, run without a GPU in Triton's interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")


@pytest.mark.parametrize("path", sorted(Path(__file__).parent.glob("interpreted_*.py")), ids=lambda p: p.stem)
def test_in_interpreter(path: Path) -> None:
    # Triton chooses between compiler and interpreter when a kernel is defined.
    command = [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", str(path)]
    run = subprocess.run(
        command, env=os.environ | {"TRITON_INTERPRET": "1"}, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout
