"""`megavid weights`: list the weights that are available by name, or download some."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from megavid.cli.arguments import refuse_overrides
from megavid.cli.options import optional
from megavid.cli.output import print_table, say

if TYPE_CHECKING:
    from megavid.checkpoints.published import Published


@dataclass(frozen=True, kw_only=True)
class WeightsCommand:
    """List the weights that are available by name, or download one of them.

    --weights, --start.detector, --start.flow and --start.backbone take these names, and also https:// and
    file:// addresses; they download what is missing. Each file is downloaded once, to the folder in the
    environment variable MEGAVID_CACHE, or else to the user's cache.
    """

    name: Annotated[str | None, tyro.conf.Positional, optional("NAME", "list all")] = None
    """Name or address of weights to download."""

    def run(self, overrides: Mapping[str, str]) -> int:
        """Run the command and return its exit code."""
        refuse_overrides(overrides, "weights")
        if self.name is None:
            _print_table()
        else:
            say(str(_fetch(self.name)))
        return 0


def _fetch(name: str) -> Path:
    from megavid.checkpoints.backbone_weights import download_torchvision, torchvision_path
    from megavid.checkpoints.load import fetch_weights
    from megavid.checkpoints.published import library_of, published_weights
    from megavid.checkpoints.starting_weights import fetch_backbone
    from megavid.core.errors import InputError

    if library_of(name) == "torchvision":
        download_torchvision(name, mean=(0.0, 0.0, 0.0))
        return torchvision_path(name)
    if library_of(name) == "timm":
        raise InputError(f"{name}: timm downloads it when training starts (start.backbone)")
    entry = published_weights().get(name)
    if entry is not None and entry.kind == "backbone":
        return fetch_backbone(Path(name))
    return fetch_weights(name)


def _print_table() -> None:
    from rich.table import Table

    from megavid.checkpoints.published import published_weights
    from megavid.checkpoints.weights_cache import VARIABLE, cache_folder

    table = Table("name", "for", "model")
    for column in ("classes", "AP50", "MB"):
        table.add_column(column, justify="right")
    for column in ("tested on", "license", "on this machine"):
        table.add_column(column)
    for name, entry in published_weights().items():
        unknown = "" if entry.kind != "detector" else "not known"
        table.add_row(
            name,
            _OPTIONS[entry.kind],
            entry.model,
            "" if entry.classes is None else str(entry.classes),
            unknown if entry.ap50 is None else f"{entry.ap50:.1f}",
            str(entry.megabytes),
            entry.tested_on or "",
            entry.licence,
            _place(name, entry),
        )
    print_table(table)
    say("  AP50 in percent as published; MB of the tensors; also timm:NAME for --start.backbone")
    say("  detectors of other libraries, trained on COCO: --detector, such as torchvision:ssd300_vgg16")
    say(f"  cache: {cache_folder()} ({VARIABLE} sets it)")


_OPTIONS = {"detector": "--weights", "flow": "--start.flow", "backbone": "--start.backbone"}


def _place(name: str, entry: Published) -> str:
    """Return where weights are on this machine, or "no"."""
    from megavid.checkpoints.backbone_weights import torchvision_path
    from megavid.checkpoints.published import find_source, library_of
    from megavid.checkpoints.weights_cache import cached_path, read_record

    if library_of(name) == "torchvision":
        return "yes" if torchvision_path(name).is_file() else "no"
    source = find_source(name, backbone=entry.kind == "backbone")
    if source is None:
        return "yes, ships with megavid"
    return "yes" if cached_path(source).is_file() and read_record(source) is not None else "no"
