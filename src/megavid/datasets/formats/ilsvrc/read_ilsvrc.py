"""ImageNet's videos (VID) and stills (DET) in the layout of ILSVRC 2015, and own data sets laid out so.

`ROOT/{Annotations,Data,ImageSets}/{VID,DET}`: an XML file and an image for each frame,
`VID/train/.../000000.xml` and `.JPEG`. Of DET, the 30 classes of VID are taken, which have the same synsets
there; other objects are left out. Lists in `ImageSets` choose the frames, where they are present.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from megavid.core.errors import InputError
from megavid.datasets.formats.ilsvrc.lists import (
    LISTS,
    VideoEntry,
    key_frames,
    read_still_list,
    read_train_list,
    read_val_list,
)
from megavid.datasets.formats.track_ids import track_id
from megavid.datasets.limits import LARGEST_COORDINATE, LARGEST_SIDE
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
"""The classes of VID in the order of their labels."""

SUBSETS = {"vid_train": "VID/train", "vid_val": "VID/val", "det_train": "DET/train"}
"""Names of the parts, and their folders."""

_LARGEST_XML = 1 << 26
"""The most bytes of a frame's annotation."""

_SUFFIXES = (".JPEG", ".jpg", ".jpeg", ".png", ".PNG", ".JPG")


def is_ilsvrc(path: Path) -> bool:
    """Whether a folder has this layout, or holds one that has and is called ILSVRC2015."""
    return any(map(_has_layout, _roots(path)))


def find_root(path: Path) -> Path:
    """The folder with `Annotations`, `Data` and `ImageSets`.

    Raises:
        InputError: There is none.
    """
    for root in _roots(path):
        if _has_layout(root):
            return root
    raise InputError(f"{path}: expected the folders Annotations/VID or Annotations/DET in it")


def subsets(root: Path) -> tuple[str, ...]:
    """The names of `SUBSETS` that are there."""
    return tuple(name for name, folder in SUBSETS.items() if (root / "Annotations" / folder).is_dir())


def find_list(root: Path, subset: str) -> Path | None:
    """The list of a subset; None if there is none."""
    folders = (root / "ImageSets", root / "ImageSets" / SUBSETS[subset].split("/")[0])
    return next((folder / LISTS[subset] for folder in folders if (folder / LISTS[subset]).is_file()), None)


def list_videos(root: Path, subset: str, *, problems: Problems) -> list[VideoEntry]:
    """What a subset consists of, by its list, or by its files where it has no list.

    Without a list: all videos or stills in order of their names; in `vid_train`, `KEY_FRAMES` of each video
    are listed.

    Raises:
        InputError: The subset or its list is missing or broken; or see `problems`.
    """
    folder = SUBSETS.get(subset)
    if folder is None:
        raise InputError(f"subset: expected one of {', '.join(SUBSETS)}, got {subset!r}")
    annotations = root / "Annotations" / folder
    if not annotations.is_dir():
        raise InputError(f"{annotations}: no such folder")
    path = find_list(root, subset)
    if path is not None:
        readers = {"vid_train": read_train_list, "vid_val": read_val_list, "det_train": read_still_list}
        return readers[subset](path, problems=problems)
    kind, split = folder.split("/")
    if kind == "DET":
        stems = sorted(file for parent, files in _xml_files(annotations) for file in _joined(parent, files))
        return [VideoEntry(f"{split}/{stem}", (), named=False) for stem in stems]
    entries = []
    for parent, files in sorted(_xml_files(annotations)):
        numbers = _frame_numbers(annotations / parent, files, problems)
        if numbers:
            listed = None if subset == "vid_val" else frozenset(numbers[i] for i in key_frames(len(numbers)))
            entries.append(VideoEntry(f"{split}/{parent}" if parent else split, numbers, listed))
    return entries


def read_entries(
    root: Path,
    subset: str,
    entries: Iterable[VideoEntry],
    *,
    classes: Sequence[str] | None,
    problems: Problems,
) -> Annotations:
    """The annotations of some of a subset's videos.

    A frame that is listed but has no object of a known class is not `listed` in the result: there is nothing
    in it to train on. In `vid_val` every frame is.

    Args:
        root: See `find_root`.
        subset: One of `SUBSETS`.
        entries: What `list_videos` gives.
        classes: Names, for data sets of one's own; None for the 30 of VID. Objects have a name or a synset.
        problems: Where broken files and objects go.

    Raises:
        InputError: See `problems`.
    """
    names = tuple(classes or VID_SYNSETS.values())
    labels = {name: i for i, name in enumerate(names)}
    labels |= {synset: labels[name] for synset, name in VID_SYNSETS.items() if name in labels}
    reader = _Reader(
        root, SUBSETS[subset].split("/")[0], AnnotationBuilder(names, root=root), labels, problems
    )
    for entry in entries:
        reader.read(entry, evaluated=subset == "vid_val")
    return reader.builder.build()


@dataclass(frozen=True)
class _Object:
    """An object of an XML file: its box (half-open), class, track and flags."""

    box: tuple[float, float, float, float]
    label: int
    track: str  # "" if it has none
    flags: dict[str, bool]


@dataclass(frozen=True)
class _Reader:
    root: Path
    kind: str  # VID or DET
    builder: AnnotationBuilder
    labels: dict[str, int]
    problems: Problems

    def read(self, entry: VideoEntry, *, evaluated: bool) -> None:
        """All frames of a video into the builder."""
        frames = [(n, f"{entry.folder}/{n:06d}") for n in entry.numbers] or [(0, entry.folder)]
        suffix = self._suffix(frames[0][1])
        parsed = [
            (number, stem, *content)
            for number, stem in frames
            if (content := self._parse(f"{self.root}/Annotations/{self.kind}/{stem}.xml")) is not None
        ]
        if not (entry.named or any(objects for *_, objects in parsed)):
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

    def _suffix(self, stem: str) -> str:
        image = f"{self.root}/Data/{self.kind}/{stem}"
        return next((s for s in _SUFFIXES if os.path.exists(image + s)), _SUFFIXES[0])  # noqa: PTH110 - speed

    def _parse(self, path: str) -> tuple[int, int, list[_Object]] | None:
        """Width, height and objects; None if the file is broken or missing."""
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
            if self.kind != "DET":  # which has 170 classes more
                hint = "; --classes or ImageSets/classes.txt names those of a data set of one's own"
                self.problems.add(Kind.UNKNOWN_CLASS, where, f"no class is called {name!r}{hint}")
            return None
        most = LARGEST_COORDINATE
        if not (most >= x2 >= x1 >= -most and most >= y2 >= y1 >= -most):  # nor NaN
            message = f"expected xmin <= xmax and ymin <= ymax, got {x1:g}, {y1:g}, {x2:g}, {y2:g}"
            self.problems.add(Kind.INVERTED, where, message)
            return None
        flags = {key: element.findtext(key) == "1" for key in ("occluded", "generated", "difficult")}
        return _Object((x1, y1, x2 + 1, y2 + 1), label, element.findtext("trackid", "").strip(), flags)


def _read(path: str) -> bytes:
    """Read a file; ValueError where it is none, or too large."""
    about = os.stat(path)  # noqa: PTH116 - speed
    if not stat.S_ISREG(about.st_mode) or about.st_size > _LARGEST_XML:
        raise ValueError(f"expected an ordinary file of at most {_LARGEST_XML} bytes")
    with open(path, "rb") as file:  # noqa: PTH123 - speed
        return file.read()


def _text(element: ElementTree.Element | None, key: str) -> str:
    text = None if element is None else element.findtext(key)
    if text is None:
        raise ValueError(f"{key} is missing")
    return text.strip()


def _frame_numbers(folder: Path, stems: Iterable[str], problems: Problems) -> tuple[int, ...]:
    """The numbers of a video's frames, in order, by its XML files."""
    numbers = []
    for stem in sorted(stems):
        if stem.isdecimal() and stem == f"{int(stem):06d}":
            numbers.append(int(stem))
        else:
            message = "expected a frame's number of six digits as its name, such as 000000.xml"
            problems.add(Kind.UNREADABLE, folder / f"{stem}.xml", message)
    return tuple(sorted(numbers))


def _has_layout(root: Path) -> bool:
    return any((root / "Annotations" / name).is_dir() for name in ("VID", "DET"))


def _roots(path: Path) -> tuple[Path, Path]:
    return path, path / "ILSVRC2015"


def _xml_files(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Each folder under this one that has XML files, relative to it, with their stems."""
    for parent, _, files in os.walk(folder):
        stems = [file[:-4] for file in files if file.endswith(".xml")]
        if stems:
            relative = os.path.relpath(parent, folder)
            yield "" if relative == "." else relative.replace(os.sep, "/"), stems


def _joined(parent: str, stems: Iterable[str]) -> list[str]:
    return [f"{parent}/{stem}" if parent else stem for stem in stems]
