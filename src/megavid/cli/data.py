"""`megavid data`: index, check, describe and export annotated data sets."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from megavid.cli.arguments import check_output_is_no_input, refuse_overrides
from megavid.cli.export_options import FormatOptions
from megavid.cli.options import FLAT, optional
from megavid.cli.output import cell, say
from megavid.cli.source import DataOptions, ReadOptions, report_problems
from megavid.cli.synthesize import Synthesize

if TYPE_CHECKING:
    from megavid.datasets.stats import DataStats
    from megavid.datasets.table.annotations import Annotations
    from megavid.datasets.table.problems import Problems

_MOST_ROWS = 200
"""Largest number of classes that `stats` prints; stats.json has all."""

SourcePath = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE")]


@dataclass(frozen=True, kw_only=True)
class Index:
    """Read annotations and write them as an index (.parquet), which opens much faster.

    SOURCE: a folder with Annotations/VID or Annotations/DET (ILSVRC), CocoVID or COCO (.json), MOT
    (gt/gt.txt), CVAT for video (.xml, .zip), Label Studio (.json), megavid's CSV, or YOLO. All subsets of
    ILSVRC that exist are indexed, in several processes; the same command resumes an interrupted run.
    """

    path: SourcePath
    """Annotations to read."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Folder for the .parquet files."""
    options: Annotated[DataOptions, FLAT] = field(default_factory=DataOptions)
    workers: Annotated[int | None, optional("INT", "the number of cores, at most 16")] = None
    """Number of processes."""

    def run(self) -> int:
        """Run the command and return its exit code."""
        from megavid.core.files.atomic import remove_leftovers
        from megavid.core.files.locks import locked_folder
        from megavid.core.ranges import MOST_WORKERS, check_range
        from megavid.datasets.formats.ilsvrc.ilsvrc_layout import find_root, subsets
        from megavid.datasets.open import format_of, open_annotations
        from megavid.jobs.output_folder import make_output_folder

        check_range("--workers", self.workers, least=1, most=MOST_WORKERS)
        source = self.options.source(self.path)
        is_ilsvrc = format_of(source) == "ilsvrc"
        check_output_is_no_input(self.output / f"{self.path.absolute().stem}.parquet", self.path)
        make_output_folder(self.output)
        with locked_folder(self.output):
            if is_ilsvrc:
                root = find_root(self.path)
                wanted = [source.subset] if source.subset else subsets(root)
                try:
                    for subset in wanted:
                        self._index_ilsvrc(root, subset, source.classes)
                except KeyboardInterrupt:
                    say("megavid: interrupted; the same command resumes the run", error=True)
                    return 130
                for subset in wanted:  # parts are kept to the end, so that a resumed run reads none again
                    shutil.rmtree(self._parts(subset))
            else:
                problems, start = self.options.problems(), time.perf_counter()
                annotations = open_annotations(source, problems=problems)
                self._write(annotations, f"{self.path.absolute().stem}.parquet", problems, start)
            remove_leftovers(self.output)
        return 0

    def _parts(self, subset: str) -> Path:
        return self.output / f".parts-{subset}"

    def _index_ilsvrc(self, root: Path, subset: str, classes: Sequence[str] | None) -> None:
        from megavid.datasets.formats.ilsvrc.read_ilsvrc import read_ilsvrc
        from megavid.jobs.progress import progress

        problems, start = self.options.problems(), time.perf_counter()
        with progress(subset) as meter:
            annotations = read_ilsvrc(
                root,
                subset,
                classes=classes,
                problems=problems,
                workers=self.workers,
                parts=self._parts(subset),
                progress=meter.update,
            )
        self._write(annotations, f"{subset}.parquet", problems, start)

    def _write(self, annotations: Annotations, name: str, problems: Problems, start: float) -> None:
        annotations.save(self.output / name)
        report_problems(problems)
        seconds = time.perf_counter() - start
        say(
            f"{self.output / name}: {len(annotations.videos)} videos, {len(annotations)} frames, "
            f"{len(annotations.boxes)} boxes in {seconds:.1f} s, {len(annotations) / seconds:.0f} frames/s"
        )


@dataclass(frozen=True, kw_only=True)
class Check:
    """Check a data set for errors in its annotations, images and videos.

    Prints every problem. The exit code is 1 if there are any.
    """

    path: SourcePath
    """Annotations, in any format that `megavid data index` reads."""
    sheet: Annotated[Path | None, optional("FILE")] = None
    """Picture to write (.jpg, .png): sample objects of each class with their boxes."""
    options: Annotated[ReadOptions, FLAT] = field(default_factory=ReadOptions)

    def run(self) -> int:
        """Run the command and return its exit code."""
        from megavid.datasets.check import check_annotations
        from megavid.datasets.open import open_annotations
        from megavid.datasets.table.problems import Problems
        from megavid.jobs.progress import progress
        from megavid.reports.contact_sheet import check_picture, write_contact_sheet

        if self.sheet is not None:
            check_picture(self.sheet)
        problems = Problems(skip=True)
        annotations = open_annotations(self.options.source(self.path), problems=problems)
        with progress("images", unit="images") as meter:
            problems.found += check_annotations(annotations, progress=meter.update)
        for note in (*problems.notes, *problems.warnings):
            say(note)
        for problem in problems.found:
            say(f"{problem.kind}: {problem}")
        counts = problems.counts()
        say(f"{len(annotations.videos)} videos, {len(annotations)} frames, {len(annotations.boxes)} boxes:")
        for kind, count in counts.items():
            say(f"{count:8d} x {kind}")
        if len(annotations) == 0:
            say("there is nothing to check: expected frames")
        elif not counts:
            say("nothing is wrong")
        if self.sheet is not None:
            write_contact_sheet({"": annotations}, self.sheet)
            say(f"  {self.sheet}")
        return 1 if counts or len(annotations) == 0 else 0


@dataclass(frozen=True, kw_only=True)
class Stats:
    """Summarize a data set: its classes, box sizes and video lengths, and how fast its objects move."""

    path: SourcePath
    """Annotations, in any format that `megavid data index` reads."""
    output: Annotated[Path | None, optional("PATH", aliases=("-o",))] = None
    """Folder for stats.png and stats.json."""
    options: Annotated[DataOptions, FLAT] = field(default_factory=DataOptions)

    def run(self) -> int:
        """Run the command and return its exit code."""
        from megavid.core.files.atomic import atomic_files
        from megavid.core.files.ownership import MADE_BY
        from megavid.datasets.open import open_annotations
        from megavid.datasets.plot_stats import plot_stats
        from megavid.datasets.stats import compute_stats
        from megavid.jobs.output_folder import make_output_folder

        problems = self.options.problems()
        stats = compute_stats(open_annotations(self.options.source(self.path), problems=problems))
        report_problems(problems)
        _print_stats(stats)
        if self.output is not None:
            make_output_folder(self.output)
            with atomic_files(self.output, ("stats.json", "stats.png")) as aside:
                text = json.dumps(MADE_BY | stats.as_dict(), indent=1) + "\n"
                (aside / "stats.json").write_text(text)
                plot_stats(stats, aside / "stats.png")
            for name in ("stats.json", "stats.png"):
                say(f"  {self.output / name}")
        return 0


@dataclass(frozen=True, kw_only=True)
class Export:
    """Write a data set in another format.

    cvat: a new folder with an XML file "CVAT for video 1.1" for each video. coco: a CocoVID file (.json).
    mot: a new folder with gt/gt.txt for each video. csv: a table with a row for each box. labelstudio: tasks
    of Label Studio (.json) with predictions. Images and videos stay where they are. yolo: a new folder with
    images, labels and data.yaml, in which images are links to the originals and frames of video files are
    JPEG files.
    """

    path: SourcePath
    """Annotations, in any format that `megavid data index` reads."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """File or new folder to write."""
    format_options: Annotated[FormatOptions, FLAT]
    options: Annotated[DataOptions, FLAT] = field(default_factory=DataOptions)

    def run(self) -> int:
        """Run the command and return its exit code."""
        from megavid.datasets.formats.exports import EXPORTS, ToExport, check_export_options
        from megavid.datasets.open import open_annotations
        from megavid.datasets.sizes import fill_sizes
        from megavid.jobs.progress import progress

        form, tracks, address = self.format_options.values
        check_export_options(form, tracks=tracks, address=address)
        export = EXPORTS[form]
        export.check_target(self.output)
        check_output_is_no_input(self.output, self.path)
        problems = self.options.problems()
        annotations = open_annotations(self.options.source(self.path), problems=problems)
        with progress("export") as meter:
            written = export.write(
                ToExport(
                    annotations=annotations if export.needs_pixels else fill_sizes(annotations),
                    tracks=tracks,
                    address=address,
                    problems=problems,
                    progress=meter.update,
                ),
                self.output,
            )
        report_problems(problems)
        say(f"{self.output}: {written.frames} frames, {written.boxes} boxes")
        for reason, count in (
            ("difficult or crowds", written.difficult),
            ("outside their frames", written.outside),
        ):
            if count:
                say(f"  without {count} boxes that are {reason}")
        return 0


@dataclass(frozen=True, kw_only=True)
class Data:
    """Index, check, describe, export and generate annotated data sets."""

    command: Annotated[
        Annotated[Index, tyro.conf.subcommand("index")]
        | Annotated[Check, tyro.conf.subcommand("check")]
        | Annotated[Stats, tyro.conf.subcommand("stats")]
        | Annotated[Export, tyro.conf.subcommand("export")]
        | Annotated[Synthesize, tyro.conf.subcommand("synthesize")],
        FLAT,
    ]

    def run(self, overrides: Mapping[str, str]) -> int:
        """Run the command and return its exit code."""
        refuse_overrides(overrides, "data")
        return self.command.run()


def _print_stats(stats: DataStats) -> None:
    from rich.console import Console
    from rich.table import Table

    about = stats.as_dict()
    table = Table("class")
    for name in ("boxes", "frames", "tracks", "fast", "medium", "slow"):
        table.add_column(name, justify="right")

    def shares(motion: dict[str, float] | None) -> list[str]:
        return [f"{100 * share:.1f} %" for share in motion.values()] if motion else ["-"] * 3

    rows = list(about["classes"].items())
    if len(rows) > _MOST_ROWS:
        rows = sorted(rows, key=lambda row: -row[1]["boxes"])[:_MOST_ROWS]
    for name, row in rows:
        counts = (str(row[key]) for key in ("boxes", "frames", "tracks"))
        table.add_row(cell(name, limit=60), *counts, *shares(row["motion"]))
    if len(rows) < len(stats.classes):
        table.add_row(f"{len(stats.classes) - len(rows)} more classes, with fewer boxes")
    table.add_section()
    tracks = int(stats.tracks.sum())
    totals = [str(value) for value in (about["boxes"], about["frames"], tracks)]
    table.add_row("all", *totals, *shares(about["motion"]), style="bold")
    console = Console()
    console.print(table)
    length = about["video_length"]
    console.print(
        f"{about['videos']} videos of {length['min']} to {length['max']} frames "
        f"(median {length['median']:g}); {about['frames_without_boxes']} frames without boxes"
    )
    sizes = ", ".join(f"{100 * share:.1f} % {name}" for name, share in about["box_sizes"].items())
    console.print(f"boxes: {sizes or 'none'} (sizes as in COCO)")
    console.print("frames: " + ", ".join(f"{n} of {size}" for size, n in about["frame_sizes"].items()))
