"""Write CVAT's format "CVAT for video 1.1", in which each object is a track."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from megavid.core.errors import InputError
from megavid.core.files.atomic import atomic_folder, inside
from megavid.datasets.find_media import base_name
from megavid.datasets.formats.video_file_names import name_files
from megavid.datasets.table.annotations import Annotations
from megavid.datasets.table.objects import ObjectBoxes, frame_step, objects_of

_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot contain."""


def write_cvat(annotations: Annotations, folder: Path) -> None:
    """Write an XML file for each video, which CVAT imports as "CVAT for video 1.1" into a task of the video.

    Every box is a keyframe, so CVAT interpolates nothing. When an object is missing in the frame after a box,
    a shape that is `outside` is written for that frame, since CVAT would otherwise keep the box until the end
    of the video. Shapes are written only for frames between the first and the last of the video, as CVAT
    refuses a file with a frame that its task does not have. An object without a track becomes a track of its
    own. Difficult objects and crowds are written like other objects, since the format cannot mark them.

    If frames are left out evenly, the file describes a task whose frame step is their distance.

    Source of the format: https://docs.cvat.ai/docs/manual/advanced/xml_format/, "Interpolation".

    Args:
        annotations: The data set, with the size of its frames.
        folder: The folder to create; it appears complete or not at all. An existing folder must be empty.

    Raises:
        InputError: The folder is not empty or cannot be written, names of videos are no file names, a name
            cannot be written in XML, or the size of a video's frames is unknown.
    """
    videos = np.unique(annotations.video).tolist()
    names = name_files([annotations.videos[video] for video in videos])
    with atomic_folder(folder) as aside:
        for video, name in zip(videos, names, strict=True):
            with inside(aside, f"{name}.xml").open("w", encoding="utf-8", newline="\n") as file:
                _write_video(file, annotations, video)


def _write_video(file: TextIO, a: Annotations, video: int) -> None:
    file.write('<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n')
    file.writelines(f"  {line}\n" for line in _meta(a, video))
    numbers = a.number[a.frames_of(video)]
    last, step = int(numbers[-1]), frame_step(numbers)
    for number, each in enumerate(objects_of(a, video)):
        label = quoteattr(_checked(a.classes[each.label]))
        file.write(f'  <track id="{number}" label={label} source="auto">\n')
        file.writelines(f"    {line}\n" for line in _shapes(a, each, last=last, step=step))
        file.write("  </track>\n")
    file.write("</annotations>\n")


def _meta(a: Annotations, video: int) -> Iterator[str]:
    span = a.frames_of(video)
    numbers = a.number[span]
    first, last, step = int(numbers[0]), int(numbers[-1]), frame_step(numbers)
    name = a.videos[video]
    if not (a.width[span.start] and a.height[span.start]):
        raise InputError(f"video {name!r}: expected frames of known size, which CVAT's format states")
    yield "<meta>"
    yield "  <task>"
    yield f"    <name>{_text(name)}</name>"
    yield f"    <size>{(last - first) // step + 1}</size>"
    yield "    <mode>interpolation</mode>"
    yield "    <overlap>0</overlap>"
    yield f"    <start_frame>{first}</start_frame>"
    yield f"    <stop_frame>{last}</stop_frame>"
    yield f"    <frame_filter>{f'step={step}' if step > 1 else ''}</frame_filter>"
    yield "    <labels>"
    for label in a.classes:
        yield "      <label>"
        yield f"        <name>{_text(label)}</name>"
        yield "        <type>any</type>"
        yield "        <attributes></attributes>"
        yield "      </label>"
    yield "    </labels>"
    yield "    <original_size>"
    yield f"      <width>{a.width[span.start]}</width>"
    yield f"      <height>{a.height[span.start]}</height>"
    yield "    </original_size>"
    yield f"    <source>{_text(base_name(a.sources[video] or name))}</source>"
    yield "  </task>"
    yield "</meta>"


def _shapes(a: Annotations, each: ObjectBoxes, *, last: int, step: int) -> Iterator[str]:
    for row, frame, end in zip(each.rows, each.frames, each.ends, strict=True):
        corners = " ".join(
            f'{key}="{value:.9g}"'
            for key, value in zip(("xtl", "ytl", "xbr", "ybr"), a.boxes[row].tolist(), strict=True)
        )
        flags = f'occluded="{int(a.occluded[row])}" keyframe="1" {corners} z_order="0"'
        yield f'<box frame="{frame}" outside="0" {flags}></box>'
        if end and frame + step <= last:
            yield f'<box frame="{frame + step}" outside="1" {flags}></box>'


def _text(text: str) -> str:
    return escape(_checked(text))


def _checked(text: str) -> str:
    if _FORBIDDEN.search(text):
        raise InputError(f"{text!r}: expected a name that XML can contain")
    return text
