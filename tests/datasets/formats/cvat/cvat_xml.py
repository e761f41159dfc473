"""Write small CVAT exports for tests."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path

HEAD = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version><meta><task><size>{size}</size><start_frame>{start}</start_frame>{more}
<original_size><width>64</width><height>48</height></original_size>
<labels><label><name>cat</name></label><label><name>Dächs</name></label></labels></task></meta>"""


def box(frame: int, x: float, *, outside: int = 0, keyframe: int = 1, occluded: int = 0) -> str:
    """Format a box of 10x20 pixels whose left edge is at `x`."""
    return (
        f'<box frame="{frame}" outside="{outside}" occluded="{occluded}" keyframe="{keyframe}" '
        f'xtl="{x}" ytl="1" xbr="{x + 10}" ybr="21" z_order="0"></box>'
    )


def add_images(folder: Path, numbers: Iterable[int]) -> None:
    """Make empty files with the names that CVAT gives to images of frames."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        (folder / f"frame_{number:06d}.png").touch()


def write(
    path: Path, *tracks: str, size: int = 6, start: int = 0, step: int = 1, stop: int = 0, source: str = ""
) -> Path:
    """Write an export of one task; the first track has class "Dächs", the others have class "cat"."""
    rows = "".join(
        f'<track id="{i}" label="{"cat" if i else "Dächs"}">{t}</track>' for i, t in enumerate(tracks)
    )
    more = f"<stop_frame>{stop}</stop_frame>" if stop else ""
    more += f"<frame_filter>{f'step={step}' if step > 1 else ''}</frame_filter><source>{source}</source>"
    path.write_text(HEAD.format(size=size, start=start, more=more) + rows + "</annotations>", "utf-8")
    return path


PROJECT = """<annotations><version>1.1</version><meta><project><id>1</id><name>p</name>
<labels><label><name>cat</name></label></labels><tasks>{}</tasks></project></meta>{}</annotations>"""

TASK = """<task><id>{}</id><name>task {}</name><size>3</size><start_frame>{}</start_frame><source>{}</source>
<original_size><width>64</width><height>48</height></original_size></task>"""


def zipped(path: Path, xml: Path) -> None:
    """Write a zip that contains an XML file as annotations.xml."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(xml, "annotations.xml")
