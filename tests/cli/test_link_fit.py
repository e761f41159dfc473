"""`megavid link --fit`: fit REPP's pair model and link with it."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from megavid.cli import main
from megavid.core.detections import Detections, FrameResult
from megavid.datasets.open import Source, open_annotations
from megavid.datasets.table.annotations import NO_TRACK, AnnotationBuilder
from megavid.datasets.table.problems import Problems
from megavid.evaluation.formats.parquet_table import write_parquet
from megavid.evaluation.formats.parquet_writer import PredictionWriter
from tests.cli.helpers import error_of
from tests.evaluation.generated import noisy_predictions


def write(folder: Path, name: str, *, tracks: bool = True) -> tuple[str, str]:
    """Write a data set of two objects in 30 frames, and detections of both."""
    builder = AnnotationBuilder(("cat",), root=folder)
    writer = PredictionWriter(folder / f"{name}_found.parquet", metadata={})
    builder.video("a")
    for frame in range(30):
        builder.frame(frame, width=400, height=100)
        boxes = [[2 * frame, 0, 2 * frame + 40, 40], [300, 0, 340, 40]]
        for track, box in enumerate(boxes):
            builder.box(*box, label=0, track=track if tracks else NO_TRACK)
        found = Detections(
            torch.tensor(boxes).float(), torch.tensor([0.9, 0.8]), torch.zeros(2).long(), ("cat",)
        )
        writer.write("a", FrameResult(frame, frame / 25, found), file=None)
    writer.close()
    builder.build().save(folder / f"{name}.parquet")
    return str(folder / f"{name}.parquet"), str(folder / f"{name}_found.parquet")


def test_a_model_is_fitted_and_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = write(tmp_path, "one"), write(tmp_path, "two")
    model, linked = str(tmp_path / "model.json"), str(tmp_path / "linked.parquet")
    assert main(["link", "--fit", *one, "--fit", *two, "-o", model]) == 0
    assert f"{model}: fitted on 120 boxes; tells 100.0% of the pairs apart" in capsys.readouterr().out
    assert json.loads(Path(model).read_text())["about"] == {"boxes": 120, "accuracy": 1.0}
    assert main(["link", one[1], "--method", "repp", "--link.model", model, "-o", linked]) == 0
    assert pq.read_table(linked)["track"].to_pylist() == [0, 1] * 30


def test_the_part_of_a_data_set_is_chosen_as_for_scores(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, found, model = exported / "balls", tmp_path / "found.parquet", tmp_path / "model.json"
    train = open_annotations(Source(path=data, subset="vid_train"), problems=Problems())
    write_parquet(noisy_predictions(train, seed=1), found)
    line = ["link", "--fit", str(data), str(found), "-o", str(model)]
    assert main(line) == 2  # the default part is vid_val
    assert "video 'val/0000_000004': has none of its 4 frames" in error_of(capsys)
    assert main([*line, "--subset", "vid_train"]) == 0
    printed = capsys.readouterr().out
    train.save(tmp_path / "train.parquet")
    assert main(["link", "--fit", str(tmp_path / "train.parquet"), str(found), "-o", str(model)]) == 0
    assert capsys.readouterr().out == printed
    assert main([*line, "--skip-bad"]) == 2  # without the frames that the predictions lack, none is left
    assert "--fit: expected detections of two objects or more" in capsys.readouterr().err


def test_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, found = write(tmp_path, "one")
    untracked, _ = write(tmp_path, "two", tracks=False)
    out = ["-o", str(tmp_path / "model.json")]
    linked = str(tmp_path / "linked.parquet")
    assert main(["link", found, "--method", "seq_nms", "-o", linked]) == 0
    for command, message in (
        (["--fit", data, linked], "linked.parquet: expected predictions that are not linked, got linking"),
        ([], "link: expected PREDICTIONS and --method NAME, or --fit DATA PREDICTIONS"),
        ([found], "link: expected PREDICTIONS and --method NAME, or --fit DATA PREDICTIONS"),
        (["--fit", data, found, "--method", "repp"], "--fit: expected no PREDICTIONS to link, --method or"),
        (["--fit", data, found, "--link.sigma", "1"], "--fit: expected no PREDICTIONS to link, --method or"),
        ([found, "--method", "repp", "--subset", "x"], "--skip-bad: need --fit DATA PREDICTIONS"),
        (["--fit", data, found, "--subset", "x"], "subset"),
        (["--fit", untracked, found], "--fit: expected detections of two objects or more"),
        (["--fit", data, str(tmp_path / "none.parquet")], "none.parquet"),
    ):
        assert main(["link", *command, *out]) == 2
        assert message in error_of(capsys)
    assert main(["link", "--fit", data, found, "-o", str(tmp_path / "model.txt")]) == 2
    assert "model.txt: expected a name that ends in .json" in error_of(capsys)
    assert not (tmp_path / "model.json").exists()


def test_a_broken_model_is_one_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, found = write(tmp_path, "one")
    broken = tmp_path / "broken.json"
    broken.write_text('{"intercept": 1}')
    out = ["-o", str(tmp_path / "linked.parquet")]
    assert main(["link", found, "--method", "repp", "--link.model", str(broken), *out]) == 2
    assert f"{broken}: iou: missing" in error_of(capsys)
    assert not (tmp_path / "linked.parquet").exists()
