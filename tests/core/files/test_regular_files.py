"""Refusing files that are too large, not regular files, or not UTF-8 text."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from megavid.core.errors import InputError
from megavid.core.files.regular_files import check_regular_file, read_bytes, read_text


def test_pipes_devices_and_folders_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    for name, reason in (
        ("pipe", "regular file"),
        ("zero", "regular file"),
        (".", "folder"),
        ("none", "no such file"),
        ("x" * 300, "cannot be read"),
        ("a\0b", "cannot be read"),
    ):
        for read in (check_regular_file, read_bytes, read_text):
            with pytest.raises(InputError, match=reason):
                read(tmp_path / name)


def test_a_file_over_the_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    path.touch()
    os.truncate(path, 1 << 40)
    with pytest.raises(InputError, match="sparse: expected at most 10 bytes, got 1099511627776"):
        read_bytes(path, limit=10)
    with pytest.raises(InputError, match="sparse: expected at most"):
        read_text(path)


def test_text_must_be_utf_8(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbff\xc3\xbcchse")
    assert read_text(tmp_path / "a.txt") == "füchse"
    (tmp_path / "a.txt").write_bytes(b"f\xfcchse")
    with pytest.raises(InputError, match=r"a\.txt: expected text in UTF-8"):
        read_text(tmp_path / "a.txt")
