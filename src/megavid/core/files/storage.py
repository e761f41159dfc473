"""A folder for files, on this machine or remote."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from megavid.core.errors import InputError
from megavid.core.files.backends.local_files import LocalFiles
from megavid.core.files.backends.retries import ConnectionLostError, MissingFileError, StorageError, retry
from megavid.core.files.backends.stored_file import Backend, StoredFile

__all__ = ["ConnectionLostError", "MissingFileError", "Storage", "StorageError", "StoredFile", "is_remote"]

T = TypeVar("T")

_THREADS = 32
"""Number of files of a remote storage that are read or described at a time."""

_BATCH = 4096
"""Number of files that wait for a thread."""


def is_remote(address: str | Path) -> bool:
    """Return whether an address is one of a remote storage, such as `s3://bucket/folder`."""
    return "://" in str(address) and not str(address).startswith("file://")


def remote_address(address: str) -> str:
    """Return a remote address without `/` at its end."""
    scheme, _, rest = address.partition("://")
    return f"{scheme}://{rest.rstrip('/')}"


class Storage:
    """A folder for files, on this machine or remote.

    Names of files are relative to the folder, with folders separated by `/`. A file appears whole or not at
    all. A lost connection is tried again for a minute (`retries.PATIENCE`). Every method raises:

    - `StorageError`: the storage cannot be used: there is no such bucket, the credentials are not accepted,
      no space is left, or, as its kind `ConnectionLostError`, the connection stays lost.
    - `MissingFileError`: the file does not exist.
    - `InputError`, of which these are kinds: the file cannot be used, for example since it may not be read.

    Args:
        address: The folder, as error messages name it.
        backend: The files in it.

    Attributes:
        address: The folder: an absolute path or an address without `/` at its end.
        is_local: Whether the folder is on this machine.
    """

    def __init__(self, address: str, backend: Backend) -> None:
        self.address = address
        self.is_local = isinstance(backend, LocalFiles)
        self._backend = backend

    @classmethod
    def open(cls, address: str | Path) -> Storage:
        """Open a folder, which need not exist.

        Args:
            address: A path, or an address of anything that `pyarrow.fs` or fsspec opens, such as
                `s3://bucket/folder`. For a server of S3 other than Amazon's, set AWS_ENDPOINT_URL to its
                address, such as `http://localhost:9000`.

        Raises:
            InputError: The address has an unknown scheme, or a package that it needs is not installed.
            StorageError: The server cannot be reached.

        Examples:
            >>> storage = Storage.open("s3://bucket/results")
            >>> storage.write("done/1.json", b"{}")
        """
        if str(address) in {"", "file://"}:
            raise InputError("expected a folder, got an empty name")
        if not is_remote(address):
            path = os.path.abspath(str(address).removeprefix("file://"))  # noqa: PTH100 - links are kept
            return cls(path, LocalFiles(Path(path)))
        from megavid.core.files.backends.remote_files import open_remote

        address = remote_address(str(address))
        return cls(address, retry(address, lambda: open_remote(address), remote=True))

    @property
    def filesystem(self) -> Any:
        """The `pyarrow.fs.FileSystem` that has the files, for data sets of Arrow."""
        return self._backend.filesystem

    def path(self, name: str) -> str:
        """Return the path of a file within `filesystem`."""
        return self._backend.path(name)

    def address_of(self, name: str) -> str:
        """Return the path or address of a file."""
        return f"{self.address.rstrip('/')}/{name}" if name else self.address

    def read(self, name: str) -> bytes:
        """Read a whole file."""
        return self._try(name, lambda: self._backend.read(name))

    def read_many(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Read small files, in the order of their names; those that do not exist any more are left out."""
        for name, data in self._map(lambda name: (name, self._read_if_exists(name)), names):
            if data is not None:
                yield name, data

    def write(self, name: str, data: bytes) -> None:
        """Write a file, whole or not at all; one of the same name is replaced."""
        self._try(name, lambda: self._backend.write(name, data))

    def create(self, name: str, data: bytes) -> bool:
        """Write a file if there is none of its name.

        In a local folder, one of several processes that try at the same time writes it. Object stores have
        no such operation here: two that try within the same second may both write, and one of their files
        remains. So callers write what is equally right whoever wrote it.

        Returns:
            Whether the file was written; False if there is one.
        """
        return self._try(name, lambda: self._backend.create(name, data))

    def upload(self, name: str, path: Path) -> None:
        """Copy a local file to the storage, whole or not at all; one of the same name is replaced."""
        self._try(name, lambda: self._backend.write(name, path))

    def download(self, name: str, path: Path) -> None:
        """Copy a file to a local path, which has a part of it if this fails."""
        self._try(name, lambda: self._backend.download(name, path))

    def remove(self, name: str) -> None:
        """Remove a file; nothing happens if there is none."""
        with suppress(MissingFileError):
            self._try(name, lambda: self._backend.remove(name))

    def names(self, folder: str = "") -> Iterator[str]:
        """List the files in a folder and its subfolders, sorted, without hidden ones."""
        yield from self._try(folder, lambda: sorted(self._backend.names(folder)))

    def files(self, folder: str = "") -> Iterator[StoredFile]:
        """List these files with their sizes and versions."""
        yield from self._try(folder, lambda: sorted(self._backend.files(folder), key=lambda file: file.name))

    def folders(self, folder: str) -> list[str]:
        """List the folders directly in a folder, sorted."""
        return self._try(folder, lambda: sorted(self._backend.folders(folder)))

    def stat(self, name: str) -> StoredFile | None:
        """Describe a file; None for what is not a file."""
        return self._try(name, lambda: self._backend.stat(name))

    def stat_many(self, names: Iterable[str]) -> Iterator[StoredFile | InputError | None]:
        """Describe files, several at a time if they are remote.

        Yields:
            As `stat` returns for each name; in the place of a file that may not be looked at, the error.

        Raises:
            StorageError: The storage cannot be used.
        """
        return self._map(self._stat_or_error, names)

    def remove_leftovers(self) -> None:
        """Remove what killed processes of this machine left while they wrote."""
        self._try("", self._backend.remove_leftovers)

    def _map(self, function: Callable[[str], T], names: Iterable[str]) -> Iterator[T]:
        """Apply a function to names, by threads if the storage is remote."""
        if self.is_local:  # threads would only wait for each other
            yield from map(function, names)
            return
        waiting = iter(names)
        with ThreadPoolExecutor(_THREADS) as pool:
            while batch := list(islice(waiting, _BATCH)):
                yield from pool.map(function, batch)

    def _stat_or_error(self, name: str) -> StoredFile | InputError | None:
        try:
            return self.stat(name)
        except StorageError:
            raise
        except InputError as error:
            return error

    def _read_if_exists(self, name: str) -> bytes | None:
        try:
            return self.read(name)
        except MissingFileError:
            return None

    def _try(self, name: str, action: Callable[[], T]) -> T:
        return retry(self.address_of(name), action, remote=not self.is_local)
