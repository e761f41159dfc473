"""The command line as a whole, and `megavid convert`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import PIL.Image
import pytest

from megavid.cli import COMMANDS, main
from megavid.cli.arguments import split_overrides
from tests.official import flownet_shapes, official_shapes, write_official


@pytest.mark.parametrize("arguments", [["--help"], *([name, "--help"] for name in COMMANDS)])
def test_help_does_not_import_torch(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom megavid.cli import main\n"
        f"try: main({arguments})\nexcept SystemExit as end: assert not end.code\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "usage: megavid" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [[], ["detekt"], ["detect"], ["detect", "x"], ["detect", "x", "--nonsense"], ["convert", "a"]],
)
def test_wrong_usage_exits_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


def test_options_with_a_dot_are_overrides() -> None:
    rest, overrides = split_overrides(
        [
            "detect",
            "--method.window",
            "6",
            "clip.mp4",
            "--rpn.nms-threshold=0.6",
            "--save-frames",
            "--a.b",
            "--c",
        ]
    )
    assert rest == ["detect", "clip.mp4", "--save-frames", "--c"]
    assert overrides == {"method.window": "6", "rpn.nms_threshold": "0.6", "a.b": ""}


def test_convert_writes_a_safetensors_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_official(tmp_path / "base.pth", official_shapes("single_frame", 50))
    target = tmp_path / "base.safetensors"
    assert main(["convert", str(source), str(target)]) == 0
    assert "single_frame, ResNet-50, 30 classes" in capsys.readouterr().out
    assert target.exists()
    assert main(["convert", str(source), str(tmp_path / "base.bin")]) == 2
    assert "ends in .safetensors" in capsys.readouterr().err
    assert main(["convert", str(source), str(target), "--method.window", "3"]) == 2
    assert "--method.window: megavid convert has no such option" in capsys.readouterr().err


def test_convert_accepts_flownet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_official(tmp_path / "flownet.ckpt", flownet_shapes(), buffers=False)
    target = str(tmp_path / "flownet.safetensors")
    assert main(["convert", str(source), target]) == 0
    assert "flownet.safetensors: FlowNet" in capsys.readouterr().out
    assert main(["convert", str(source), target, "--model", "dff_r50"]) == 2
    assert "expected no configuration for FlowNet's weights" in capsys.readouterr().err
    PIL.Image.new("RGB", (32, 32)).save(tmp_path / "0.png")
    command = ["detect", str(tmp_path), "--weights", target, "-o", str(tmp_path / "out")]
    assert main(command) == 2
    assert "expected a whole detector, got FlowNet's weights" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "redirected", "code", "message"),
    [
        ("--help", ">&-", 0, ""),
        ("data check nowhere", ">&- <&-", 2, "megavid: error: nowhere: no such file or folder"),
        ("--help", ">/dev/full", 2, "megavid: error: the output cannot be written: No space left on device"),
        ("data check nowhere", "2>/dev/full", 2, ""),
        ("data check nowhere", "2>&-", 2, ""),
    ],
)
def test_closed_and_full_standard_streams(arguments: str, redirected: str, code: int, message: str) -> None:
    command = f"{sys.executable} -m megavid {arguments} {redirected}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.strip()) == (code, "", message)


def test_too_little_memory_is_explained(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("megavid.cli.convert.Convert.run", lambda *_: len(bytearray(1 << 62)))
    assert main(["convert", "a.pth", "b.safetensors"]) == 2
    assert capsys.readouterr().err == "megavid: error: not enough memory\n"


def test_matplotlib_backend_of_the_environment_is_ignored() -> None:
    code = (
        "import sys\nfrom megavid.cli import COMMANDS, console\n"
        "COMMANDS['data'].run = lambda *_: bool(__import__('matplotlib.figure'))\n"
        "sys.argv[1:] = ['data', 'check', 'x']\nconsole()"
    )
    environment = {**os.environ, "MPLBACKEND": "nonsense"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (1, b"")


def test_large_images_give_no_warning(tmp_path: Path) -> None:
    (tmp_path / "large.pbm").write_bytes(b"P4 10000 10000\n")
    code = (
        "from pathlib import Path\nfrom megavid.cli.output import prepare_output\n"
        "from megavid.video.images import image_size\n"
        f"prepare_output()\nprint(image_size(Path({str(tmp_path / 'large.pbm')!r})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("(10000, 10000)\n", "")


def test_letters_missing_in_the_font_give_no_warning() -> None:
    code = (
        "import warnings\nfrom megavid.cli.output import prepare_output\nprepare_output()\n"
        "from matplotlib.backends.backend_agg import FigureCanvasAgg\nfrom matplotlib.figure import Figure\n"
        "figure = Figure()\nfigure.text(0, 0, '\u72d0')\nFigureCanvasAgg(figure).draw()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_help_is_printed_in_a_very_narrow_terminal() -> None:
    command, environment = [sys.executable, "-m", "megavid", "--help"], {**os.environ, "COLUMNS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0
    assert "usage: megavid" in done.stdout
