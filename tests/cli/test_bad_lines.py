"""Invalid command lines end with one message: no traceback, no hang, no changed files of the user."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.cli.bad_lines import bad_lines, copy_inputs, run_in_fork, write_inputs

QUICK = (
    *("detect", "index", "check", "stats", "export", "score", "link", "predictions", "convert"),
    *("run", "status", "export archive"),
)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("template")
    write_inputs(folder)
    return folder


def hash_user_files(folder: Path) -> dict[str, str]:
    names = ("file.txt", "folder/file.txt", "bytes.pth", "data.json", "frames/000.png")
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}


def test_invalid_command_lines_end_with_a_message(template: Path, tmp_path: Path) -> None:
    before = hash_user_files(template)
    for number, line in enumerate(bad_lines(40, seed=20, names=QUICK)):
        place = tmp_path / str(number)
        copy_inputs(template, place)
        code, text = run_in_fork(line, place, seconds=60)
        assert code in {0, 1, 2}, (line, text)
        assert hash_user_files(place) == before, line
        if code == 2:
            assert text.strip(), line  # a message of megavid, or tyro's message about the usage
            assert text.count("megavid: error: ") <= 1, (line, text)


def test_a_seed_always_gives_the_same_lines() -> None:
    assert list(bad_lines(50, seed=3)) == list(bad_lines(50, seed=3))
