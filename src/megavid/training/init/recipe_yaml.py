"""Format a proposed recipe as YAML, with the reasons for its values as comments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from megavid.core.text import printable
from megavid.training.init.proposal import Proposal


def as_yaml(proposal: Proposal, *, head: list[str]) -> str:
    """Return a recipe as YAML text.

    Args:
        proposal: The recipe, with the reasons that become comments.
        head: Comments for the beginning, one line each.
    """
    lines = [f"# {line}".rstrip() for line in head]
    for section, values in proposal.recipe.items():
        _write(lines, section, values, section, proposal.reasons, depth=0)
    return "\n".join(lines) + "\n"


def _write(
    lines: list[str], key: str, value: Any, path: str, reasons: Mapping[str, str], *, depth: int
) -> None:
    indent = "  " * depth
    comment = f"  # {printable(reasons[path], limit=1000)}" if path in reasons else ""
    if isinstance(value, Mapping):
        lines.append(f"{indent}{key}:{comment}")
        for name, inner in value.items():
            _write(lines, name, inner, f"{path}.{name}", reasons, depth=depth + 1)
    else:
        text = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True)
        lines.append(f"{indent}{key}: {text.removesuffix('...' + chr(10)).strip()}{comment}")
