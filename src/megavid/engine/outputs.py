"""The output folder of a detection run: appears whole, or is marked as partial."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any

import PIL.Image

from megavid.core.errors import InputError
from megavid.core.frames import FrameResult, Image
from megavid.evaluation.predictions import PredictionWriter
from megavid.video.render import draw_detections
from megavid.video.writer import VideoWriter

PREDICTIONS = "predictions.parquet"
VIDEO = "annotated.mp4"
FRAMES = "frames"


class DetectionOutputs:
    """Annotated pictures and predictions of one video, written aside until `finish`.

    Args:
        folder: The output folder; made if it is missing.
        video: Name of the video, for the predictions.
        rate: Frames a second of the annotated video.
        width, height: Size of the frames, pixels.
        save_frames: Write annotated frames as JPEG files instead of a video.
        metadata: What the predictions file says of the run, as JSON values.

    Raises:
        InputError: The folder cannot be written to, or annotated frames are in it already.
    """

    def __init__(
        self,
        folder: Path,
        *,
        video: str,
        rate: Fraction,
        width: int,
        height: int,
        save_frames: bool,
        metadata: Mapping[str, Any],
    ) -> None:
        self._folder = folder
        self._video = video
        check_output_folder(folder, save_frames=save_frames)
        try:
            self._aside = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=folder))
        except OSError as error:
            raise InputError(f"{folder}: cannot be written to: {error.strerror}") from error
        self._predictions = PredictionWriter(self._aside / PREDICTIONS, metadata=metadata)
        self._writer: VideoWriter | None = None
        if save_frames:
            (self._aside / FRAMES).mkdir()
        else:
            self._writer = VideoWriter(self._aside / VIDEO, rate=rate, width=width, height=height)

    @property
    def frames(self) -> int:
        """Frames written."""
        return self._predictions.frames

    @property
    def detections(self) -> int:
        """Detections written."""
        return self._predictions.detections

    def write(self, image: Image, result: FrameResult, file: str | None) -> None:
        """Draw a frame's detections and append them to all outputs.

        Args:
            image: The frame, RGB uint8 (H, W, 3).
            result: What was detected in it.
            file: Name of its image file, where it has one.
        """
        picture = draw_detections(image, result.detections)
        if self._writer is not None:
            self._writer.write(picture, result.time)
        else:
            name = f"{Path(file).stem if file else f'{result.index:06d}'}.jpg"
            self._save(picture, self._aside / FRAMES / name)
        self._predictions.write(self._video, result, file=file)

    def finish(self, *, complete: bool) -> list[Path]:
        """Close all outputs and put them into the folder.

        Args:
            complete: Whether the whole video was done. If not, the names say so: `annotated.partial.mp4`.

        Returns:
            The outputs; none where not a frame was done.

        Raises:
            InputError: They cannot be written.
        """
        try:
            with ExitStack() as closing:
                closing.callback(self._predictions.close, complete=complete)
                if self._writer is not None:
                    closing.callback(self._writer.close)
            return [] if self.frames == 0 else self._publish(complete=complete)
        finally:
            shutil.rmtree(self._aside, ignore_errors=True)

    def _publish(self, *, complete: bool) -> list[Path]:
        published = []
        for done in sorted(self._aside.iterdir()):
            partial = self._folder / f"{done.stem}.partial{done.suffix}"
            _remove(partial)  # of an earlier run
            target = self._folder / done.name if complete else partial
            try:
                if target.is_dir():
                    target.rmdir()  # empty, as `check_output_folder` saw to
                done.replace(target)
            except OSError as error:
                raise InputError(f"{target}: cannot be written: {error.strerror}") from error
            published.append(target)
        return published

    def _save(self, picture: Image, path: Path) -> None:
        try:
            PIL.Image.fromarray(picture).save(path, quality=92)
        except OSError as error:
            raise InputError(f"{path}: cannot be written: {error}") from error


def check_output_folder(folder: Path, *, save_frames: bool) -> None:
    """Make the folder, and see that outputs can go there.

    Raises:
        InputError: They can't, or annotated frames are in it already, which a second run would mix with.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"{folder}: cannot be written to: {error.strerror}") from error
    frames = folder / FRAMES
    if save_frames and frames.exists() and (not frames.is_dir() or any(frames.iterdir())):
        raise InputError(f"{frames}: is there already; remove it or choose another output folder")


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
