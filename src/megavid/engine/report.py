"""The report of an evaluation, with pictures of the frames where most goes wrong."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import PIL.Image

from megavid.core.annotations import Annotations
from megavid.core.errors import InputError
from megavid.core.files import atomic_path
from megavid.core.frames import Image
from megavid.evaluation import AveragePrecision, Boxes
from megavid.evaluation.errors import HIT, KINDS, OUTCOMES, Errors, find_errors
from megavid.evaluation.report import Picture, Report, VideoErrors, render_report
from megavid.video.reader import ImageFolder, VideoFile
from megavid.video.render import Mark, draw_marks

_VIDEOS, _FRAMES = 6, 3
"""How many of the worst are shown, and of each video how many frames."""

_WIDTH = 640
_GREEN, _RED, _YELLOW = (40, 170, 70), (220, 50, 40), (240, 190, 0)


def write_report(
    path: Path,
    *,
    annotations: Annotations,
    found: Boxes,
    truth: Boxes,
    results: Mapping[str, AveragePrecision],
    about: Mapping[str, str],
    coco: Mapping[str, float],
) -> None:
    """Write the report of a run.

    Args:
        path: An HTML file.
        annotations: The data set; frames whose images cannot be read have no picture.
        found, truth: What was compared; frames are rows of the data set.
        results: AP50 by motion.
        about: What was scored, for the reader.
        coco: COCO's metrics, or none.

    Raises:
        InputError: The file cannot be written.
    """
    errors = find_errors(found, truth, num_frames=len(annotations), ignored=annotations.difficult)
    videos = _worst_videos(annotations, found, truth, errors)
    report = Report(annotations.classes, about, results, errors.totals, videos, coco)
    _write(path, render_report(report))


def write_comparison(
    path: Path,
    *,
    classes: Sequence[str],
    results: tuple[Mapping[str, AveragePrecision], Mapping[str, AveragePrecision]],
    about: Mapping[str, str],
) -> None:
    """Write two runs side by side.

    Raises:
        InputError: The file cannot be written.
    """
    _write(path, render_report(Report(classes, about, results[0], other=results[1])))


def _write(path: Path, page: str) -> None:
    with atomic_path(path) as aside:
        aside.write_text(page, "utf-8")


def _worst_videos(a: Annotations, found: Boxes, truth: Boxes, errors: Errors) -> list[VideoErrors]:
    by_frame = errors.per_frame.sum(axis=1)
    by_video = np.bincount(a.video, weights=by_frame, minlength=len(a.videos))
    worst = [v for v in np.argsort(-by_video, kind="stable")[:_VIDEOS].tolist() if by_video[v]]
    shown = []
    for video in worst:
        span = a.frames_of(video)
        frames = span.start + np.argsort(-by_frame[span], kind="stable")[:_FRAMES]
        pictures = [
            _picture(a, frame, found, truth, errors) for frame in sorted(frames.tolist()) if by_frame[frame]
        ]
        totals = dict(zip(KINDS, errors.per_frame[span].sum(axis=0).tolist(), strict=True))
        objects = int(a.offsets[span.stop] - a.offsets[span.start])
        shown.append(VideoErrors(a.videos[video], span.stop - span.start, objects, totals, pictures))
    return shown


def _picture(a: Annotations, frame: int, found: Boxes, truth: Boxes, errors: Errors) -> Picture:
    counts = [
        f"{count} x {kind}"
        for kind, count in zip(KINDS, errors.per_frame[frame].tolist(), strict=True)
        if count
    ]
    caption = f"frame {a.number[frame]}: {', '.join(counts)}"
    try:
        image = read_frame(a, frame)
    except InputError:
        return Picture(caption, None)
    picture = PIL.Image.fromarray(image)
    scale = min(_WIDTH / picture.width, 1.0)
    small = picture.resize((round(picture.width * scale), max(1, round(picture.height * scale))))
    marks = error_marks(a.classes, frame, found, truth, errors, scale=scale)
    buffer = io.BytesIO()
    PIL.Image.fromarray(draw_marks(np.array(small), marks)).save(buffer, "JPEG", quality=85)
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
        marks.append(Mark(found.xyxy[row] * scale, text if kind == HIT else f"{text} {kind}", color))
    return marks


def read_frame(a: Annotations, frame: int) -> Image:
    """A row of a data set as RGB uint8 (H, W, 3), from its image or its video.

    Raises:
        InputError: It cannot be read.
    """
    file = a.files[frame].as_py()
    if file is not None:
        return ImageFolder([a.root / file], name=file, rate=Fraction(25))[0]
    source = a.sources[a.video[frame]]
    if not source:
        raise InputError(f"{a.describe(frame)}: no image belongs to it")
    with VideoFile(a.root / source) as video:
        number = int(a.number[frame])
        if number >= len(video):
            raise InputError(f"{a.describe(frame)}: the video has {len(video)} frames")
        return video[number]
