"""Classes of a detector and of a data set."""

from __future__ import annotations

from typing import Any

from megavid.core.errors import InputError
from megavid.core.names import hint_similar
from megavid.core.text import listed
from megavid.datasets.table.annotations import Annotations
from megavid.datasets.table.problems import Kind, Problems
from megavid.models.base.detector import VideoDetector


def check_classes(detector: VideoDetector[Any, Any], annotations: Annotations, problems: Problems) -> None:
    """Check that detector and data set have the same classes, in any order.

    Raises:
        InputError: They have none in common; or one has a class that the other lacks, unless problems are
            skipped: its detections are left out of the scores then, or its objects are never found.
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
