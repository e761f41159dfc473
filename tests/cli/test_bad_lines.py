"""Command lines that make no sense end in one line: no traceback, no hang, nobody's file changed."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.cli.bad_lines import bad_lines, copy_place, make_place, run_apart

QUICK = ("detect", "index", "check", "stats", "export", "score", "postprocess", "convert")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("template")
    make_place(folder)
    return folder


def users_files(place: Path) -> dict[str, str]:
    names = ("file.txt", "folder/file.txt", "bytes.pth", "data.json", "frames/000.png")
    return {name: hashlib.sha256((place / name).read_bytes()).hexdigest() for name in names}


def test_bad_lines(template: Path, tmp_path: Path) -> None:
    before = users_files(template)
    for number, line in enumerate(bad_lines(40, seed=20, names=QUICK)):
        place = tmp_path / str(number)
        copy_place(template, place)
        code, text = run_apart(line, place, seconds=60)
        assert code in {0, 1, 2}, (line, text)
        assert users_files(place) == before, line
        if code == 2:
            assert text.strip(), line  # a line of ours, or tyro's about the usage
            assert text.count("megavid: error: ") <= 1, (line, text)


def test_the_lines_are_the_same_for_a_seed() -> None:
    assert list(bad_lines(50, seed=3)) == list(bad_lines(50, seed=3))
