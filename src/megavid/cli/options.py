"""Shorthands to declare options of commands for tyro."""

from __future__ import annotations

import tyro

FLAT = tyro.conf.arg(name="")
"""Marks a dataclass of options whose options are listed among those of the command, without a prefix."""


def optional(metavar: str, default: str | None = None, *, aliases: tuple[str, ...] = ()) -> object:
    """Return the marker of an option whose default value is None.

    Args:
        metavar: Placeholder of the value in the help, such as "FILE".
        default: Description of what None stands for, shown in the help; None if the option does nothing then.
        aliases: Other names of the option, such as "-o".
    """
    hint = "(optional)" if default is None else f"(default: {default})"
    return tyro.conf.arg(metavar=metavar, help_behavior_hint=hint, aliases=aliases)
