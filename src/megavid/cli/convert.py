"""`megavid convert`: a checkpoint of the original release as one safe file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from megavid.cli.arguments import check_is_not_read
from megavid.cli.detect import refuse_overrides
from megavid.cli.output import say


@dataclass(frozen=True, kw_only=True)
class Convert:
    """Write a checkpoint of the original release as .safetensors, with its configuration and class names.

    FlowNet's weights, which the original publishes as a file of their own, have neither.

    The original's weights may carry its non-commercial terms; the file says so.
    """

    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="IN")]
    """The checkpoint (.pth, .ckpt)."""
    target: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")]
    """The file to write (.safetensors)."""
    model: Annotated[str | None, tyro.conf.arg(metavar="NAME|YAML")] = None
    """A shipped configuration's name or a YAML file, for other class names; by default what IN tells."""

    def run(self, overrides: Mapping[str, str]) -> int:
        """Do it; the exit code."""
        from megavid.checkpoints.load import convert_weights

        refuse_overrides(overrides, "convert")
        check_is_not_read(self.target, self.source)
        config = convert_weights(self.source, self.target, config=self.model)
        if config is None:
            say(f"{self.target}: FlowNet")
        else:
            backbone = config.backbone.name
            say(f"{self.target}: {config.method.name}, {backbone}, {len(config.classes)} classes")
        return 0
