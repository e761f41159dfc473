"""Fixtures of tests of archives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.jobs.archive.s3_server import BUCKET, S3Server, s3_server

SCHEMES = ("local", "s3", "memory")


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """Start a server of S3 on this machine."""
    with s3_server(monkeypatch) as server:
        yield server


@pytest.fixture(params=SCHEMES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the path or address of a new folder: on this machine, in S3, or in memory through fsspec."""
    if request.param == "local":
        return str(tmp_path / "out")
    if request.param == "memory":
        return f"memory://{tmp_path.name}/out"
    request.getfixturevalue("s3")
    return f"s3://{BUCKET}/{tmp_path.name}/out"
