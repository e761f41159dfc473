"""Tables and scores can be used without loading PyTorch."""

from __future__ import annotations

import subprocess
import sys

import pytest

TORCH_FREE = [
    "megavid",
    "megavid.datasets.open",
    "megavid.datasets.motion",
    "megavid.datasets.split",
    "megavid.datasets.table.annotations",
    "megavid.datasets.table.concatenate",
    "megavid.datasets.table.index_file",
    "megavid.datasets.table.problems",
    "megavid.evaluation",
    "megavid.evaluation.coco_metrics",
    "megavid.evaluation.error_analysis",
    "megavid.evaluation.formats.parquet_table",
    "megavid.evaluation.formats.prediction_files",
    "megavid.evaluation.prediction_table",
    "megavid.evaluation.scoring",
    "megavid.jobs.archive.archive_status",
    "megavid.jobs.archive.export_archive",
]
"""Modules that people import to open annotations, to compute scores or to look at an archive."""

HEAVY = {"torch", "torchvision", "av", "matplotlib"}


@pytest.mark.parametrize("module", TORCH_FREE)
def test_import_loads_neither_torch_nor_ffmpeg(module: str) -> None:
    code = f"import sys, {module}; print(*sys.modules, sep='\\n')"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not HEAVY & set(run.stdout.splitlines())
