"""Files in a folder of this machine."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from megavid.core.files.atomic import make_aside, remove_leftovers
from megavid.core.files.backends.stored_file import StoredFile

_NO_LINKS = (errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK)
"""Error numbers of file systems without hard links."""


class LocalFiles:
    """Files in a folder of this machine.

    A file is written to a hidden folder beside the others, flushed to the disk and renamed, so that even
    after a power failure it is whole or missing.

    Args:
        folder: The folder, which is created when the first file is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def filesystem(self) -> Any:
        from pyarrow.fs import LocalFileSystem

        return LocalFileSystem()

    def path(self, name: str) -> str:
        return str(self.folder / name)

    def read(self, name: str) -> bytes:
        with (self.folder / name).open("rb") as file:
            return file.read()

    def write(self, name: str, source: bytes | Path) -> None:
        with self._written_aside(name, source) as temporary:
            temporary.replace(self.folder / name)

    def create(self, name: str, data: bytes) -> bool:
        """Write a file if there is none: of several processes that try, exactly one does.

        Without hard links, two that try within the same millisecond may both write.
        """
        target = self.folder / name
        if os.path.lexists(target):
            return False
        with self._written_aside(name, data) as temporary:
            try:
                os.link(temporary, target)
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                if os.path.lexists(target):
                    return False
                temporary.replace(target)
        return True

    def download(self, name: str, path: Path) -> None:
        shutil.copyfile(self.folder / name, path)

    def remove(self, name: str) -> None:
        (self.folder / name).unlink()

    def files(self, folder: str) -> Iterator[StoredFile]:
        for name, entry in self._walk(folder):
            about = entry.stat()
            yield _stored_file(name, about)

    def names(self, folder: str) -> Iterator[str]:
        return (name for name, _ in self._walk(folder))

    def folders(self, folder: str) -> list[str]:
        try:
            with os.scandir(self.folder / folder) as found:
                return [f"{folder}/{entry.name}" for entry in found if entry.is_dir()]
        except FileNotFoundError:
            return []

    def stat(self, name: str) -> StoredFile | None:
        try:
            about = (self.folder / name).stat()
        except (FileNotFoundError, NotADirectoryError, ValueError):  # a NUL in a name raises ValueError
            return None
        if not stat.S_ISREG(about.st_mode):
            return None
        return _stored_file(name, about)

    def remove_leftovers(self) -> None:
        remove_leftovers(self.folder)

    def _walk(self, folder: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
        """Find the regular files in a folder; a folder that links lead to twice is entered once."""
        entered: set[tuple[int, int]] = set()
        waiting = [folder]
        while waiting:
            name = waiting.pop()
            path = self.folder / name
            try:
                about = path.stat()
                with os.scandir(path) as found:
                    entries = sorted(found, key=lambda entry: entry.name)
            except FileNotFoundError:  # it was never made, or has just been removed
                continue
            if (about.st_dev, about.st_ino) in entered:
                continue
            entered.add((about.st_dev, about.st_ino))
            prefix = f"{name}/" if name else ""
            visible = [entry for entry in entries if not entry.name.startswith(".")]
            waiting += [prefix + entry.name for entry in reversed(visible) if entry.is_dir()]
            yield from ((prefix + entry.name, entry) for entry in visible if entry.is_file())

    @contextmanager
    def _written_aside(self, name: str, source: bytes | Path) -> Iterator[Path]:
        """Yield a complete copy of a file to come, in a hidden folder."""
        target = self.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = make_aside(self.folder)
        try:
            temporary = aside / target.name
            with temporary.open("xb") as file:
                if isinstance(source, bytes):
                    file.write(source)
                else:
                    with source.open("rb") as content:
                        shutil.copyfileobj(content, file, 1 << 20)
                file.flush()
                os.fsync(file.fileno())
            yield temporary
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def _stored_file(name: str, about: os.stat_result) -> StoredFile:
    return StoredFile(name, about.st_size, str(about.st_mtime_ns), about.st_mtime)
