"""Download weights once: resume interrupted downloads, check the file, and keep it in the cache."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from megavid.checkpoints.published import Source
from megavid.checkpoints.weights_cache import (
    VARIABLE,
    cache_folder,
    cached_path,
    check_download,
    download_path,
    find_cached,
    write_record,
)
from megavid.core.errors import InputError
from megavid.core.files.atomic import atomic_path
from megavid.core.files.checksums import file_sha256
from megavid.core.files.locks import locked_file
from megavid.core.files.ownership import anything
from megavid.core.files.paths import exists, is_file
from megavid.core.text import printable

_RETRIES = 2
"""Number of further attempts after a failure of the network, each of which continues the download."""

_LONGEST_REASON = 160
"""Number of characters of an error of gdown that are kept, so that the place to put the file is not cut."""

_TIMEOUT = 30.0
"""Seconds to wait for the next bytes."""

_SECONDS_PER_LINE = 30.0
"""Seconds from one line of progress to the next, where there is no terminal."""

ShowProgress = Callable[[int, int | None], None]
"""Function that shows the number of bytes so far, and the number of all bytes if it is known."""


def fetch(source: Source, finish: Callable[[Path, Path], object]) -> Path:
    """Return the path of weights in the cache; download them if the cache does not have them.

    A file that the user has put at `download_path` is taken instead of a download. Processes that need the
    same weights at the same time wait for the first one.

    Args:
        source: The weights.
        finish: Function that checks a downloaded file (its first argument) and writes what is kept of it to a
            path (its second argument), whole or not at all.

    Raises:
        InputError: The file cannot be downloaded, is not what it should be, or is not the file that was first
            seen at this address; or the cache cannot be written to.
    """
    cached = find_cached(source)
    if cached is not None:
        return cached
    target, download = cached_path(source), download_path(source)
    with _translated_errors():
        for folder in (target.parent, download.parent):
            folder.mkdir(parents=True, exist_ok=True)
        lock = download.with_name(f".{download.name}.lock")
        with locked_file(
            lock, waiting=lambda: _say(f"{source.name}: waiting for another process to download it")
        ):
            cached = find_cached(source)
            return _add(source, target, download, finish) if cached is None else cached


def _add(source: Source, target: Path, download: Path, finish: Callable[[Path, Path], object]) -> Path:
    """Download weights unless the user has put them at `download`, check them, and keep them at `target`."""
    by_hand = exists(download)
    if not by_hand:
        _download(source, download)
    sha256 = file_sha256(download)
    try:
        check_download(source, sha256)
        finish(download, target)
    except InputError as error:
        if by_hand:
            raise InputError(f"{error}; put the file of {source.address} there, or remove it") from error
        download.unlink()
        reason = error.without(download).removeprefix(f"{source.address}: ")
        raise InputError(f"{source.address}: {reason}; {_advise_by_hand(download)}") from error
    write_record(source, download_sha256=sha256)
    download.unlink()
    _say(f"{source.name}: {target} (SHA-256 {sha256})")
    if source.licence:
        _say(f"{source.name}: license: {source.licence}")
    return target


def _download(source: Source, path: Path) -> None:
    _say(f"downloading {source.address}")
    address = urlsplit(source.address)
    if address.scheme == "file":
        _copy(Path(url2pathname(address.path)), path)
        return
    try:
        with _progress(source.name) as show:
            _download_by_gdown(source.address, path, show)
    except ImportError as error:
        raise InputError(
            f"{source.address}: downloading needs the library gdown: pip install gdown; or "
            f"{_advise_by_hand(path)}"
        ) from error
    except Exception as error:  # gdown and requests raise many types of errors for what a server sends
        raise InputError(
            f"{source.address}: cannot be downloaded: {_reason(error, address.netloc)}; try again, or "
            f"{_advise_by_hand(path)}"
        ) from error


def _copy(original: Path, path: Path) -> None:
    if not is_file(original):
        raise InputError(f"{original}: no such file")
    with atomic_path(path, ours=anything) as temporary:
        shutil.copyfile(original, temporary)


def _download_by_gdown(address: str, path: Path, show: ShowProgress) -> None:
    """Download a file, or the rest of it if a part is there already (`path` and `.part`)."""
    import gdown  # noqa: PLC0415 - an extra

    def attempt() -> None:
        gdown.download(
            address,
            str(path),
            quiet=True,
            use_cookies=False,
            resume=True,
            retries=_RETRIES,
            timeout=_TIMEOUT,
            progress=show,
        )

    try:
        attempt()
    except gdown.DownloadError as error:
        # The server cannot continue a download, or its file has become shorter than the part.
        if "byte range" not in str(error):
            raise
        for part in path.parent.glob(f"{path.name}*.part"):
            part.unlink()
        attempt()


def _reason(error: Exception, host: str) -> str:
    """Describe a failed download in one line."""
    cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
    if type(cause).__name__ in {"ConnectionError", "ConnectTimeout"}:  # of requests, with a page of details
        return f"no connection to {host}"
    reason = str(error).split("The received bytes are kept")[0]  # advice for gdown's own command line
    return printable(" ".join(reason.split()).rstrip("."), limit=_LONGEST_REASON) or type(error).__name__


def _advise_by_hand(path: Path) -> str:
    """Return the advice, for error messages, to download a file by hand."""
    return f"download it by hand to {path}"


@contextmanager
def _translated_errors() -> Iterator[None]:
    """Convert errors of the file system to an error that says where the cache is."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{error.filename or cache_folder()}: the cache of weights cannot be written: {error.strerror}; "
            f"set {VARIABLE} to a folder that can"
        ) from error


@contextmanager
def _progress(name: str) -> Iterator[ShowProgress]:
    """Show the progress of a download on standard error: a bar on a terminal, or a line now and then."""
    if not sys.stderr.isatty():
        yield _lines(name)
        return
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(
        TextColumn("{task.description}", markup=False),
        *columns,
        console=Console(stderr=True),
    ) as bar:
        task = bar.add_task(printable(name), total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _lines(name: str, *, clock: Callable[[], float] = time.monotonic) -> ShowProgress:
    """Return a function that prints a line every `_SECONDS_PER_LINE`."""
    following = clock() + _SECONDS_PER_LINE

    def show(done: int, total: int | None) -> None:
        nonlocal following
        if clock() >= following:
            following = clock() + _SECONDS_PER_LINE
            _say(f"{name}: {done / 1e6:.0f} of {'?' if total is None else f'{total / 1e6:.0f}'} MB")

    return show


def _say(text: str) -> None:
    sys.stderr.write(f"megavid: {printable(text, limit=2000)}\n")
    sys.stderr.flush()
