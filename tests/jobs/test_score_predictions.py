"""Scores and comparisons of predictions, checked against values computed by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from megavid.datasets.table.annotations import AnnotationBuilder, Annotations
from megavid.datasets.table.problems import Problems
from megavid.evaluation.bootstrap import Interval
from megavid.evaluation.comparison import Difference, difference, verdict
from megavid.evaluation.prediction_table import PredictionTable
from megavid.evaluation.scores import Scores
from megavid.jobs.score_predictions import describe_predictions, score_predictions
from megavid.jobs.write_scores import write_comparison

A, B, FAR = [0, 0, 10, 10], [20, 0, 30, 10], [200, 200, 210, 210]


def data(videos: int = 3) -> Annotations:
    """Make videos of two frames: a cat in both, a crowd of cats in the second; the last video is empty."""
    builder = AnnotationBuilder(("cat", "dog"), root=Path("/data"))
    for video in range(videos):
        builder.video(f"v{video}")
        for number in range(2):
            builder.frame(number, width=640, height=480)
            if video < videos - 1:
                builder.box(*A, label=0)
                if number:
                    builder.box(*B, label=0, crowd=True)
    return builder.build()


def predict(*rows: tuple[int, int, int, float, list[int]], videos: int = 3) -> PredictionTable:
    """Make a table from rows of (video, frame, label, score, box)."""
    video, frame, label, score, box = zip(*rows, strict=True)
    return PredictionTable(
        videos=tuple(f"v{i}" for i in range(videos)),
        video=np.array(video, np.int32),
        frame=np.array(frame, np.int64),
        labels=np.array(label, np.int32),
        scores=np.array(score, np.float32),
        boxes=np.array(box, np.float32),
        class_names=("cat", "dog"),
        lengths={f"v{i}": 2 for i in range(videos)},
        origin=Path("p"),
    )


GOOD = [(0, 0, 0, 0.9, A), (0, 1, 0, 0.8, A), (1, 0, 0, 0.7, A), (1, 1, 0, 0.6, A)]
# In the second video, a cat is detected as a dog, and a false positive has the highest score.
BAD = [*GOOD[:2], (1, 0, 1, 0.7, A), (1, 0, 0, 0.95, FAR), (1, 1, 0, 0.6, A), (2, 0, 1, 0.75, FAR)]


def score(*rows: Any, videos: int = 3) -> Scores:
    predictions = predict(*rows, videos=videos)
    return score_predictions(predictions, data(videos), motion=None, problems=Problems())


def test_scores_as_json() -> None:
    content = score(*BAD).as_dict()
    # Cats, by score: a false positive, then three of the four objects, at precisions 1/2, 2/3 and 3/4.
    assert content["AP50"]["all"] == pytest.approx(3 / 4 * 3 / 4)
    assert content["objects"] == content["classes"]["cat"]["objects"] == 4
    assert content["ignored_objects"] == 2
    assert content["sizes"]["small"] == {"AP50": pytest.approx(3 / 4 * 3 / 4), "objects": 4}
    assert content["sizes"]["large"] == {"AP50": None, "objects": 0}
    assert content["bootstrap"] == {"videos": 3, "resamples": 1000, "level": 0.95}
    low, high = content["AP50_interval"]["all"]
    # The ends of the interval are the AP50 of the second video alone and of the first alone.
    assert (low, high) == (pytest.approx(1 / 4), 1)
    assert content["classes"]["cat"]["interval"] == [low, high]
    assert content["classes"]["dog"]["interval"] is None


def test_videos_are_sorted_by_ap() -> None:
    content = score(*BAD).as_dict()["videos"]
    # In the second video, a false positive scores higher than the one hit, and there are two objects.
    assert [(v["name"], v["AP50"], v["objects"]) for v in content] == [
        ("v1", 1 / 4, 2),
        ("v0", 1, 2),
        ("v2", None, 0),
    ]
    assert content[0]["errors"] == {"class": 1, "location": 0, "duplicate": 0, "background": 1, "missed": 1}
    assert [v["frames"] for v in content] == [2, 2, 2]


def test_confusion_and_best_threshold() -> None:
    content = score(*BAD).as_dict()
    assert content["confusion"]["names"] == ["cat", "dog", "background"]
    assert content["confusion"]["counts_by_object_then_detection"] == [[3, 1, 0], [0, 0, 0], [1, 1, 0]]
    # All detections reach the best threshold: 3 hits, 3 false positives (one cat, two dogs), 4 objects.
    assert content["best_f1"]["F1"] == pytest.approx(2 * 3 / (3 + 3 + 4))
    assert content["classes"]["cat"]["best_f1"]["F1"] == pytest.approx(2 * 3 / (3 + 1 + 4))
    assert content["classes"]["cat"]["best_f1"]["score_threshold"] == pytest.approx(0.3)
    assert content["classes"]["dog"]["best_f1"] is None


def test_one_video_has_no_interval() -> None:
    content = score(*GOOD[:1], (0, 0, 0, 0.95, FAR), videos=2).as_dict()  # the second video has no objects
    assert content["AP50"]["all"] == pytest.approx(1 / 4)
    assert content["AP50_interval"] == {"all": None}


def test_a_run_compared_with_itself_has_no_difference() -> None:
    one = score(*GOOD)
    same = difference(one, one, "all")
    assert (same.value, same.interval) == (0, Interval(0, 0))
    assert "There is no difference." in verdict(same, videos=30)


def test_a_difference_uses_the_same_resamples_for_both_runs() -> None:
    good, bad = score(*GOOD), score(*BAD)
    found = difference(bad, good, "all")
    assert found.value == pytest.approx(1 - 9 / 16)
    # In a resample that holds only the first video and the empty one, both runs are perfect.
    assert found.interval is not None
    assert found.interval.low == 0
    assert found.interval.high == pytest.approx(3 / 4)
    assert found.is_noise


@pytest.mark.parametrize(
    ("value", "interval", "videos", "expected"),
    [
        (
            0.004,
            Interval(-0.01, 0.02),
            7,
            "+0.40 AP50 on 7 videos (95 % interval -1.00 to +2.00). This is within the noise",
        ),
        (0.004, Interval(-0.01, 0.02), 7, "With fewer than 10 videos, the interval is rough"),
        (0.03, Interval(0.01, 0.05), 70, "B is better"),
        (-0.03, Interval(-0.05, -0.01), 70, "A is better"),
        (0.03, None, 1, "no interval can be computed"),
        (np.nan, None, 5, "nothing to compare"),
    ],
)
def test_verdict_in_words(value: float, interval: Interval | None, videos: int, expected: str) -> None:
    assert expected in verdict(Difference(value, interval), videos=videos)


def test_a_comparison_is_written(tmp_path: Path) -> None:
    write_comparison(tmp_path, (score(*BAD), score(*GOOD)), ("one", "two"), {"data": "d"})
    content = json.loads((tmp_path / "comparison.json").read_text())
    assert content["difference"]["all"]["AP50"] == pytest.approx(7 / 16)
    assert content["difference"]["all"]["interval"] == [0, pytest.approx(3 / 4)]
    assert "within the noise" in content["verdict"]
    assert content["verdict"] in (tmp_path / "comparison.html").read_text()


def test_a_report_says_how_predictions_were_linked() -> None:
    linked = replace(predict(*GOOD), metadata={"linking": {"name": "seq_nms", "rescoring": "max"}})
    assert describe_predictions(linked)["linked"] == "name seq_nms, rescoring max"
    assert "linked" not in describe_predictions(predict(*GOOD))
