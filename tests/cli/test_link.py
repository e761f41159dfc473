"""`megavid link`: linkers on saved predictions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from megavid.cli import main
from megavid.core.detections import Detections, FrameResult
from megavid.evaluation.formats.parquet_schema import read_metadata
from megavid.evaluation.formats.parquet_writer import PredictionWriter
from megavid.linking.linkers import LINKERS
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
def test_boxes_are_linked_and_other_columns_kept(
    tmp_path: Path, every: int, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = write(tmp_path / "in.parquet", every=every), tmp_path / "out.parquet"
    assert main(["link", str(source), "--method", "seq_nms", "-o", str(target)]) == 0
    assert f"{target}: 3 boxes, from 4; 2 tracks" in capsys.readouterr().out
    before, after = pq.read_table(source).to_pylist(), pq.read_table(target).to_pylist()
    assert [row.pop("score") for row in after] == pytest.approx([0.7, 0.7, 0.4])
    assert [row.pop("track") for row in after] == [0, 0, 1]
    assert after == [{k: v for k, v in row.items() if k not in {"score", "track"}} for row in before[:3]]
    settings = {"name": "seq_nms", "min_score": 0.001, "rescoring": "average"}
    assert read_metadata(target) == read_metadata(source) | {"linking": settings}


def test_settings_are_given_by_their_paths(tmp_path: Path) -> None:
    source, target = write(tmp_path / "in.parquet"), tmp_path / "out.parquet"
    settings = ["--link.rescoring", "max", "--link.min-score=0.45"]
    assert main(["link", str(source), "--method", "seq_diou", *settings, "-o", str(target)]) == 0
    assert pq.read_table(target)["score"].to_pylist() == pytest.approx([0.9, 0.9])
    assert read_metadata(target)["linking"] == {"name": "seq_diou", "min_score": 0.45, "rescoring": "max"}


@pytest.mark.parametrize("method", LINKERS)
def test_predictions_without_boxes(tmp_path: Path, method: str) -> None:
    source, target = tmp_path / "in.parquet", tmp_path / "out.parquet"
    writer = PredictionWriter(source, metadata={})
    nothing = Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64), CLASSES)
    writer.write("a", FrameResult(0, 0.0, nothing))
    writer.close()
    assert main(["link", str(source), "--method", method, "-o", str(target)]) == 0
    assert read_metadata(target)["videos"] == {"a": 1}
    assert pq.read_table(target).num_rows == 0


@pytest.mark.parametrize("method", LINKERS)
def test_every_linker_keeps_class_scores_and_the_videos_apart(tmp_path: Path, method: str) -> None:
    source, target = tmp_path / "in.parquet", tmp_path / "out.parquet"
    writer = PredictionWriter(source, metadata={})
    for video in ("b", "a"):
        for i in range(6):
            found = Detections(
                torch.tensor([[2.0 * i, 0, 2 * i + 10, 10]]), torch.tensor([0.9]), torch.tensor([0]), CLASSES
            )
            found = replace(found, class_scores=torch.tensor([[0.9, 0.1]]))
            writer.write(video, FrameResult(i, i / 10, found if i != 3 else found[[]]))
    writer.close()
    assert main(["link", str(source), "--method", method, "-o", str(target)]) == 0
    rows = pq.read_table(target).to_pylist()
    cats = [row for row in rows if row["label"] == 0]
    times = [(row["video"], row["frame"]) for row in cats if not row["interpolated"]]
    assert times == [(video, i) for video in ("b", "a") for i in (0, 1, 2, 4, 5)]
    assert all(row["time"] == pytest.approx(row["frame"] / 10) for row in rows)
    assert all(row["class_scores"] == pytest.approx([0.9, 0.1]) for row in cats)
    assert {row["track"] for row in rows if row["video"] == "a"} >= {cats[-1]["track"]}


def test_mistakes_are_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = write(tmp_path / "in.parquet"), tmp_path / "out.parquet"

    def error(*arguments: object, method: str = "seq_nms") -> str:
        assert main(["link", "--method", method, *map(str, arguments)]) == 2
        return error_of(capsys)

    assert "--method: expected one of seq_nms, " in error(source, "-o", target, method="nms")
    setting = error(source, "-o", target, "--link.gap", "5")
    assert "--method: expected a setting of seq_nms (min_score, rescoring), got 'gap'" in setting
    value = error(source, "-o", target, "--link.rescoring", "best")
    assert "--method seq_nms: rescoring: should be 'average' or 'max', got 'best'" in value
    assert "--link.rescoring: expected a value" in error(source, "-o", target, "--link.rescoring")
    assert "--method.window: megavid link has no such" in error(source, "-o", target, "--method.window", "6")
    assert "none.parquet: no such file" in error(tmp_path / "none.parquet", "-o", target)
    assert "--save-as" in error(tmp_path / "p.pth", "-o", target)
    assert "out.json" in error(source, "-o", tmp_path / "out.json")
    (tmp_path / "broken.parquet").write_bytes(source.read_bytes()[:-20])
    assert "broken.parquet" in error(tmp_path / "broken.parquet", "-o", target)
    assert "in.parquet: is the input" in error(source, "-o", source)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert "Too many levels" in error(source, "-o", tmp_path / "loop" / "x.parquet")
    (tmp_path / "mine.parquet").write_text("mine")
    assert "mine.parquet" in error(source, "-o", tmp_path / "mine.parquet")
    assert (tmp_path / "mine.parquet").read_text() == "mine"
    assert not target.exists()


def test_linked_predictions_are_not_linked_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = write(tmp_path / "in.parquet"), tmp_path / "out.parquet"
    assert main(["link", str(source), "--method", "seq_nms", "-o", str(target)]) == 0
    capsys.readouterr()
    again = tmp_path / "again.parquet"
    assert main(["link", str(target), "--method", "seq_nms", "-o", str(again)]) == 2
    assert "out.parquet: expected predictions that are not linked, got linking: " in error_of(capsys)
    early = tmp_path / "early.parquet"
    writer = PredictionWriter(early, metadata={"postprocessing": "Seq-NMS, average"})
    writer.close()
    assert main(["link", str(early), "--method", "seq_nms", "-o", str(again)]) == 2
    assert "got postprocessing: Seq-NMS, average" in error_of(capsys)
    assert not again.exists()
