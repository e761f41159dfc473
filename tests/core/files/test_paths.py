"""Whether paths exist, including paths that no file can have."""

from __future__ import annotations

from pathlib import Path

import pytest

from megavid.core.files.paths import exists, is_file, is_folder


def test_existing_files_and_folders_are_found(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    assert exists(file)
    assert is_file(file)
    assert not is_folder(file)
    assert exists(tmp_path)
    assert is_folder(tmp_path)
    assert not is_file(tmp_path)


@pytest.mark.parametrize("name", ["none", "n" * 300, "a\0b", "file/inside"])
def test_impossible_paths_do_not_exist(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    for look in (exists, is_file, is_folder):
        assert not look(tmp_path / name)
