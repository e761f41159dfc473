"""Fuzz target: every command, with misplaced and invalid arguments."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random

from tests.cli.bad_lines import bad_lines, run, write_inputs
from tests.fuzz.worker import Target


def _run(folder: Path, random: Random) -> None:
    """Run a command line twice, so that the second run finds the outputs of the first."""
    os.mkfifo(folder / "pipe")
    os.environ["HOME"] = str(folder / "home")
    kept = {name: (folder / name).read_bytes() for name in ("data.json", "file.txt", "weights.safetensors")}
    (line,) = bad_lines(1, seed=random.randrange(1 << 32))
    for _ in range(2):
        code, text = run(line)
        assert code in {0, 1, 2}, f"{line}: exit code {code}: {text[-3000:]}"
    for name, content in kept.items():
        assert (folder / name).read_bytes() == content, f"{line}: changed {name}"
    assert not (folder / "~").exists(), f"{line}: created a folder named ~"


TARGETS = [Target("commands", write_inputs, _run)]
"""The fuzz targets of the command line."""
