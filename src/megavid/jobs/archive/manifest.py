"""Find the videos of an archive, and copy them to this machine."""

from __future__ import annotations

import errno
import hashlib
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from glob import has_magic
from pathlib import Path, PurePosixPath

import pyarrow as pa

from megavid.core.errors import InputError
from megavid.core.files.atomic import atomic_path
from megavid.core.files.ownership import anything
from megavid.core.files.paths import is_folder
from megavid.core.files.storage import (
    MissingFileError,
    Storage,
    StorageError,
    StoredFile,
    is_remote,
    remote_address,
)
from megavid.core.text import natural_key
from megavid.jobs.archive.manifest_rows import LARGEST_MANIFEST, MANIFEST_SUFFIXES, read_manifest
from megavid.jobs.archive.segments import ListedVideo
from megavid.video.suffixes import is_video_name

__all__ = ["VideoList", "fetch", "is_remote", "list_videos"]


@dataclass(frozen=True)
class VideoList:
    """The videos of an archive.

    Attributes:
        videos: The videos, in the order of the manifest or in natural order of their addresses.
        unreadable: Why a video cannot be read, by its address.
        columns: A row for each video, readable or not, in this order: the column "video" has its address;
            the others are the further columns of the manifest.
    """

    videos: list[ListedVideo]
    unreadable: dict[str, str]
    columns: pa.Table


def list_videos(spec: str | Path, *, column: str | None = None) -> VideoList:
    """Find videos with their sizes and versions, without opening them.

    Args:
        spec: A path, or an address of a remote storage (see `Storage.open`), of one of:
            - a video;
            - a folder, whose videos are found by their suffixes in it and in its subfolders, without hidden
              ones;
            - a pattern such as "cameras/*/2024-*.mp4", in which "**" matches any number of folders. All files
              that match are taken, whatever their suffix;
            - a text file (.txt) with a path on each line;
            - a CSV (.csv) or Parquet file (.parquet) with a column of paths. Its further columns are kept.
            Paths in these files are relative to the folder of the file. A video that is there twice is listed
            once, unless its further columns differ. A path that is not a file is listed as unreadable: so is
            a folder of images, since neither its size nor its version would tell that an image has changed.
        column: Name of the column of paths; by default "path" or "video".

    Raises:
        InputError: `spec` does not exist or is none of these, has no videos, or is a broken manifest.
        StorageError: A remote storage cannot be used.

    Examples:
        >>> listed = list_videos("s3://bucket/cameras/*.mp4")
        >>> print(len(listed.videos), sum(video.bytes for video in listed.videos))
    """
    if str(spec) in {"", "file://"}:
        raise InputError("expected videos, got an empty name")
    address = _absolute(str(spec))
    storage, name = _locate(address)
    file = storage.stat(name) if name else None
    is_manifest = file is not None and PurePosixPath(name).suffix.lower() in MANIFEST_SUFFIXES
    if column is not None and not is_manifest:
        raise InputError(f"{spec}: expected a CSV or Parquet file for column {column!r}")
    if file is not None and is_manifest:
        if file.bytes > LARGEST_MANIFEST:
            raise InputError(f"{spec}: expected at most {LARGEST_MANIFEST} bytes, got {file.bytes}")
        return _list_manifest(address, storage.read(name), column)
    if file is not None:
        found = [file]
    elif has_magic(name) and not (storage.is_local and is_folder(Path(address))):
        found = list(_matching(storage, name))
        if not found:
            raise InputError(f"{spec}: no such file, and no file matches it as a pattern")
    else:
        if storage.is_local and not is_folder(Path(address)):
            raise InputError(f"{spec}: no such file or folder")
        found = [file for file in storage.files(name) if is_video_name(file.name)]
        if not found:
            raise InputError(
                f"{spec}: no videos in this folder; expected files ending in .mp4, .mkv, .avi ..."
            )
    found.sort(key=lambda file: natural_key(PurePosixPath(file.name)))
    videos = [_listed(storage.address_of(file.name), file) for file in found]
    return VideoList(videos, {}, pa.table({"video": [video.address for video in videos]}))


def fetch(video: ListedVideo, folder: Path, *, limit: int | None = None) -> Path:
    """Copy a remote video to a folder, whole or not at all; a local video stays where it is.

    Args:
        video: The video.
        folder: An existing folder.
        limit: Largest size of a copy, in bytes.

    Returns:
        Path of the video.

    Raises:
        InputError: The video does not exist any more, may not be read, is larger than `limit`, or is not the
            file that was listed.
        StorageError: The storage cannot be used, or no space is left in the folder.
    """
    storage, name = _locate(video.address)
    _check_same(video, storage, name)
    if storage.is_local:
        return Path(video.address)
    if limit is not None and video.bytes > limit:
        raise InputError(f"{video.address}: expected at most {limit} bytes to copy, got {video.bytes}")
    key = hashlib.sha256(repr((video.address, video.bytes, video.version)).encode()).hexdigest()[:32]
    target = folder / (key + PurePosixPath(name).suffix)
    with atomic_path(target, ours=anything) as temporary:
        try:
            storage.download(name, temporary)
        except StorageError as error:
            if getattr(error.__cause__, "errno", None) == errno.ENOSPC:
                raise StorageError(f"{folder}: cannot be written: no space left") from error
            raise
        if temporary.stat().st_size != video.bytes:
            raise InputError(f"{video.address}: changed while it was copied")
    return target


def _check_same(video: ListedVideo, storage: Storage, name: str) -> None:
    file = storage.stat(name)
    if file is None:
        raise MissingFileError(f"{video.address}: no such file")
    if (file.bytes, file.version) != (video.bytes, video.version):
        raise InputError(f"{video.address}: changed since it was listed; start again to list it anew")


def _list_manifest(address: str, data: bytes, column: str | None) -> VideoList:
    rows = read_manifest(address, data, column=column)
    parent = address.rpartition("/")[0]
    seen: dict[str, int] = {}
    for number, path in enumerate(rows.paths):
        video = _absolute(path, parent)
        first = seen.setdefault(video, number)
        if first != number and rows.further.slice(first, 1) != rows.further.slice(number, 1):
            raise InputError(
                f"{address}: {rows.place(number)}: {path!r} has other values than on {rows.place(first)}"
            )
    files = dict(_stat(list(seen)))
    videos = [_listed(video, file) for video in seen if isinstance(file := files[video], StoredFile)]
    unreadable = {video: reason for video in seen if isinstance(reason := files[video], str)}
    first_rows = pa.array(list(seen.values()), pa.int64())
    further = {name: rows.further[name].take(first_rows) for name in rows.further.column_names}
    return VideoList(videos, unreadable, pa.table({"video": list(seen), **further}))


def _stat(addresses: Sequence[str]) -> Iterator[tuple[str, StoredFile | str]]:
    """Describe files, or say why they cannot be read."""
    by_root: dict[str, list[str]] = defaultdict(list)
    for address in addresses:
        by_root[_root(address)].append(address)
    for root, members in by_root.items():
        storage = Storage.open(root)
        found = storage.stat_many(_below(root, address) for address in members)
        for address, file in zip(members, found, strict=True):
            if isinstance(file, InputError):
                yield address, file.without(address)
            elif file is None and storage.is_local and is_folder(Path(address)):
                yield address, "expected a video file, got a folder"
            else:
                yield address, file or "no such file"


def _matching(storage: Storage, pattern: str) -> Iterator[StoredFile]:
    """Find the files that match a pattern, in the folder above its first wildcard."""
    parts = pattern.split("/")
    fixed = next(number for number, part in enumerate(parts) if has_magic(part))
    for file in storage.files("/".join(parts[:fixed])):
        if _matches(file.name.split("/"), parts):
            yield file


def _matches(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return _matches(parts, pattern[1:]) or (bool(parts) and _matches(parts[1:], pattern))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and _matches(parts[1:], pattern[1:])


def _listed(address: str, file: StoredFile) -> ListedVideo:
    try:
        address.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{address}: expected a name in UTF-8; rename the file") from error
    return ListedVideo(address, file.bytes, file.version)


def _locate(address: str) -> tuple[Storage, str]:
    """Split an address into a storage and the name of a file in it."""
    root = _root(address)
    return Storage.open(root), _below(root, address)


def _root(address: str) -> str:
    """Return the part of an absolute address that names a bucket or server; "/" on this machine."""
    if not is_remote(address):
        return "/"
    scheme, _, rest = address.partition("://")
    return f"{scheme}://{rest.split('/')[0]}"


def _below(root: str, address: str) -> str:
    return address.removeprefix(root).strip("/")


def _absolute(address: str, folder: str | None = None) -> str:
    """Return the absolute path or address of a file that a user named, relative to a folder."""
    if is_remote(address):
        return remote_address(address)
    path = address.removeprefix("file://")
    if folder is None or not is_remote(folder) or path.startswith("/"):
        return os.path.abspath(os.path.join(folder or "", path))  # noqa: PTH100, PTH118 - links are kept
    root = _root(folder)
    return root + os.path.normpath(f"/{_below(root, folder)}/{path}")
