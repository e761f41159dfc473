"""Reading PyTorch files without the unpickler of PyTorch, and refusing broken files."""

from __future__ import annotations

import io
import pickle
import resource
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from megavid.core.files.torch_files import BrokenFileError, load_torch_file
from tests.mutations import ends_well, mutated_bytes, mutators

DTYPES = (
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint8,
    torch.bool,
)


def load(path: Path, **limits: Any) -> Any:
    return load_torch_file(path, expected="tensors", **limits)


def refusal(path: Path) -> str:
    with pytest.raises(BrokenFileError, match=f"{path.name}: expected tensors") as error:
        load(path)
    return str(error.value)


@pytest.mark.parametrize("as_zip", [True, False], ids=["zip", "old"])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_saved_values_are_read_exactly(tmp_path: Path, as_zip: bool, protocol: int) -> None:
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(6, 8, generator=generator)
    tensors = {str(dtype): (base * 9).to(dtype) for dtype in DTYPES} | {
        "view": base[1:4, ::2],
        "transposed": base.t(),
        "empty": torch.zeros(0, 4),
        "scalar": torch.tensor(3.5),
        "parameter": torch.nn.Parameter(base.clone()),
        "nan": torch.tensor([float("nan"), float("inf")]),
    }
    path = tmp_path / "x.pth"
    content = {"model": OrderedDict(tensors), "step": 5, "shape": torch.Size([2, 3]), "type": torch.float16}
    torch.save(content, path, pickle_protocol=protocol, _use_new_zipfile_serialization=as_zip)
    read = load(path)
    assert (read["step"], read["shape"], read["type"]) == (5, (2, 3), torch.float16)
    assert list(read["model"]) == list(tensors)
    for name, tensor in tensors.items():
        found = read["model"][name]
        assert (found.dtype, found.shape, found.stride()) == (tensor.dtype, tensor.shape, tensor.stride())
        same = found.double(), tensor.double()  # float64 holds the values of all types exactly
        assert torch.equal(*(t.nan_to_num(7) for t in same))
    # Two views of one tensor still share its memory after loading.
    assert read["model"]["view"].untyped_storage().data_ptr() == (
        read["model"]["transposed"].untyped_storage().data_ptr()
    )


def test_a_state_dict_of_a_network_is_read(tmp_path: Path) -> None:
    saved, loaded = (torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3)) for _ in range(2))
    torch.save(saved.state_dict(), tmp_path / "x.pth")
    loaded.load_state_dict(load(tmp_path / "x.pth"))
    for name, tensor in saved.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name


PLACE = (
    b"ctorch._utils\n_rebuild_tensor_v2\n((U\x07storagectorch\nFloatStorage\nU\x010U\x03cpu%btQ%b%b%b\x89}tR"
)


def zipped(content: bytes, *, compression: int = zipfile.ZIP_STORED, **more: Any) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", compression=compression) as archive:
        for name, data in {"data.pkl": content, **more}.items():
            archive.writestr(f"a/{name.replace('__', '/')}", data)
    return made.getvalue()


def number(value: int) -> bytes:
    return b"\x8a\x08" + struct.pack("<q", value)


def tensor(*, count: int = 2, offset: int = 0, size: int = 2, stride: int = 1) -> bytes:
    place = (number(count), number(offset), number(size) + b"\x85", number(stride) + b"\x85")
    return b"\x80\x02" + PLACE % place + b"."


TWO = struct.pack("<2f", 1, 2)

MANY: dict[str, Any] = {f"x{i}": b"" for i in range(80_000)}

BROKEN = {
    "outside of its memory": (zipped(tensor(offset=1), data__0=TWO), "has 2 numbers in the file"),
    "before its memory": (zipped(tensor(offset=-1), data__0=TWO), "something other than numbers"),
    "a stride beyond it": (zipped(tensor(stride=1 << 61), data__0=TWO), "has 2 numbers in the file"),
    "expanded": (zipped(tensor(size=1 << 40, stride=0), data__0=TWO), "has 2 numbers in the file"),
    "of a terabyte": (zipped(tensor(count=1 << 40), data__0=TWO), "more memory than it can need"),
    "of no length": (zipped(tensor(count=-1), data__0=TWO), "have no length"),
    "shorter than it says": (zipped(tensor(count=4), data__0=TWO), "missing or of another length"),
    "numbers that are missing": (zipped(tensor()), "missing or of another length"),
    "compressed": (zipped(tensor(), data__0=TWO, compression=zipfile.ZIP_DEFLATED), "is compressed"),
    "that unpacks to too much": (
        zipped(bytes(1 << 25), compression=zipfile.ZIP_DEFLATED),
        "more memory than",
    ),
    "of another byte order": (zipped(tensor(), data__0=TWO, byteorder=b"big"), "another order of bytes"),
    "a program": (zipped(tensor(), data__0=TWO, code__a=b""), "a TorchScript program"),
    "something else": (zipped(b"").replace(b"data.pkl", b"data.txt"), "zip archive of something else"),
    "many entries": (zipped(b"", **MANY), "larger than any"),
    "a flipped bit": (zipped(tensor(), data__0=TWO).replace(TWO, TWO[:-1] + b"A"), "Bad CRC-32"),
    "cut short": (zipped(tensor(), data__0=TWO)[:-30], "broken or incomplete"),
    "a pickle": (pickle.dumps({"a": 1}), "got a Python pickle"),
    "nothing": (b"", "got an empty file"),
}


@pytest.mark.parametrize(("content", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_broken_files_have_specific_messages(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x.pth"
    path.write_bytes(content)
    assert message in refusal(path)


def test_the_file_is_read_without_the_defects(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    path.write_bytes(zipped(tensor(), data__0=TWO))
    assert load(path).tolist() == [1, 2]


def test_files_in_the_old_format_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    torch.save({"a": torch.ones(2)}, path, _use_new_zipfile_serialization=False)
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    assert "missing or of another length" in refusal(path)
    path.write_bytes(content.replace(b"little_endianq\x02\x88", b"little_endianq\x02\x89"))
    assert "another order of bytes" in refusal(path)
    path.write_bytes(content.replace(b"K\x02", b"J\xff\xff\xff\x7f"))
    assert "expected tensors" in refusal(path)


def test_a_sparse_file_of_gigabytes_is_refused(tmp_path: Path) -> None:
    for name, head in {"zip.pth": b"PK\x03\x04", "zeros.pth": b""}.items():
        with (tmp_path / name).open("wb") as file:
            file.write(head)
            file.truncate(6 << 30)
        refusal(tmp_path / name)


def test_an_entry_that_expands_to_gigabytes_is_refused(tmp_path: Path) -> None:
    made = io.BytesIO(zipped(tensor(), data__0=TWO))
    with zipfile.ZipFile(made, "a", compression=zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("a/byteorder", bytes(1 << 28))
    (tmp_path / "x.pth").write_bytes(made.getvalue())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "another order of bytes" in refusal(tmp_path / "x.pth")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 128 << 10  # KiB


def test_smaller_limits_can_be_set(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2000)}, tmp_path / "x.pth")
    load(tmp_path / "x.pth", largest_structure=8000, largest_tensors=8000)
    for limits in ({"largest_structure": 100}, {"largest_structure": 8000, "largest_tensors": 100}):
        with pytest.raises(BrokenFileError, match="larger than any|more memory"):
            load(tmp_path / "x.pth", **limits)


def test_messages_name_objects_that_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    torch.save({"model": {"a": torch.ones(1)}, "best": np.float64(3)}, path)
    assert "a NumPy scalar (numpy." in refusal(path)
    with pytest.raises(BrokenFileError, match="do; ask its author$"):
        load(path, way_out="; ask its author")
    torch.save({"args": Path("x")}, path)
    assert "an object of pathlib." in refusal(path)
    torch.save({"a": torch.zeros(3).to_sparse()}, path)
    assert "not a plain tensor of real numbers" in refusal(path)


@pytest.mark.parametrize("as_zip", [True, False], ids=["zip", "old"])
def test_mutated_files_are_read_or_refused(tmp_path: Path, as_zip: bool) -> None:
    path = tmp_path / "x.pth"
    state = OrderedDict(a=torch.randn(3, 4), b=torch.ones(5, dtype=torch.int64), c=torch.zeros(2).half())
    torch.save({"model": state, "step": 3}, path, _use_new_zipfile_serialization=as_zip)
    content, read = path.read_bytes(), 0
    for random in mutators(300):
        path.write_bytes(mutated_bytes(content, random))
        read += ends_well(lambda: load(path))
    assert 0 < read < 150
