"""`megavid convert`: write a checkpoint of the original release as one safe file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from megavid.cli.arguments import check_output_is_no_input, refuse_overrides
from megavid.cli.options import optional
from megavid.cli.output import say


@dataclass(frozen=True, kw_only=True)
class Convert:
    """Convert a checkpoint of the original release to .safetensors, with its configuration and class names.

    FlowNet's weights, which the original release publishes as a separate file, can be converted too.
    The non-commercial terms of the original's weights may apply to the converted file; its metadata says so.
    """

    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="IN")]
    """Checkpoint to read: a file (.pth, .ckpt), or a name or address, as for `megavid detect --weights`."""
    target: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")]
    """File to write (.safetensors)."""
    model: Annotated[str | None, optional("NAME|YAML", "inferred from the checkpoint")] = None
    """Name of a shipped configuration or a YAML file, such as one with other class names."""

    def run(self, overrides: Mapping[str, str]) -> int:
        """Run the command and return its exit code."""
        from megavid.checkpoints.load import convert_weights

        refuse_overrides(overrides, "convert")
        check_output_is_no_input(self.target, self.source)
        detector = convert_weights(self.source, self.target, config=self.model)
        if detector is None:
            say(f"{self.target}: FlowNet")
        else:
            method, classes = detector.config.method.name, len(detector.class_names)
            say(f"{self.target}: {method}, {detector.architecture}, {classes} classes")
        return 0
