"""The report of `benchmarks.gpu` as a Markdown table."""

from __future__ import annotations

from typing import Any

GOALS = {
    "mega_float16": 150.0,
    "mega_float16_loose": 150.0,
    "benchmark_mega_float16": 150.0,
    "video_mega_float16": 120.0,
    "streams_mega_float16": 150.0,
    "single_frame_float16": 300.0,
    "mega_float32": 40.0,
    "mega_float32_loose": 75.0,
    "rdn_float16": 150.0,
    "selsa_float16": 250.0,
    "fgfa_float16": 60.0,
    "dff_float16": 300.0,
    "training_micro_batch_4": 20.0,
}
"""Frames per second to reach; for training, clips per second."""

COLUMNS = {
    "frames_per_second": ("frames/s", ".1f"),
    "pushed": ("frames/s, pushed", ".1f"),
    "clips_per_second": ("clips/s", ".1f"),
    "frame_ms": ("ms a frame", ".2f"),
    "first_seconds": ("first result, s", ".1f"),
    "peak_megabytes": ("peak MB", ".0f"),
    "detections": ("detections a frame", ".0f"),
}

NOTES = (
    *("launches", "waits", "copies", "operations", "kernel_ms"),
    *("latency_ms", "worst_latency_ms", "in_order", "growth_bytes", "data_wait", "summary", "error"),
)
"""Values that the last column shows."""


def markdown(report: dict[str, Any]) -> str:
    """Return the report as text: the machine, and a table with a line for each row."""
    machine = report.get("machine", {})
    about = f"{machine.get('device')}, torch {machine.get('torch')}, commit {report['commit'][:7]}"
    titles = ["row", "goal", *(title for title, _ in COLUMNS.values()), "notes"]
    lines = [f"{about}, {report['date']}", "", _line(titles), _line(["---"] * len(titles))]
    for name, row in report["rows"].items():
        cells = [_number(row.get(key), style) for key, (_, style) in COLUMNS.items()]
        lines.append(_line([name, _number(GOALS.get(name), ".0f"), *cells, _notes(row)]))
    if "settings" in (agreement := report["rows"].get("agreement", {})):
        lines += ["", _line(["setting", "within 0.5 px", "within 2 px", "AP50"]), _line(["---"] * 4)]
        for name, found in agreement["settings"].items():
            shares = [f"{found[key]:.1%}" for key in ("within_0.5", "within_2.0")]
            lines.append(_line([name, *shares, f"{found['AP50']:.1f}"]))
    return "\n".join(lines)


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _number(value: float | None, style: str) -> str:
    return "-" if value is None else format(value, style)


def _notes(row: dict[str, Any]) -> str:
    notes = []
    for key in NOTES:
        if (value := row.get(key)) is not None:
            text = f"{value:.4g}" if isinstance(value, float) else str(value)
            notes.append(f"{key} {text.splitlines()[0][:160] if text else ''}")
    return ", ".join(notes).replace("|", "/")
