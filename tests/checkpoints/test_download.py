"""Weights from addresses: downloads that break off, wrong files, and the cache."""

from __future__ import annotations

import hashlib
import json
import math
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from megavid import InputError, load_detector
from megavid.checkpoints.download import _lines
from megavid.checkpoints.load import convert_weights, fetch_weights
from megavid.checkpoints.published import find_source, published_weights
from megavid.checkpoints.weights import describe_weights, write_weights
from megavid.checkpoints.weights_cache import cache_folder, cached_path, download_path
from megavid.core.files.checksums import file_sha256
from megavid.core.files.shipped import shipped_files
from tests.checkpoints.loopback import QUOTA_PAGE, Served, serve
from tests.conftest import build_tiny
from tests.official import flownet_shapes, official_shapes

pytest.importorskip("gdown", reason="the extra `download` is not installed")

MIB = 1 << 20


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a new folder the cache."""
    monkeypatch.setenv("MEGAVID_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the weights of a small detector: some MB, which gdown receives in several pieces."""
    path = tmp_path_factory.mktemp("tiny") / "tiny.safetensors"
    detector = build_tiny("single_frame", **{"backbone.width": 32})
    config = detector.config.model_dump(mode="json")
    write_weights(path, detector.state_dict(), config=config, about={"licence": "as it was"})
    return path


@pytest.fixture
def served(tiny: Path) -> Served:
    return Served(tiny.read_bytes())


@pytest.fixture
def address(served: Served) -> Iterator[str]:
    with serve(served) as address:
        yield address


def partial_sizes(cache: Path) -> list[int]:
    return [path.stat().st_size for path in (cache / "downloads").glob("*.part")]


def test_weights_are_downloaded_once(served: Served, address: str, cache: Path, tiny: Path) -> None:
    detector = load_detector(weights=address, device="cpu", inference=None)
    assert len(served.asked) == 1
    # A Path has one slash after the colon.
    again = load_detector(weights=Path(address), device="cpu", inference=None)
    assert len(served.asked) == 1
    wanted = load_detector(weights=tiny, device="cpu", inference=None).state_dict()
    for loaded in (detector, again):
        state = loaded.state_dict()
        assert all(torch.equal(state[name], tensor) for name, tensor in wanted.items())
    [path] = (cache / "weights").glob("*.safetensors")
    assert describe_weights(address) == {"weights": path.name, "weights_sha256": file_sha256(path)}
    assert [p.name for p in (cache / "downloads").iterdir()] == [f".{path.stem}.pth.lock"]
    record = json.loads(path.with_suffix(".json").read_text())
    assert record["address"] == address
    assert record["download_sha256"] == file_sha256(tiny)


def test_broken_download_is_continued(served: Served, address: str, cache: Path) -> None:
    size = len(served.content)
    served.breaks_at = size // 4
    with pytest.raises(InputError, match=r"cannot be downloaded: .*incomplete.*; try again") as error:
        fetch_weights(address)
    assert "\n" not in str(error.value)
    assert not list((cache / "weights").iterdir())
    [kept] = partial_sizes(cache)
    assert 0 < kept < size
    served.breaks_at, served.asked, served.sent = None, [], 0
    path = fetch_weights(address)
    assert served.asked[-1] == f"bytes={kept}-"
    assert load_detector(weights=path, device="cpu").config.method.name == "single_frame"


def test_a_short_break_is_bridged(served: Served, address: str) -> None:
    served.breaks_at = len(served.content) - 10
    assert fetch_weights(address).exists()
    [first, second] = served.asked
    assert first == ""
    assert int(second.removeprefix("bytes=").rstrip("-")) > len(served.content) // 2


def test_download_starts_again_if_the_server_cannot_continue_it(
    served: Served, address: str, cache: Path
) -> None:
    served.ranges, served.breaks_at = False, 1000
    with pytest.raises(InputError, match="cannot be downloaded"):
        fetch_weights(address)
    served.breaks_at = None
    assert load_detector(weights=address, device="cpu").config.method.name == "single_frame"
    assert partial_sizes(cache) == []


@pytest.mark.parametrize("extra", [-50, 50])
def test_wrong_length_is_refused(served: Served, address: str, cache: Path, extra: int) -> None:
    served.extra_length = extra
    with pytest.raises(InputError, match=r"cannot be (read as a safetensors file|downloaded): "):
        fetch_weights(address)
    assert not list((cache / "weights").iterdir())
    served.extra_length = 0
    assert fetch_weights(address).exists()


@pytest.mark.parametrize("status", [200, 403, 404, 503])
def test_a_page_in_place_of_a_file_is_refused(served: Served, address: str, cache: Path, status: int) -> None:
    content, served.content = served.content, QUOTA_PAGE
    served.kind, served.status = "text/html; charset=utf-8", status
    reason = "got a web page" if status == 200 else str(status)
    with pytest.raises(InputError, match=reason) as error:
        fetch_weights(address)
    source = find_source(address)
    assert source is not None
    assert address in str(error.value)
    assert str(error.value).endswith(f"download it by hand to {download_path(source)}")
    served.content, served.status = content, 200
    assert fetch_weights(address).exists()


def test_another_file_at_the_same_address_is_refused(
    served: Served, address: str, cache: Path, tmp_path: Path
) -> None:
    path = fetch_weights(address)
    first = file_sha256_of(served.content)
    path.unlink()
    detector = build_tiny("mega")
    config = detector.config.model_dump(mode="json")
    write_weights(tmp_path / "other.safetensors", detector.state_dict(), config=config, about={})
    served.content = (tmp_path / "other.safetensors").read_bytes()
    with pytest.raises(InputError, match=f"SHA-256 {first}.*got {file_sha256_of(served.content)}"):
        fetch_weights(address)
    assert not path.exists()
    path.with_suffix(".json").unlink()  # as the message advises
    assert load_detector(weights=address, device="cpu").config.method.name == "mega"


def file_sha256_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_changed_file_in_the_cache_is_refused(address: str) -> None:
    path = fetch_weights(address)
    first, content = file_sha256(path), bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"expected the SHA-256 {first}.*got {file_sha256(path)}"):
        load_detector(weights=address, device="cpu")
    path.unlink()
    assert file_sha256(fetch_weights(address)) == first


def test_file_addresses_and_files_put_by_hand(tiny: Path, cache: Path, tmp_path: Path) -> None:
    address = tiny.as_uri()
    assert load_detector(weights=address, device="cpu").config.method.name == "single_frame"
    with pytest.raises(InputError, match=r"nowhere.pth: no such file"):
        fetch_weights((tmp_path / "nowhere.pth").as_uri())
    offline = "https://weights.invalid/a.pth"
    with pytest.raises(InputError, match="no connection to weights.invalid") as error:
        fetch_weights(offline)
    place = Path(str(error.value).split(" by hand to ")[1])
    place.write_bytes(QUOTA_PAGE)
    with pytest.raises(InputError, match="got a web page.*; put the file of https://weights.invalid/a"):
        fetch_weights(offline)
    place.write_bytes(tiny.read_bytes())
    assert load_detector(weights=offline, device="cpu").config.method.name == "single_frame"
    assert not place.exists()
    assert len(list((cache / "weights").glob("*.safetensors"))) == 2


def test_published_name_takes_only_its_own_weights(official: Path, cache: Path) -> None:
    with pytest.raises(InputError, match=r"mega_r50_vid: not downloaded yet: `megavid weights mega_r50_vid`"):
        describe_weights("mega_r50_vid")
    for name in ("mega_r50_vid", "flownet", "single_frame_r50_vid"):
        source = find_source(name)
        assert source is not None
        download_path(source).parent.mkdir(parents=True, exist_ok=True)
        os.link(official, download_path(source))
    with pytest.raises(InputError, match=r"mega_r50_vid.pth: its method.name is single_frame, but"):
        load_detector(weights="mega_r50_vid")
    with pytest.raises(InputError, match=r"flownet.pth: expected FlowNet's weights alone, got a whole"):
        fetch_weights("flownet")
    assert fetch_weights("single_frame_r50_vid") == cache / "weights" / "single_frame_r50_vid.safetensors"
    converted = cache / "converted.safetensors"
    assert convert_weights(Path("single_frame_r50_vid"), converted) is not None


def test_license_is_printed_once(official: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = find_source("single_frame_r50_vid")
    assert source is not None
    download_path(source).parent.mkdir(parents=True)
    os.link(official, download_path(source))
    for count in (1, 0):
        fetch_weights("single_frame_r50_vid")
        assert capsys.readouterr().err.count("non-commercial") == count


def fetch_in_process(address: str) -> str:
    return str(fetch_weights(address))


def test_processes_download_a_file_once(served: Served, address: str) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        paths = pool.map(fetch_in_process, [address] * 2, chunksize=1)
    assert len(set(paths)) == 1
    assert served.asked == [""]
    assert served.sent == len(served.content)


def test_interrupted_download_is_continued(served: Served, address: str, cache: Path) -> None:
    served.breaks_at, served.hold = MIB, threading.Event()
    code = "import sys; from megavid.cli import main; sys.exit(main())"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "weights", address], stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while partial_sizes(cache) != [MIB] and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[1].endswith("megavid: interrupted\n")
    assert process.returncode == 130
    assert partial_sizes(cache) == [MIB]
    served.hold.set()
    served.breaks_at, served.hold, served.asked = None, None, []
    assert fetch_weights(address).exists()
    assert served.asked[-1] == f"bytes={MIB}-"


def test_progress_is_a_line_now_and_then_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    seconds = iter([0, 10, 31, 31, 40, 62, 62])
    report = _lines("mega_r101_vid", clock=lambda: next(seconds))
    for done in (1, 2, 3, 4):
        report(done * 10_000_000, None if done == 4 else 692_000_000)
    lines = ["megavid: mega_r101_vid: 20 of 692 MB", "megavid: mega_r101_vid: 40 of ? MB"]
    assert capsys.readouterr().err.splitlines() == lines


def test_cache_that_cannot_be_written_is_named(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MEGAVID_CACHE", str(tmp_path / "file"))
    with pytest.raises(InputError, match="file.*: the cache of weights cannot be written: .*MEGAVID_CACHE"):
        fetch_weights(tiny.as_uri())


def test_place_of_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MEGAVID_CACHE", "~/mine")
    assert cache_folder() == tmp_path / "mine"
    monkeypatch.delenv("MEGAVID_CACHE")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", "/scratch/cache")
    assert cache_folder() == Path("/scratch/cache/megavid")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_folder() == tmp_path / ".cache" / "megavid"


@pytest.mark.parametrize("address", ["http://example.invalid/a.pth", "http:/example.invalid/a.pth"])
def test_addresses_without_encryption_are_refused(address: str) -> None:
    with pytest.raises(InputError, match=r"http://example.invalid/a.pth: expected https:// or file://"):
        fetch_weights(address)


def test_names_in_the_cache_are_safe_and_different() -> None:
    sources = [find_source(f"https://a.invalid/{path}") for path in ("a/w.pth", "b/w.pth", "..%2f..%2fw.pth")]
    names = {source.file for source in sources if source is not None}
    assert len(names) == 3
    assert all(
        cached_path(s).parent.name == "weights" and "/" not in s.file for s in sources if s is not None
    )
    assert find_source("/a/w.pth") is None
    with pytest.raises(InputError, match="expected a detector or a flow network, got a backbone, which"):
        find_source("msra:resnet50")
    with pytest.raises(InputError, match="expected a backbone, got a detector, which belongs"):
        find_source("mega_r101_vid", backbone=True)


def test_table_of_published_weights() -> None:
    """Shipped weights are listed; sizes are those of the tensors of the original release."""
    table = published_weights()
    shipped = {name for name, entry in table.items() if entry.address is None and ":" not in name}
    assert shipped == set(shipped_files("weights", ".safetensors"))
    for name, entry in table.items():
        if name.endswith("_vid"):
            method, depth = entry.model.rsplit("_r", 1)
            shapes = official_shapes(method, int(depth)).values()
            assert entry.megabytes == round(4 * sum(map(math.prod, shapes)) / 1e6), name
            assert entry.model in shipped_files("configs", ".yaml")
    assert table["flownet"].megabytes == round(4 * sum(map(math.prod, flownet_shapes().values())) / 1e6)
    addresses = [entry.address for entry in table.values() if entry.address is not None]
    assert len(set(addresses)) == len(addresses)


def test_published_scores_are_those_of_the_documentation() -> None:
    page = (Path(__file__).parents[2] / "docs" / "models.md").read_text()
    rows = re.findall(r"^\| [^|]+ \| `(\w+)` \| ([\d.]+) \|", page, re.MULTILINE)
    table = {e.model: e.ap50 for n, e in published_weights().items() if n.endswith("_vid")}
    assert table == {model: float(ap50) for model, ap50 in rows}
