"""Shares of an archive for several runs."""

from __future__ import annotations

import pytest

from megavid.core.errors import InputError
from megavid.jobs.archive.prepare_archive import choose_share
from megavid.jobs.archive.segments import ListedVideo

VIDEOS = [
    ListedVideo(f"/data/{name}.mp4", size, "1") for name, size in zip("abcde", (5, 1, 4, 2, 3), strict=True)
]


def test_shares_have_each_video_once_and_about_the_same_size() -> None:
    shares = [choose_share(VIDEOS, f"{number}/2") for number in range(2)]
    # From the largest on: a (5) to run 0; c (4), e (3) to run 1; d (2) to run 0; at 7 each, b (1) to run 0.
    assert ["".join(video.address[6] for video in share) for share in shares] == ["adb", "ce"]
    assert choose_share(list(reversed(VIDEOS)), "0/2") == shares[0]


def test_a_share_may_be_empty_and_the_only_one_is_all() -> None:
    assert choose_share(VIDEOS, "9/10") == []
    assert sorted(choose_share(VIDEOS, "0/1"), key=VIDEOS.index) == VIDEOS
    assert choose_share(VIDEOS, None) == VIDEOS


@pytest.mark.parametrize("shard", ["2/2", "-1/2", "1", "/", "a/b", "0/0", "1/2/3", "0/100001", "²/3"])
def test_other_shares_are_refused(shard: str) -> None:
    with pytest.raises(InputError, match="--shard: expected I/N"):
        choose_share(VIDEOS, shard)
