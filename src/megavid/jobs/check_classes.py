"""Compare the classes of a detector with those of a data set."""

from __future__ import annotations

from megavid.core.errors import InputError
from megavid.core.similar_names import hint_similar
from megavid.core.text import listed
from megavid.datasets.table.annotations import Annotations
from megavid.datasets.table.problems import Kind, Problems
from megavid.models.base.video_detector import VideoDetector


def check_classes(detector: VideoDetector, annotations: Annotations, problems: Problems) -> None:
    """Check that a detector and a data set have the same classes, in any order.

    Args:
        detector: The detector.
        annotations: The data set.
        problems: Collects classes that only one of the two has. If it skips problems, detections of a class
            that the data set lacks are not scored, and objects of a class that the detector lacks are missed.

    Raises:
        InputError: The two have no class in common, or `problems` does not skip a class that only one of them
            has.
    """
    ours, theirs = set(detector.class_names), set(annotations.classes)
    if not ours & theirs:
        hint = next((hint for name in sorted(theirs) if (hint := hint_similar(name, sorted(ours)))), "")
        one, other = (listed(sorted(names), most=5) for names in (ours, theirs))
        raise InputError(
            "the detector and the data set have no class in common: the detector finds "
            f"{one}; annotated are {other}{hint}"
        )
    for names, others, where, lacks in (
        (theirs - ours, ours, "data set", "detector"),
        (ours - theirs, theirs, "detector", "data set"),
    ):
        for name in sorted(names):
            message = f"the {lacks} has no class {name!r}" + hint_similar(name, sorted(others))
            problems.add(Kind.UNKNOWN_CLASS, f"classes of the {where}", message)
