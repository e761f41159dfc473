"""Print lines that contain names from files and users."""

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
    from rich.text import Text

_LONGEST = 2000  # characters of a line
_NARROWEST = 40  # characters of a terminal's line

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

_USER_MISTAKES = _FULL | {
    *(errno.ENAMETOOLONG, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.EROFS)
}
"""Error numbers for names that a file system cannot take, and for a full disk."""


def say(line: str, *, error: bool = False) -> None:
    """Print a line as text: no character in it does anything to a terminal.

    Args:
        line: What to print.
        error: Whether it goes to standard error.
    """
    if not error:
        print(printable(line, limit=_LONGEST))
        return
    with suppress(OSError):  # where errors cannot be written the exit code has to do
        print(printable(line, limit=_LONGEST), file=sys.stderr, flush=True)


def cell(name: str, *, limit: int = 120) -> Text:
    """Return a name from data as a table cell, without interpreting markup in it."""
    from rich.text import Text

    return Text(printable(name, limit=limit))


def prepare_output() -> None:
    """Make sure that any name can be printed and logged, whatever the terminal's encoding."""
    _open_closed_streams()
    if shutil.get_terminal_size().columns < _NARROWEST:  # in which tyro does not end
        os.environ["COLUMNS"] = str(_NARROWEST)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    handler = logging.StreamHandler()
    handler.setFormatter(_OneLine("megavid: %(levelname)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    # Of large pictures, which are read, and of odd metadata; what cannot be read is an error.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    # Of names in letters that matplotlib's font lacks, one a letter.
    warnings.filterwarnings("ignore", message=r"Glyph \d+")


def describe_failure(error: MemoryError | OSError) -> str | None:
    """Describe a failure that is none of the program: a file that the user named, a full disk or memory.

    Nothing goes to standard output any more where that was what could not be written.

    Returns:
        The reason; None if the program may be to blame.
    """
    if isinstance(error, MemoryError):
        return f"not enough memory: {error}".removesuffix(": ")
    if error.filename is not None:
        return f"{error.filename}: {error.strerror}" if error.errno in _USER_MISTAKES else None
    if error.errno not in _FULL:
        return None
    _forget_output()
    return f"the output cannot be written: {error.strerror}"


def output_is_closed() -> bool:
    """Whether nobody reads standard output any more; nothing is written to it from then on."""
    try:
        handle = sys.stdout.fileno()
    except OSError:  # no file of the system's
        return False
    poll = select.poll()
    poll.register(handle, 0)
    closed = any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
    if closed:
        _forget_output()
    return closed


def _forget_output() -> None:
    with suppress(OSError):  # no file of the system's
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the buffer is written in the end


def _open_closed_streams() -> None:
    """Open standard streams that are closed: the next file to be opened would be taken for them."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r+"))  # noqa: PTH123, SIM115 - stays open


class _OneLine(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        return printable(super().formatMessage(record), limit=_LONGEST)
