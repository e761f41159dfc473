"""Post-processing of saved predictions: no model is run."""

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
    """What was done.

    Attributes:
        boxes: That were read.
        kept: That were written.
    """

    boxes: int
    kept: int


def postprocess_with_seq_nms(source: Path, target: Path, *, rescoring: Rescoring) -> PostprocessSummary:
    """Write predictions as Seq-NMS leaves them (`linking.seq_nms`).

    Args:
        source: Predictions that megavid wrote (.parquet).
        target: The file to write (.parquet); it appears whole or not at all.
        rescoring: The score of a sequence's boxes.

    Raises:
        InputError: `source` is missing, broken or something else, was post-processed before, or `target`
            cannot be written.
    """
    for path in (source, target):
        if path.suffix != ".parquet":
            raise InputError(
                f"{path}: expected a name that ends in .parquet; megavid score PREDICTIONS --data DATA "
                "--save-as FILE.parquet converts other formats"
            )
    with suppress(OSError):  # where one of them is not there
        if target.samefile(source):
            raise InputError(f"{target}: is what is to be post-processed; choose another name for the output")
    predictions = read_parquet(source, problems=Problems())
    about = predictions.metadata
    if "postprocessing" in about:
        raise InputError(f"{source}: was post-processed before: {about['postprocessing']}")
    scores, kept = seq_nms(predictions, rescoring=rescoring, step=int(about.get("every", 1)))
    rescore_predictions(
        source,
        target,
        scores=scores,
        kept=kept,
        metadata={"postprocessing": f"Seq-NMS, {rescoring}"},
    )
    return PostprocessSummary(len(predictions), int(kept.sum()))
