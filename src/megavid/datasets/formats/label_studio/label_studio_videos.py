"""Find the video files of Label Studio's tasks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from megavid.core.files.paths import is_file
from megavid.core.text import listed
from megavid.datasets.find_media import base_name, find_media
from megavid.datasets.formats.json_values import shown
from megavid.datasets.table.problems import BadRowError, Kind
from megavid.video.suffixes import is_video_name

_LOCAL = "?d="
"""What comes before a path in an address of a file that Label Studio serves from a local folder."""

_UPLOADED = re.compile(r"[0-9a-f]{8}-(.+)", re.DOTALL)
"""Name of an uploaded file, to which Label Studio adds eight digits and a hyphen."""

_DEEPEST = 20
"""Largest number of folders of an address that are tried."""


def address_of(data: dict[str, Any]) -> str:
    """Return where Label Studio finds the video of a task.

    Args:
        data: The key `data` of the task. Its key `video` has the address; if there is none, the only value
            that names a video file.

    Raises:
        BadRowError: There is no such value, or there are several.
    """
    named = data.get("video")
    if isinstance(named, str) and named.strip():
        return named
    found = [
        value for value in data.values() if isinstance(value, str) and any(map(is_video_name, _paths(value)))
    ]
    if named is not None or len(found) != 1:
        raise BadRowError(f"expected data with the address of one video as 'video', got {shown(data)}")
    return found[0]


def find_video(folder: Path, address: str) -> str:
    """Find the video file of a task in a folder.

    The path in the address is tried, with fewer and fewer of its leading folders, and then a video file of
    the same name with another suffix. What Label Studio adds to the names of uploaded files is left out.

    Args:
        folder: The folder to search.
        address: A path or URL, from `address_of`.

    Returns:
        Path of the file, relative to `folder`.

    Raises:
        BadRowError: There is no such video.
        InputError: Several video files match the name.
    """
    paths = list(dict.fromkeys(_paths(address)))
    for path in paths:
        parts = [part for part in path.replace("\\", "/").split("/") if part not in {"", "."}][-_DEEPEST:]
        for first in range(len(parts)):
            relative = "/".join(parts[first:])
            if ".." not in parts[first:] and is_video_name(relative) and is_file(folder / relative):
                return relative
    names = list(dict.fromkeys(name for name in map(base_name, paths) if name))
    source = find_media(folder, names, root=folder, only=False).source
    if not source:
        expected = f"expected the video {listed(names, most=2)} in {folder}, whose size the boxes need"
        raise BadRowError(f"{expected}; --images says where videos are", Kind.NO_IMAGE)
    return source


def _paths(address: str) -> Iterator[str]:
    """Yield the paths that an address may contain, the most likely first."""
    found = [address]
    if _LOCAL in address:
        found.append(address.partition(_LOCAL)[2])
    with suppress(ValueError):  # such as brackets that enclose no address
        url = urlsplit(address)
        found += [*parse_qs(url.query).get("d", ()), url.path, unquote(url.path)]
    for path in found:
        yield path
        uploaded = _UPLOADED.fullmatch(base_name(path))
        if uploaded:
            yield uploaded[1]
