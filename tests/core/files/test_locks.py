"""Locking output folders."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from megavid.core.errors import InputError
from megavid.core.files.locks import LOCK, locked_file, locked_folder

HOLD = """
import sys, time
from pathlib import Path
from megavid.core.files.locks import locked_folder
with locked_folder(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def take(folder: Path, launch: str | None = None) -> None:
    with locked_folder(folder, launch=launch):
        assert json.loads((folder / LOCK).read_text())["pid"] == os.getpid()


def hold(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_the_lock_file_is_removed_afterward(tmp_path: Path) -> None:
    for _ in range(2):
        take(tmp_path)
        assert list(tmp_path.iterdir()) == []
    with pytest.raises(KeyboardInterrupt), locked_folder(tmp_path):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_running_process_holds_the_lock_and_a_killed_one_does_not(tmp_path: Path) -> None:
    process = hold(tmp_path)
    with pytest.raises(InputError, match=rf"another run writes to it \(process {process.pid} on .*, since"):
        take(tmp_path)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (tmp_path / LOCK).exists()
    take(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_process_cannot_lock_a_folder_twice(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    with locked_folder(tmp_path):
        with pytest.raises(InputError, match="another run of this process"):
            take(tmp_path / "link")
        script = [sys.executable, "-c", HOLD, str(tmp_path)]  # the refused attempt has not released the lock
        done = subprocess.run(script, capture_output=True, text=True, check=False, timeout=20)
        assert "InputError" in done.stderr
        assert "another run writes to it" in done.stderr


def test_a_lock_held_on_another_host_is_kept(tmp_path: Path) -> None:
    owner = {"host": f"not-{socket.gethostname()}", "pid": 7, "since": "then", "launch": "job 12"}
    (tmp_path / LOCK).write_text(json.dumps(owner))
    for launch in (None, "job 13"):
        with pytest.raises(InputError, match=rf"process 7 on not-.*; .* remove .*{LOCK}"):
            take(tmp_path, launch=launch)
    take(tmp_path, launch="job 12")  # a restart of the launch that holds the lock
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "{", "[" * 4000, "null", '{"host": null}'])
def test_an_incomplete_lock_file_is_replaced(tmp_path: Path, text: str) -> None:
    (tmp_path / LOCK).write_text(text)
    take(tmp_path)


def test_a_lock_file_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / LOCK).symlink_to(victim)
    with pytest.raises(InputError, match=rf"{LOCK}: cannot be written"):
        take(folder)
    assert victim.read_text() == "mine"


def test_a_locked_file_is_waited_for(tmp_path: Path) -> None:
    order: list[str] = []

    def second() -> None:
        with locked_file(tmp_path / "lock", waiting=waits.set):
            order.append("second")

    waits = threading.Event()
    thread = threading.Thread(target=second)
    with locked_file(tmp_path / "lock", waiting=lambda: order.append("not free")):
        thread.start()
        assert waits.wait(30)
        order.append("first")
    thread.join(30)
    assert order == ["first", "second"]
    with pytest.raises(FileNotFoundError), locked_file(tmp_path / "none" / "lock", waiting=waits.set):
        pass
