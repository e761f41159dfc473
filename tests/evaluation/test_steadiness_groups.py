"""Steadiness by class and by video, and the share found only by interpolated boxes, computed by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from megavid.cli.score_tables import print_scores
from megavid.datasets.table.annotations import AnnotationBuilder, Annotations
from megavid.datasets.table.problems import Problems
from megavid.evaluation.prediction_table import PredictionTable
from megavid.evaluation.scores import Scores
from megavid.evaluation.steadiness import FOUND, LOST
from megavid.evaluation.steadiness_groups import steadiness_by_class, steadiness_by_video
from megavid.evaluation.steadiness_text import group_cells, group_columns
from megavid.jobs.score_predictions import score_predictions
from megavid.jobs.write_scores import write_scores
from tests.evaluation.tracks import BOX, CAT, DOG, FAR, Detection, measure, moved, one_track, videos

CLASSES = ("cat", "dog")


def two_videos() -> Annotations:
    """Make videos "a" and "b" of four frames, with a cat at `BOX` and a dog at `FAR`, and an empty "c"."""
    builder = AnnotationBuilder(CLASSES, root=Path("/data"))
    for name in ("a", "b"):
        builder.video(name)
        for t in range(4):
            builder.frame(t)
            builder.box(*BOX, label=CAT, track=1)
            builder.box(*FAR, label=DOG, track=2)
    builder.video("c")
    builder.frame(0)
    return builder.build()


# In "a", the cat is found in frames 0 and 2 and the dog never; in "b", the cat is found in all four frames,
# and the dog in frames 4 and 5, then taken for a cat in frame 6.
FOUND_IN_TWO: list[Detection] = [
    *((t, BOX, CAT, 0.9) for t in (0, 2, 4, 5, 6, 7)),
    *((t, FAR, DOG, 0.9) for t in (4, 5)),
    (6, FAR, CAT, 0.8),
]


def test_measures_of_each_class() -> None:
    # Cats change once in 8 frames (a gap), and so do dogs (a switch); the dogs, found less, come first.
    dogs, cats = steadiness_by_class(measure(two_videos(), *FOUND_IN_TWO), CLASSES)
    assert (dogs.name, dogs.tracks, dogs.track_frames, dogs.never_found, dogs.changes) == ("dog", 2, 8, 1, 1)
    assert dogs.measures == pytest.approx(
        {
            "flickers": 0,
            "class_switches": 1 / 2,
            "fragments": 1,  # of the one dog that is found
            "found": (0 + 2 / 4) / 2,
            "longest_gap": 0,
            "center_jitter": 0,
            "size_jitter": 0,
            "interpolated": np.nan,
        },
        nan_ok=True,
    )
    assert (cats.name, cats.tracks, cats.track_frames, cats.never_found, cats.changes) == ("cat", 2, 8, 0, 1)
    assert cats.measures["flickers"] == 100 * 1 / 8
    assert cats.measures["fragments"] == (2 + 1) / 2
    assert cats.measures["found"] == (2 / 4 + 4 / 4) / 2
    assert cats.measures["longest_gap"] == 1 / 2


def test_measures_of_each_video() -> None:
    # Both videos have one change in eight frames; "a" is found less: (2 / 4 + 0) / 2 against (1 + 2 / 4) / 2.
    first, second = steadiness_by_video(measure(two_videos(), *FOUND_IN_TWO))
    assert [first.name, second.name] == ["a", "b"]  # not "c", which has no tracks
    assert (first.measures["found"], second.measures["found"]) == (1 / 4, 3 / 4)
    assert (first.measures["flickers"], second.measures["flickers"]) == (100 / 8, 0)
    assert (first.measures["class_switches"], second.measures["class_switches"]) == (0, 1 / 2)
    assert (first.never_found, second.never_found) == (1, 0)
    assert group_cells(first) == (
        *("2", "8", "1"),
        *("12.50", "0.00", "2.00", "25.00", "1.00", "0.00", "0.00", "-"),
    )
    assert len(group_cells(first)) == len(group_columns())
    assert group_columns(["found"]) == ("tracks", "frames", "never found", "found, %")
    assert group_cells(first, ["found"]) == ("2", "8", "1", "25.00")


def test_more_changes_per_frame_come_first() -> None:
    # The cat of "b" flickers once in four frames, that of "a" twice in eight, and that of "c" twice in four.
    data = videos(3)
    long = replace(data, videos=("a", "a+", "b"))
    one = measure(long, *[(t, BOX, CAT, 0.9) for t in (0, 1, 2, 3, 4, 6, 7, 8, 10, 11)])
    assert [g.name for g in steadiness_by_video(one)] == ["a+", "b", "a"]


INTERPOLATED: list[Detection] = [
    (0, moved(0), CAT, 0.9),
    (1, moved(1), CAT, 0.8),  # fills a gap
    (2, moved(2), CAT, 0.8),  # fills a gap, but the next box is detected and finds the cat, too
    (2, moved(2, 1), CAT, 0.6),
    (3, FAR, CAT, 0.8),  # fills a gap in a wrong place
    (4, moved(4), CAT, 0.4),  # fills a gap below the threshold
    (5, moved(5), CAT, 0.9),
]
MARKS = np.array([False, True, True, False, True, True, False])


def test_frames_that_only_an_interpolated_box_finds() -> None:
    one = measure(one_track(range(6)), *INTERPOLATED, interpolated=MARKS)
    assert one.state.tolist() == [FOUND, FOUND, FOUND, LOST, LOST, FOUND]
    assert one.only_interpolated.tolist() == [False, True, False, False, False, False]
    assert one.measures()["interpolated"] == 1 / 4  # of the four frames in which the cat is found
    assert one.as_dict()["interpolated"] == 1 / 4


def test_without_marked_boxes_the_share_is_unknown() -> None:
    for marks in (None, np.zeros(7, np.bool_)):
        one = measure(one_track(range(6)), *INTERPOLATED, interpolated=marks)
        assert one.only_interpolated is None
        assert one.as_dict()["interpolated"] is None
    nothing_found = measure(one_track(range(6)), (0, FAR, CAT, 0.9), interpolated=np.array([True]))
    assert nothing_found.as_dict()["interpolated"] is None


def test_the_share_of_all_tracks_is_one_of_frames() -> None:
    # The cat of "a" is found in one frame, by an interpolated box; that of "b" in three detected frames.
    found = [(t, BOX, CAT, 0.9) for t in (0, 4, 5, 6)]
    one = measure(videos(), *found, interpolated=np.arange(4) == 0)
    assert one.measures()["interpolated"] == 1 / 4
    by_video = {g.name: g.measures["interpolated"] for g in steadiness_by_video(one)}
    assert by_video == {"a": 1, "b": 0}
    low, high = one.as_dict()["intervals"]["interpolated"]
    assert (low, high) == (0, 1)


def scored(data: Annotations) -> Scores:
    """Score `FOUND_IN_TWO`; the box in frame 2 of "a" fills a gap, and a first box is in an unknown video."""
    rows = [(0, FAR, CAT, 0.9), *FOUND_IN_TWO]
    frame = np.array([row[0] for row in rows])
    video = frame // 4
    video[0] = 2
    table = PredictionTable(
        videos=("a", "b", "unknown"),
        video=video.astype(np.int32),
        frame=np.where(video == 1, frame - 4, frame),
        labels=np.array([row[2] for row in rows], np.int32),
        scores=np.array([row[3] for row in rows], np.float32),
        boxes=np.array([row[1] for row in rows], np.float32),
        class_names=CLASSES,
        lengths=None,
        origin=Path("x.parquet"),
        interpolated=np.array([row[:3] == (2, BOX, CAT) for row in rows]),
    )
    return score_predictions(table, data, motion=None, problems=Problems(skip=True))


def test_scores_pages_and_tables_have_classes_and_videos(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # F1 is best above 0.85, so the cat on the dog does not count: cats change once, dogs never.
    data = two_videos()
    scores = scored(data)
    content = scores.as_dict()["steadiness"]
    assert list(content["classes"]) == ["cat", "dog"]
    assert [video["name"] for video in content["videos"]] == ["a", "b"]
    assert content["classes"]["dog"]["tracks"] == content["videos"][0]["tracks"] == 2
    assert content["classes"]["dog"]["interpolated"] == 0
    assert content["classes"]["cat"]["interpolated"] == 1 / 6
    assert content["videos"][0]["interpolated"] == 1 / 2
    assert content["interpolated"] == 1 / 8
    write_scores(tmp_path, scores, data, {})
    html = (tmp_path / "report.html").read_text("utf-8")
    assert html.index("Steadiness by class") < html.index("Steadiness by video")
    assert "<td>12.50</td><td>0.00</td><td>2.00</td><td>25.00</td>" in html
    print_scores(scores)
    printed = capsys.readouterr().out
    assert "by class" in printed
    assert printed.index("by class") < printed.rindex("cat") < printed.rindex("dog")
