"""Write a synthetic data set in the layout of ImageNet VID."""

from __future__ import annotations

import multiprocessing
import os
import re
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import PIL.Image

from megavid.core.errors import InputError
from megavid.core.files.atomic import atomic_path, remove_leftovers
from megavid.core.files.locks import LOCK, locked_folder
from megavid.core.machine.cores import usable_cores
from megavid.core.machine.processes import end_with_parent
from megavid.core.ranges import MOST_SEED, check_range
from megavid.datasets.formats.ilsvrc.ilsvrc_lists import CLASSES_FILE
from megavid.datasets.synthetic.camera import SyntheticFrame, film
from megavid.datasets.synthetic.scene import CLASSES

_QUALITY = 90

_LARGEST_NUMBER = 999_999
"""Largest number of videos, and of frames in a video, since names have six digits."""

_LARGEST_SIDE = 4096
"""Largest width and height in pixels, since drawing takes much memory."""

_UNFINISHED = ".unfinished"
_FILES = re.compile(
    rf"(Data|Annotations)/VID/(train|val)/\d{{4,}}_\d{{6,}}/\d{{6,}}\.(JPEG|xml)|{re.escape(str(CLASSES_FILE))}"
)
"""Pattern of the files of a data set, relative to its folder."""

_FOLDERS = re.compile(r"(Data|Annotations)(/VID(/(train|val)(/\d{4,}_\d{6,})?)?)?|ImageSets")
"""Pattern of the folders of a data set, relative to its folder."""


@dataclass(frozen=True, kw_only=True)
class SyntheticSet:
    """A synthetic data set. Video i depends only on the seed and the size of the frames.

    Attributes:
        videos: Number of videos.
        val_every: Of this many successive videos, the last one is for validation.
        frames: Number of frames of each video.
        height: Height of the frames in pixels.
        width: Width of the frames in pixels.
        seed: Seed of all random numbers.
    """

    videos: int
    val_every: int = 5
    frames: int = 48
    height: int = 144
    width: int = 192
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least, most in (
            ("videos", 1, _LARGEST_NUMBER),
            ("val_every", 1, _LARGEST_NUMBER),
            ("frames", 1, _LARGEST_NUMBER),
            ("height", 48, _LARGEST_SIDE),
            ("width", 48, _LARGEST_SIDE),
            ("seed", 0, MOST_SEED),
        ):
            check_range(name, getattr(self, name), least=least, most=most)


def write_synthetic_set(
    folder: Path,
    config: SyntheticSet,
    *,
    workers: int | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> None:
    """Write JPEG images, XML annotations with track ids, and the class names.

    Args:
        folder: The folder, which must be empty or missing. The files of an interrupted run, which left a file
            `.unfinished`, are removed first.
        config: The data set.
        workers: Number of processes; by default the number of cores.
        progress: Called with the number of videos written so far.

    Raises:
        InputError: The folder is not empty or cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written to: {error.strerror}") from error
    with locked_folder(folder):
        _write_all(folder, config, workers, progress)


def _write_all(
    folder: Path, config: SyntheticSet, workers: int | None, progress: Callable[[int], None]
) -> None:
    mark = folder / _UNFINISHED
    try:
        if mark.exists():
            _remove_unfinished(folder)
        if any(path.name not in {LOCK, _UNFINISHED} or path.is_symlink() for path in folder.iterdir()):
            raise InputError(f"{folder}: expected an empty folder or none")
        mark.touch()
        (folder / CLASSES_FILE).parent.mkdir(parents=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written to: {error.strerror}") from error
    with atomic_path(folder / CLASSES_FILE) as aside:
        aside.write_text("".join(f"{name}\n" for name in CLASSES))
    context = multiprocessing.get_context("spawn")
    count = min(workers or usable_cores(), config.videos)
    with ProcessPoolExecutor(count, mp_context=context, initializer=end_with_parent) as pool:
        jobs = [pool.submit(_write_video, folder, config, video) for video in range(config.videos)]
        try:
            for done, job in enumerate(jobs, 1):
                job.result()
                progress(done)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    mark.unlink()


def _remove_unfinished(folder: Path) -> None:
    """Remove the files that an interrupted run left, and folders that become empty."""
    remove_leftovers((folder / CLASSES_FILE).parent)
    for place, _, names in os.walk(folder, topdown=False):  # does not follow links
        where = Path(place)
        for name in names:
            if _FILES.fullmatch((where / name).relative_to(folder).as_posix()):
                (where / name).unlink()
        if _FOLDERS.fullmatch(where.relative_to(folder).as_posix()) and not any(where.iterdir()):
            where.rmdir()


def _write_video(folder: Path, config: SyntheticSet, video: int) -> None:
    subset = "val" if video % config.val_every == config.val_every - 1 else "train"
    name = f"{subset}/{config.seed:04d}_{video:06d}"
    images, annotations = (folder / top / "VID" / name for top in ("Data", "Annotations"))
    try:
        images.mkdir(parents=True)
        annotations.mkdir(parents=True)
        filmed = film(
            seed=config.seed, video=video, frames=config.frames, height=config.height, width=config.width
        )
        for t, frame in enumerate(filmed):
            PIL.Image.fromarray(frame.image).save(images / f"{t:06d}.JPEG", quality=_QUALITY)
            (annotations / f"{t:06d}.xml").write_bytes(_xml(frame, name, f"{t:06d}"))
    except OSError as error:
        raise InputError(f"{images}: cannot be written: {error.strerror}") from error


def _xml(frame: SyntheticFrame, folder: str, stem: str) -> bytes:
    """Make an annotation file; boxes are rounded outward to integers, and xmax, ymax is the last pixel."""
    root = ElementTree.Element("annotation")
    for key, text in (("folder", folder), ("filename", stem)):
        ElementTree.SubElement(root, key).text = text
    size = ElementTree.SubElement(root, "size")
    for key, value in zip(("width", "height"), reversed(frame.image.shape[:2]), strict=True):
        ElementTree.SubElement(size, key).text = str(value)
    rows = zip(frame.boxes.tolist(), frame.labels, frame.tracks, frame.occluded, strict=True)
    for (x1, y1, x2, y2), label, track, occluded in rows:
        item = ElementTree.SubElement(root, "object")
        ElementTree.SubElement(item, "trackid").text = str(track)
        ElementTree.SubElement(item, "name").text = CLASSES[label]
        box = ElementTree.SubElement(item, "bndbox")
        corners = {"xmax": -int(-x2 // 1) - 1, "xmin": int(x1), "ymax": -int(-y2 // 1) - 1, "ymin": int(y1)}
        for key, number in corners.items():
            ElementTree.SubElement(box, key).text = str(number)
        ElementTree.SubElement(item, "occluded").text = str(int(occluded))
        ElementTree.SubElement(item, "generated").text = "0"
    ElementTree.indent(root)
    return ElementTree.tostring(root)
