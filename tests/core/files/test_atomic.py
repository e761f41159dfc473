"""Writing files and folders atomically."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import zlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from megavid.core.errors import InputError
from megavid.core.files.atomic import (
    atomic_files,
    atomic_path,
    check_target,
    inside,
    make_aside,
    remove_leftovers,
)
from megavid.core.files.ownership import MADE_BY

OURS, ALSO_OURS = (json.dumps({**MADE_BY, "n": n}) for n in range(2))


def write(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text)


def fail_inside(path: Path, error: BaseException) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text("half")
        raise error


def test_an_output_is_replaced_only_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(OURS)
    with atomic_path(path) as temporary:
        assert (temporary.parent, temporary.suffix) == (tmp_path, ".json")
        assert temporary.name.startswith(".")
        temporary.write_text(ALSO_OURS)
        assert path.read_text() == OURS
    assert path.read_text() == ALSO_OURS
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(OURS)
    for error in (RuntimeError(), KeyboardInterrupt(), FileNotFoundError(2, "something else")):
        with pytest.raises(type(error)):
            fail_inside(path, error)
    with pytest.raises(InputError, match=r"a\.json: cannot be written: no space"):
        fail_inside(path, OSError(28, "no space"))
    assert path.read_text() == OURS
    assert list(tmp_path.iterdir()) == [path]


def test_a_path_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere.*No such file"):
        write(tmp_path / "nowhere" / "a.txt", "")
    with pytest.raises(InputError, match="got a folder"):
        write(tmp_path, "")
    with pytest.raises(InputError, match="got a folder"):
        write(Path("/"), "")
    with pytest.raises(InputError, match="File name too"):
        write(tmp_path / ("a" * 300), "")
    if os.geteuid() != 0:  # root ignores permissions
        (tmp_path / "locked").mkdir(mode=0o500)
        with pytest.raises(InputError, match="denied"):
            write(tmp_path / "locked" / "a.txt", "")


def test_a_file_with_the_longest_possible_name_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("é" * 125 + ".json")  # 255 bytes
    write(path, OURS)
    assert path.read_text() == OURS


@pytest.mark.parametrize("name", ["a.json", "diary.txt", "diary", "data.yaml", "a.parquet", "a.mp4", "a.png"])
def test_files_of_other_programs_are_kept(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("mine")
    with pytest.raises(InputError, match=r"exists already"):
        write(path, OURS)
    assert path.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_without_a_mark_of_megavid_is_replaced_only_by_equal_bytes(tmp_path: Path) -> None:
    path = tmp_path / "results.txt"
    for _ in range(2):
        write(path, "1 2 3\n")
    with pytest.raises(InputError, match="with other contents"):
        write(path, "1 2 4\n")
    assert path.read_text() == "1 2 3\n"


def test_an_empty_file_may_be_replaced(tmp_path: Path) -> None:
    path = tmp_path / "made_by_mktemp.txt"
    path.touch()
    write(path, "1")
    assert path.read_text() == "1"


def test_links_and_devices_are_refused(tmp_path: Path) -> None:
    (tmp_path / "victim").touch()
    for link, target in (("a.json", "victim"), ("b.json", "missing")):
        (tmp_path / link).symlink_to(tmp_path / target)
        with pytest.raises(InputError, match=r"\.json: expected a file to write, got a link"):
            write(tmp_path / link, OURS)
    assert not (tmp_path / "missing").exists()
    os.mkfifo(tmp_path / "pipe")
    for special in (tmp_path / "pipe", Path("/dev/null")):
        with pytest.raises(InputError, match="got a pipe, a socket or a device"):
            write(special, OURS)


def test_a_linked_folder_can_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    write(tmp_path / "link" / "a.json", OURS)
    assert (tmp_path / "disk" / "a.json").read_text() == OURS


def test_a_parquet_file_can_be_written_to_a_folder_named_tilde(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Arrow expands a leading ~: without a full path, it would write the file to the home folder.
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(tmp_path)
    Path("~").mkdir()
    with atomic_path(Path("~/a.parquet")) as temporary:
        pq.write_table(
            pa.table({"n": [1]}, schema=pa.schema([("n", pa.int64())], {"megavid": ""})), temporary
        )
    assert pq.read_table(tmp_path / "~" / "a.parquet").num_rows == 1
    assert list(home.iterdir()) == []


def test_messages_name_the_output_not_the_temporary_file(tmp_path: Path) -> None:
    def fail() -> None:
        with atomic_path(tmp_path / "a.json") as temporary:
            raise InputError(f"{temporary}: cannot be written: full")

    with pytest.raises(InputError, match=rf"^{tmp_path}/a\.json: cannot be written: full$"):
        fail()


def test_several_files_are_replaced_together(tmp_path: Path) -> None:
    for name in ("a.json", "b.json", "c.json"):
        (tmp_path / name).write_text(OURS)

    def fail() -> None:
        with atomic_files(tmp_path, ("a.json", "b.json")) as aside:
            (aside / "a.json").write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert [(tmp_path / name).read_text() for name in ("a.json", "b.json")] == [OURS, OURS]
    with atomic_files(tmp_path, ("a.json", "b.json")) as aside:
        write(aside / "a.json", ALSO_OURS)
    assert (tmp_path / "a.json").read_text() == ALSO_OURS
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "a.json",
        "c.json",
    ]  # b.json was removed, as it was not written
    (tmp_path / "b.json").write_text("mine")
    with pytest.raises(InputError, match=r"b\.json: exists already"), atomic_files(tmp_path, ("b.json",)):
        pass


KILLED = """
import os, sys
from pathlib import Path
from megavid.core.files.atomic import atomic_path, make_aside
make_aside(Path(sys.argv[1])).joinpath("frames").mkdir()
with atomic_path(Path(sys.argv[1]) / "a.json"):
    os._exit(9)
"""


def test_only_leftovers_of_killed_processes_are_removed(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert len(list(tmp_path.iterdir())) == 2
    other_host = zlib.crc32(f"not {socket.gethostname()}".encode())
    kept = [
        tmp_path / f".a.{other_host:08x}-999999999-{'0' * 16}.partial.json",
        tmp_path / ".a.partial.json",
        tmp_path / ".unfinished-mine",
        make_aside(tmp_path),
    ]
    for path in kept[:-1]:
        path.touch()
    remove_leftovers(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(kept)
    remove_leftovers(tmp_path, held=True)
    assert sorted(tmp_path.iterdir()) == sorted(kept[1:3])


def test_writing_several_files_removes_leftovers(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    with atomic_files(tmp_path, ("b.json",)) as aside:
        write(aside / "b.json", OURS)
    assert [path.name for path in tmp_path.iterdir()] == ["b.json"]


@pytest.mark.parametrize(
    "name",
    ["../a.jpg", "a/../../b.jpg", "/etc/passwd", "", ".", "..", "a\0b", "a" * 256, "é" * 128, "a/\ud800"],
)
def test_file_names_in_data_cannot_point_outside_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError):
        inside(tmp_path, name)


def test_file_names_in_data_may_contain_folders(tmp_path: Path) -> None:
    assert inside(tmp_path, "a/b c/..x.jpg") == tmp_path / "a" / "b c" / "..x.jpg"
    check_target(inside(tmp_path, "é" * 127))
