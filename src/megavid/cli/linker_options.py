"""The settings of a linker on the command line, such as `--link.min-score 0.01`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from megavid.core.errors import InputError

if TYPE_CHECKING:
    from megavid.linking.linker_config import LinkerConfig

_SECTION = "link."


def read_linker(
    name: str | None, overrides: Mapping[str, str], *, option: str
) -> tuple[LinkerConfig | None, dict[str, str]]:
    """Make the settings of a linker from its name and the options whose names begin with `--link.`.

    Args:
        name: Name of the linker; None for no linker.
        overrides: All options with a dot in their name, as `split_overrides` returns them.
        option: Option that has the name of the linker, for messages.

    Returns:
        The settings, and the options that belong to something else.

    Raises:
        InputError: The linker or a setting is unknown, a value is wrong, a file that a setting names
            cannot be read, or there are settings but no linker.
    """
    settings = {path: text for path, text in overrides.items() if path.startswith(_SECTION)}
    others = {path: text for path, text in overrides.items() if path not in settings}
    if name is None:
        if settings:
            raise InputError(f"--{next(iter(settings))}: needs {option} NAME")
        return None, others

    from megavid.core.config import parse_overrides
    from megavid.linking.linkers import linker_config

    values = {path.removeprefix(_SECTION): value for path, value in parse_overrides(settings).items()}
    linker = linker_config(name, values, origin=option)
    linker.start()  # reads the files that settings name, so that a mistake is found before any work
    return linker, others
