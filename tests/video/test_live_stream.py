"""Reading network streams and cameras."""

from __future__ import annotations

import io
import socket
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from megavid.core.errors import InputError
from megavid.video import live_stream
from megavid.video.open_input import LiveStream, is_live, open_input
from tests.video.videos import make_video, number, serve


def test_a_live_stream_is_read(tmp_path: Path) -> None:
    data = io.BytesIO()
    make_video(data, 30, options={"bf": "2", "tune": "zerolatency"}, format="mpegts")
    with serve(data.getvalue()) as address, open_input(address) as stream:
        assert isinstance(stream, LiveStream)
        assert (stream.name, stream.rate, stream.width, stream.height) == (address, Fraction(25), 64, 48)
        frames = list(stream)
    assert [frame.index for frame in frames] == list(range(30))
    assert [number(frame.image) for frame in frames] == list(range(30))
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(30) / 25, atol=1e-9)


def test_cameras_and_streams_are_told_from_files() -> None:
    assert all(is_live(spec) for spec in ("0", "99", "rtsp://host/stream", "http://127.0.0.1:1/x"))
    assert not any(is_live(spec) for spec in ("./0", "clip.mp4", "file:///clip.mp4", "a/*.png", Path("0")))


def test_a_stream_that_cannot_be_opened_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setattr(live_stream, "TIMEOUT", 0.3)
        with pytest.raises(InputError, match=rf"{address}.*no answer in time"):
            open_input(address)
    with pytest.raises(InputError, match=rf"{address}.*refused"):
        open_input(address)
    with pytest.raises(InputError, match="camera 97"):
        open_input("97")
