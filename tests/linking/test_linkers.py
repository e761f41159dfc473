"""What holds for every linker, and the errors of wrong names and settings."""

from __future__ import annotations

import pytest
import torch

from megavid.core.detections import Detections, FrameResult
from megavid.core.errors import InputError
from megavid.linking.linkers import LINKERS, as_linker, linker_config
from megavid.linking.seq_nms import SeqNmsConfig
from tests.linking.made_by_hand import NAMES, Row, results, square

Video = list[FrameResult]


def moving(length: int, *, missed: int | None = None) -> list[list[Row]]:
    """Make the rows of a cat that moves right and a dog that moves left; the cat is missed in one frame."""
    frames: list[list[Row]] = []
    for i in range(length):
        cat: list[Row] = [] if i == missed else [(0, 0.8, square(2.0 * i))]
        frames.append([*cat, (1, 0.6, square(40 - 2.0 * i, 20))])
    return frames


CUT: list[list[Row]] = [[(0, 0.9, square(0))]] * 4 + [[(1, 0.9, square(70, 50))]] * 4


VIDEOS: dict[str, list[list[Row]]] = {
    "two objects": moving(12),
    "a missed frame": moving(12, missed=4),
    "an empty frame": [*moving(12)[:5], [], *moving(12)[6:]],
    "one frame": moving(1),
    "no boxes": [[], [], []],
    "a cut": CUT,
    "no frames": [],
}


@pytest.fixture(params=LINKERS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=VIDEOS)
def video(request: pytest.FixtureRequest) -> Video:
    return results(VIDEOS[request.param])


def assert_same(first: list[FrameResult], second: list[FrameResult]) -> None:
    assert [(r.index, r.time) for r in first] == [(r.index, r.time) for r in second]
    for one, other in zip(first, second, strict=True):
        assert one.detections.class_names == other.detections.class_names
        for column in ("boxes", "scores", "labels", "tracks", "class_scores", "interpolated"):
            a, b = getattr(one.detections, column), getattr(other.detections, column)
            assert (a is None) == (b is None), column
            assert a is None or torch.equal(a, b), column


def test_there_is_one_result_for_each_frame_in_order(name: str, video: Video) -> None:
    linked = list(LINKERS[name]().start()(video))
    assert [(r.index, r.time) for r in linked] == [(r.index, r.time) for r in video]


def test_results_are_whole_and_sorted_by_score(name: str, video: Video) -> None:
    for result in LINKERS[name]().start()(video):
        found = result.detections
        assert found.class_names == NAMES
        assert found.boxes.dtype == found.scores.dtype == torch.float32
        assert found.labels.dtype == torch.int64
        assert ((found.scores >= 0) & (found.scores <= 1)).all()
        assert (found.scores.diff() <= 0).all()
        assert found.tracks is not None
        assert found.tracks.dtype == torch.int64
        assert (found.tracks >= 0).all()


def test_results_come_late_by_the_look_ahead(name: str) -> None:
    video, stage = results(VIDEOS["a missed frame"]), LINKERS[name]().start()
    counts = [len(stage.push(result)) for result in video]
    late = len(video) if stage.look_ahead is None else min(stage.look_ahead, len(video))
    assert counts == [0] * late + [1] * (len(video) - late)
    assert len(stage.flush()) == late


def test_a_linker_is_deterministic(name: str, video: Video) -> None:
    assert_same(list(LINKERS[name]().start()(video)), list(LINKERS[name]().start()(video)))


def test_detections_of_the_input_are_not_changed(name: str) -> None:
    video = results(VIDEOS["a missed frame"])
    list(LINKERS[name]().start()(video))
    assert_same(video, results(VIDEOS["a missed frame"]))


def test_tracks_follow_the_objects(name: str) -> None:
    linked = list(LINKERS[name]().start()(results(VIDEOS["two objects"])))
    best = [found[found.scores > 0.5] for found in (result.detections for result in linked)]
    assert [found.labels.tolist() for found in best] == [[0, 1]] * 12
    ids = [found.tracks.tolist() for found in best if found.tracks is not None]
    assert ids == [ids[0]] * 12
    assert ids[0][0] != ids[0][1]


def test_boxes_without_class_scores_are_linked(name: str) -> None:
    video = results(VIDEOS["two objects"], class_scores=False)
    linked = list(LINKERS[name]().start()(video))
    assert all((result.detections.scores > 0.5).sum() == 2 for result in linked)


def test_boxes_below_the_lowest_score_are_dropped(name: str) -> None:
    frames: list[list[Row]] = [[(0, 0.9, square(0)), (1, 0.2, square(50))]] * 5
    for least, tracks in ((0.1, 2), (0.3, 1)):
        config = linker_config(name, {"min_score": least}, origin="x")
        linked = config.start()(results(frames))
        ids = torch.cat([found.tracks for r in linked if (found := r.detections).tracks is not None])
        assert len(ids.unique()) == tracks


def test_detections_on_which_no_class_is_named(name: str) -> None:
    empty = Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64))
    assert len(list(LINKERS[name]().start()([FrameResult(0, 0.0, empty)]))) == 1


def test_settings_are_read_and_wrong_ones_are_named(name: str) -> None:
    assert linker_config(name, {}, origin="--link") == LINKERS[name]()
    assert LINKERS[name]().name == name
    with pytest.raises(
        InputError, match=rf"^--link: expected a setting of {name} \(.*min_score.*\), got 'x'"
    ):
        linker_config(name, {"x": 1}, origin="--link")
    with pytest.raises(InputError, match=rf"^--link {name}: min_score: .*less than 1, got 2.0$"):
        linker_config(name, {"min_score": 2}, origin="--link")


def test_unknown_linkers_and_settings_get_hints() -> None:
    with pytest.raises(InputError, match="^--link: expected one of .*seq_nms.*, got 'nms'$"):
        linker_config("nms", {}, origin="--link")
    with pytest.raises(InputError, match="got 'Seq-NMS'; 'seq_nms' differs"):
        linker_config("Seq-NMS", {}, origin="--link")
    with pytest.raises(InputError, match="got 'minscore'; 'min_score' differs"):
        linker_config("seq_nms", {"minscore": 1}, origin="--link")
    with pytest.raises(InputError, match="^--link seq_nms: rescoring: .*'average' or 'max'.*, got 'best'$"):
        linker_config("seq_nms", {"rescoring": "best"}, origin="--link")
    with pytest.raises(InputError, match="^--link: expected a setting of seq_nms .*, got 'name'$"):
        linker_config("seq_nms", {"name": "x"}, origin="--link")


def test_a_linker_is_given_by_its_name_or_its_settings() -> None:
    assert as_linker("seq_nms") == SeqNmsConfig()
    assert as_linker(SeqNmsConfig(rescoring="max")) == SeqNmsConfig(rescoring="max")
    assert as_linker(None) is None
    with pytest.raises(InputError, match="^link: expected one of"):
        as_linker("x")
