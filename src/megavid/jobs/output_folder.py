"""Output folders: the names of the files in them, and making them."""

from __future__ import annotations

import tempfile
from pathlib import Path

from megavid.core.errors import InputError
from megavid.core.files.ownership import MARKS
from megavid.core.files.paths import is_file, is_folder

PREDICTIONS = "predictions.parquet"
TRACKS = "tracks.parquet"
VIDEO = "annotated.mp4"
FRAMES = "frames"
SCORE_FILES = ("scores.json", "pr_curves.png", "confusion.png", "report.html")


def make_output_folder(folder: Path) -> None:
    """Make the folder if it is missing, and see that files can be made in it.

    Raises:
        InputError: They cannot, or the name is that of a file.
    """
    if is_file(folder):
        raise InputError(f"{folder}: cannot be written to: expected a folder, this is a file")
    if folder.suffix.lower() in MARKS and not is_folder(folder):
        raise InputError(f"{folder}: expected a folder to write to, got the name of a file")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"{folder}: cannot be written to: {error.strerror}") from error


def partial_name(name: str) -> str:
    """What an output is called when the video was not done to its end."""
    return f"{Path(name).stem}.partial{Path(name).suffix}"
