"""`megavid postprocess`: Seq-NMS on saved predictions."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from megavid.cli import main
from megavid.core.detections import Detections, FrameResult
from megavid.evaluation.formats.parquet_schema import read_metadata
from megavid.evaluation.formats.parquet_writer import PredictionWriter
from tests.cli.helpers import error_of

CLASSES = ("cat", "dog")


def write(path: Path, *, every: int = 1) -> Path:
    """Write predictions for two frames: a cat in both; in the second, another cat and a dog overlap it."""
    writer = PredictionWriter(path, metadata={"weights": "x", "every": every})
    for i, rows in enumerate(([(0, 0, 0.9)], [(0, 0, 0.5), (4, 1, 0.4), (4, 0, 0.4)])):
        boxes = torch.tensor([[x, 0.0, x + 10, 10] for x, _, _ in rows])
        scores, labels = torch.tensor([r[2] for r in rows]), torch.tensor([r[1] for r in rows])
        found = Detections(boxes, scores, labels, CLASSES)
        writer.write("a", FrameResult(i * every, i / 25, found), file=f"{i}.jpg")
    writer.close()
    return path


@pytest.mark.parametrize("every", [1, 5])
def test_boxes_are_rescored_and_other_columns_kept(tmp_path: Path, every: int) -> None:
    source, target = write(tmp_path / "in.parquet", every=every), tmp_path / "out.parquet"
    assert main(["postprocess", str(source), "--seq-nms", "-o", str(target)]) == 0
    before, after = pq.read_table(source).to_pylist(), pq.read_table(target).to_pylist()
    assert [row.pop("score") for row in after] == pytest.approx([0.7, 0.7, 0.4])
    assert after == [{k: v for k, v in row.items() if k != "score"} for row in before[:3]]
    expected = read_metadata(source) | {"postprocessing": "Seq-NMS, average"}
    assert read_metadata(target) == expected


def test_rescoring_with_the_maximum(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = write(tmp_path / "in.parquet"), tmp_path / "out.parquet"
    assert main(["postprocess", str(source), "--seq-nms", "--rescore", "max", "-o", str(target)]) == 0
    assert pq.read_table(target)["score"].to_pylist() == pytest.approx([0.9, 0.9, 0.4])
    assert "3 of 4 boxes" in capsys.readouterr().out


def test_predictions_without_boxes(tmp_path: Path) -> None:
    source, target = tmp_path / "in.parquet", tmp_path / "out.parquet"
    writer = PredictionWriter(source, metadata={})
    writer.write(
        "a",
        FrameResult(
            0, 0.0, Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64), CLASSES)
        ),
    )
    writer.close()
    assert main(["postprocess", str(source), "--seq-nms", "-o", str(target)]) == 0
    assert read_metadata(target)["videos"] == {"a": 1}
    assert pq.read_table(target).num_rows == 0


def test_mistakes_are_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = write(tmp_path / "in.parquet"), tmp_path / "out.parquet"

    def error(*arguments: object) -> str:
        assert main(["postprocess", *map(str, arguments)]) == 2
        return error_of(capsys)

    assert "--seq-nms" in error(source, "-o", target)
    assert "none.parquet: no such file" in error(tmp_path / "none.parquet", "--seq-nms", "-o", target)
    assert "--save-as" in error(tmp_path / "p.pth", "--seq-nms", "-o", target)
    assert "out.json" in error(source, "--seq-nms", "-o", tmp_path / "out.json")
    (tmp_path / "broken.parquet").write_bytes(source.read_bytes()[:-20])
    assert "broken.parquet" in error(tmp_path / "broken.parquet", "--seq-nms", "-o", target)
    assert "in.parquet: is the input" in error(source, "--seq-nms", "-o", source)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert "Too many levels" in error(source, "--seq-nms", "-o", tmp_path / "loop" / "x.parquet")
    assert not target.exists()
    assert main(["postprocess", str(source), "--seq-nms", "-o", str(target)]) == 0
    capsys.readouterr()
    assert "is already post-processed" in error(target, "--seq-nms", "-o", tmp_path / "again.parquet")
