"""Write MOTChallenge sequences for tests."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def write(folder: Path, text: str, *, info: bool = True, images: int = 0) -> Path:
    """Write gt.txt, seqinfo.ini if `info`, and empty image files with numbers 1 to `images`."""
    (folder / "gt").mkdir(parents=True)
    (folder / "gt" / "gt.txt").write_bytes(text.encode())
    if info:
        lines = ["[Sequence]", "name=x", "imDir=img1", "seqLength=4", "imWidth=64", "imHeight=48"]
        (folder / "seqinfo.ini").write_text("\n".join(lines))
    add_images(folder, range(1, images + 1))
    return folder


def add_images(folder: Path, numbers: Iterable[int], prefix: str = "", suffix: str = ".jpg") -> None:
    """Make empty image files in the img1 folder of a sequence."""
    for number in numbers:
        (folder / "img1").mkdir(exist_ok=True)
        (folder / "img1" / f"{prefix}{number:06d}{suffix}").touch()
