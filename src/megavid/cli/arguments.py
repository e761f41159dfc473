"""Prepare the arguments of the command line before they are parsed."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from megavid.core.errors import InputError

_TILDE = re.compile(r"(--?[\w.-]+=|-[a-z])?(~.*)", re.DOTALL)
"""A path in somebody's home, by itself or as the value of an option, in which no shell expands it."""


def prepare_arguments(argv: Sequence[str]) -> list[str]:
    """Expand `~` in all arguments, and refuse empty ones.

    Raises:
        InputError: An argument is empty: no option takes that.
    """
    arguments = []
    for number, argument in enumerate(argv):
        name, equals, value = argument.partition("=")
        if not argument or (equals and not value and name.startswith("-") and "." not in name):
            before = name or (argv[number - 1] if number else "the command")
            raise InputError(f"{before}: expected a value, got an empty one")
        tilde = _TILDE.fullmatch(argument)
        if tilde is None:
            arguments.append(argument)
        else:  # that of an unknown user stays
            arguments.append((tilde[1] or "") + os.path.expanduser(tilde[2]))  # noqa: PTH111
    return arguments


def split_names(option: str, text: str | None) -> list[str] | None:
    """Split names that are separated by commas; None where nothing was given.

    Raises:
        InputError: One of them is empty or there twice.
    """
    if text is None:
        return None
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise InputError(f"{option}: expected names separated by commas, got {text!r}")
    twice = [name for name in names if names.count(name) > 1][:1] if len(set(names)) < len(names) else []
    if twice:
        raise InputError(f"{option}: has {twice[0]!r} twice")
    return names


def check_is_not_read(output: Path, *inputs: Path | None) -> None:
    """Check that an output does not take the place of what is read.

    Raises:
        InputError: It would.
    """
    for path in inputs:
        with suppress(OSError):
            if path is not None and output.exists() and output.samefile(path):
                raise InputError(f"{output}: is what is read; choose another name for the output")


def split_overrides(argv: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Separate options with a dot in their name, such as `--method.window 6`, from the others.

    Returns:
        The other arguments, and {"method.window": "6"}. An option without a value has "".
    """
    rest: list[str] = []
    overrides: dict[str, str] = {}
    arguments = list(argv)
    while arguments:
        argument = arguments.pop(0)
        name, equals, value = argument.partition("=")
        if not name.startswith("--") or "." not in name:
            rest.append(argument)
            continue
        if not equals:
            value = arguments.pop(0) if arguments and not arguments[0].startswith("--") else ""
        overrides[name[2:].replace("-", "_")] = value
    return rest, overrides
