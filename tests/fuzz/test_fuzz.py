"""Fuzz readers and commands: they must not crash, hang, exhaust memory or print a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

SECONDS = float(os.environ.get("MEGAVID_FUZZ_SECONDS", "30"))
"""Duration of each suite, in seconds."""

SEED = int(os.environ.get("MEGAVID_FUZZ_SEED", "0"))
"""Random seed of the inputs."""


@pytest.mark.parametrize("suite", ["readers", "commands"])
def test_inputs_are_read_or_rejected(suite: str) -> None:
    command = [sys.executable, "-m", "tests.fuzz.worker", suite]
    command += ["--seconds", str(SECONDS), "--seed", str(SEED)]
    done = subprocess.run(
        command,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=SECONDS + 300,
        check=False,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    trials = [line for line in lines if "target" in line]
    assert done.returncode == 0, f"the process died in {trials[-1:]}: {done.stderr[-3000:]}"
    failures = [(before, line) for before, line in pairwise(lines) if "failure" in line]
    assert not failures, "\n\n".join(f"{before}: {line['failure']}" for before, line in failures[:5])
    assert len(trials) > SECONDS / 2, "too few trials to mean anything"
