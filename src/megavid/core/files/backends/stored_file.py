"""Describe a stored file, and what every kind of storage does with files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True)
class StoredFile:
    """A file in a storage.

    Attributes:
        name: Path relative to the storage's folder, with folders separated by `/`.
        bytes: Size.
        version: ETag or modification time, as the storage gives it: it changes when the file does. Empty if
            the storage gives none.
        modified: Unix time of the last modification; None if the storage does not give it.
    """

    name: str
    bytes: int
    version: str
    modified: float | None


class Backend(Protocol):
    """What `Storage` needs of a kind of storage; every method may raise any `OSError`.

    Names are relative to the folder of the storage, with folders separated by `/`.
    """

    @property
    def filesystem(self) -> Any:
        """The `pyarrow.fs.FileSystem` that has the files."""

    def path(self, name: str) -> str:
        """Return the path of a file within `filesystem`."""

    def read(self, name: str) -> bytes:
        """Read a whole file."""

    def write(self, name: str, source: bytes | Path) -> None:
        """Write a whole file or nothing: bytes, or the content of a local file."""

    def create(self, name: str, data: bytes) -> bool:
        """Write a file if there is none; return whether it was written."""

    def download(self, name: str, path: Path) -> None:
        """Copy a file to a local path."""

    def remove(self, name: str) -> None:
        """Remove a file."""

    def files(self, folder: str) -> Iterator[StoredFile]:
        """List the files in a folder and its subfolders, without hidden ones."""

    def names(self, folder: str) -> Iterator[str]:
        """List the names of these files, without their sizes and versions."""

    def folders(self, folder: str) -> list[str]:
        """List the folders directly in a folder."""

    def stat(self, name: str) -> StoredFile | None:
        """Describe a file; None for what is not a file."""

    def remove_leftovers(self) -> None:
        """Remove what killed processes of this machine left while they wrote."""
