"""Write small data sets in the layout of ILSVRC."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import PIL.Image

from megavid.datasets.formats.ilsvrc.ilsvrc_layout import list_videos
from megavid.datasets.formats.ilsvrc.ilsvrc_xml import VID_SYNSETS, read_entries
from megavid.datasets.table.annotations import Annotations
from megavid.datasets.table.problems import Problems

SYNSETS = tuple(VID_SYNSETS)


def xml(
    objects: Sequence[tuple[str, int | None, tuple[int, int, int, int]]], *, width: int = 96, height: int = 64
) -> str:
    """Return an XML annotation, given the synset, track id and inclusive corners of each object."""
    rows = []
    for synset, track, (x1, y1, x2, y2) in objects:
        tag = "" if track is None else f"<trackid>{track}</trackid>"
        box = f"<xmax>{x2}</xmax><xmin>{x1}</xmin><ymax>{y2}</ymax><ymin>{y1}</ymin>"
        flags = "<occluded>0</occluded><generated>1</generated>"
        rows.append(f"\t<object>{tag}<name>{synset}</name><bndbox>{box}</bndbox>{flags}</object>\n")
    size = f"<size><width>{width}</width><height>{height}</height></size>"
    return f"<annotation>\n\t<folder>f</folder>{size}\n{''.join(rows)}</annotation>\n"


def write_frame(root: Path, kind: str, stem: str, text: str, image: bytes | None = None) -> None:
    """Write the annotation of a frame, and its image if one is given."""
    for top, suffix, content in (("Annotations", ".xml", text.encode()), ("Data", ".JPEG", image)):
        path = root / top / kind / f"{stem}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is not None:
            path.write_bytes(content)


def jpeg(*, width: int = 96, height: int = 64, seed: int = 0) -> bytes:
    """Return a JPEG file of random colors."""
    buffer = io.BytesIO()
    noise = np.random.default_rng(seed).integers(0, 255, (height // 8, width // 8, 3), np.uint8)
    PIL.Image.fromarray(noise).resize((width, height)).save(buffer, "JPEG")
    return buffer.getvalue()


def write_ilsvrc(
    root: Path, *, train_videos: int = 0, val_videos: int = 0, frames: int = 4, stills: int = 0
) -> Path:
    """Write videos of one object each, which moves by 1 to 4 pixels a frame, and still images.

    The images of all video frames are hard links to one file.
    """
    image = root / "image.JPEG"
    root.mkdir(parents=True, exist_ok=True)
    image.write_bytes(jpeg())
    names = [f"train/ILSVRC2015_VID_train_0000/ILSVRC2015_train_{v:08d}" for v in range(train_videos)]
    names += [f"val/ILSVRC2015_val_{v:08d}" for v in range(val_videos)]
    for number, name in enumerate(names):
        synset = SYNSETS[number % 30]
        for top in ("Annotations", "Data"):
            (root / top / "VID" / name).mkdir(parents=True)
        for frame in range(frames):
            x = 5 + (frame * (number % 4 + 1)) % 60
            text = xml([(synset, 0, (x, 10, x + 19, 29))])
            (root / "Annotations" / "VID" / name / f"{frame:06d}.xml").write_text(text)
            os.link(image, root / "Data" / "VID" / name / f"{frame:06d}.JPEG")
    for still in range(stills):
        stem = f"train/ILSVRC2014_train_0000/ILSVRC2014_train_{still:08d}"
        other = "n07697100"  # hamburger, a class that VID does not have
        text = xml([(SYNSETS[still % 30], None, (0, 0, 9, 9)), (other, None, (5, 5, 20, 20))])
        write_frame(root, "DET", stem, text, image.read_bytes())
    return root


def read(root: Path, subset: str, problems: Problems | None = None) -> Annotations:
    """Read a subset in this process, with the classes of VID."""
    problems = problems or Problems()
    entries = list_videos(root, subset, problems=problems)
    return read_entries(root, subset, entries, classes=None, problems=problems)
