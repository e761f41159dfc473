"""The contents of the pages of evaluations and comparisons, and how a browser shows a page."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from megavid.cli.score_tables import print_comparison, print_scores, print_summary
from megavid.datasets.table.annotations import NO_TRACK, AnnotationBuilder, Annotations
from megavid.datasets.table.problems import Problems
from megavid.evaluation.scores import Scores
from megavid.evaluation.steadiness import NOT_MEASURED
from megavid.jobs.find_motion import find_motion
from megavid.jobs.score_predictions import score_predictions
from megavid.jobs.write_scores import write_comparison, write_scores
from tests.datasets.tables import without_boxes
from tests.evaluation.generated import noisy_predictions, write_data_set


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Annotations:
    return write_data_set(tmp_path_factory.mktemp("data") / "set")


def score(data: Annotations, **options: Any) -> Scores:
    found = noisy_predictions(data, **options)
    return score_predictions(found, data, motion=find_motion(data, "auto"), problems=Problems())


def page(folder: Path, name: str = "report.html") -> str:
    return (folder / name).read_text("utf-8")


def test_the_page_has_all_scores(data: Annotations, tmp_path: Path) -> None:
    scores = score(data)
    paths = write_scores(tmp_path, replace(scores, coco={"AP": 0.25}), data, {"data": "a <b>"})
    assert [p.name for p in paths] == ["scores.json", "pr_curves.png", "confusion.png", "report.html"]
    html = page(tmp_path)
    for text in (
        "a &lt;b&gt;",
        f"{100 * scores.results['all'].mean:.2f}",
        f"{100 * scores.results['fast'].mean:.2f}",
        *data.classes,
        "25.00",
        "clip 0",
        "missed objects yellow",
        "1000 resamples of the 3 videos",
    ):
        assert text in html
    assert "<script" not in html
    assert not re.search(r'(src|href)="(?!data:)', html)  # the page loads no other files
    assert html.count("data:image/jpeg") >= 3


def test_names_are_escaped(data: Annotations, tmp_path: Path) -> None:
    names = ("<script>alert(1)</script>", "$x_", "\x1b[31m[/]\n", *data.classes[3:])
    changed = replace(data, classes=names, videos=("<i>v</i>", *data.videos[1:]))
    scores = score(changed)
    write_scores(tmp_path, scores, changed, {"<b>data</b>": "<b>x</b>"})
    write_comparison(tmp_path, (scores, scores), ("<script>", "\x1b"), {})
    for name in ("report.html", "comparison.html"):
        html = page(tmp_path, name)
        assert "&lt;script&gt;alert(1)" in html
        for markup in ("<script", "<i>v", "<b>", "\x1b"):
            assert markup not in html


def test_names_are_escaped_in_a_terminal(data: Annotations, capsys: pytest.CaptureFixture[str]) -> None:
    changed = replace(data, classes=("[/]", "[red]x[/red]", "\x1b[31mred", *data.classes[3:]))
    scores = score(changed)
    print_scores(scores)
    print_comparison(scores, scores, ("[/bold]", "b"), "")
    print_summary({"[/]": scores})
    out = capsys.readouterr().out
    for name in ("[/]", "[red]x[/red]", r"\x1b[31mred", "A [/bold]"):
        assert name in out
    assert "\x1b[31m" not in out


def test_pictures_of_small_frames_are_enlarged(data: Annotations, tmp_path: Path) -> None:
    write_scores(tmp_path, score(data), data, {})
    pictures = re.findall(r"data:image/jpeg;base64,([^\"]+)", page(tmp_path))
    sizes = {PIL.Image.open(io.BytesIO(base64.b64decode(picture))).size for picture in pictures}
    assert sizes == {(640, 480)}  # the frames have 160 x 120 pixels


def test_frames_that_cannot_be_read_have_no_picture(data: Annotations, tmp_path: Path) -> None:
    write_scores(tmp_path, score(data), replace(data, root=tmp_path / "elsewhere"), {})
    assert "the frame cannot be read" in page(tmp_path)
    assert "data:image/jpeg" not in page(tmp_path)


def test_pages_without_detections_and_without_objects(data: Annotations, tmp_path: Path) -> None:
    nothing = noisy_predictions(data).take(np.array([], np.int64))
    for number, set_ in enumerate((data, without_boxes(data))):
        out = tmp_path / str(number)
        scores = score_predictions(nothing, set_, motion=None, problems=Problems())
        write_scores(out, scores, set_, {})
        assert "mean" in page(out)


def test_the_page_of_one_class_and_one_very_wide_frame(tmp_path: Path) -> None:
    builder = AnnotationBuilder(("only",), root=tmp_path)
    builder.video("v")
    PIL.Image.new("RGB", (3000, 20)).save(tmp_path / "x.png")
    builder.frame(7, file="x.png", width=3000, height=20)
    builder.box(5, 5, 900, 15, label=0)
    data = builder.build()
    write_scores(tmp_path / "out", score(data), data, {})
    assert "only" in page(tmp_path / "out")


def test_the_page_of_a_comparison(data: Annotations, tmp_path: Path) -> None:
    one, two = score(data), score(data, seed=1, noise=5)
    write_comparison(tmp_path, (one, two), ("first", "second"), {"data": "d"})
    html = page(tmp_path, "comparison.html")
    best = int(np.nanargmax(two.results["fast"].ap))
    difference = 100 * (two.results["all"].mean - one.results["all"].mean)
    for text in ("first", "second", f"{difference:+.2f}", f"{100 * two.results['fast'].ap[best]:.2f}"):
        assert text in html


def without_tracks(data: Annotations) -> Annotations:
    return replace(data, tracks=np.full_like(data.tracks, NO_TRACK))


def test_steadiness_is_on_both_pages_and_in_both_tables(
    data: Annotations, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = score(data), score(data, seed=1, noise=5)
    assert one.steadiness is not None
    assert two.steadiness is not None
    a, b = (run.steadiness.measures()["flickers"] for run in (one, two) if run.steadiness is not None)
    write_scores(tmp_path, one, data, {})
    write_comparison(tmp_path, (one, two), ("first", "second"), {})
    print_scores(one)
    single = capsys.readouterr().out
    print_comparison(one, two, ("first", "second"), "")
    both = capsys.readouterr().out
    tracks = (
        f"{len(one.steadiness)} tracks with {len(data.boxes)} frames in all; detections with a score above "
    )
    for text in (page(tmp_path), single):
        assert tracks in text
        assert f"{a:.2f}" in text
    for text in (page(tmp_path, "comparison.html"), both):
        assert tracks in text
        for value in (f"{a:.2f}", f"{b:.2f}", f"{b - a:+.2f}"):
            assert value in text
    for name in ("report.html", "comparison.html"):
        assert "The least steady tracks" in page(tmp_path, name)
    content = json.loads((tmp_path / "scores.json").read_text())["steadiness"]
    assert one.best is not None
    assert content["score_threshold"] == one.best.score_threshold
    assert (content["tracks"], content["flickers"]) == (len(one.steadiness), a)
    content = json.loads((tmp_path / "comparison.json").read_text())["steadiness_difference"]
    assert content["flickers"]["value"] == b - a
    low, high = content["flickers"]["interval"]
    assert f"{low:+.2f} to {high:+.2f}" in page(tmp_path, "comparison.html")


def test_pages_and_tables_without_track_ids_say_why_steadiness_is_missing(
    data: Annotations, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = without_tracks(data)
    scores = score(bare)
    write_scores(tmp_path, scores, bare, {})
    write_comparison(tmp_path, (scores, scores), ("first", "second"), {})
    print_scores(scores)
    print_comparison(scores, scores, ("first", "second"), "")
    assert capsys.readouterr().out.count(NOT_MEASURED) == 2
    for name in ("report.html", "comparison.html"):
        assert NOT_MEASURED in page(tmp_path, name)
        assert "The least steady tracks" not in page(tmp_path, name)
    assert scores.as_dict()["steadiness"] == {"not_measured": NOT_MEASURED}


def test_steadiness_is_measured_in_the_frames_that_were_detected(data: Annotations) -> None:
    found = noisy_predictions(data)
    every_third = replace(found.take(found.frame % 3 == 0), metadata={"every": 3})
    scores = score_predictions(every_third, data, motion=None, problems=Problems())
    assert scores.steadiness is not None
    assert set(scores.steadiness.number.tolist()) == {0, 3}


BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture
def browse(tmp_path: Path) -> Any:
    """Return a function that opens a page in headless Chromium and returns what Chromium prints."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed")

    def run(path: Path, *options: str) -> str:
        quiet = (
            "disable-gpu",
            "disable-quic",
            "no-first-run",
            "disable-background-networking",
            "disable-sync",
        )
        flags = [f"--{flag}" for flag in ("headless", "no-sandbox", *quiet)]
        command = [browser, *flags, f"--user-data-dir={tmp_path / 'profile'}", *options, path.as_uri()]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout

    return run


@pytest.mark.parametrize("width", [1200, 500])
def test_a_browser_shows_the_page_with_all_its_images(
    data: Annotations, tmp_path: Path, browse: Any, width: int
) -> None:
    scores = score(data)
    write_scores(tmp_path / "out", scores, data, {})
    probe = """<script>onload = () => { document.title = JSON.stringify({
        broken: [...document.images].filter(i => !i.naturalWidth).length, images: document.images.length,
        beyond: document.documentElement.scrollWidth - innerWidth}) }</script>"""
    path = tmp_path / "probe.html"
    path.write_text(page(tmp_path / "out").replace("</body>", f"{probe}</body>"), "utf-8")
    dom = browse(path, "--dump-dom", f"--window-size={width},900")
    found = re.search(r'<title>\{"broken":(\d+),"images":(\d+),"beyond":(-?\d+)\}', dom)
    assert found
    broken, images, beyond = map(int, found.groups())
    assert broken == 0
    assert images >= 6
    assert beyond <= 0  # the page is not wider than the window
    assert f"<td>{100 * scores.results['all'].ap[0]:.2f}</td>" in dom
    shot = tmp_path / "shot.png"
    browse(path, f"--screenshot={shot}", f"--window-size={width},1500")
    assert np.asarray(PIL.Image.open(shot).convert("RGB")).std() > 20
