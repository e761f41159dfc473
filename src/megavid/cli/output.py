"""Print lines safely when they contain names from files and users."""

from __future__ import annotations

import errno
import io
import logging
import os
import select
import shutil
import sys
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING

from megavid.core.text import printable

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

_LONGEST_LINE = 2000
"""Number of characters after which a printed line is cut."""

_NARROWEST_TERMINAL = 40
"""Smallest terminal width to report to tyro, in columns; in a narrower terminal its help would never end."""

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

_USER_MISTAKES = _DISK_FULL | {
    *(errno.ENAMETOOLONG, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.EROFS)
}
"""Error numbers that a wrong path from the user or a full disk causes."""


def say(line: str, *, error: bool = False) -> None:
    """Print a line with control characters escaped, so that it cannot affect the terminal.

    Args:
        line: Line to print.
        error: Whether to print to standard error instead of standard output.
    """
    if not error:
        print(printable(line, limit=_LONGEST_LINE))
        return
    with suppress(OSError):  # a closed standard error must not hide the exit code
        print(printable(line, limit=_LONGEST_LINE), file=sys.stderr, flush=True)


def cell(name: str, *, limit: int = 120) -> Text:
    """Return a name from data as a table cell, without interpreting markup in it."""
    from rich.text import Text

    return Text(printable(name, limit=limit))


def print_table(table: Table) -> None:
    """Print a table at its full width, even if the terminal is narrower."""
    from rich.console import Console

    console = Console()
    wide = console.options.update(width=10_000)
    console.width = max(console.width, console.measure(table, options=wide).maximum)
    console.print(table)


def prepare_output() -> None:
    """Set up streams and logging so that any name can be printed, whatever the terminal's encoding."""
    _open_closed_streams()
    if shutil.get_terminal_size().columns < _NARROWEST_TERMINAL:
        os.environ["COLUMNS"] = str(_NARROWEST_TERMINAL)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    handler = logging.StreamHandler()
    handler.setFormatter(_OneLine("megavid: %(levelname)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    # Pillow warns about large images and odd metadata, but reads such images all the same.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    # Some versions of PyTorch warn about flags that `acceleration.precision` has to set.
    warnings.filterwarnings("ignore", message="Please use the new API settings to control TF32")
    # Matplotlib warns about each character that its font lacks, for example in class names.
    warnings.filterwarnings("ignore", message=r"Glyph \d+")


def describe_failure(error: MemoryError | OSError) -> str | None:
    """Describe a failure that is not a bug: a wrong path, a full disk or too little memory.

    If standard output itself could not be written, all further output to it is discarded.

    Returns:
        The reason, or None if the failure may be a bug.
    """
    if isinstance(error, MemoryError):
        return f"not enough memory: {error}".removesuffix(": ")
    if error.filename is not None:
        return f"{error.filename}: {error.strerror}" if error.errno in _USER_MISTAKES else None
    if error.errno not in _DISK_FULL:
        return None
    _discard_output()
    return f"the output cannot be written: {error.strerror}"


def output_is_closed() -> bool:
    """Return whether the reader of standard output has closed it; if so, discard all further output."""
    try:
        handle = sys.stdout.fileno()
    except OSError:  # a stream in memory has no file descriptor
        return False
    poll = select.poll()
    poll.register(handle, 0)
    closed = any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
    if closed:
        _discard_output()
    return closed


def _discard_output() -> None:
    """Redirect standard output to the null device, so that Python can flush its buffer at exit."""
    with suppress(OSError):  # a stream in memory has no file descriptor
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _open_closed_streams() -> None:
    """Open closed standard streams, since the next file to be opened would get a descriptor of theirs."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free descriptor, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r+"))  # noqa: PTH123, SIM115 - must stay open


class _OneLine(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        return printable(super().formatMessage(record), limit=_LONGEST_LINE)
