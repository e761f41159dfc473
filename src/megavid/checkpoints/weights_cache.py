"""The user's cache of downloaded weights, in which no file may change after it was first seen.

The folder `weights` of the cache has the files, and beside each file a record (`.json`) with its SHA-256 and
the SHA-256 of the download that it was made from. The folder `downloads` has downloads that are not complete
or not checked yet.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import datetime
from pathlib import Path

from megavid.checkpoints.published import Source
from megavid.core.config import Config, validate
from megavid.core.errors import InputError
from megavid.core.files.atomic import atomic_path
from megavid.core.files.checksums import file_sha256
from megavid.core.files.json_yaml import read_json
from megavid.core.files.ownership import MADE_BY
from megavid.core.files.paths import is_file

VARIABLE = "MEGAVID_CACHE"
"""Environment variable with the folder of the cache."""


class Record(Config):
    """The record of a file in the cache.

    Attributes:
        made_by: Mark of megavid's files.
        address: Address that the file came from.
        download_sha256: SHA-256 of the file at the address, when it was first seen.
        sha256: SHA-256 of the file in the cache, which may be converted.
        added: When the file was added to the cache.
    """

    made_by: str = MADE_BY["made_by"]
    address: str
    download_sha256: str
    sha256: str
    added: str


def cache_folder() -> Path:
    """Return the folder of the cache: `MEGAVID_CACHE`, or else `megavid` in the platform's cache folder."""
    given = os.environ.get(VARIABLE)
    if given:
        return Path(given).expanduser().absolute()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "megavid"
    # By the XDG specification, a path that is not absolute is ignored.
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "megavid"


def cached_path(source: Source) -> Path:
    """Return the path of a source's file in the cache, whether or not it exists."""
    return cache_folder() / "weights" / source.file


def download_path(source: Source) -> Path:
    """Return the path to download a source's file to, which is also where to put it by hand."""
    return cache_folder() / "downloads" / source.download


def find_cached(source: Source) -> Path | None:
    """Return the path of a source's file if the cache has it; None if it is missing or not complete.

    Raises:
        InputError: The file has another SHA-256 than when it was added, or its record is broken.
    """
    path, record = cached_path(source), read_record(source)
    if record is None or not is_file(path):
        return None
    found = file_sha256(path)
    if found != record.sha256:
        raise InputError(
            f"{path}: expected the SHA-256 {record.sha256}, as first seen, got {found}; remove the file to "
            "download it again"
        )
    return path


def check_download(source: Source, sha256: str) -> None:
    """Check that a downloaded file is the one that was first seen at its address.

    Raises:
        InputError: An earlier download had another SHA-256.
    """
    record = read_record(source)
    if record is not None and record.download_sha256 != sha256:
        raise InputError(
            f"{source.address}: expected the SHA-256 {record.download_sha256}, as first seen, got {sha256}; "
            f"to accept it, remove {_record_path(source)}"
        )


def read_record(source: Source) -> Record | None:
    """Return the record of a source's file; None if there is none.

    Raises:
        InputError: The record is broken.
    """
    path = _record_path(source)
    return validate(Record, read_json(path), origin=path) if is_file(path) else None


def write_record(source: Source, *, download_sha256: str) -> None:
    """Record the SHA-256 of a source's file, which is complete in the cache from then on."""
    record = Record(
        address=source.address,
        download_sha256=download_sha256,
        sha256=file_sha256(cached_path(source)),
        added=datetime.now().astimezone().isoformat(timespec="seconds"),
    )
    with atomic_path(_record_path(source)) as temporary:
        temporary.write_text(json.dumps(record.model_dump(), indent=2) + "\n")


def _record_path(source: Source) -> Path:
    return cached_path(source).with_suffix(".json")
