"""Write files atomically, without replacing files that megavid did not write."""

from __future__ import annotations

import errno
import filecmp
import os
import re
import secrets
import shutil
import socket
import stat
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from megavid.core.errors import InputError
from megavid.core.files.ownership import written_by_megavid

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
"""Error numbers of a file system that is full or read-only, and of a file that is too large."""

_LONGEST_NAME = 255
"""Longest file name that nearly all file systems accept, in bytes."""

_TEMPORARY = re.compile(
    r"\.(unfinished-|.*\.)(?P<host>[0-9a-f]{8})-(?P<pid>\d+)-[0-9a-f]{16}(\.partial(\..*)?)?"
)
"""Names of the temporary files and folders that `atomic_path` and `make_aside` create."""

Ours = Callable[[Path], bool | None]
"""Function that returns whether megavid wrote an existing file; None if its content does not tell."""


@contextmanager
def atomic_path(path: Path, *, ours: Ours = written_by_megavid) -> Iterator[Path]:
    """Yield a temporary path to write to, and rename the file to `path` if the block succeeds.

    The temporary file is hidden and has the same folder and suffix as `path`. If the block raises an error,
    the temporary file is removed and `path` is left unchanged. A `path` that is a link is refused. An
    existing file is replaced only if megavid wrote it. If the existing file does not tell who wrote it, it is
    replaced only if the new file has the same bytes.

    Args:
        path: The file to write.
        ours: Function that returns whether megavid wrote an existing file; see `Ours`.

    Raises:
        InputError: The file cannot be written, or `path` exists and must not be replaced.

    Examples:
        >>> with atomic_path(Path("results.parquet")) as temporary:
        ...     pq.write_table(table, temporary)
    """
    check_target(path, ours=ours)
    name = f".{_short(path.stem)}.{_owner()}.partial{path.suffix}"
    # The path is made absolute since libraries such as Arrow expand a leading ~ to a home folder.
    temporary = path.absolute().with_name(name)
    with _named(temporary, path):
        # If the file cannot be created, this fails now and not after hours of work. O_EXCL refuses links.
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    try:
        with _named(temporary, path, kinds=_FULL):
            yield temporary
        check_target(path, ours=ours)
        _check_same_bytes(temporary, path, ours)
        with _named(temporary, path):
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_files(folder: Path, names: Sequence[str]) -> Iterator[Path]:
    """Yield a temporary folder for several files, and move them to `folder` if the block succeeds.

    Existing files with these names are removed before the first new file is moved. If the process is killed
    in between, some files are missing, but files of two runs are never mixed.

    Args:
        folder: An existing folder for the files.
        names: Names of the files. If the block does not write one of them, an existing file with this name is
            still removed from `folder`.

    Raises:
        InputError: See `atomic_path`.
    """
    targets = [folder / name for name in names]
    for target in targets:
        check_target(target)
    aside = make_aside(folder)
    try:
        with _named(aside, folder, kinds=_FULL):
            yield aside
        for target in targets:
            check_target(target)
        with _named(aside, folder):
            for target in targets:
                target.unlink(missing_ok=True)
            for target in targets:
                if (aside / target.name).exists():
                    (aside / target.name).replace(target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    remove_leftovers(folder)


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder to write to, and rename it to `folder` if the block succeeds.

    Args:
        folder: The folder to create. If it exists, it must be empty.

    Raises:
        InputError: The folder cannot be created, or is not empty.
    """
    check_new_folder(folder)
    place = folder.absolute()
    with _named(place, folder):
        place.parent.mkdir(parents=True, exist_ok=True)
    aside = make_aside(place.parent)
    try:
        with _named(aside, folder, kinds=_FULL):
            yield aside
        check_new_folder(folder)
        with _named(aside, folder):
            if place.exists():  # it may be the working directory of a process, so it is not replaced
                for path in sorted(aside.iterdir()):
                    path.replace(place / path.name)
            else:
                aside.replace(place)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    remove_leftovers(place.parent)


def check_target(path: Path, *, ours: Ours = written_by_megavid) -> None:
    """Check that a path does not exist, or is a file that megavid wrote.

    Raises:
        InputError: The path is a link, folder, device or another program's file, or cannot be examined.
    """
    try:
        mode = path.lstat().st_mode
        kind = next((word for is_one, word in _NOT_FILES if is_one(mode)), None)
        foreign = kind is None and ours(path) is False
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:  # a NUL in a name raises ValueError
        raise InputError(f"{path}: cannot be written: {_reason(error)}") from error
    if kind is not None:
        raise InputError(f"{path}: expected a file to write, got a {kind}")
    if foreign:
        raise InputError(
            f"{path}: exists already and was not written by megavid; remove it or choose another name"
        )


def check_new_folder(folder: Path) -> None:
    """Check that a path does not exist or is an empty folder.

    Raises:
        InputError: The path is something else, or not a valid name.
    """
    with _named(folder, folder):
        try:
            folder.lstat()
        except FileNotFoundError:
            return
        if folder.is_symlink() or not folder.is_dir() or any(folder.iterdir()):
            raise InputError(f"{folder}: expected a new or empty folder, got an existing path")


def make_aside(folder: Path) -> Path:
    """Create a hidden folder in `folder` for outputs that are not complete yet.

    Raises:
        InputError: The hidden folder cannot be created.
    """
    aside = folder.absolute() / f".unfinished-{_owner()}"
    with _named(aside, folder):
        aside.mkdir()
    return aside


def remove_leftovers(folder: Path, *, held: bool = False) -> None:
    """Remove temporary files and folders that killed processes left in a folder.

    Args:
        folder: The folder. Only files and folders that `atomic_path` or `make_aside` named are removed.
        held: Whether no other run may write to the folder, so that every temporary file in it is a leftover.
            If False, only temporary files whose process ran on this host and has ended are removed.
    """
    for path in folder.glob(".*"):
        match = _TEMPORARY.fullmatch(path.name)
        if match is None:
            continue
        if not held and (match["host"] != _host() or is_alive(int(match["pid"]))):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def inside(folder: Path, relative: str) -> Path:
    """Join a folder and a relative path that was read from data, and check that the result is in the folder.

    Args:
        folder: The folder.
        relative: The relative path, with folders separated by `/`.

    Raises:
        InputError: The path leads out of the folder, or cannot be the name of a file.
    """
    parts = PurePosixPath(relative).parts
    try:
        longest = max((len(os.fsencode(part)) for part in parts), default=0)
    except UnicodeEncodeError as error:
        raise InputError(f"{relative!r}: expected a file name, got text that is not Unicode") from error
    if not parts or parts[0].startswith("/") or ".." in parts or "\0" in relative:
        raise InputError(f"{relative!r}: expected the name of a file within {folder}")
    if longest > _LONGEST_NAME:
        raise InputError(f"{relative!r}: expected a name of at most {_LONGEST_NAME} bytes, got {longest}")
    return folder.joinpath(*parts)


def is_alive(pid: int) -> bool:
    """Return whether a process is running on this host."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # another user's process, or an impossible id
        return True
    return True


_NOT_FILES = (
    (stat.S_ISLNK, "link"),
    (stat.S_ISDIR, "folder"),
    (lambda mode: not stat.S_ISREG(mode), "pipe, a socket or a device"),
)


def _check_same_bytes(temporary: Path, path: Path, ours: Ours) -> None:
    """Refuse to replace a file that does not tell who wrote it, unless the new file has the same bytes."""
    if path.exists() and ours(path) is None and not filecmp.cmp(temporary, path, shallow=False):
        raise InputError(
            f"{path}: exists already, with other contents, and nothing in it says that megavid wrote it; "
            "remove it or choose another name"
        )


@contextmanager
def _named(temporary: Path, path: Path, *, kinds: Sequence[int] | None = None) -> Iterator[None]:
    """Convert file system errors to `InputError`s that name `path`, not `temporary`.

    If `kinds` is given, only errors with these numbers are converted.
    """
    try:
        yield
    except InputError as error:
        if str(temporary) not in str(error):
            raise
        raise InputError(str(error).replace(str(temporary), str(path))) from error
    except OSError as error:
        if kinds is not None and error.errno not in kinds:
            raise
        raise InputError(f"{path}: cannot be written: {_reason(error)}") from error


def _reason(error: OSError | ValueError) -> str:
    return getattr(error, "strerror", None) or str(error)


def _owner() -> str:
    return f"{_host()}-{os.getpid()}-{secrets.token_hex(8)}"


def _host() -> str:
    return f"{zlib.crc32(socket.gethostname().encode()):08x}"


def _short(stem: str) -> str:
    """Shorten the stem of a file name so that the name of the temporary file is not too long."""
    return os.fsencode(stem)[:40].decode(errors="ignore")
