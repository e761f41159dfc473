"""CVAT's export "CVAT for video 1.1": XML with a track for each object."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from xml.etree import ElementTree

from megavid.core.annotations import AnnotationBuilder, Annotations
from megavid.core.errors import InputError
from megavid.core.problems import Kind, Problems
from megavid.data.media import find_media

_Corners = tuple[float, float, float, float]


@dataclass(frozen=True)
class _Shape:
    """A box of a track at a frame; `outside`: the object is not there from here on."""

    frame: int
    corners: _Corners
    outside: bool
    occluded: bool
    drawn: bool  # by a person; else between two that were


def is_cvat(path: Path) -> bool:
    """Whether it is an XML file of CVAT's, or a folder with such files."""
    files = sorted(path.glob("*.xml")) if path.is_dir() else [path] if path.suffix.lower() == ".xml" else []
    return any(_starts_as_cvat(file) for file in files[:1])


def read_cvat(
    path: Path, *, images: Path | None = None, classes: Sequence[str] | None = None, problems: Problems
) -> Annotations:
    """Read an XML file, or a folder of them, each of which is a video.

    The frames are looked for beside the file: a video of its name, or a folder of images of its name or
    called `images`. Where the file leaves out frames of a track, its box moves evenly from one to the next,
    as in CVAT; such boxes, and those that CVAT marks so, are `generated`.

    Args:
        path: The file or folder.
        images: Where the videos or folders of images are, if not beside the file.
        classes: Names in the order of their labels; None for the file's own.
        problems: Where shapes go that make no sense, and objects of other classes.

    Raises:
        InputError: A file is missing, broken or something else; or see `problems`.
    """
    files = sorted(path.glob("*.xml")) if path.is_dir() else [path]
    trees = {file: _parse(file) for file in files}
    names = dict.fromkeys(name for tree in trees.values() for name in _labels(tree))
    root = (images or (path if path.is_dir() else path.parent)).absolute()
    builder = AnnotationBuilder(tuple(classes or names), root=root)
    for file, tree in trees.items():
        _read_video(file, tree, root, builder, problems)
    return builder.build()


def _read_video(
    file: Path, tree: ElementTree.Element, root: Path, builder: AnnotationBuilder, problems: Problems
) -> None:
    try:
        width, height = (int(_meta(tree, f"original_size/{side}") or 0) for side in ("width", "height"))
        first, size = (int(_meta(tree, key) or 0) for key in ("start_frame", "size"))
    except ValueError as error:
        raise InputError(f"{file}: expected whole numbers in meta: {error}") from error
    boxes: dict[int, list[tuple[_Shape, int, int]]] = {}
    for number, track in enumerate(tree.iter("track")):
        where = f"{file}, track {track.get('id', number)}"
        label = track.get("label", "")
        if label not in builder.classes:
            problems.add(
                Kind.UNKNOWN_CLASS, where, f"expected one of {', '.join(builder.classes)}, got {label!r}"
            )
            continue
        for shape in _filled(_shapes(track, where, problems)):
            boxes.setdefault(shape.frame, []).append((shape, builder.classes.index(label), number))
    media = find_media(root, file.stem)
    size = size or max([*boxes, first - 1]) - first + 1
    builder.video(file.stem, source=media.source)
    for place in range(size):
        frame = first + place
        name = media.files[frame] if frame < len(media.files) else None
        builder.frame(frame, file=name, width=width, height=height)
        for shape, label_number, number in boxes.pop(frame, ()):
            builder.box(
                *shape.corners,
                label=label_number,
                track=number,
                occluded=shape.occluded,
                generated=not shape.drawn,
            )
    for frame, shapes in sorted(boxes.items()):
        where = f"{file}, track {shapes[0][2]}"
        problems.add(Kind.BAD_ROW, where, f"expected frames {first} to {first + size - 1}, got {frame}")


def _shapes(track: ElementTree.Element, where: str, problems: Problems) -> list[_Shape]:
    shapes = {}
    others = sorted({child.tag for child in track} - {"box", "attribute"})
    if others:
        problems.add(Kind.BAD_ROW, where, f"expected boxes, got {', '.join(others)}")
    for box in track.iter("box"):
        try:
            frame = int(box.attrib["frame"])
            x1, y1, x2, y2 = (float(box.attrib[key]) for key in ("xtl", "ytl", "xbr", "ybr"))
        except (KeyError, ValueError) as error:
            problems.add(Kind.BAD_ROW, where, f"expected a box with frame, xtl, ytl, xbr, ybr: {error}")
            continue
        outside = box.get("outside") == "1"
        if not outside and not (x2 > x1 and y2 > y1):
            message = f"frame {frame}: expected xtl < xbr and ytl < ybr, got {x1:g}, {y1:g}, {x2:g}, {y2:g}"
            problems.add(Kind.INVERTED, where, message)
        elif frame in shapes:
            problems.add(Kind.DUPLICATE_BOX, where, f"has two boxes in frame {frame}")
        else:
            shapes[frame] = _Shape(
                frame,
                (x1, y1, x2, y2),
                outside,
                box.get("occluded") == "1",
                box.get("keyframe", "1") == "1",
            )
    return [shapes[frame] for frame in sorted(shapes)]


def _filled(shapes: Sequence[_Shape]) -> Iterator[_Shape]:
    """The boxes that are there, and those between them that the file leaves out."""
    for shape, following in zip_longest(shapes, shapes[1:]):
        if shape.outside:
            continue
        yield shape
        if following is None:
            continue
        steps = following.frame - shape.frame
        # Up to a frame where the object is gone, it stays where it was.
        target = shape.corners if following.outside else following.corners
        for step in range(1, steps):
            part = step / steps
            moved = [a + (b - a) * part for a, b in zip(shape.corners, target, strict=True)]
            corners = (moved[0], moved[1], moved[2], moved[3])
            yield _Shape(shape.frame + step, corners, False, shape.occluded, False)


def _labels(tree: ElementTree.Element) -> list[str]:
    listed = [name for name in (label.findtext("name") for label in tree.iter("label")) if name]
    return listed or list(dict.fromkeys(track.get("label", "") for track in tree.iter("track")))


def _meta(tree: ElementTree.Element, key: str) -> str | None:
    for kind in ("task", "job", "project"):
        text = tree.findtext(f"meta/{kind}/{key}")
        if text:
            return text.strip()
    return None


def _parse(path: Path) -> ElementTree.Element:
    try:
        tree = ElementTree.fromstring(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except ElementTree.ParseError as error:
        raise InputError(f"{path}: expected XML: {error}") from error
    if tree.tag != "annotations" or tree.find("image") is not None:
        raise InputError(f'{path}: expected the export "CVAT for video 1.1", with tracks')
    return tree


def _starts_as_cvat(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return b"<annotations" in file.read(500)
    except OSError:
        return False
