"""Recognizing files that megavid wrote."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.torch
import torch
from matplotlib.figure import Figure

from megavid.checkpoints.weights import write_weights
from megavid.core.files.ownership import PNG_METADATA, picture_marks, written_by_megavid
from megavid.evaluation.formats.parquet_writer import PredictionWriter
from megavid.video.video_writer import VideoWriter

IMAGE = PIL.Image.fromarray(np.zeros((16, 16, 3), np.uint8))


def video(path: Path) -> None:
    with VideoWriter(path, rate=Fraction(25), width=64, height=48) as writer:
        for i in range(30):
            writer.write(np.full((48, 64, 3), i, np.uint8), i / 25)


def weights(path: Path) -> None:
    config = {"classes": [f"class {n}" for n in range(2000)]}
    write_weights(path, {"a": torch.zeros(3)}, config=config, about={"licence": "none"})


OUTPUTS: dict[str, Callable[[Path], None]] = {
    "p.parquet": lambda path: PredictionWriter(path, metadata={"config": "x" * 100_000}).close(),
    "v.mp4": video,
    "w.safetensors": weights,
    "plot.png": lambda path: Figure().savefig(path, metadata=PNG_METADATA),
    "picture.png": lambda path: IMAGE.save(path, **picture_marks()),
    "picture.jpg": lambda path: IMAGE.save(path, quality=88, **picture_marks()),
}
OTHERS: dict[str, Callable[[Path], object]] = {
    "p.parquet": lambda path: pq.write_table(pa.table({"megavid": ["megavid", "megavic"]}), path),
    "v.mp4": lambda path: path.write_bytes(bytes(1000) + b"made by megavid"),
    "w.safetensors": lambda path: safetensors.torch.save_file({"a": torch.zeros(3)}, path, {"format": "pt"}),
    "plot.png": lambda path: Figure().savefig(path),
    "picture.jpg": IMAGE.save,
    "a.json": lambda path: path.write_text('{"info": {"made_by": "somebody"}, "path": "/home/megavid"}'),
    "a.yaml": lambda path: path.write_text("path: made by megavid\n"),
    "a.html": lambda path: path.write_text("<html>megavid</html>"),
    "log.jsonl": lambda path: path.write_text('{"epoch": 1}\n'),
    "short.parquet": lambda path: path.write_bytes(b"PAR1"),
    "lies.parquet": lambda path: path.write_bytes(b"PAR1" + b"\xff" * 8 + b"PAR1"),
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_outputs_are_recognized(tmp_path: Path, name: str) -> None:
    OUTPUTS[name](tmp_path / name)
    assert written_by_megavid(tmp_path / name) is True


@pytest.mark.parametrize("name", OTHERS)
def test_files_of_other_programs_are_not_recognized(tmp_path: Path, name: str) -> None:
    OTHERS[name](tmp_path / name)
    assert written_by_megavid(tmp_path / name) is False
