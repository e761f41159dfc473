"""Label Studio's keyframes become boxes in every frame; what cannot be read is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from megavid.core.errors import InputError
from megavid.datasets.formats.label_studio import read_label_studio as module
from megavid.datasets.formats.label_studio.read_label_studio import read_label_studio
from megavid.datasets.open import recognize
from megavid.datasets.table.annotations import Annotations
from megavid.datasets.table.problems import Kind, Problems
from tests.datasets.formats.label_studio.label_studio_export import (
    FRAMES,
    keyframe,
    region,
    task,
    write_clip,
    write_export,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_clip(tmp_path / "clip.mp4")
    return tmp_path


def read(folder: Path, *tasks: Any, problems: Problems | None = None, **options: Any) -> Annotations:
    path = write_export(folder / "labels.json", *tasks)
    return read_label_studio(path, problems=problems or Problems(), **options)


def boxes_of(a: Annotations) -> list[tuple[int, str, int, bool, tuple[float, ...]]]:
    return [
        (
            int(a.number[frame]),
            a.classes[a.labels[row]],
            int(a.tracks[row]),
            bool(a.generated[row]),
            tuple(a.boxes[row].tolist()),
        )
        for row, frame in enumerate(a.box_frames.tolist())
    ]


def test_boxes_are_interpolated_between_keyframes(folder: Path) -> None:
    """The box moves from frame 3 (the third) to 7, which ends it; it comes back for a single frame, 9."""
    sequence = (
        keyframe(7, 20, 30, 10, 40, enabled=False),
        keyframe(3, 10, 10, 10, 20),
        keyframe(9, 50, 50, 25, 25, enabled=False),
    )
    found = read(folder, task(region(*sequence)))
    assert (found.videos, found.sources, found.classes) == (("clip.mp4",), ("clip.mp4",), ("fox",))
    assert found.number.tolist() == list(range(FRAMES))
    assert set(zip(found.width.tolist(), found.height.tolist(), strict=True)) == {(200, 100)}
    assert boxes_of(found) == [
        (2, "fox", 0, False, (20, 10, 40, 30)),
        (3, "fox", 0, True, (25, 15, 45, 40)),
        (4, "fox", 0, True, (30, 20, 50, 50)),
        (5, "fox", 0, True, (35, 25, 55, 60)),
        (6, "fox", 0, False, (40, 30, 60, 70)),
        (8, "fox", 0, False, (100, 50, 150, 75)),
    ]


def test_the_last_enabled_keyframe_lasts_to_the_end(folder: Path) -> None:
    two = region(keyframe(8, 0, 0, 50, 50)), region(keyframe(10, 0, 0, 9, 9), label="elk")
    found = read(folder, task(*two))
    assert boxes_of(found) == [
        (7, "fox", 0, False, (0, 0, 100, 50)),
        (8, "fox", 0, True, (0, 0, 100, 50)),
        (9, "fox", 0, True, (0, 0, 100, 50)),
        (9, "elk", 1, False, (0, 0, 18, 9)),
    ]


def test_boxes_that_label_studio_interpolated_are_generated(folder: Path) -> None:
    sequence = (keyframe(1, 0, 0, 10, 10), keyframe(2, 5, 0, 10, 10, auto=True, enabled=False))
    found = read(folder, task(region(*sequence)))
    assert [box[3] for box in boxes_of(found)] == [False, True]


def test_only_exported_frames_are_labeled(folder: Path) -> None:
    sequence = (keyframe(1, 0, 0, 10, 10), keyframe(5, 20, 0, 10, 10, enabled=False))
    data = {"video": "clip.mp4", "megavid_frames": [[0, 6, 2], [9, 9, 1]]}
    found = read(folder, task(region(*sequence), data=data))
    assert found.number.tolist() == [0, 2, 4, 6, 9]
    assert [(box[0], box[4][0]) for box in boxes_of(found)] == [(0, 0), (2, 20), (4, 40)]


@pytest.mark.parametrize(
    "address",
    [
        "clip.mp4",
        "/data/upload/3/0a1b2c3d-clip.mp4",
        "/data/local-files/?d=videos/clip.mp4",
        "/data/local-files/?d=a%20b/clip.mp4",
        "s3://bucket/folder/clip.mp4",
        "https://host.example/a/clip.mp4?token=x/y.mp4&d=1#t=3",
        "C:\\videos\\clip.mp4",
        "../clip.mp4",
        "clip.mov",
    ],
)
def test_videos_are_found_by_name(folder: Path, address: str) -> None:
    assert read(folder, task(video=address)).sources == ("clip.mp4",)


def test_longer_paths_come_first(folder: Path) -> None:
    (folder / "a" / "b").mkdir(parents=True)
    write_clip(folder / "a" / "b" / "clip.mp4", frames=3)
    found = read(folder, task(video="/data/local-files/?d=x/a/b/clip.mp4"))
    assert (found.sources, len(found)) == (("a/b/clip.mp4",), 3)
    assert read(folder, task(video="b/clip.mp4")).sources == ("clip.mp4",)


def test_a_file_name_with_signs_of_addresses(folder: Path) -> None:
    (folder / "clip.mp4").rename(folder / "a+b 100%#2.mp4")
    for prefix in ("", "/data/local-files/?d=videos/"):
        assert read(folder, task(video=f"{prefix}a+b 100%#2.mp4")).sources == ("a+b 100%#2.mp4",)


def test_another_key_has_the_address(folder: Path) -> None:
    assert read(folder, task(data={"text": "a clip", "mp4": "clip.mp4"})).sources == ("clip.mp4",)
    with pytest.raises(InputError, match="expected data with the address of one video as 'video'"):
        read(folder, task(data={"one": "clip.mp4", "other": "clip.mp4"}))


def test_tasks_without_annotations_are_left_out(folder: Path) -> None:
    write_clip(folder / "pond.mp4")
    skipped = [{"id": 1, "was_cancelled": True, "result": [region(keyframe(1, 0, 0, 9, 9))]}]
    predicted = [{"result": [region(keyframe(1, 0, 0, 9, 9))]}]
    problems = Problems()
    found = read(
        folder,
        task(),
        task(video="pond.mp4", annotations=skipped),
        task(video="pond.mp4", annotations=[], predictions=predicted),
        problems=problems,
    )
    assert found.videos == ("clip.mp4",)
    assert (len(found), len(found.boxes)) == (FRAMES, 0)
    assert any("2 tasks without annotations are left out" in text for text in problems.warnings)
    with pytest.raises(InputError, match="expected tasks with annotations, got 1 without"):
        read(folder, task(annotations=skipped))
    with pytest.raises(InputError, match="expected tasks with annotations or predictions, got 1 without"):
        read(folder, task(annotations=[]))


def test_classifications_are_noted(folder: Path) -> None:
    problems = Problems()
    choice = {"type": "choices", "value": {"choices": ["night"]}, "from_name": "c", "to_name": "video"}
    assert len(read(folder, task(choice, region(keyframe(10, 0, 0, 9, 9))), problems=problems).boxes) == 1
    assert any("1 results of type choices have no boxes" in text for text in problems.notes)


def test_classes_are_selected(folder: Path) -> None:
    regions = [region(keyframe(10, 0, 0, 9, 9), label=label) for label in ("fox", "elk")]
    problems = Problems(skip=True)
    found = read(folder, task(*regions), classes=["owl", "elk"], problems=problems)
    assert [box[1] for box in boxes_of(found)] == ["elk"]
    assert problems.counts() == {Kind.UNKNOWN_CLASS: 1}


def first(change: dict[str, Any]) -> Callable[[], Any]:
    return lambda: task(region({**keyframe(1, 10, 10, 10, 10), **change}))


BAD = [
    ("expected a frame from 1 to 1000000 in each keyframe, got 0", first({"frame": 0})),
    ("expected a frame from 1 to 1000000 in each keyframe, got 1.5", first({"frame": 1.5})),
    ("expected a frame from 1 to 1000000 in each keyframe, got '3'", first({"frame": "3"})),
    ("expected frames from 1 to 10, as the video has, got 11", first({"frame": 11})),
    ("frame 1: expected x in percent, got nan", first({"x": float("nan")})),
    ("frame 1: expected y in percent, got '10'", first({"y": "10"})),
    ("frame 1: expected width in percent, got inf", first({"width": float("inf")})),
    ("frame 1: expected a width and a height above 0, got -3 and 10", first({"width": -3})),
    ("frame 1: expected a width and a height above 0, got 10 and 0", first({"height": 0})),
    ("expected a box that is not rotated, got rotation 12.5", first({"rotation": 12.5})),
    ("expected a box that is not rotated, got rotation 'no'", first({"rotation": "no"})),
    ("expected enabled as true or false, got None", first({"enabled": None})),
    ("expected auto as true or false, got 1", first({"auto": 1})),
    (
        "has two keyframes in frame 1",
        lambda: task(region(keyframe(1, 0, 0, 9, 9), keyframe(1, 0, 0, 8, 9))),
    ),
    ("expected keyframes as objects, got 7", lambda: task(region(7))),
    ("expected sequence as a list of keyframes, got []", lambda: task(region())),
    ("expected labels with one class, got []", lambda: task(region(keyframe(1, 0, 0, 9, 9), labels=[]))),
    (
        "expected labels with one class, got ['a', 'b']",
        lambda: task(region(keyframe(1, 0, 0, 9, 9), labels=["a", "b"])),
    ),
    (
        "expected framesCount and duration above 0, got 10 and 0",
        lambda: task(region(keyframe(1, 0, 0, 9, 9), duration=0)),
    ),
    (
        "was labeled with 24 frames in 1 s, but clip.mp4 has 10 frames per second",
        lambda: task(region(keyframe(1, 0, 0, 9, 9), framesCount=24)),
    ),
    (
        "was labeled with 9 frames in 1 s, but clip.mp4 has 10 frames per second",
        lambda: task(region(keyframe(1, 0, 0, 9, 9), framesCount=9)),
    ),
    ("expected value as an object, got []", lambda: task({**region(), "value": []})),
    (
        "expected type videorectangle, got 'rectanglelabels'; export tasks of images as COCO",
        lambda: task({"type": "rectanglelabels", "value": {"x": 1}}),
    ),
    ("expected an object with a type, got 3", lambda: task(3)),
    (
        "expected one of the annotations, got 2 (ids 3, 4); delete the others",
        lambda: task(annotations=[{"id": n, "result": []} for n in (3, 4)]),
    ),
    ("expected result as a list, got None", lambda: task(annotations=[{"id": 3}])),
    (
        "expected was_cancelled as true or false, got 'no'",
        lambda: task(annotations=[{"was_cancelled": "no", "result": []}]),
    ),
    ("expected annotations as a list of objects, got [3]", lambda: task(annotations=[3])),
    ("expected data as an object, got 'clip.mp4'", lambda: task(data="clip.mp4")),
    ("expected data with the address of one video", lambda: task(data={"video": 3})),
    ("expected the video other.mp4 in", lambda: task(video="/data/other.mp4")),
    (
        "expected megavid_frames as runs of first, last and step, got [3]",
        lambda: task(data={"video": "clip.mp4", "megavid_frames": [3]}),
    ),
    (
        "expected ascending runs of first, last and step, got [3, 1, 1]",
        lambda: task(data={"video": "clip.mp4", "megavid_frames": [[3, 1, 1]]}),
    ),
    (
        "expected at most 5000000 frames, got 1000000000",
        lambda: task(data={"video": "clip.mp4", "megavid_frames": [[0, 999999999, 1]]}),
    ),
    (
        "has 10, got frame 12 in megavid_frames",
        lambda: task(data={"video": "clip.mp4", "megavid_frames": [[0, 12, 2]]}),
    ),
]


@pytest.mark.parametrize(("message", "make"), BAD, ids=[message for message, _ in BAD])
def test_invalid_tasks_and_regions_are_refused_or_skipped(
    folder: Path, message: str, make: Callable[[], Any]
) -> None:
    with pytest.raises(InputError) as error:
        read(folder, make())
    assert message in str(error.value)
    assert "labels.json, task 5" in str(error.value)
    write_clip(folder / "good.mp4")
    problems = Problems(skip=True)
    good = task(region(keyframe(10, 0, 0, 9, 9), label="elk"), video="good.mp4", id=6)
    found = read(folder, make(), good, problems=problems)
    assert len(problems.found) == 1
    assert [box[1] for box in boxes_of(found)] == ["elk"]


@pytest.mark.parametrize(("frames", "duration"), [(10, 1.0), (11, 1.04), (13, 1.3), (10, 3.0)])
def test_sound_and_rounding_may_change_the_number_of_frames(
    folder: Path, frames: int, duration: float
) -> None:
    """The sound of 0.3 seconds makes three frames more; a number that equals the video's is right."""
    labels = region(keyframe(9, 0, 0, 9, 9), framesCount=frames, duration=duration)
    assert len(read(folder, task(labels)).boxes) == 2


def test_two_tasks_of_a_video_are_refused(folder: Path) -> None:
    with pytest.raises(InputError, match=r"task 6: is of clip.mp4, as .*task 5: expected one task for each"):
        read(folder, task(), task(id=6))
    with pytest.raises(InputError, match=r"task 5: is of clip.mp4, as .*task 5: expected one task for each"):
        read(folder, task(), task())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"id": 1, "annotations": [', "expected JSON"),
        ("[1]", "a list of tasks"),
        ("[]", "got no task"),
        ('[{"video": "clip.mp4", "box": []}]', r"not JSON-MIN\), got a task without 'data'"),
    ],
)
def test_other_files_are_refused(folder: Path, text: str, message: str) -> None:
    (folder / "x.json").write_text(text)
    with pytest.raises(InputError, match=message):
        read_label_studio(folder / "x.json", problems=Problems())


def test_recognition_by_the_list(folder: Path) -> None:
    assert recognize(write_export(folder / "a.json", task())) == "labelstudio"
    (folder / "b.json").write_text("\ufeff \n" + json.dumps([task()]), encoding="utf-8")
    assert recognize(folder / "b.json") == "labelstudio"
    (folder / "c.json").write_text('{"images": []}')
    assert recognize(folder / "c.json") == "coco"


def test_too_many_boxes_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_FILLED", 17)
    two = [region(keyframe(1, 0, 0, 9, 9)) for _ in range(2)]
    with pytest.raises(InputError, match="expected at most 17 boxes between keyframes, got 18"):
        read(folder, task(*two))
