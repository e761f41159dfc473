"""Outputs of detection in one video; the names of incomplete outputs contain "partial"."""

from __future__ import annotations

import io
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import PIL.Image

from megavid.core.detections import FrameResult
from megavid.core.errors import InputError
from megavid.core.files.atomic import check_target, make_aside, remove_leftovers
from megavid.core.files.ownership import picture_marks, written_by_megavid
from megavid.core.frames import Image
from megavid.evaluation.formats.parquet_rewriting import relabel_tracks
from megavid.evaluation.formats.parquet_writer import PredictionWriter
from megavid.jobs.output_folder import FRAMES, PREDICTIONS, TRACKS, VIDEO, partial_name
from megavid.linking.track_votes import TrackTable
from megavid.video.render import draw_detections
from megavid.video.video_writer import VideoWriter

logger = logging.getLogger(__name__)


class DetectionOutputs:
    """Annotated pictures and predictions of one video, written to a hidden folder until `finish`.

    Args:
        folder: Output folder, locked by this run (`core.files.locks`).
        video: Name of the video, for the predictions.
        rate: Frames per second of the annotated video.
        width: Width of the frames, pixels.
        height: Height of the frames, pixels.
        pixel_aspect: Width of a pixel divided by its height.
        save_frames: Whether to write annotated frames as JPEG files instead of a video.
        tracks: Whether to write a table of tracks.
        vote: Whether to give each track one class by vote.
        metadata: Metadata of the predictions file, as JSON values.

    Raises:
        InputError: The folder cannot be written to, or something in it blocks an output.
    """

    def __init__(
        self,
        folder: Path,
        *,
        video: str,
        rate: Fraction,
        width: int,
        height: int,
        pixel_aspect: Fraction,
        save_frames: bool,
        tracks: bool,
        vote: bool,
        metadata: Mapping[str, Any],
    ) -> None:
        self._folder = folder
        self._tracks = TrackTable() if tracks else None
        self._vote = vote
        self._video = video
        self._pictures = FRAMES if save_frames else VIDEO
        self._broken: set[str] = set()
        self._check_targets()
        self._aside = make_aside(folder)
        self._writer: VideoWriter | None = None
        with ExitStack() as cleaning, self._making(self._pictures):
            cleaning.callback(shutil.rmtree, self._aside, ignore_errors=True)
            self._predictions = PredictionWriter(self._aside / PREDICTIONS, metadata=metadata)
            self._predictions.set_size(video, width=width, height=height)
            if save_frames:
                (self._aside / FRAMES).mkdir()
            else:
                self._writer = VideoWriter(
                    self._aside / VIDEO, rate=rate, width=width, height=height, pixel_aspect=pixel_aspect
                )
            cleaning.pop_all()

    @property
    def frames(self) -> int:
        """Number of frames written."""
        return self._predictions.frames

    @property
    def detections(self) -> int:
        """Number of detections written."""
        return self._predictions.detections

    @property
    def tracks(self) -> int | None:
        """Number of tracks written; None if there is no table of tracks."""
        return None if self._tracks is None else len(self._tracks)

    def draw(self, image: Image, result: FrameResult) -> Image:
        """Draw the detections of the next frame, and return the picture for `write`.

        With `vote`, a track is drawn with the class that has the most votes so far; the files get the class
        that has the most votes in the end.

        Args:
            image: RGB uint8 (H, W, 3).
            result: Detections of the frame.
        """
        voted = result.detections if self._tracks is None else self._tracks.add(result)
        return draw_detections(image, voted if self._vote else result.detections)

    def write(self, picture: Image, result: FrameResult, *, name: str, file: str | None) -> None:
        """Append a frame to all outputs; this may run on another thread than `draw`.

        Args:
            picture: Result of `draw`.
            result: Detections of the frame.
            name: Name of the frame's annotated image, without a suffix.
            file: Name of the image file that the frame was read from; None if the video is not an image
                folder.
        """
        with self._making(self._pictures):
            if self._writer is not None:
                self._writer.write(picture, result.time)
            else:
                _save(picture, self._aside / FRAMES / f"{name}.jpg")
        with self._making(PREDICTIONS):
            self._predictions.write(self._video, result, file=file)

    def finish(self, *, complete: bool) -> list[Path]:
        """Close all outputs and move them to the output folder.

        Args:
            complete: Whether the whole video was processed. If not, the outputs are named
                `annotated.partial.mp4` and so on.

        Returns:
            Paths of the outputs; none if no frame was processed.

        Raises:
            InputError: An output cannot be written; the others are kept as partial.
        """
        failures = []
        for name in self._names():
            try:
                with self._making(name):
                    self._close(name, complete=complete and not self._broken)
            except InputError as error:
                failures.append(error)
        complete = complete and not self._broken
        names = [name for name in self._names() if name not in self._broken and self.frames]
        if names:
            self._remove_earlier(complete=complete)
        published = [self._publish(name, complete=complete) for name in names]
        shutil.rmtree(self._aside, ignore_errors=True)
        remove_leftovers(self._folder)
        if PREDICTIONS in names:
            self._warn_of_other_pictures(complete=complete)
        if failures:
            raise failures[0]
        return published

    def _names(self) -> tuple[str, ...]:
        """Return the outputs in closing order: predictions last, as they record whether all are complete."""
        return (self._pictures, *((TRACKS,) if self._tracks is not None else ()), PREDICTIONS)

    def _close(self, name: str, *, complete: bool) -> None:
        if name == PREDICTIONS:
            self._predictions.close(complete=complete)
            if self._tracks is not None and self._vote:
                path = self._aside / PREDICTIONS
                relabel_tracks(path, path, labels=self._tracks.labels)
        elif name == TRACKS:
            assert self._tracks is not None
            self._tracks.save(self._aside / TRACKS, metadata={"video": self._video})
        elif self._writer is not None:
            self._writer.close()

    def _remove_earlier(self, *, complete: bool) -> None:
        """Remove an earlier run's outputs, predictions first: a run killed here leaves no mix of two runs."""
        names = [PREDICTIONS, TRACKS, self._pictures]
        targets = [self._folder / partial_name(name) for name in names]
        if complete:
            targets = [self._folder / name for name in names] + targets
        self._check_targets()
        if self._tracks is None:  # A table of tracks in the folder was not checked and may not be ours.
            targets = [path for path in targets if not path.name.startswith("tracks.") or _is_ours(path)]
        for target in targets:
            try:
                if target.is_dir():
                    shutil.rmtree(target)
                else:
                    target.unlink(missing_ok=True)
            except OSError as error:
                raise InputError(
                    f"{target}: cannot be removed: {error.strerror}; see {self._aside}"
                ) from error

    def _warn_of_other_pictures(self, *, complete: bool) -> None:
        """Warn if an earlier run left a video beside these frames, or frames beside this video."""
        name = VIDEO if self._pictures == FRAMES else FRAMES
        other = self._folder / (name if complete else partial_name(name))
        if other.exists():
            logger.warning("%s: is from an earlier run, but the predictions are from this one", other)

    def _publish(self, name: str, *, complete: bool) -> Path:
        done = self._aside / name
        target = self._folder / (name if complete else partial_name(name))
        try:
            done.replace(target)
        except OSError as error:
            raise InputError(f"{target}: cannot be written: {error.strerror}; see {done}") from error
        return target

    def _check_targets(self) -> None:
        """Raise an error if an existing file or folder would block an output."""
        for name in self._names():
            for target in (self._folder / name, self._folder / partial_name(name)):
                if os.path.lexists(target) and target.is_dir() != (name == FRAMES):
                    expected, got = ("folder", "file") if name == FRAMES else ("file", "folder")
                    raise InputError(f"{target}: expected a {expected} to write, got a {got}")
                if name != FRAMES:
                    check_target(target)
                elif target.is_symlink():
                    raise InputError(f"{target}: expected a folder to write, got a link")
                elif target.is_dir() and not _may_be_replaced(target):
                    raise InputError(f"{target}: exists already; remove it or choose another output folder")

    @contextmanager
    def _making(self, name: str) -> Iterator[None]:
        """Record the output `name` as broken if the block fails, and name its final path in the error."""
        try:
            yield
        except InputError as error:
            if name != FRAMES:  # Each frame is a file of its own, and those written are whole.
                self._broken.add(name)
            message = str(error).replace(str(self._aside), str(self._folder))
            raise InputError(message) from error


def _is_ours(path: Path) -> bool:
    """Return whether megavid wrote a file."""
    return path.is_file() and not path.is_symlink() and bool(written_by_megavid(path))


def _may_be_replaced(folder: Path) -> bool:
    """Return whether a folder of frames is empty, or is a partial one with only megavid's frames in it."""
    if folder.name == FRAMES:
        return not any(folder.iterdir())
    return all(_is_ours(path) for path in folder.iterdir())


def _save(picture: Image, path: Path) -> None:
    # Unlike `write_bytes`, Pillow's encoder doesn't notice when only part of its output is written.
    buffer = io.BytesIO()
    PIL.Image.fromarray(picture).save(buffer, "JPEG", quality=92, **picture_marks())
    try:
        path.write_bytes(buffer.getvalue())
    except OSError as error:
        path.unlink(missing_ok=True)
        raise InputError(f"{path}: cannot be written: {error}") from error
