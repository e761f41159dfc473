"""Training logs that are cut off, broken or edited."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from megavid.core.errors import InputError
from megavid.training.logs.curves import write_curves
from megavid.training.logs.run_log import TrainingLog, read_log
from tests.mutations import ends_well, mutated_bytes, mutated_json, mutators

LINES: list[dict[str, Any]] = [
    *(
        {"step": step, "loss": 3.0, "classes": 1.0, "boxes": 2.0, "learning_rate": 0.1, "memory_mb": 9.0}
        for step in (1, 2, 3)
    ),
    {"step": 3, "AP50": 0.5, "fast": None, "slow": 0.25},
]


def write_log(folder: Path, lines: list[bytes]) -> Path:
    path = folder / "log.jsonl"
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def test_a_truncated_last_line_of_a_log_is_ignored(tmp_path: Path) -> None:
    lines = [json.dumps(line).encode() for line in LINES]
    path = write_log(tmp_path, lines)
    assert read_log(path) == LINES
    path.write_bytes(b"\n".join(lines)[:-9])
    assert read_log(path) == LINES[:3]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"x", "log.jsonl: line 2: expected JSON"),
        (b"[]", "log.jsonl: line 2: expected a mapping of keys, got list"),
        (b"{}", "log.jsonl: line 2: step: missing"),
        (b'{"step": true}', "line 2: step: should be a valid integer, got True"),
        (b'{"step": -1}', "line 2: step: should be greater than or equal to 0"),
        (b'{"step": 1, "AP50": "0.5"}', "line 2: AP50: should be a valid number, got '0.5'"),
        (b'{"step": 1, "loss": 1.0}', "line 2: .*expected numbers for learning_rate"),
        (b'{"step": 1, "loss": 1.0, "learning_rate": 1, "boxes": null}', "line 2: .*numbers for boxes"),
        (b'{"step": ' + b"9" * 400 + b"}", "line 2: expected JSON: .* 400 digits"),
        (b'{"a": ' + b"[" * 100_000, "line 2: expected JSON"),
    ],
)
def test_an_error_names_the_broken_line(tmp_path: Path, line: bytes, message: str) -> None:
    good = json.dumps(LINES[0]).encode()
    with pytest.raises(InputError, match=message):
        read_log(write_log(tmp_path, [good, line, good]))


@pytest.mark.parametrize("name", ["_", "$x_{$", "a" * 2000, "\0", "\ud800"])
def test_loss_terms_of_any_name_are_drawn(tmp_path: Path, name: str) -> None:
    write_curves(tmp_path / "curves.png", [{"step": 1, "loss": 1.0, "learning_rate": 0.1, name: 1.0}])
    assert (tmp_path / "curves.png").stat().st_size > 10_000


def test_mutated_logs_are_drawn_or_refused(tmp_path: Path) -> None:
    lines = [json.dumps(line).encode() for line in LINES]
    for random in mutators(120):
        changed = list(lines)
        changed[random.randrange(len(lines))] = mutated_json(random.choice(LINES), random)
        content = b"\n".join(changed) + b"\n"
        write_log(tmp_path, [mutated_bytes(content, random) if random.random() < 0.3 else content])
        if (
            ends_well(lambda: TrainingLog(tmp_path, step=3)) and random.random() < 0.2
        ):  # drawing takes a while
            write_curves(tmp_path / "curves.png", read_log(tmp_path / "log.jsonl"))
