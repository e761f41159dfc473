"""Preparation and checks of command-line arguments."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from megavid.cli import main
from megavid.cli.arguments import check_output_is_no_input, prepare_arguments, split_names
from megavid.core.errors import InputError
from megavid.datasets.table.annotations import AnnotationBuilder
from tests.training.small_run import write_videos


def test_home_is_expanded_in_paths_and_option_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    given = [
        "detect",
        "~/v.mp4",
        "--output=~/x",
        "-o",
        "~",
        "-o=~/x",
        "-o~/x",
        "--start.detector=~/w",
        "a~/b",
    ]
    expanded = ["detect", "/home/me/v.mp4", "--output=/home/me/x", "-o", "/home/me", "-o=/home/me/x"]
    assert prepare_arguments(given) == [*expanded, "-o/home/me/x", "--start.detector=/home/me/w", "a~/b"]
    assert prepare_arguments(["~nobody-there/x"]) == ["~nobody-there/x"]


@pytest.mark.parametrize("arguments", [["-o", ""], ["--output="], [""], ["--classes", "", "x"]])
def test_empty_values_are_refused(arguments: list[str]) -> None:
    with pytest.raises(InputError, match="expected a value, got an empty one"):
        prepare_arguments(["detect", *arguments])


def test_configuration_values_may_be_empty() -> None:
    assert prepare_arguments(["--data.val=", "--a.b", "x"]) == ["--data.val=", "--a.b", "x"]


def test_names_are_split_at_commas() -> None:
    assert split_names("--classes", None) is None
    assert split_names("--classes", "fox, red panda") == ["fox", "red panda"]
    for text in ("fox,", ",", " ", "fox,,owl"):
        with pytest.raises(InputError, match="--classes: expected names separated by commas"):
            split_names("--classes", text)
    with pytest.raises(InputError, match="has 'fox' twice"):
        split_names("--classes", "fox,owl,fox")


def test_output_must_not_be_an_input(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("mine")
    (tmp_path / "b.json").symlink_to(tmp_path / "a.json")
    check_output_is_no_input(tmp_path / "c.json", tmp_path / "a.json", None)
    with pytest.raises(InputError, match="is also the input"):
        check_output_is_no_input(tmp_path / "b.json", None, tmp_path / "a.json")


def test_output_in_the_home_folder_is_written_there_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data, home, place = write_videos(tmp_path / "data"), tmp_path / "home", tmp_path / "place"
    home.mkdir()
    place.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(place)
    for _ in range(2):  # the second round replaces the output of the first
        assert main(["data", "export", str(data), "--to", "cocovid", "--output=~/x.json"]) == 0
        assert main(["data", "index", str(home / "x.json"), "--images", str(data.parent), "-o=~"]) == 0
    assert sorted(p.name for p in home.iterdir()) == ["x.json", "x.parquet"]
    assert list(place.iterdir()) == []


def test_class_names_are_printed_as_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ("[/]", "\x1b[31mred", "[bold]b[/bold]", "\u202eevil", "a\nb")
    builder = AnnotationBuilder(names, root=tmp_path)
    builder.video("v")
    builder.frame(0, file="v/0.png", width=96, height=64)
    for label in range(len(names)):
        builder.box(5, 6, 20, 20, label=label)
    builder.build().save(tmp_path / "a.parquet")
    assert main(["data", "stats", str(tmp_path / "a.parquet")]) == 0
    printed = capsys.readouterr().out
    for name in ("[/]", "\\x1b[31mred", "[bold]b[/bold]", "\\u202eevil", "a b"):
        assert f" {name} " in printed
    assert "\x1b" not in printed


def test_closed_output_ends_a_command_silently(tmp_path: Path) -> None:
    data = write_videos(tmp_path)
    code = "import sys; from megavid.cli import console; console()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "data", "export", str(data), "--as", "coco", "-o", "a.json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.wait(timeout=60) == 1
    assert process.stderr.read() == ""
