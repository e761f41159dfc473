"""Files of an object store or a remote file system, through Arrow's file systems or fsspec."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
from pyarrow import fs

from megavid.core.errors import InputError
from megavid.core.files.backends.stored_file import StoredFile

_ASIDE = ".unfinished"
"""Folder of files that are being written, where storing a file is not one step."""

_CONNECT_SECONDS, _REQUEST_SECONDS = 5, 30
"""Seconds after which a request to S3 that makes no progress is given up and tried again."""

_CHUNK = 8 << 20  # bytes

_TIMES = ("mtime", "LastModified", "last_modified", "updated", "modified", "created")
"""Keys under which file systems of fsspec give the time when a file was modified."""


class RemoteFiles:
    """Files below a path of a file system.

    Object stores make a file appear whole with its last byte. Elsewhere a file is written aside and moved.

    Args:
        filesystem: The file system.
        root: The path.
    """

    def __init__(self, filesystem: fs.FileSystem, root: str) -> None:
        self.filesystem: Any = filesystem
        self._root = root.rstrip("/")
        self._is_object_store = isinstance(filesystem, fs.S3FileSystem | fs.GcsFileSystem)
        # Arrow passes on neither ETags nor most modification times that fsspec gives.
        self._fsspec: Any = filesystem.handler.fs if isinstance(filesystem, fs.PyFileSystem) else None

    def path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    def read(self, name: str) -> bytes:
        with self.filesystem.open_input_stream(self.path(name)) as stream:
            data: bytes = stream.read()
        return data

    def write(self, name: str, source: bytes | Path) -> None:
        target = self.path(name)
        if self._is_object_store:
            self._put(target, source)
            return
        aside = self.path(f"{_ASIDE}/{secrets.token_hex(8)}")
        self._make_folder(aside)
        self._make_folder(target)
        try:
            self._put(aside, source)
            self._move(aside, target)
        except BaseException:
            with suppress(Exception):
                self.filesystem.delete_file(aside)
            raise

    def create(self, name: str, data: bytes) -> bool:
        """Write a file if there is none.

        Neither Arrow nor fsspec has an operation for it, so two writers may both find no file and both write
        one. One of the two files remains.
        """
        if self.stat(name) is not None:
            return False
        self.write(name, data)
        return True

    def download(self, name: str, path: Path) -> None:
        with self.filesystem.open_input_stream(self.path(name)) as stream, path.open("wb") as file:
            while chunk := stream.read(_CHUNK):
                file.write(chunk)

    def remove(self, name: str) -> None:
        self.filesystem.delete_file(self.path(name))

    def files(self, folder: str) -> Iterator[StoredFile]:
        root = self.path(folder)
        if self._fsspec is not None:
            described = (_from_fsspec(about["name"], about) for about in self._list_fsspec(root))
        else:
            selector = fs.FileSelector(root, recursive=True, allow_not_found=True)
            infos = self.filesystem.get_file_info(selector)
            if not infos:
                self._check_bucket()
            described = (_from_arrow(about) for about in infos)
        prefix = self._root.strip("/") + "/"
        for file in described:
            if file is None or not file.name.startswith(prefix):
                continue
            name = file.name.removeprefix(prefix)
            if not any(part.startswith(".") for part in name.split("/")):
                yield replace(file, name=name)

    def names(self, folder: str) -> Iterator[str]:
        return (file.name for file in self.files(folder))

    def folders(self, folder: str) -> list[str]:
        if self._fsspec is None:
            selector = fs.FileSelector(self.path(folder), allow_not_found=True)
            infos = self.filesystem.get_file_info(selector)
            return [f"{folder}/{about.base_name}" for about in infos if about.type == fs.FileType.Directory]
        self._fsspec.invalidate_cache()
        try:
            found = self._fsspec.ls(self.path(folder), detail=True)
        except FileNotFoundError:
            return []
        paths = [about["name"].rstrip("/") for about in found if about["type"] == "directory"]
        return [f"{folder}/{path.rpartition('/')[2]}" for path in paths]

    def stat(self, name: str) -> StoredFile | None:
        path = self.path(name)
        if self._fsspec is None:
            file = _from_arrow(self.filesystem.get_file_info(path))
        else:
            self._fsspec.invalidate_cache()
            try:
                file = _from_fsspec(path, self._fsspec.info(path))
            except FileNotFoundError:
                return None
        return file and replace(file, name=name)

    def remove_leftovers(self) -> None:
        """Leave everything: other machines may be writing."""

    def _put(self, path: str, source: bytes | Path) -> None:
        """Write in one call, since a stream that is closed after an error would store what it has."""
        content = pa.py_buffer(source) if isinstance(source, bytes) else _mapped(source)
        stream = self.filesystem.open_output_stream(path)
        try:
            stream.write(content)
        except BaseException:
            with suppress(Exception):
                stream.close()
            raise
        stream.close()

    def _move(self, aside: str, target: str) -> None:
        try:
            self.filesystem.move(aside, target)
        except OSError:
            # Some file systems do not replace a file.
            if self.filesystem.get_file_info([target])[0].type != fs.FileType.File:
                raise
            self.filesystem.delete_file(target)
            self.filesystem.move(aside, target)

    def _make_folder(self, path: str) -> None:
        self.filesystem.create_dir(path.rpartition("/")[0], recursive=True)

    def _check_bucket(self) -> None:
        """Raise FileNotFoundError if nothing was found since the bucket does not exist."""
        bucket = self._root.split("/")[0]
        if self._is_object_store and self.filesystem.get_file_info([bucket])[0].type == fs.FileType.NotFound:
            raise OSError(f"NO_SUCH_BUCKET: {bucket}")

    def _list_fsspec(self, root: str) -> Iterator[Mapping[str, Any]]:
        """List files folder by folder, since fsspec's own walk leaves out folders whose listing failed."""
        self._fsspec.invalidate_cache()
        waiting = [root]
        while waiting:
            try:
                found = self._fsspec.ls(waiting.pop(), detail=True)
            except FileNotFoundError:  # nothing was written yet
                continue
            waiting += [about["name"] for about in found if about["type"] == "directory"]
            yield from (about for about in found if about["type"] == "file")


def open_remote(address: str) -> RemoteFiles:
    """Open the files below an address such as `s3://bucket/folder`.

    S3 takes its server from AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL and its region from AWS_REGION or
    AWS_DEFAULT_REGION, as Amazon's own tools do; credentials come from where these tools look for them.

    Raises:
        InputError: No file system is known for the address, or its package is not installed.
    """
    scheme, _, rest = address.partition("://")
    host = rest.split("/")[0]
    if not rest.strip("/") or (not host and scheme in {"s3", "gs"}):
        raise InputError(f"{address}: expected {scheme}://PLACE/FOLDER, got no place")
    if scheme == "s3":
        return RemoteFiles(_open_s3(host), rest)
    if scheme == "gs":
        filesystem, _ = fs.FileSystem.from_uri(f"gs://{host}/?retry_limit_seconds={_REQUEST_SECONDS}")
        return RemoteFiles(filesystem, rest.rpartition("@")[2])
    try:
        filesystem, root = fs.FileSystem.from_uri(address)
    except pa.ArrowInvalid:
        return _open_fsspec(address)
    return RemoteFiles(filesystem, root)


def _open_s3(bucket: str) -> fs.S3FileSystem:
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    arguments: dict[str, Any] = {}
    if endpoint:
        parts = urlsplit(endpoint)
        if parts.scheme not in {"http", "https"} or not parts.netloc:
            raise InputError(
                f"AWS_ENDPOINT_URL: expected http://HOST:PORT or https://HOST:PORT, got {endpoint}"
            )
        arguments = {"scheme": parts.scheme, "endpoint_override": parts.netloc + parts.path.rstrip("/")}
        region = region or "us-east-1"
    return fs.S3FileSystem(
        region=region or fs.resolve_s3_region(bucket),
        allow_delayed_open=True,  # so that a small file is one request
        connect_timeout=_CONNECT_SECONDS,
        request_timeout=_REQUEST_SECONDS,
        **arguments,
    )


def _open_fsspec(address: str) -> RemoteFiles:
    try:
        import fsspec
    except ImportError as error:
        raise InputError(f'{address}: needs fsspec: pip install "megavid[archive]"') from error
    try:
        filesystem, root = fsspec.core.url_to_fs(address)
    except (ImportError, ValueError) as error:  # it names the package to install, or the unknown scheme
        raise InputError(f"{address}: cannot be opened: {error}") from error
    return RemoteFiles(fs.PyFileSystem(fs.FSSpecHandler(filesystem)), root)


def _mapped(path: Path) -> pa.Buffer:
    if path.stat().st_size == 0:
        return pa.py_buffer(b"")  # an empty file cannot be mapped
    return pa.memory_map(str(path)).read_buffer()


def _from_arrow(about: Any) -> StoredFile | None:
    if about.type != fs.FileType.File:
        return None
    # Some servers give fractions of a second in lists, but not for a single file.
    seconds = None if about.mtime_ns is None else about.mtime_ns // 10**9
    return StoredFile(about.path.lstrip("/"), about.size, str(seconds or ""), seconds)


def _from_fsspec(path: str, about: Mapping[str, Any]) -> StoredFile | None:
    if about.get("type") != "file" or about.get("size") is None:
        return None
    tag = about.get("ETag") or about.get("etag")
    time = next((about[key] for key in _TIMES if about.get(key) is not None), None)
    if isinstance(time, str):
        time = datetime.fromisoformat(time)
    if isinstance(time, datetime):
        time = time.timestamp()
    seconds = None if time is None else int(time)
    return StoredFile(path.lstrip("/"), int(about["size"]), str(tag or seconds or ""), seconds)
