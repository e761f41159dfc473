"""Prepare the arguments of the command line before they are parsed."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from megavid.core.errors import InputError

_TILDE = re.compile(r"(--?[\w.-]+=|-[a-z])?(~.*)", re.DOTALL)
"""Matches a path that begins with `~`, also after `--option=` or `-o`, where shells do not expand `~`."""


def prepare_arguments(argv: Sequence[str]) -> list[str]:
    """Expand `~` at the start of paths, and refuse empty arguments and values.

    Raises:
        InputError: An argument or an option's value is empty; no option accepts an empty value.
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
        else:  # expanduser leaves `~name` as it is if there is no such user
            arguments.append((tilde[1] or "") + os.path.expanduser(tilde[2]))  # noqa: PTH111
    return arguments


def split_names(option: str, text: str | None) -> list[str] | None:
    """Split a comma-separated list of names.

    Args:
        option: Name of the option, for messages.
        text: Value of the option; for None, the result is None.

    Raises:
        InputError: A name is empty or occurs twice.
    """
    if text is None:
        return None
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise InputError(f"{option}: expected names separated by commas, got {text!r}")
    duplicate = next((name for name, count in Counter(names).items() if count > 1), None)
    if duplicate is not None:
        raise InputError(f"{option}: has {duplicate!r} twice")
    return names


def check_output_is_no_input(output: Path, *inputs: Path | None) -> None:
    """Check that an output file is not also an input file.

    Raises:
        InputError: The output exists and is one of the inputs.
    """
    for path in inputs:
        with suppress(OSError):
            if path is not None and output.exists() and output.samefile(path):
                raise InputError(f"{output}: is also the input; choose another name for the output")


def split_overrides(argv: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Separate options with a dot in their name, such as `--method.window 6`, from the others.

    Returns:
        The other arguments; and the options with a dot as a dictionary such as {"method.window": "6"}, which
        has "" for an option without a value.
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


def refuse_overrides(overrides: Mapping[str, str], command: str) -> None:
    """Refuse options with a dot in their name for a command that reads no configuration.

    Raises:
        InputError: There is such an option; the message names the first one.
    """
    if overrides:
        raise InputError(f"--{next(iter(overrides))}: megavid {command} has no such option")
