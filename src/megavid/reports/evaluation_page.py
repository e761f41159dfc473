"""The report of an evaluation, with pictures of the frames where most goes wrong."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import PIL.Image

from megavid.core.errors import InputError
from megavid.core.files.atomic import atomic_path
from megavid.datasets.frames import read_frame
from megavid.datasets.table.annotations import Annotations
from megavid.evaluation import Boxes
from megavid.evaluation.error_analysis import HIT, KINDS, OUTCOMES, Errors
from megavid.evaluation.scores import Scores
from megavid.reports.html_report import Picture, render_comparison, render_report
from megavid.reports.worst_frames import worst_frames
from megavid.video.render import Mark, draw_marks

_PICTURES = 12

_WIDTH, _HEIGHT = 1280, 960
"""Pixels of a picture at most."""

_LARGEST_SCALE = 4.0
"""How many times as large as the frame a picture is at most, so that labels of small frames can be read."""

_GREEN, _RED, _YELLOW = (40, 170, 70), (220, 50, 40), (240, 190, 0)


def write_report(path: Path, *, annotations: Annotations, scores: Scores, about: Mapping[str, str]) -> None:
    """Write the report of a run.

    Args:
        path: An HTML file.
        annotations: The data set; frames whose images cannot be read have no picture.
        scores: What was scored.
        about: What it is of, for the reader.

    Raises:
        InputError: The file cannot be written.
    """
    by_frame = scores.errors.per_frame.sum(axis=1)
    pictures = [
        _picture(annotations, frame, scores) for frame in worst_frames(annotations, by_frame, count=_PICTURES)
    ]
    _write(path, render_report(scores, about=about, pictures=pictures))


def write_comparison(
    path: Path, *, scores: tuple[Scores, Scores], about: Mapping[str, str], verdict: str
) -> None:
    """Write two runs side by side.

    Args:
        path: An HTML file.
        scores: What was scored, of the same data set.
        about: What they are of, for the reader.
        verdict: What their difference means.

    Raises:
        InputError: The file cannot be written.
    """
    _write(path, render_comparison(*scores, about=about, verdict=verdict))


def _write(path: Path, page: str) -> None:
    with atomic_path(path) as aside:
        aside.write_text(page, "utf-8")


def _picture(a: Annotations, frame: int, scores: Scores) -> Picture:
    counts = [
        f"{count} x {kind}"
        for kind, count in zip(KINDS, scores.errors.per_frame[frame].tolist(), strict=True)
        if count
    ]
    caption = f"{a.videos[a.video[frame]]}, frame {a.number[frame]}: {', '.join(counts)}"
    try:
        image = read_frame(a, frame)
    except InputError:
        return Picture(caption, None)
    picture = PIL.Image.fromarray(image)
    scale = min(_WIDTH / picture.width, _HEIGHT / picture.height, _LARGEST_SCALE)
    size = [max(1, round(side * scale)) for side in picture.size]
    drawn = picture.resize((size[0], size[1]), PIL.Image.Resampling.LANCZOS)
    marks = error_marks(a.classes, frame, scores.found, scores.truth, scores.errors, scale=scale)
    buffer = io.BytesIO()
    PIL.Image.fromarray(draw_marks(np.array(drawn), marks)).save(buffer, "JPEG", quality=85)
    return Picture(caption, buffer.getvalue())


def error_marks(
    classes: Sequence[str], frame: int, found: Boxes, truth: Boxes, errors: Errors, *, scale: float
) -> list[Mark]:
    """What is right in a frame in green, what is wrong in red, what was missed in yellow.

    Args:
        classes: Names by label.
        frame: Which, as in `found` and `truth`.
        found, truth: What was compared.
        errors: What `find_errors` says of them.
        scale: From their pixels to those that are drawn.
    """
    assert found.score is not None
    marks = [
        Mark(truth.xyxy[row] * scale, f"missed {classes[truth.label[row]]}", _YELLOW)
        for row in np.flatnonzero(errors.missed & (truth.frame == frame)).tolist()
    ]
    here = np.flatnonzero(found.frame[errors.rows] == frame)[::-1]  # the best on top
    for row, outcome in zip(errors.rows[here].tolist(), errors.outcome[here].tolist(), strict=True):
        kind = OUTCOMES[outcome]
        text = f"{classes[found.label[row]]} {found.score[row]:.2f}"
        color = _GREEN if kind == HIT else _RED
        label = text if kind in {HIT, "background"} else f"{text} {kind}"
        marks.append(Mark(found.xyxy[row] * scale, label, color))
    return marks
