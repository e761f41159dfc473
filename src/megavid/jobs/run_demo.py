"""Run the demo: the two detectors that the package ships, on generated videos that neither has seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from megavid.checkpoints.load import load_detector
from megavid.checkpoints.weights import describe_weights
from megavid.core.errors import InputError
from megavid.core.files.locks import LOCK, locked_folder
from megavid.core.ranges import check_seed
from megavid.datasets.open import Source, open_annotations
from megavid.datasets.synthetic.write_data_set import SyntheticSet, write_synthetic_set
from megavid.datasets.table.annotations import Annotations
from megavid.datasets.table.problems import Problems
from megavid.evaluation.formats.parquet_table import read_parquet
from megavid.evaluation.scores import Scores
from megavid.jobs.detect_in_data_set import EvaluateOptions, detect_in_data_set
from megavid.jobs.executors.ranks import Ranks
from megavid.jobs.find_motion import find_motion
from megavid.jobs.output_folder import PREDICTIONS, make_output_folder
from megavid.jobs.progress import progress
from megavid.jobs.score_predictions import describe_predictions, score_predictions
from megavid.jobs.write_scores import write_comparison, write_scores
from megavid.models.base.video_detector import VideoDetector
from megavid.reports.side_by_side import SideBySide

WEIGHTS = {"single_frame": "single_frame_generated", "mega": "mega_generated"}
"""Name of the shipped weights of each method."""

CAPTIONS = {"single_frame": "sees this frame alone", "mega": "sees the other frames, too"}
"""Caption of each method in the video."""

TRAINED_ON = 0
"""Seed of the generated videos that the weights were trained on."""

_RATE = Fraction(12)
"""Frames per second of the video."""


@dataclass(frozen=True, eq=False)
class DemoResult:
    """The result of the demo.

    Attributes:
        scores: Scores of each method.
        paths: Files to look at.
    """

    scores: Mapping[str, Scores]
    paths: list[Path]


def run_demo(folder: Path, *, seed: int, videos: int, device: str) -> DemoResult | None:
    """Generate videos, detect in them with both detectors, score the results and draw them side by side.

    Args:
        folder: Output folder; must be empty or missing.
        seed: Seed of the videos.
        videos: Number of videos.
        device: Device to detect on; see `load_detector`.

    Returns:
        The result, or None if the user asked to stop.

    Raises:
        InputError: The folder is not empty or cannot be written to, or a number is out of range.
    """
    if seed == TRAINED_ON:
        raise InputError(
            f"seed: expected another than {TRAINED_ON}, whose videos the detectors were trained on"
        )
    check_seed(seed)
    config = SyntheticSet(videos=videos, val_every=1, seed=seed)
    detectors = {method: load_detector(weights=name, device=device) for method, name in WEIGHTS.items()}
    make_output_folder(folder)
    with locked_folder(folder):
        if any(path.name != LOCK for path in folder.iterdir()):
            raise InputError(f"{folder}: expected an empty folder or none")
        return _compare(folder, config, detectors)


def _compare(folder: Path, config: SyntheticSet, detectors: Mapping[str, VideoDetector]) -> DemoResult | None:
    """Compare the detectors in a folder that this run has locked; return None if the user asked to stop."""
    annotations = _generate(folder / "videos", config)
    scores: dict[str, Scores] = {}
    for method, detector in detectors.items():
        found = _detect(detector, annotations, folder / method, describe_weights(WEIGHTS[method]))
        if found is None:
            return None
        scores[method] = found
    (one, its), (other, theirs) = scores.items()
    about = {"data": f"{config.videos} generated videos of seed {config.seed}"}
    _, comparison = write_comparison(folder, (its, theirs), (one, other), about)
    shown = SideBySide(annotations, {f"{name}: {CAPTIONS[name]}": run for name, run in scores.items()})
    video, picture = folder / "side_by_side.mp4", folder / "side_by_side.png"
    shown.write_video(video, rate=_RATE)
    shown.write_picture(picture)
    return DemoResult(scores, [video, picture, comparison, *(folder / m / "report.html" for m in scores)])


def _generate(folder: Path, config: SyntheticSet) -> Annotations:
    with progress("rendering", total=config.videos * config.frames) as meter:
        write_synthetic_set(folder, config, progress=lambda done: meter.update(done * config.frames))
    return open_annotations(Source(path=folder, subset="vid_val"), problems=Problems())


def _detect(
    detector: VideoDetector, annotations: Annotations, folder: Path, about: Mapping[str, str]
) -> Scores | None:
    """Detect in the videos and score the results; return None if the user asked to stop."""
    problems = Problems()
    complete = detect_in_data_set(
        detector, annotations, folder, EvaluateOptions(), ranks=Ranks(), metadata=about, problems=problems
    )
    if not complete:
        return None
    predictions = read_parquet(folder / PREDICTIONS, problems=problems)
    motion = find_motion(annotations, "tracks")
    scores = score_predictions(predictions, annotations, motion=motion, problems=problems)
    write_scores(folder, scores, annotations, describe_predictions(predictions))
    return scores
