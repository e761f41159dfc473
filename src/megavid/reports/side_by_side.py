"""Show side by side what several runs got right, wrong and missed in the same frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import PIL.Image
from numpy.typing import NDArray
from PIL import ImageDraw, ImageFont

from megavid.core.files.atomic import atomic_path
from megavid.core.files.ownership import picture_marks
from megavid.core.frames import Image
from megavid.datasets.frame_reader import read_frame
from megavid.datasets.table.annotations import Annotations
from megavid.evaluation.scores import Scores
from megavid.reports.error_pictures import error_marks
from megavid.video.render import draw_marks
from megavid.video.video_writer import VideoWriter

_WIDTH, _STRIP, _GAP = 384, 26, 6
"""Pixels: width of a frame, height of the strip with a run's name, and gap between two runs."""

_FRAMES = 4
"""Largest number of frames in the picture."""


class SideBySide:
    """Draws the results of several runs side by side.

    Args:
        annotations: The data set; all frames have the same size.
        runs: Scores of the runs by their captions, from left to right.
    """

    def __init__(self, annotations: Annotations, runs: Mapping[str, Scores]) -> None:
        self._annotations, self._runs = annotations, runs
        self._errors = {name: run.errors for name, run in runs.items()}

    def draw(self, frame: int) -> Image:
        """Draw a frame for each run: hits green, wrong detections red, missed objects yellow.

        Args:
            frame: Row of the frame in the data set.

        Returns:
            RGB uint8 (H, W, 3).

        Raises:
            InputError: The frame cannot be read.
        """
        image = PIL.Image.fromarray(read_frame(self._annotations, frame))
        scale = _WIDTH / image.width
        large = np.array(image.resize((_WIDTH, round(image.height * scale))))
        parts: list[Image] = []
        for name, run in self._runs.items():
            marks = error_marks(run.classes, frame, run.found, run.truth, self._errors[name], scale=scale)
            parts += [
                np.concatenate((_title(name), draw_marks(large, marks))),
                np.full((_STRIP + len(large), _GAP, 3), 255, np.uint8),
            ]
        return np.concatenate(parts[:-1], axis=1)

    def write_video(self, path: Path, *, rate: Fraction) -> None:
        """Write all frames as an MP4 file.

        Raises:
            InputError: A frame cannot be read, or the file cannot be written.
        """
        height, width = self.draw(0).shape[:2]
        with atomic_path(path) as aside, VideoWriter(aside, rate=rate, width=width, height=height) as writer:
            for frame in range(len(self._annotations)):
                writer.write(self.draw(frame), float(frame / rate))

    def write_picture(self, path: Path) -> None:
        """Write a picture of the frames in which the last run improves most on the first, one per video.

        Raises:
            InputError: A frame cannot be read, or the file cannot be written.
        """
        rows = [self.draw(frame) for frame in self._most_improved_frames()]
        with atomic_path(path) as aside:
            PIL.Image.fromarray(np.concatenate(rows)).save(aside, "PNG", **picture_marks())

    def _most_improved_frames(self) -> Sequence[int]:
        errors: list[NDArray[np.int64]] = [e.per_frame.sum(axis=1) for e in self._errors.values()]
        gain = errors[0] - errors[-1]
        chosen: dict[int, int] = {}  # the chosen frame of each video
        for frame in np.argsort(-gain, kind="stable").tolist():
            chosen.setdefault(int(self._annotations.video[frame]), frame)
        return list(chosen.values())[:_FRAMES]


def _title(text: str) -> Image:
    strip = PIL.Image.new("RGB", (_WIDTH, _STRIP), (40, 40, 40))
    ImageDraw.Draw(strip).text((8, 5), text, fill="white", font=ImageFont.load_default(size=14))
    return np.asarray(strip)
