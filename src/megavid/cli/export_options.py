"""Options of the commands that export boxes, from data sets and from predictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from megavid.datasets.formats.export_format import ExportFormat


@dataclass(frozen=True, kw_only=True)
class FormatOptions:
    """The format to write, and options of single formats."""

    form: Annotated[ExportFormat | Literal["cocovid"], tyro.conf.arg(name="as", aliases=["--to"])]
    """Format to write; coco is CocoVID, and has both names."""
    tracks: bool = False
    """For yolo: add each object's track id as a sixth number to its line."""
    address: Annotated[str, tyro.conf.arg(metavar="PREFIX")] = ""
    """For labelstudio: what Label Studio needs before the name of a video to find it, such as
    "/data/local-files/?d=videos/"."""

    @property
    def values(self) -> tuple[ExportFormat, bool, str]:
        """The format, `tracks` and `address`."""
        return "coco" if self.form == "cocovid" else self.form, self.tracks, self.address
