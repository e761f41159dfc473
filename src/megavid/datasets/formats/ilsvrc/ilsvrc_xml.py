"""Read the XML files of ImageNet VID and DET.

DET has 170 classes that VID does not have; objects of these classes are left out. The other 30 classes have
the same WordNet ids (synsets) in VID and DET.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from megavid.datasets.formats.ilsvrc.ilsvrc_layout import SUBSETS
from megavid.datasets.formats.ilsvrc.ilsvrc_lists import VideoEntry
from megavid.datasets.formats.limits import LARGEST_COORDINATE, LARGEST_SIDE
from megavid.datasets.formats.track_ids import track_id
from megavid.datasets.table.annotations import NO_TRACK, AnnotationBuilder, Annotations
from megavid.datasets.table.problems import Kind, Problems

VID_SYNSETS = {
    "n02691156": "airplane",
    "n02419796": "antelope",
    "n02131653": "bear",
    "n02834778": "bicycle",
    "n01503061": "bird",
    "n02924116": "bus",
    "n02958343": "car",
    "n02402425": "cattle",
    "n02084071": "dog",
    "n02121808": "domestic_cat",
    "n02503517": "elephant",
    "n02118333": "fox",
    "n02510455": "giant_panda",
    "n02342885": "hamster",
    "n02374451": "horse",
    "n02129165": "lion",
    "n01674464": "lizard",
    "n02484322": "monkey",
    "n03790512": "motorcycle",
    "n02324045": "rabbit",
    "n02509815": "red_panda",
    "n02411705": "sheep",
    "n01726692": "snake",
    "n02355227": "squirrel",
    "n02129604": "tiger",
    "n04468005": "train",
    "n01662784": "turtle",
    "n04530566": "watercraft",
    "n02062744": "whale",
    "n02391049": "zebra",
}
"""Classes of VID by their WordNet ids (synsets), in the order of their labels."""

_LARGEST_XML = 1 << 26
"""Largest size of an XML file, in bytes."""

_IMAGE_SUFFIXES = (".JPEG", ".jpg", ".jpeg", ".png", ".PNG", ".JPG")


def read_entries(
    root: Path,
    subset: str,
    entries: Iterable[VideoEntry],
    *,
    classes: Sequence[str] | None,
    problems: Problems,
) -> Annotations:
    """Read the annotations of some videos and still images of a subset.

    A frame is `listed` if its entry lists it and it has an object of a known class; otherwise there is
    nothing to train on. In `vid_val`, all frames are `listed`.

    Args:
        root: The folder that `find_root` returns.
        subset: One of `SUBSETS`.
        entries: Some of the entries that `list_videos` returns.
        classes: Class names of a custom data set, whose files name each class by one of these names or by a
            synset of VID; None for the 30 classes of VID.
        problems: Collects broken files and objects.

    Raises:
        InputError: See `problems`.
    """
    names = tuple(classes or VID_SYNSETS.values())
    labels = {name: i for i, name in enumerate(names)}
    labels |= {synset: labels[name] for synset, name in VID_SYNSETS.items() if name in labels}
    reader = _Reader(
        root=root,
        kind=SUBSETS[subset].split("/")[0],
        builder=AnnotationBuilder(names, root=root),
        labels=labels,
        problems=problems,
    )
    for entry in entries:
        reader.read(entry, evaluated=subset == "vid_val")
    return reader.builder.build()


@dataclass(frozen=True)
class _Object:
    """An object in an XML file; its box is half-open, and its track is "" if it has none."""

    box: tuple[float, float, float, float]
    label: int
    track: str
    flags: dict[str, bool]


@dataclass(frozen=True, kw_only=True)
class _Reader:
    """Reads videos into a table; `kind` is "VID" or "DET"."""

    root: Path
    kind: str
    builder: AnnotationBuilder
    labels: dict[str, int]
    problems: Problems

    def read(self, entry: VideoEntry, *, evaluated: bool) -> None:
        """Add all frames of a video or still image to the table."""
        frames = [(n, f"{entry.folder}/{n:06d}") for n in entry.numbers] or [(0, entry.folder)]
        suffix = self._image_suffix(frames[0][1])
        parsed = [
            (number, stem, *content)
            for number, stem in frames
            if (content := self._parse(f"{self.root}/Annotations/{self.kind}/{stem}.xml")) is not None
        ]
        if not (entry.in_list or any(objects for *_, objects in parsed)):
            return
        self.builder.video(entry.folder)
        tracks: dict[str, int] = {}
        for number, stem, width, height, objects in parsed:
            listed = evaluated or (bool(objects) and (entry.listed is None or number in entry.listed))
            file = f"Data/{self.kind}/{stem}{suffix}"
            self.builder.frame(number, file=file, width=width, height=height, listed=listed)
            for found in objects:
                track = track_id(found.track, tracks) if found.track else NO_TRACK
                self.builder.box(*found.box, label=found.label, track=track, **found.flags)

    def _image_suffix(self, stem: str) -> str:
        """Return the suffix of a video's first image; all other images are assumed to have the same one."""
        image = f"{self.root}/Data/{self.kind}/{stem}"
        suffixes = (s for s in _IMAGE_SUFFIXES if os.path.exists(image + s))  # noqa: PTH110 - speed
        return next(suffixes, _IMAGE_SUFFIXES[0])

    def _parse(self, path: str) -> tuple[int, int, list[_Object]] | None:
        """Return width, height and objects of a frame; None if its XML file is broken or missing."""
        try:
            tree = ElementTree.fromstring(_read(path))
            size = tree.find("size")
            width, height = (int(float(_text(size, side))) for side in ("width", "height"))
            if not (0 <= width <= LARGEST_SIDE and 0 <= height <= LARGEST_SIDE):
                raise ValueError(f"expected a size up to {LARGEST_SIDE}, got {width}x{height}")
        except OSError as error:
            self.problems.add(Kind.UNREADABLE, path, f"cannot be read: {error.strerror}")
            return None
        except (ElementTree.ParseError, LookupError, ValueError, OverflowError) as error:
            self.problems.add(Kind.UNREADABLE, path, f"expected an annotation in XML: {error}")
            return None
        objects = (self._object(f"{path}, object {i}", x) for i, x in enumerate(tree.iter("object"), 1))
        return width, height, [found for found in objects if found is not None]

    def _object(self, where: str, element: ElementTree.Element) -> _Object | None:
        try:
            name = _text(element, "name")
            corners = element.find("bndbox")
            x1, y1, x2, y2 = (float(_text(corners, key)) for key in ("xmin", "ymin", "xmax", "ymax"))
        except ValueError as error:
            self.problems.add(Kind.UNREADABLE, where, str(error))
            return None
        label = self.labels.get(name)
        if label is None:
            if self.kind != "DET":
                hint = "; --classes or ImageSets/classes.txt names those of a data set of one's own"
                self.problems.add(Kind.UNKNOWN_CLASS, where, f"no class is called {name!r}{hint}")
            return None
        most = LARGEST_COORDINATE
        if not (most >= x2 >= x1 >= -most and most >= y2 >= y1 >= -most):  # false for NaN, too
            message = f"expected xmin <= xmax and ymin <= ymax, got {x1:g}, {y1:g}, {x2:g}, {y2:g}"
            self.problems.add(Kind.INVERTED, where, message)
            return None
        flags = {key: element.findtext(key) == "1" for key in ("occluded", "generated", "difficult")}
        return _Object((x1, y1, x2 + 1, y2 + 1), label, element.findtext("trackid", "").strip(), flags)


def _read(path: str) -> bytes:
    """Read a file; raises ValueError if it is too large or not a regular file."""
    about = os.stat(path)  # noqa: PTH116 - speed
    if not stat.S_ISREG(about.st_mode) or about.st_size > _LARGEST_XML:
        raise ValueError(f"expected a regular file of at most {_LARGEST_XML} bytes")
    with open(path, "rb") as file:  # noqa: PTH123 - speed
        return file.read()


def _text(element: ElementTree.Element | None, key: str) -> str:
    text = None if element is None else element.findtext(key)
    if text is None:
        raise ValueError(f"{key} is missing")
    return text.strip()
