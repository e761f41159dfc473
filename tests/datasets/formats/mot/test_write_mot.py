"""Writing MOTChallenge's `gt.txt`."""

from __future__ import annotations

from pathlib import Path

import pytest

from megavid.core.errors import InputError
from megavid.datasets.formats.mot.read_mot import read_mot
from megavid.datasets.formats.mot.write_mot import write_mot
from megavid.datasets.table.annotations import AnnotationBuilder, Annotations
from megavid.datasets.table.problems import Problems


def table(*, first: int = 0, step: int = 1, label: str = "dog", name: str = "val/clip") -> Annotations:
    """Make a table of three frames: a cat of track 7 in two, then a dog without a track."""
    builder = AnnotationBuilder(("cat", label), root=Path())
    builder.video(name)
    for number in range(3):
        builder.frame(first + number * step, width=640, height=480)
        if number < 2:
            builder.box(10.5, 20, 30, 50, label=0, track=7, occluded=number == 1)
    builder.box(0, 0, 5, 6, label=1, difficult=True)
    return builder.build()


def test_files_are_written_and_read_back(tmp_path: Path) -> None:
    written = table()
    write_mot(written, tmp_path / "out")
    folder = tmp_path / "out" / "val" / "clip"
    lines = ["1,7,11.5,21,19.5,30,1,1,1", "2,7,11.5,21,19.5,30,1,1,0", "3,-1,1,1,5,6,0,2,1"]
    assert (folder / "gt" / "gt.txt").read_text().splitlines() == lines
    assert (folder / "gt" / "labels.txt").read_text() == "cat\ndog\n"
    info = "[Sequence]\nname=val/clip\nseqLength=3\nimWidth=640\nimHeight=480\n"
    assert (folder / "seqinfo.ini").read_text().strip() == info.strip()
    read = read_mot(tmp_path / "out", problems=Problems())
    assert (read.videos, read.classes) == (("val/clip",), ("cat", "dog"))
    for name in ("boxes", "labels", "tracks", "occluded", "difficult", "number", "width", "offsets"):
        assert getattr(read, name).tolist() == getattr(written, name).tolist(), name


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"step": 2}, "expected all frames from 0 to 4, since MOT cannot leave out any, got 3"),
        ({"first": 1}, "expected all frames from 0 to 3, .* got 3"),
        ({"label": " dog"}, "class ' dog': expected a name that can be a line"),
        ({"label": "a\nb"}, "class 'a.nb': expected a name that can be a line"),
        ({"name": "../clip"}, "'../clip': expected the name of a file"),
    ],
)
def test_what_the_format_cannot_hold_is_refused(
    tmp_path: Path, changes: dict[str, object], expected: str
) -> None:
    with pytest.raises(InputError, match=expected):
        write_mot(table(**changes), tmp_path / "out")  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())
