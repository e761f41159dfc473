"""Tables, intervals, differences and strips of the steadiness of one and of two runs."""

from __future__ import annotations

import numpy as np

from megavid.evaluation.bootstrap import Interval
from megavid.evaluation.comparison import steadiness_differences
from megavid.evaluation.plots import draw_strips
from megavid.evaluation.steadiness import MEASURES, STATES, Steadiness, least_steady
from megavid.evaluation.steadiness_text import NAMES, describe_tracks, steadiness_table
from tests.evaluation.tracks import (
    BOX,
    CAT,
    DOG,
    EXAMPLE,
    at,
    measure,
    moved,
    one_track,
    still_tracks,
    videos,
)


def test_the_table_of_two_runs() -> None:
    data = one_track(range(10))
    one, two = measure(data, *EXAMPLE), measure(data, threshold=None)
    table = steadiness_table({"A": one, "B": two})
    assert table.columns == ("A", "B", "B-A")
    assert table.rows == {
        "flickers": ("20.00", "0.00", "-20.00"),
        "class_switches": ("2.00", "0.00", "-2.00"),
        "fragments": ("3.00", "-", "-"),
        "found": ("40.00", "0.00", "-40.00"),
        "longest_gap": ("2.00", "-", "-"),
        "center_jitter": ("5.00", "-", "-"),
        "size_jitter": ("10.00", "-", "-"),
        "interpolated": ("-", "-", "-"),
    }
    assert table.never_found == ("0", "1", "+1")
    assert table.thresholds == ("0.500", "-", "")
    assert list(NAMES) == list(MEASURES) == list(one.measures())


def test_the_table_of_one_run_in_one_video_has_one_column() -> None:
    table = steadiness_table({"x": measure(one_track(range(10)), *EXAMPLE)})
    assert table.columns == ("x",)
    assert table.rows["flickers"] == ("20.00",)


def test_tracks_are_counted_in_words() -> None:
    one = measure(one_track(range(10)), *EXAMPLE)
    assert describe_tracks({"x": one}).startswith("1 track with 10 frames in all; detections")
    assert describe_tracks({"A": one, "B": one}).startswith("1 track with 10 frames in all; detections")
    part = measure(one_track(range(10)), *EXAMPLE, detected=np.arange(10) == 4)
    text = describe_tracks({"A": one, "B": part})
    assert text.startswith("1 track with 10 frames in all (A); 1 track with 1 frame in all (B); detections")
    assert "no detection" not in text
    assert "or none if no detection is a hit" in describe_tracks({"x": measure(videos(), threshold=None)})


def test_intervals_come_from_resamples_of_the_videos() -> None:
    data = videos()
    # In the first video, the cat is found in frames 0 and 2 of 4; in the second, in all frames.
    one = measure(data, *[(t, BOX, CAT, 0.9) for t in (0, 2, 4, 5, 6, 7)])
    samples = one.samples()
    # A resample has the first video twice, the second video twice, or each once.
    assert set(samples["found"].tolist()) == {1 / 2, 3 / 4, 1}
    assert set(samples["flickers"].tolist()) == {25, 12.5, 0}
    assert set(samples["fragments"].tolist()) == {2, 1.5, 1}
    assert one.as_dict()["intervals"]["found"] == [1 / 2, 1]
    table = steadiness_table({"x": one})
    assert table.columns == ("x", "interval")
    assert table.rows["flickers"] == ("12.50", "0.00 to 25.00")
    assert table.rows["found"] == ("75.00", "50.0 to 100.0")
    assert table.never_found == ("0", "")


def test_a_resample_without_a_track_to_average_has_no_value() -> None:
    # Only the track of the first video is found, so fragments are unknown if only the second one is drawn.
    one = measure(videos(), (0, BOX, CAT, 0.9))
    fragments = one.samples()["fragments"]
    assert np.isnan(fragments).any()
    assert set(fragments[~np.isnan(fragments)].tolist()) == {1}
    assert np.isnan(one.samples()["center_jitter"]).all()
    assert one.as_dict()["intervals"]["center_jitter"] is None


def test_differences_use_the_same_resamples_for_both_runs() -> None:
    data = videos()
    found = [(t, BOX, CAT, 0.9) for t in range(8)]
    one = measure(data, *[row for row in found if row[0] not in (1, 5)])
    two = measure(data, *[row for row in found if row[0] != 1])
    # B finds one more frame of the second video: none, 1/4 of the frames, or 1/8 if each video is drawn once.
    difference = steadiness_differences(one, two)["found"]
    assert (difference.value, difference.interval) == (1 / 8, Interval(0, 1 / 4))
    assert steadiness_differences(one, two)["flickers"].interval == Interval(-25, 0)
    filled = measure(data, *found, interpolated=np.arange(8) == 2)
    same = steadiness_differences(filled, filled)
    assert all(d.value == 0 and d.interval == Interval(0, 0) for d in same.values())
    table = steadiness_table({"A": one, "B": two})
    assert table.columns == ("A", "B", "B-A", "interval")
    assert table.rows["found"] == ("75.00", "87.50", "+12.50", "+0.0 to +25.0")


def test_without_several_videos_there_is_no_interval() -> None:
    data = videos()
    found = [(t, BOX, CAT, 0.9) for t in range(8)]
    one, part = measure(data, *found), measure(data, *found, detected=np.arange(8) < 4)
    assert {d.interval for d in steadiness_differences(one, part).values()} == {None}
    assert steadiness_table({"A": one, "B": part}).columns == ("A", "B", "B-A")
    assert part.samples() is None
    assert "intervals" not in part.as_dict()


def test_runs_in_different_videos_are_not_resampled_alike() -> None:
    data = videos(3)
    one, part = measure(data), measure(data, detected=np.arange(12) < 8)
    assert part.samples() is not None
    assert {d.interval for d in steadiness_differences(one, part).values()} == {None}
    apart = measure(data, detected=np.arange(12) >= 8)
    assert least_steady([part, apart], most=3) == []
    assert draw_strips({"A": part, "B": apart}, ("cat", "dog")).axes == []


def test_the_least_steady_tracks_come_first() -> None:
    data = still_tracks(*({"track": track} for track in range(4)), frames=6)
    # Track 0 is found at once, track 1 never, track 2 flickers once, track 3 twice.
    seen = {0: range(6), 2: (0, 1, 3, 4, 5), 3: (0, 2, 4)}
    one = measure(data, *[(t, at(place), CAT, 0.9) for place, frames in seen.items() for t in frames])
    assert least_steady([one], most=3) == [(3,), (2,), (1,)]
    # Of two runs, the sum counts, and only tracks that both have.
    two = measure(data, *[(t, at(2), CAT, 0.9) for t in (0, 2, 4)])
    assert least_steady([one, two], most=9) == [(2, 2), (3, 3), (1, 1), (0, 0)]
    other = measure(still_tracks({"track": 7}, {"track": 2}))
    assert least_steady([one, other], most=9) == [(2, 0)]


def strips(*runs: Steadiness) -> list[list[tuple[str, float, float]]]:
    """Return the state, first and last frame of each bar, for each axes of the plot."""
    figure = draw_strips({f"run {i}": run for i, run in enumerate(runs)}, ("cat", "dog"))
    drawn = []
    for axes in figure.axes:
        bars = []
        for i, collection in enumerate(axes.collections):
            for path in collection.get_paths():
                x = path.get_extents()
                bars.append((STATES[i % len(STATES)], x.x0 + 0.5, x.x1 - 0.5))
        drawn.append(bars)
    return drawn


def test_strips_show_each_state() -> None:
    data = one_track([0, 1, 2, 3, 6, 7])
    one = measure(data, (0, moved(0), CAT, 0.9), (1, moved(1), CAT, 0.9), (3, moved(3), DOG, 0.9))
    assert strips(one) == [[("lost", 2, 2), ("lost", 6, 7), ("wrong class", 3, 3), ("found", 0, 1)]]
    two = measure(data)
    assert strips(one, two)[0][-2:] == [("lost", 0, 3), ("lost", 6, 7)]
