"""The weights that are available by name, and what an address of weights stands for.

`published.yaml` is the table of names. Any other address is used like a name of the table.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import PurePosixPath
from typing import Literal
from urllib.parse import unquote, urlsplit

from pydantic import Field

from megavid.core.config import Config, read_mapping, validate
from megavid.core.errors import InputError
from megavid.core.files.shipped import shipped_files

Kind = Literal["detector", "flow", "backbone"]

_ADDRESS = re.compile(r"(https?|file):/+(.*)", re.DOTALL)
"""Matches an address. `pathlib.Path` reduces the two slashes after the colon to one."""

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""Hosts from which weights may come without encryption."""

_UNSAFE = re.compile(r"[^\w.-]+")
"""Matches characters that file names in the cache do not have."""

_LIBRARIES = ("torchvision:", "timm:")
"""Beginnings of the names of weights that another library downloads and keeps."""


class Published(Config):
    """An entry of the table of published weights; see `published.yaml` for the values.

    Attributes:
        kind: What the weights are for.
        address: Address of the file; None if the weights ship with megavid or another library downloads them.
        model: Configuration that the weights fit, or name of the network.
        classes: Number of classes of a detector, background excluded.
        ap50: AP50 in percent, as published; None if it is not known.
        tested_on: Data set that `ap50` was measured on.
        megabytes: Size of the tensors, in 10^6 bytes.
        licence: License of the weights, or a note on it.
    """

    kind: Kind
    address: str | None
    model: str
    classes: int | None = Field(ge=1)
    ap50: float | None = Field(ge=0, le=100)
    tested_on: str | None
    megabytes: int = Field(ge=1)
    licence: str


@dataclass(frozen=True, kw_only=True)
class Source:
    """Weights to download.

    Attributes:
        name: Name or address that the user gave.
        address: Address to download from.
        file: Name of the file in the cache, once it is checked and, for a detector, converted.
        download: Name of the downloaded file, as its publisher made it.
        licence: Note on the license; empty if nothing is known.
    """

    name: str
    address: str
    file: str
    download: str
    licence: str = ""


@cache
def published_weights() -> Mapping[str, Published]:
    """Return the table of published weights, by name."""
    path = shipped_files("checkpoints", ".yaml")["published"]
    return {name: validate(Published, value, origin=name) for name, value in read_mapping(path).items()}


def find_source(name: str | os.PathLike[str], *, backbone: bool = False) -> Source | None:
    """Return where to download weights from, for a name of the table or an address.

    Args:
        name: Name or address. An address may have been a `Path` before, which changes its slashes.
        backbone: Whether the weights are for a backbone, which are kept as they were published. Others are
            converted to `.safetensors`.

    Returns:
        The source, or None for the path of a file, for weights that ship with megavid and for weights that
        another library downloads.

    Raises:
        InputError: The table has the name for weights of another kind, or the address is of a kind that is
            not supported.
    """
    name = os.fspath(name)
    entry = published_weights().get(name)
    if entry is not None:
        if (entry.kind == "backbone") != backbone:
            expected = "a backbone" if backbone else "a detector or a flow network"
            raise InputError(f"{name}: expected {expected}, got a {_KINDS[entry.kind]}")
        if entry.address is None:
            return None
        return _source(name, entry.address, stem=_safe(name), backbone=backbone, licence=entry.licence)
    found = _ADDRESS.fullmatch(name)
    if found is None:
        return None
    address = f"{found[1]}:///{found[2]}" if found[1] == "file" else f"{found[1]}://{found[2]}"
    if found[1] == "http" and urlsplit(address).hostname not in _LOOPBACK:
        raise InputError(f"{address}: expected https:// or file://, since http:// is not encrypted")
    digest = hashlib.sha256(address.encode(errors="replace")).hexdigest()[:10]
    stem = f"{_safe(_file_name(address).stem)[:60]}-{digest}"
    return _source(address, address, stem=stem, backbone=backbone)


def library_of(name: str | os.PathLike[str]) -> str | None:
    """Return the library that downloads and keeps weights of this name, such as "torchvision", or None."""
    return next((prefix[:-1] for prefix in _LIBRARIES if os.fspath(name).startswith(prefix)), None)


_KINDS: dict[Kind, str] = {
    "detector": "detector, which belongs under start.detector or --weights",
    "flow": "flow network, which belongs under start.flow",
    "backbone": "backbone, which belongs under start.backbone",
}


def _source(name: str, address: str, *, stem: str, backbone: bool, licence: str = "") -> Source:
    suffix = _file_name(address).suffix.lower()
    if suffix not in _SUFFIXES:
        suffix = ".pth"
    file = f"{stem}{suffix if backbone else '.safetensors'}"
    return Source(name=name, address=address, file=file, download=f"{stem}{suffix}", licence=licence)


_SUFFIXES = {".pth", ".pt", ".ckpt", ".bin", ".pkl", ".safetensors", ".npz", ".npy"}
"""Suffixes of weight files; the format of a file without one of them is that of PyTorch."""


def _file_name(address: str) -> PurePosixPath:
    return PurePosixPath(PurePosixPath(unquote(urlsplit(address).path)).name)


def _safe(name: str) -> str:
    return _UNSAFE.sub("_", name)
