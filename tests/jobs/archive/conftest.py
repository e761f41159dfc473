"""Fixtures of tests of archives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.jobs.archive.s3_server import BUCKET, S3Server

SCHEMES = ("local", "s3", "memory")


@pytest.fixture(scope="session")
def shared_s3() -> Iterator[S3Server]:
    """Start one server of S3 for all tests, since ending one takes half a second."""
    server = S3Server()
    yield server
    server.stop()


@pytest.fixture
def s3(shared_s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """Return a server of S3 on this machine, with files that earlier tests left."""
    shared_s3.set_environment(monkeypatch)
    yield shared_s3
    if not shared_s3.is_running:
        shared_s3.start()


@pytest.fixture(params=SCHEMES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the path or address of a new folder: on this machine, in S3, or in memory through fsspec."""
    if request.param == "local":
        return str(tmp_path / "out")
    if request.param == "memory":
        return f"memory://{tmp_path.name}/out"
    request.getfixturevalue("s3")
    return f"s3://{BUCKET}/{tmp_path.name}/out"
