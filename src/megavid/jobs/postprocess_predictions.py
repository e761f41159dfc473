"""Post-process saved predictions, without running a model."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from megavid.core.errors import InputError
from megavid.datasets.table.problems import Problems
from megavid.evaluation.formats.parquet_rewriting import rescore_predictions
from megavid.evaluation.formats.parquet_table import read_parquet
from megavid.linking.seq_nms import Rescoring, seq_nms


@dataclass(frozen=True)
class PostprocessSummary:
    """Summary of post-processing.

    Attributes:
        boxes: Number of boxes read.
        kept: Number of boxes written.
    """

    boxes: int
    kept: int


def postprocess_with_seq_nms(source: Path, target: Path, *, rescoring: Rescoring) -> PostprocessSummary:
    """Apply Seq-NMS (`linking.seq_nms`) to a predictions file.

    Args:
        source: The predictions file (.parquet).
        target: The file to write (.parquet); it appears whole or not at all.
        rescoring: Which score the boxes of a sequence get.

    Raises:
        InputError: `source` is missing, broken, not a predictions file or already post-processed; or `target`
            cannot be written.
    """
    for path in (source, target):
        if path.suffix != ".parquet":
            raise InputError(
                f"{path}: expected a name that ends in .parquet; megavid score PREDICTIONS --data DATA "
                "--save-as FILE.parquet converts other formats"
            )
    with suppress(OSError):  # raised if one of the files does not exist
        if target.samefile(source):
            raise InputError(f"{target}: is the input; choose another name for the output")
    predictions = read_parquet(source, problems=Problems())
    about = predictions.metadata
    if "postprocessing" in about:
        raise InputError(f"{source}: is already post-processed: {about['postprocessing']}")
    scores, kept = seq_nms(predictions, rescoring=rescoring, step=int(about.get("every", 1)))
    rescore_predictions(
        source,
        target,
        scores=scores,
        kept=kept,
        metadata={"postprocessing": f"Seq-NMS, {rescoring}"},
    )
    return PostprocessSummary(len(predictions), int(kept.sum()))
