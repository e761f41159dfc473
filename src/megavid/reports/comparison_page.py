"""The page that compares two runs on the same data set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from megavid.core.files.atomic import atomic_path
from megavid.evaluation.comparison import difference
from megavid.evaluation.number_text import COLUMNS
from megavid.evaluation.scores import Scores
from megavid.reports.page_templates import render_page
from megavid.reports.steadiness_section import steadiness_section


def write_comparison_page(
    path: Path, *, scores: tuple[Scores, Scores], about: Mapping[str, str], verdict: str
) -> None:
    """Write the scores of two runs side by side as an HTML file.

    Args:
        path: The file to write; it appears whole or not at all.
        scores: Scores of the two runs on the same data set.
        about: Names and texts for the head of the page.
        verdict: What the difference of the runs means, in words.

    Raises:
        InputError: The file cannot be written.
    """
    one, two = scores
    rows = []
    for label, name in [*enumerate(one.classes), (None, "mean")]:
        values = [
            (one.ap(motion, label), two.ap(motion, label), difference(one, two, motion, label))
            for motion in one.results
        ]
        rows.append({"name": name, "values": values})
    page = render_page(
        "comparison_page.html.j2",
        about=about,
        scores=one,
        columns=[COLUMNS[motion] for motion in one.results],
        rows=rows,
        verdict=verdict,
        **steadiness_section({"A": one, "B": two}),
    )
    with atomic_path(path) as aside:
        aside.write_text(page, "utf-8")
