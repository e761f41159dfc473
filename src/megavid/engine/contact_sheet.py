"""A data set at a glance: some frames of some videos, with what is annotated in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image

from megavid.core.annotations import Annotations
from megavid.core.files import atomic_path
from megavid.core.frames import Image
from megavid.core.ownership import picture_marks
from megavid.video.images import read_image
from megavid.video.render import Mark, draw_marks, label_color

_VIDEOS, _FRAMES, _WIDTH = 6, 8, 192


def write_contact_sheet(annotations: Annotations, path: Path) -> None:
    """Write a picture with a video a row, its frames evenly spread.

    Args:
        annotations: With images of one size; of its videos, the first ones.
        path: The file, such as a `.jpg`.

    Raises:
        InputError: An image cannot be read, or the file not be written.
    """
    rows = []
    for video in np.unique(annotations.video)[:_VIDEOS]:
        span = annotations.frames_of(int(video))
        chosen = np.linspace(span.start, span.stop - 1, _FRAMES).astype(int)
        rows.append(np.concatenate([_draw(annotations, int(frame)) for frame in chosen], axis=1))
    with atomic_path(path) as aside:
        PIL.Image.fromarray(np.concatenate(rows)).save(aside, quality=88, **picture_marks())


def _draw(annotations: Annotations, frame: int) -> Image:
    image = read_image(annotations.root / annotations.files[frame].as_py())
    boxes = slice(*annotations.offsets[frame : frame + 2])
    marks = [
        Mark(box.tolist(), annotations.classes[label], label_color(int(label)))
        for box, label in zip(annotations.boxes[boxes], annotations.labels[boxes], strict=True)
    ]
    drawn = PIL.Image.fromarray(draw_marks(image, marks))
    return np.asarray(drawn.resize((_WIDTH, round(_WIDTH * drawn.height / drawn.width))))
