"""`megavid demo`: the shipped detectors on new generated videos."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from megavid.cli import main
from megavid.video.video_file import VideoFile


def test_demo_writes_scores_video_and_reports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "demo"
    assert main(["demo", "-o", str(folder), "--videos", "3"]) == 0
    output = capsys.readouterr().out
    assert [line.split()[1] for line in output.splitlines() if "│" in line] == ["single_frame", "mega"]
    scores = {
        method: json.loads((folder / method / "scores.json").read_text())["AP50"]
        for method in ("single_frame", "mega")
    }
    assert scores["single_frame"]["all"] > 0.5
    assert scores["mega"]["all"] > scores["single_frame"]["all"] + 0.03
    with VideoFile(folder / "side_by_side.mp4") as video:
        assert len(video) == 3 * 48
    for name in ("side_by_side.png", "comparison.html", "mega/report.html", "single_frame/report.html"):
        assert (folder / name).stat().st_size > 3_000
        assert f"{folder / name}" in output.replace("\n", "")
    assert main(["demo", "-o", str(folder)]) == 2
    assert "expected an empty folder or none" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seed", "0"], "seed: expected another than 0"),
        (["--seed", "-1"], "seed: expected at least 0, got -1"),
        (["--videos", "0"], "videos: expected at least 1, got 0"),
        (["--device", "tpu"], "device: expected auto, cpu, cuda or mps"),
        (["--method.window", "3"], "--method.window: megavid demo has no such option"),
    ],
)
def test_mistakes_are_explained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(["demo", "-o", str(tmp_path / "demo"), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "demo").exists()
