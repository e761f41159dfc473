"""Helpers for tests of `megavid init`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from megavid.cli import main

NAMES = ("pond", "river", "lake", "sea", "fen")
"""Names of the videos in the CVAT export."""


def init(data: Path, *more: str, project: str = "project", timed: bool = False) -> int:
    """Run `megavid init` on the CPU, and return its exit code."""
    untimed = [] if timed else ["--untimed"]
    return main(["init", project, "--data", str(data), "--device", "cpu", *untimed, *more])


def recipe(project: str = "project") -> dict[str, Any]:
    """Return the recipe of a project."""
    values: dict[str, Any] = yaml.safe_load(Path(project, "recipe.yaml").read_text())
    return values
