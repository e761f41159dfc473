"""Locks between processes: of output folders, to which one run writes at a time, and of single files."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from megavid.core.errors import InputError

logger = logging.getLogger(__name__)

LOCK = ".megavid.lock"
"""Name of the lock file in a locked folder. The file is removed when the lock is released."""

_LARGEST_LOCK = 4096  # bytes

_held: set[tuple[int, int]] = set()
_guard = threading.Lock()


@contextmanager
def locked_folder(folder: Path, *, launch: str | None = None) -> Iterator[None]:
    """Lock a folder while the block runs.

    The file `LOCK` in the folder names the host and process. The operating system releases the lock when the
    process ends for any reason, so the lock file of a killed run on this host is taken over. The lock file of
    a run on another host is not taken over, since some shared disks do not show whether that run still holds
    the lock.

    Args:
        folder: An existing output folder.
        launch: Id shared by all attempts of one launch, such as those of a `torchrun` with restarts. These
            attempts take over each other's lock files, even from other hosts.

    Raises:
        InputError: Another run holds the lock, or a run on another host left its lock file.
    """
    path = folder.absolute() / LOCK
    key = _identity(folder)
    with _guard:
        if key in _held:
            raise InputError(f"{folder}: another run of this process writes to it; choose another folder")
        handle = _take(path, folder, launch)
        _held.add(key)
    try:
        yield
    finally:
        with _guard:
            _held.discard(key)
            if _is_at(handle, path):
                path.unlink(missing_ok=True)
            os.close(handle)


@contextmanager
def locked_file(path: Path, *, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold an exclusive lock while the block runs, after waiting until no other thread or process has it.

    Args:
        path: File that stands for the lock. It is created if it is missing, and it remains.
        waiting: Called once if another thread or process has the lock.

    Raises:
        OSError: The file cannot be created.
    """
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:  # the file system has no locks
            logger.warning("%s: cannot be locked (%s)", path, error.strerror)
        yield


def _take(path: Path, folder: Path, launch: str | None) -> int:
    """Open and lock the lock file, and return its file descriptor."""
    try:
        while True:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
            try:
                if not stat.S_ISREG(os.fstat(handle).st_mode):
                    raise InputError(f"{path}: expected a regular file; remove it")
                _lock(handle, path, folder)
                if not _is_at(handle, path):  # its previous owner has just removed it
                    os.close(handle)
                    continue
                _refuse_other_host(handle, path, folder, launch)
                _write_owner(handle, launch)
            except BaseException:
                os.close(handle)
                raise
            return handle
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from error


def _lock(handle: int, path: Path, folder: Path) -> None:
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as error:
        owner = _read_owner(handle)
        raise InputError(
            f"{folder}: another run writes to it{_describe(owner)}; wait for it, or choose another folder"
        ) from error
    except OSError as error:  # the file system has no locks
        logger.warning("%s: cannot be locked (%s); see that no other run writes there", path, error.strerror)


def _refuse_other_host(handle: int, path: Path, folder: Path, launch: str | None) -> None:
    owner = _read_owner(handle)
    same_launch = launch is not None and owner.get("launch") == launch
    if owner.get("host") in (None, socket.gethostname()) or same_launch:
        return
    raise InputError(
        f"{folder}: another run writes to it{_describe(owner)}; if that run has ended, remove {path}"
    )


def _write_owner(handle: int, launch: str | None) -> None:
    since = datetime.now().astimezone().isoformat(timespec="seconds")
    owner = {"host": socket.gethostname(), "pid": os.getpid(), "since": since, "launch": launch}
    os.ftruncate(handle, 0)
    os.pwrite(handle, json.dumps(owner).encode(), 0)


def _read_owner(handle: int) -> dict[str, Any]:
    """Read the owner from the lock file; empty if the file is incomplete."""
    try:
        owner = json.loads(os.pread(handle, _LARGEST_LOCK, 0))
    except (ValueError, RecursionError):
        return {}
    return owner if isinstance(owner, dict) else {}


def _describe(owner: dict[str, Any]) -> str:
    if not owner:
        return ""
    return f" (process {owner.get('pid')} on {owner.get('host')}, since {owner.get('since')})"


def _identity(folder: Path) -> tuple[int, int]:
    try:
        about = folder.stat()
    except OSError as error:
        raise InputError(f"{folder}: cannot be written to: {error.strerror}") from error
    return about.st_dev, about.st_ino


def _is_at(handle: int, path: Path) -> bool:
    """Return whether an open file is the file at a path."""
    try:
        at_path, opened = path.lstat(), os.fstat(handle)
    except OSError:
        return False
    return (at_path.st_dev, at_path.st_ino) == (opened.st_dev, opened.st_ino)
