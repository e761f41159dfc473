"""`megavid init`: mistakes and unusable data."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.cli.helpers import error_of
from tests.cli.init_project import init
from tests.datasets.formats.cvat.cvat_export import write_cvat_export


def test_mistakes_are_explained(exported: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clips = exported / "clips"
    for arguments, message in (
        (["--val-share", "1.5"], "--val-share: expected a number between 0 and 1"),
        (["--val-share", "nan"], "--val-share: expected a number between 0 and 1"),
        (["--seed", "-1"], "--seed: expected at least 0, got -1"),
        (["--seed", str(2**64)], "--seed: expected at most"),
        (["--hours", "0"], "--hours: expected more than 0"),
        (["--run.workers", "-1"], "run.workers: should be greater than or equal to 0"),
        (["--run.batch", str(10**9)], "run.batch: should be less than or equal to"),
        (["--model", "mega_r18"], "mega_r18: no such configuration"),
        (["--start.detector", "none.pth"], "none.pth: no such weight file"),
        (["--start.backbone", "none.pth"], "none.pth: no such file"),
        (
            ["--model", "mega_r101", "--start.backbone", "torchvision:resnet50"],
            "torchvision:resnet50: expected a ResNet-101, as in mega_r101, got a ResNet-50",
        ),
        (["--run.stepz", "5"], "run.stepz: unknown key"),
        (["--run.steps", "abc"], "--run.steps: expected a whole number"),
        # The model and the weights are checked before --val-videos, which is invalid here, too.
        (["--model", "mega_r18", "--val-videos", "nobody"], "mega_r18: no such configuration"),
        (["--start.detector", "none.pth", "--val-videos", "nobody"], "none.pth: no such weight file"),
        (["--method.nonsense", "5"], "method.nonsense: unknown key"),
        (["--val", "nowhere"], "nowhere: no such file or folder"),
    ):
        assert init(clips, *arguments) == 2
        assert message in error_of(capsys)
        assert not Path("project").exists()
        assert list(here.iterdir()) == []
    for name in ("x" * 300, str(clips / "pond.xml" / "x"), "/dev/null/x"):
        assert init(clips, project=name) == 2
        assert "cannot be written: " in error_of(capsys)
    assert init(clips, project=".") == 2
    assert ".: is the working directory" in error_of(capsys)
    Path("project").mkdir()
    Path("project", "mine.txt").touch()
    assert init(clips) == 2
    assert "project: expected a new or empty folder" in error_of(capsys)


def test_invalid_starting_weights_are_explained(
    exported: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("page.pth").write_text("<!DOCTYPE html>")
    arguments = ["--model", "single_frame_r50", "--start.backbone", "page.pth"]
    assert init(exported / "clips", *arguments, timed=True) == 2
    assert (
        "page.pth: expected a PyTorch checkpoint of tensors only, got a web page" in capsys.readouterr().err
    )
    assert not Path("project").exists()


def test_unusable_data_are_explained(exported: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(exported / "clips", "clips")
    Path("clips", "river.mp4").write_bytes(b"no video")
    assert init(Path("clips")) == 2
    assert "river.mp4" in error_of(capsys)
    no_objects = write_cvat_export(Path("empty"), names=("pond", "fen"), frames=2)
    for file in no_objects.glob("*.xml"):
        text = file.read_text()
        file.write_text(text[: text.index("<track")] + "</annotations>")
    assert init(no_objects) == 2
    assert "no frame to train on" in error_of(capsys)
