"""Writing the synthetic data set."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from megavid.core.errors import InputError
from megavid.datasets.check import check_annotations
from megavid.datasets.motion import motion_iou
from megavid.datasets.open import Source, open_annotations
from megavid.datasets.synthetic.camera import SyntheticFrame, film
from megavid.datasets.synthetic.scene import CLASSES, make_scene
from megavid.datasets.synthetic.write_data_set import SyntheticSet, write_synthetic_set
from megavid.datasets.table.annotations import Annotations
from megavid.datasets.table.problems import Problems

SMALL = SyntheticSet(videos=5, frames=6, height=72, width=96)


def sums(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def frames_of(video: int, *, seed: int = 0, frames: int = 6) -> list[SyntheticFrame]:
    return list(film(seed=seed, video=video, frames=frames, height=72, width=96))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generated") / "set"
    write_synthetic_set(folder, SMALL, workers=1)
    return folder


def read(folder: Path, subset: str) -> Annotations:
    return open_annotations(Source(path=folder, subset=subset), problems=Problems())


def test_the_number_of_workers_does_not_change_the_files(written: Path, tmp_path: Path) -> None:
    write_synthetic_set(tmp_path / "two", SMALL, workers=2)
    assert sums(tmp_path / "two") == sums(written)
    assert len(sums(written)) == 5 * 6 * 2 + 1


def test_a_video_depends_only_on_the_seed_and_the_size(written: Path, tmp_path: Path) -> None:
    fewer = SyntheticSet(videos=2, frames=4, height=72, width=96)
    write_synthetic_set(tmp_path / "set", fewer, workers=1)
    all_sums = sums(written)
    assert all(all_sums[name] == digest for name, digest in sums(tmp_path / "set").items())
    other = SyntheticSet(videos=1, frames=1, height=72, width=96, seed=1)
    write_synthetic_set(tmp_path / "other", other, workers=1)
    assert not set(sums(tmp_path / "other").values()) <= set(all_sums.values())


def test_annotations_agree_with_the_frames(written: Path) -> None:
    train, val = read(written, "vid_train"), read(written, "vid_val")
    assert train.classes == val.classes == CLASSES
    assert (len(train.videos), len(val.videos)) == (4, 1)
    drawn = frames_of(4)
    assert len(val) == len(drawn)
    for t, frame in enumerate(drawn):
        rows = slice(*val.offsets[t : t + 2])
        assert (
            np.abs(val.boxes[rows] - frame.boxes).max(initial=0) <= 1
        )  # annotated boxes are rounded to pixels
        assert val.labels[rows].tolist() == frame.labels.tolist()
        assert val.tracks[rows].tolist() == frame.tracks.tolist()
        assert val.occluded[rows].tolist() == frame.occluded.tolist()


def test_the_check_finds_no_problems_in_the_written_set(written: Path) -> None:
    assert list(check_annotations(read(written, "vid_train"))) == []


def test_an_unclear_class_is_often_clear_in_a_neighboring_frame() -> None:
    clear, total, near = 0, 0, 0
    for video in range(40):
        tracks: dict[int, dict[int, bool]] = {}
        for t, frame in enumerate(frames_of(video, frames=40)):
            for track, is_clear in zip(frame.tracks.tolist(), frame.clear.tolist(), strict=True):
                tracks.setdefault(track, {})[t] = is_clear
        for seen in tracks.values():
            good = [t for t, is_clear in seen.items() if is_clear]
            bad = [t for t, is_clear in seen.items() if not is_clear]
            clear, total = clear + len(good), total + len(seen)
            near += sum(any(abs(g - t) <= 12 for g in good) for t in bad)
    assert 0.4 < clear / total < 0.7
    assert near / (total - clear) > 0.6


def test_objects_have_all_kinds_of_motion(tmp_path: Path) -> None:
    write_synthetic_set(tmp_path / "set", SyntheticSet(videos=40, frames=24, height=72, width=96), workers=2)
    motion = motion_iou(read(tmp_path / "set", "vid_train"))
    shares = [(motion < 0.7).mean(), ((motion >= 0.7) & (motion <= 0.9)).mean(), (motion > 0.9).mean()]
    assert min(shares) > 0.15, shares


def test_boxes_fit_the_balls() -> None:
    for frame in frames_of(1):
        assert (frame.boxes[:, 2:] > frame.boxes[:, :2]).all()
        assert (frame.boxes >= 0).all()
        assert (frame.boxes <= [96, 72, 96, 72]).all()
    scene = make_scene(seed=0, video=1, height=72, width=96)
    without = scene.background.view(0.0)
    balls = scene.draw(0.0)
    for i in range(len(scene.balls)):
        x1, y1, x2, y2 = scene.box(i, 0.0).astype(int)
        middle = np.abs(balls - without)[(y1 + y2) // 2, (x1 + x2) // 2]
        assert middle.max() > 5


def test_a_folder_with_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    with pytest.raises(InputError, match="expected an empty folder"):
        write_synthetic_set(tmp_path, SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_interrupted_data_set_is_rewritten(written: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    (folder / "Data").mkdir(parents=True)
    (folder / ".unfinished").touch()
    write_synthetic_set(folder, SMALL, workers=1)
    assert sums(folder) == sums(written)


@pytest.mark.parametrize(("field", "value"), [("videos", 0), ("frames", 0), ("height", 8), ("seed", -1)])
def test_numbers_out_of_range_are_refused(field: str, value: int) -> None:
    with pytest.raises(InputError, match=f"{field}: expected at least"):
        SyntheticSet(**({"videos": 1} | {field: value}))


def test_class_names_are_read_from_the_data_set(written: Path, tmp_path: Path) -> None:
    root = tmp_path / "set"
    (root / "ImageSets").mkdir(parents=True)
    for name in ("Annotations", "Data"):
        (root / name).symlink_to(written / name)
    names = root / "ImageSets" / "classes.txt"
    names.write_text("\n".join(reversed(CLASSES)))
    assert read(root, "vid_val").classes == CLASSES[::-1]
    for text in ("", "dots\ndots\n"):
        names.write_text(text)
        with pytest.raises(InputError, match="expected one class name per line"):
            read(root, "vid_val")
