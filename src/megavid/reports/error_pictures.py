"""Pictures of frames on which hits, wrong detections and missed objects are marked."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import PIL.Image

from megavid.core.errors import InputError
from megavid.datasets.frame_reader import read_frame
from megavid.datasets.table.annotations import Annotations
from megavid.evaluation import Boxes
from megavid.evaluation.error_analysis import HIT, KINDS, OUTCOMES, Errors
from megavid.evaluation.scores import Scores
from megavid.video.render import Mark, draw_marks

_WIDTH, _HEIGHT = 1280, 960
"""Largest size of a picture, pixels."""

_LARGEST_SCALE = 4.0
"""Small frames are enlarged by up to this factor, so that the labels on them can be read."""

_GREEN, _RED, _YELLOW = (40, 170, 70), (220, 50, 40), (240, 190, 0)


@dataclass(frozen=True)
class ErrorPicture:
    """A frame with its errors.

    Attributes:
        caption: Name of the frame, and the number of its errors of each kind.
        jpeg: The picture as a JPEG file; None if the frame cannot be read.
    """

    caption: str
    jpeg: bytes | None


def draw_errors(annotations: Annotations, frame: int, scores: Scores) -> ErrorPicture:
    """Draw the errors of a frame.

    Args:
        annotations: The data set.
        frame: Row of the frame in the data set.
        scores: Scores of the predictions.
    """
    counts = [
        f"{count} x {kind}"
        for kind, count in zip(KINDS, scores.errors.per_frame[frame].tolist(), strict=True)
        if count
    ]
    video = annotations.videos[annotations.video[frame]]
    caption = f"{video}, frame {annotations.number[frame]}: {', '.join(counts)}"
    try:
        image = read_frame(annotations, frame)
    except InputError:
        return ErrorPicture(caption, None)
    picture = PIL.Image.fromarray(image)
    scale = min(_WIDTH / picture.width, _HEIGHT / picture.height, _LARGEST_SCALE)
    size = [max(1, round(side * scale)) for side in picture.size]
    resized = picture.resize((size[0], size[1]), PIL.Image.Resampling.LANCZOS)
    marks = error_marks(annotations.classes, frame, scores.found, scores.truth, scores.errors, scale=scale)
    buffer = io.BytesIO()
    PIL.Image.fromarray(draw_marks(np.array(resized), marks)).save(buffer, "JPEG", quality=85)
    return ErrorPicture(caption, buffer.getvalue())


def error_marks(
    classes: Sequence[str], frame: int, found: Boxes, truth: Boxes, errors: Errors, *, scale: float
) -> list[Mark]:
    """Return the marks of a frame: hits green, wrong detections red, missed objects yellow.

    Args:
        classes: (C,) names of the classes.
        frame: Row of the frame in the data set.
        found: All detections.
        truth: All objects.
        errors: The result of `find_errors` for `found` and `truth`.
        scale: Factor from pixels of the frame to pixels of the picture.
    """
    assert found.score is not None
    marks = [
        Mark(truth.xyxy[row] * scale, f"missed {classes[truth.label[row]]}", _YELLOW)
        for row in np.flatnonzero(errors.missed & (truth.frame == frame)).tolist()
    ]
    here = np.flatnonzero(found.frame[errors.rows] == frame)[::-1]  # the best detections are drawn last
    for row, outcome in zip(errors.rows[here].tolist(), errors.outcome[here].tolist(), strict=True):
        kind = OUTCOMES[outcome]
        text = f"{classes[found.label[row]]} {found.score[row]:.2f}"
        color = _GREEN if kind == HIT else _RED
        label = text if kind in {HIT, "background"} else f"{text} {kind}"
        marks.append(Mark(found.xyxy[row] * scale, label, color))
    return marks
