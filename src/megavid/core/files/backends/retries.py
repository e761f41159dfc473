"""Try again what failed since a connection was lost, and name what failed for good."""

from __future__ import annotations

import errno
import logging
import random
import re
import time
from collections.abc import Callable
from typing import NoReturn, TypeVar

from megavid.core.errors import InputError

logger = logging.getLogger(__name__)

T = TypeVar("T")

PATIENCE = 60.0
"""Seconds for which an operation is tried again before a lost connection is an error."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 10.0  # seconds


class StorageError(InputError):
    """A storage that cannot be used: no connection, no such bucket, bad credentials or no space left."""


class ConnectionLostError(StorageError):
    """A storage that did not answer for `PATIENCE` seconds."""


class MissingFileError(InputError):
    """A file that does not exist."""


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)

_LOST = (errno.ESTALE, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH)
"""Error numbers of network disks whose server is away."""

_NO_BUCKET = re.compile(
    r"NO_SUCH_BUCKET|NoSuchBucket|bucket does not exist|Bucket '.*' not found", re.IGNORECASE
)
_NO_SPACE = re.compile(r"no space left|quota ?exceeded|EntityTooLarge", re.IGNORECASE)
_NO_CREDENTIALS = re.compile(
    r"INVALID_ACCESS_KEY_ID|InvalidAccessKeyId|SIGNATURE_DOES_NOT_MATCH|SignatureDoesNotMatch"
    r"|INVALID_CLIENT_TOKEN_ID|InvalidClientTokenId|UNRECOGNIZED_CLIENT|EXPIRED_TOKEN|ExpiredToken"
    r"|INVALID_SIGNATURE|INCOMPLETE_SIGNATURE|MISSING_AUTHENTICATION_TOKEN|UNAUTHENTICATED"
    r"|Unable to locate credentials",
    re.IGNORECASE,
)
_FORBIDDEN = re.compile(r"ACCESS_DENIED|AccessDenied|PERMISSION_DENIED|HTTP status 403")
_REFUSED = re.compile(r"HTTP status (?!408|429)[34]\d\d|Unable to load lib")

_FINAL = (
    *(FileNotFoundError, PermissionError, NotADirectoryError, IsADirectoryError),
    *(ValueError, NotImplementedError),
)
"""Errors of an operation that would fail in the same way again."""

_BUGS = (TypeError, AttributeError, NameError, AssertionError, LookupError)


def retry(address: str, action: Callable[[], T], *, remote: bool) -> T:
    """Do something with a stored file, and again after a lost connection.

    The pauses between the attempts grow, and are random so that many workers do not come back all at once.

    Args:
        address: The file, for messages.
        action: Function that raises any error.
        remote: Whether the storage is reached through a network, so that an unknown error may pass.

    Returns:
        What the function returns.

    Raises:
        ConnectionLostError: The connection was lost for `PATIENCE` seconds.
        StorageError: The storage cannot be used.
        MissingFileError: The file does not exist.
        InputError: The file cannot be used, for example since it may not be read.
    """
    end = time.monotonic() + PATIENCE
    pause = _FIRST_PAUSE
    while True:
        try:
            return action()
        except _BUGS:
            raise
        except Exception as error:
            reason = error.__cause__ if isinstance(error, InputError) else error
            if isinstance(error, InputError) and not isinstance(reason, OSError):
                raise
            assert isinstance(reason, Exception)
            left = end - time.monotonic()
            if left <= 0 or not _may_pass(reason, remote=remote):
                _refuse(address, reason, remote=remote)
            if pause == _FIRST_PAUSE:
                logger.warning("%s: %s; trying again for %.0f seconds", address, _text(reason), left)
            time.sleep(min(pause * random.uniform(0.5, 1.0), left))
            pause = min(2 * pause, _LONGEST_PAUSE)


def _may_pass(error: Exception, *, remote: bool) -> bool:
    """Return whether the same action may succeed later."""
    if isinstance(error, ConnectionError | TimeoutError) or getattr(error, "errno", None) in _LOST:
        return True
    if not remote or isinstance(error, _FINAL):
        return False
    if getattr(error, "errno", None) in _FULL:
        return False
    known = (_NO_BUCKET, _NO_SPACE, _NO_CREDENTIALS, _FORBIDDEN, _REFUSED)
    return not any(pattern.search(str(error)) for pattern in known)


def _refuse(address: str, error: Exception, *, remote: bool) -> NoReturn:
    text = _text(error)
    if _may_pass(error, remote=remote):
        raise ConnectionLostError(f"{address}: no connection for {PATIENCE:.0f} seconds: {text}") from error
    if remote and _NO_BUCKET.search(text):
        raise StorageError(f"{address}: the bucket does not exist") from error
    if isinstance(error, FileNotFoundError):
        raise MissingFileError(f"{address}: no such file") from error
    if getattr(error, "errno", None) in _FULL or (remote and _NO_SPACE.search(text)):
        raise StorageError(f"{address}: cannot be written: {text}") from error
    if remote and _NO_CREDENTIALS.search(text):
        raise StorageError(f"{address}: the credentials were not accepted: {text}") from error
    if isinstance(error, PermissionError) or (remote and _FORBIDDEN.search(text)):
        raise InputError(f"{address}: access denied: {text}") from error
    raise InputError(f"{address}: cannot be used: {text}") from error


def _text(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    text = " ".join(str(text).split())
    return re.sub("^When .*?(?=AWS Error)", "", text)  # the address says it already
