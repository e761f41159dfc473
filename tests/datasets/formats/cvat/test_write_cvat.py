"""Writing "CVAT for video 1.1"."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from megavid.core.errors import InputError
from megavid.datasets.formats.cvat.read_cvat import read_cvat
from megavid.datasets.formats.cvat.write_cvat import write_cvat
from megavid.datasets.table.annotations import AnnotationBuilder
from megavid.datasets.table.problems import Problems


def builder(*classes: str, video: str = "clip.mp4", root: Path = Path()) -> AnnotationBuilder:
    table = AnnotationBuilder(classes, root=root)
    table.video(video)
    return table


def test_the_file_as_cvat_documents_it(tmp_path: Path) -> None:
    """A cat misses frame 12, in which it is outside; a dog without a track is in the last frame."""
    table = builder("cat", "a <dog>")
    for frame in (10, 11, 12, 13):
        table.frame(frame, width=640, height=480)
        if frame in {10, 11}:
            table.box(1, 2, 30, 40, label=0, track=7)
        if frame == 13:
            table.box(5.5, 6, 7, 8, label=1, occluded=True)
            table.box(2, 2, 31, 41, label=0, track=7)
    write_cvat(table.build(), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["clip.xml"]
    assert (
        (tmp_path / "out" / "clip.xml").read_text()
        == """\
<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta>
    <task>
      <name>clip.mp4</name>
      <size>4</size>
      <mode>interpolation</mode>
      <overlap>0</overlap>
      <start_frame>10</start_frame>
      <stop_frame>13</stop_frame>
      <frame_filter></frame_filter>
      <labels>
        <label>
          <name>cat</name>
          <type>any</type>
          <attributes></attributes>
        </label>
        <label>
          <name>a &lt;dog&gt;</name>
          <type>any</type>
          <attributes></attributes>
        </label>
      </labels>
      <original_size>
        <width>640</width>
        <height>480</height>
      </original_size>
      <source>clip.mp4</source>
    </task>
  </meta>
  <track id="0" label="cat" source="auto">
    <box frame="10" outside="0" occluded="0" keyframe="1" xtl="1" ytl="2" xbr="30" ybr="40" z_order="0"></box>
    <box frame="11" outside="0" occluded="0" keyframe="1" xtl="1" ytl="2" xbr="30" ybr="40" z_order="0"></box>
    <box frame="12" outside="1" occluded="0" keyframe="1" xtl="1" ytl="2" xbr="30" ybr="40" z_order="0"></box>
    <box frame="13" outside="0" occluded="0" keyframe="1" xtl="2" ytl="2" xbr="31" ybr="41" z_order="0"></box>
  </track>
  <track id="1" label="a &lt;dog&gt;" source="auto">
    <box frame="13" outside="0" occluded="1" keyframe="1" xtl="5.5" ytl="6" xbr="7" ybr="8" z_order="0"></box>
  </track>
</annotations>
"""
    )


def test_frames_that_are_left_out_evenly_are_a_frame_step(tmp_path: Path) -> None:
    """A box is outside in the next frame that the task has, not in a frame between."""
    table = builder("cat")
    for frame in (0, 5, 10):
        table.frame(frame, width=64, height=48)
        if frame == 0:
            table.box(1, 2, 3, 4, label=0, track=1)
    write_cvat(table.build(), tmp_path / "out")
    root = ElementTree.parse(tmp_path / "out" / "clip.xml").getroot()
    task = root.find("meta/task")
    assert task is not None
    found = [task.findtext(key) for key in ("size", "start_frame", "stop_frame", "frame_filter")]
    assert found == ["3", "0", "10", "step=5"]
    assert [(box.get("frame"), box.get("outside")) for box in root.iter("box")] == [("0", "0"), ("5", "1")]
    assert read_cvat(tmp_path / "out", problems=Problems()).number.tolist() == [0, 5, 10]


def test_a_track_of_two_classes_is_two_tracks(tmp_path: Path) -> None:
    table = builder("cat", "dog")
    for frame, label in enumerate((0, 1, 0)):
        table.frame(frame, width=64, height=48)
        table.box(frame, 0, 10, 10, label=label, track=1)
    write_cvat(table.build(), tmp_path / "out")
    root = ElementTree.parse(tmp_path / "out" / "clip.xml").getroot()
    tracks = [
        (track.get("label"), [(box.get("frame"), box.get("outside")) for box in track])
        for track in root.iter("track")
    ]
    assert tracks == [("cat", [("0", "0"), ("1", "1"), ("2", "0")]), ("dog", [("1", "0"), ("2", "1")])]
    read = read_cvat(tmp_path / "out", problems=Problems())
    assert read.labels.tolist() == [0, 1, 0]
    assert read.boxes[:, 0].tolist() == [0, 1, 2]
    assert not read.generated.any()


def test_names_of_files(tmp_path: Path) -> None:
    table = builder("cat", video="val/pond.mp4")
    table.frame(0, width=64, height=48)
    for name in ("clip.mp4", "clip.avi", "river"):
        table.video(name)
        table.frame(0, width=64, height=48)
    write_cvat(table.build(), tmp_path / "out")
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["clip.avi.xml", "clip.mp4.xml", "river.xml", "val_pond.xml"]
    assert "<source>pond.mp4</source>" in (tmp_path / "out" / "val_pond.xml").read_text()


@pytest.mark.parametrize(
    ("label", "names", "expected"),
    [
        ("a\x01", ("clip",), "'a\\\\x01': expected a name that XML can contain"),
        ("cat", ("a/b", "a_b"), "videos 'a/b' and 'a_b': expected names for two files, got 'a_b'"),
        ("cat", ("x" * 300,), "expected a name of at most 255 bytes, got 304"),
    ],
)
def test_impossible_names_are_refused(
    tmp_path: Path, label: str, names: tuple[str, ...], expected: str
) -> None:
    table = AnnotationBuilder((label,), root=tmp_path)
    for name in names:
        table.video(name)
        table.frame(0, width=64, height=48)
    with pytest.raises(InputError, match=expected):
        write_cvat(table.build(), tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_frames_of_unknown_size_are_refused(tmp_path: Path) -> None:
    table = builder("cat")
    table.frame(0)
    with pytest.raises(InputError, match=r"video 'clip.mp4': expected frames of known size"):
        write_cvat(table.build(), tmp_path / "out")
