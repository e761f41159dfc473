"""Formatting of error messages."""

from __future__ import annotations

from megavid.core.errors import LONGEST_MESSAGE, InputError


def test_a_message_is_one_short_printable_line() -> None:
    error = InputError(f"a\x1b[31m\nb\ud800\u202e{'c' * 10_000}: no such\x07 file")
    message = str(error)
    assert message.startswith("a\\x1b[31m b\\ud800\\u202eccc")
    assert message.endswith("ccc... " + "c" * 85 + ": no such\\x07 file")
    assert len(message) == LONGEST_MESSAGE
    hidden = str(InputError("\x1b" * 10_000))
    assert hidden.isprintable()
    assert len(hidden) <= LONGEST_MESSAGE
