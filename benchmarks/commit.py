"""The commit that a measurement belongs to."""

from __future__ import annotations

import subprocess


def commit() -> str:
    """Return the hash of the current commit."""
    return subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
