"""Shorthands for declaring command-line options with tyro."""

from __future__ import annotations

import tyro

FLAT = tyro.conf.arg(name="")
"""Marker for a dataclass of options, which become options of the command itself, without a prefix."""


def optional(metavar: str, default: str | None = None, *, aliases: tuple[str, ...] = ()) -> object:
    """Return the marker of an option whose default value is None.

    Args:
        metavar: Placeholder of the value in the help, such as "FILE".
        default: Description, for the help, of what the value None stands for; None if it stands for nothing.
        aliases: Other names of the option, such as "-o".
    """
    hint = "(optional)" if default is None else f"(default: {default})"
    return tyro.conf.arg(metavar=metavar, help_behavior_hint=hint, aliases=aliases)
