"""Output folders: the names of the files in them, and checks before a run writes to them."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from megavid.core.errors import InputError
from megavid.core.files.ownership import MARKS
from megavid.core.files.paths import is_file, is_folder
from megavid.video.open_input import ImageFolder, LiveStream, Video

PREDICTIONS = "predictions.parquet"
TRACKS = "tracks.parquet"
VIDEO = "annotated.mp4"
FRAMES = "frames"
SCORE_FILES = ("scores.json", "pr_curves.png", "confusion.png", "report.html")


def make_output_folder(folder: Path) -> None:
    """Make the folder if it is missing, and check that files can be written to the folder.

    Raises:
        InputError: Files cannot be written to the folder, or its path is or looks like that of a file.
    """
    if is_file(folder):
        raise InputError(f"{folder}: cannot be written to: expected a folder, got a file")
    if folder.suffix.lower() in MARKS and not is_folder(folder):
        raise InputError(f"{folder}: expected a folder to write to, got the name of a file")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"{folder}: cannot be written to: {error.strerror}") from error


def check_input_is_kept(video: Video, folder: Path, *, save_frames: bool) -> None:
    """Check that the outputs of a run do not replace its input.

    Args:
        video: The input.
        folder: Output folder.
        save_frames: Whether the run writes annotated frames as images instead of a video.

    Raises:
        InputError: An output would replace the input, or a folder that holds the input.
    """
    read: set[Path] = set()
    if isinstance(video, ImageFolder):
        read = {path.parent for path in video.paths}
    elif not isinstance(video, LiveStream):
        read = {video.path}
    name = FRAMES if save_frames else VIDEO
    for target in (folder / name, folder / partial_name(name)):
        for path in read:
            real = Path(os.path.realpath(path))  # unlike Path.resolve, accepts links that form a loop
            if Path(os.path.realpath(target)) in (real, *real.parents):
                raise InputError(f"{target}: holds the input; choose another output folder")


def partial_name(name: str) -> str:
    """Return the name that an output gets if the video was not processed to its end."""
    return f"{Path(name).stem}.partial{Path(name).suffix}"
