"""Progress of long jobs: the text about it, and its output to standard error."""

from __future__ import annotations

import re

import pytest

from megavid.jobs import progress as progress_module
from megavid.jobs.progress import Meter, progress


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_unknown_values_are_left_out() -> None:
    clock = Clock()
    meter = Meter(unit="images", total=None, clock=clock)
    assert str(meter) == ""
    clock.now += 0.001
    meter.update(5, 200)  # no speed is given in the first second
    assert str(meter) == "5/200 images"
    clock.now += 10
    meter.update(55)
    assert str(meter) == "55/200 images, 5.5 images/s, ETA 0:00:26"
    clock.now += 50
    meter.update(200)
    assert str(meter) == "200/200 images, 3.33 images/s"


def test_a_live_stream_has_no_end() -> None:
    clock = Clock()
    meter = Meter(unit="frames", total=None, clock=clock)
    clock.now += 4
    meter.advance(100)
    assert str(meter) == "100 frames, 25 frames/s"


def test_the_speed_excludes_earlier_and_other_work() -> None:
    clock = Clock()
    meter = Meter(unit="steps", total=6000, done=4000, clock=clock)
    clock.now += 100
    meter.update(4050, note="loss 0.500")
    assert str(meter) == "4050/6000 steps, 0.5 steps/s, ETA 1:05:00, loss 0.500"
    meter.later = 600
    with meter.paused():
        clock.now += 1000
    clock.now += 10
    meter.update(4055)
    assert str(meter) == "4055/6000 steps, 0.5 steps/s, ETA 1:14:50, loss 0.500"


def test_the_speed_is_that_of_the_last_two_minutes() -> None:
    clock = Clock()
    meter = Meter(unit="frames", total=100_000, clock=clock)
    for count, seconds in ((10_000, 10), *[(10, 10)] * 14):
        clock.now += seconds
        meter.advance(count)
    assert "1 frames/s" in str(meter)


def test_lines_are_printed_without_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with progress("short", total=3) as meter:
        meter.advance(3)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(progress_module, "_FIRST", 0.0)
    with progress("a \x1b[31mclip", total=30) as meter:
        for _ in range(30):
            meter.advance()
    read = capsys.readouterr()
    assert read.out == ""
    # Only the first and the last frame get a line.
    assert read.err == "megavid: a \\x1b[31mclip: 1/30 frames\nmegavid: a \\x1b[31mclip: 30/30 frames\n"
    with progress("once", total=2) as meter:
        meter.advance(2)
    assert capsys.readouterr().err == "megavid: once: 2/2 frames\n"
    with progress("hidden", total=3, shown=False) as meter:
        meter.advance()
    assert capsys.readouterr().err == ""


def test_a_bar_is_shown_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    with progress("[/red]", total=4) as meter:
        meter.advance(4)
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", capsys.readouterr().err)
    assert "[/red]" in shown
    assert "4/4 frames" in shown
