"""Non-maximum suppression on a GPU without waiting for the device, in Triton.

A first kernel compares all pairs of boxes and writes, for each box, a bit for each later box that it would
suppress. A second kernel goes through the boxes of an image by descending score, 64 at a time: it decides
within the 64 by operations on single 64-bit words and then joins the bits of the boxes it has kept.

Because only the first kept boxes of an image are needed, both kernels run for the boxes with the highest
scores first, and again for further boxes. All runs are launched, since the device alone knows which images
are done; a run passes over those.

Shapes: B images of N boxes; W = ceil(N / 64) words of a box's bits.
"""

from __future__ import annotations

import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor

BITS = 64
_COLUMN_WORDS = 4
"""Words of a row of bits that a program of the first kernel writes."""
_JOINED_WORDS = 4096
"""Words that the second kernel joins at a time: 32 registers of each of its 256 threads."""


def suppress_by_bitmask(
    boxes: Tensor, scores: Tensor, groups: Tensor | None, threshold: float, limit: int
) -> Tensor:
    """Apply greedy non-maximum suppression; see `layers.suppression.suppress`.

    The memory for the bits of an image is N * N / 8 bytes.
    """
    images, count = scores.shape
    keep = torch.zeros_like(scores, dtype=torch.int8, memory_format=torch.contiguous_format)
    if keep.numel() == 0:
        return keep.view(torch.bool)
    boxes, scores = boxes.contiguous(), scores.contiguous()
    group_or_score = scores if groups is None else groups.contiguous()
    words = triton.cdiv(count, BITS)
    overlaps = torch.empty(images, words * BITS, words, dtype=torch.int64, device=boxes.device)
    done = torch.zeros(images, dtype=torch.int8, device=boxes.device)
    begin = 0
    for end in _run_ends(words, limit):
        sizes = count, words, begin, end
        mark_overlaps[(triton.cdiv(end - begin, _COLUMN_WORDS), end, images)](
            *(boxes, scores, group_or_score, done, overlaps, *sizes, _round_down(threshold)),
            **{"GROUPED": groups is not None, "BITS": BITS, "COLUMN_WORDS": _COLUMN_WORDS},
            num_warps=4,
            # A fused multiply-add would round borderline overlaps in another way than torchvision.
            enable_fp_fusion=False,
        )
        width = triton.next_power_of_2(end - begin)
        rows = max(1, min(BITS, _JOINED_WORDS // width))
        keep_best[(images,)](
            *(scores, overlaps, done, keep, *sizes, limit),
            **{"WIDTH": width, "ROWS": rows, "BITS": BITS},
            num_warps=8,
        )
        begin = end
    return keep.view(torch.bool)


def _run_ends(words: int, limit: int) -> list[int]:
    """Return the words at which runs end: after four boxes per box that is needed, after eight, after all."""
    first = triton.cdiv(4 * limit, BITS)
    return sorted({min(first, words), min(2 * first, words), words})


def _round_down(threshold: float) -> float:
    """Return the largest float32 that is not above a threshold.

    A float32 IoU is above the result if and only if it is above the threshold.
    """
    nearest = np.float32(threshold)
    return float(np.nextafter(nearest, np.float32(-np.inf)) if float(nearest) > threshold else nearest)


@triton.jit(do_not_specialize=("count", "words", "begin", "end"))
def mark_overlaps(
    boxes: tl.tensor,
    scores: tl.tensor,
    groups: tl.tensor,
    done: tl.tensor,
    overlaps: tl.tensor,
    count: tl.tensor,
    words: tl.tensor,
    begin: tl.tensor,
    end: tl.tensor,
    threshold: tl.tensor,
    GROUPED: tl.constexpr,
    BITS: tl.constexpr,
    COLUMN_WORDS: tl.constexpr,
) -> None:
    """Write the bits of 64 boxes (rows) against up to 64 * COLUMN_WORDS boxes of lower scores (columns).

    Words left of the diagonal, and words of columns without a box, may remain as they are.

    Args:
        boxes: (B, N, 4) float32.
        scores: (B, N) float32.
        groups: (B, N) int64; read if GROUPED.
        done: (B,) int8, not 0 for an image whose bits are not needed.
        overlaps: (B, 64 * W, W) int64, written: bit c of word w of box r tells whether box r would suppress
            box 64 * w + c.
        count: N.
        words: W.
        begin: First word of a row to write.
        end: Word of a row before which to end.
        threshold: IoU above which a box suppresses another.
    """
    image = tl.program_id(2).to(tl.int64)
    row = tl.program_id(1) * BITS + tl.arange(0, BITS)
    first = begin + tl.program_id(0) * COLUMN_WORDS
    last = tl.minimum(first + COLUMN_WORDS, end)
    first = tl.maximum(first, tl.program_id(1))
    best_score = tl.load(scores + image * count + first * BITS, mask=first < last, other=-float("inf"))
    if (best_score == -float("inf")) | (tl.load(done + image) != 0):
        last = first
    for word in range(first, last):
        column = word * BITS + tl.arange(0, BITS)
        # (columns, rows): the sum over a word's bits is then mostly within threads.
        iou = _ious(boxes + image * count * 4, row, column, count)
        suppresses = (iou > threshold) & (column[:, None] > row[None, :])
        if GROUPED:
            row_group = tl.load(groups + image * count + row, mask=row < count, other=0)
            group = tl.load(groups + image * count + column, mask=column < count, other=0)
            suppresses = suppresses & (row_group[None, :] == group[:, None])
        bits = tl.sum(suppresses.to(tl.int64) << tl.arange(0, BITS)[:, None].to(tl.int64), axis=0)
        tl.store(overlaps + image * words * BITS * words + row * words + word, bits)


@triton.jit
def _ious(boxes: tl.tensor, row: tl.tensor, column: tl.tensor, count: tl.tensor) -> tl.tensor:
    """Compute IoUs (columns, rows) with torchvision's rounding; boxes from `count` on are empty."""
    row_x1, row_y1, row_x2, row_y2 = _load_boxes(boxes, row, row < count)
    x1, y1, x2, y2 = _load_boxes(boxes, column, column < count)
    width = tl.minimum(row_x2[None, :], x2[:, None]) - tl.maximum(row_x1[None, :], x1[:, None])
    height = tl.minimum(row_y2[None, :], y2[:, None]) - tl.maximum(row_y1[None, :], y1[:, None])
    common = tl.maximum(width, 0.0) * tl.maximum(height, 0.0)
    row_area, area = (row_x2 - row_x1) * (row_y2 - row_y1), (x2 - x1) * (y2 - y1)
    return tl.div_rn(common, row_area[None, :] + area[:, None] - common)


@triton.jit
def _load_boxes(
    boxes: tl.tensor, index: tl.tensor, mask: tl.tensor
) -> tuple[tl.tensor, tl.tensor, tl.tensor, tl.tensor]:
    box = boxes + index * 4
    x1, y1 = tl.load(box, mask=mask, other=0.0), tl.load(box + 1, mask=mask, other=0.0)
    x2, y2 = tl.load(box + 2, mask=mask, other=0.0), tl.load(box + 3, mask=mask, other=0.0)
    return x1, y1, x2, y2


@triton.jit(do_not_specialize=("count", "words", "begin", "end", "limit"))
def keep_best(
    scores: tl.tensor,
    overlaps: tl.tensor,
    done: tl.tensor,
    keep: tl.tensor,
    count: tl.tensor,
    words: tl.tensor,
    begin: tl.tensor,
    end: tl.tensor,
    limit: tl.tensor,
    WIDTH: tl.constexpr,
    ROWS: tl.constexpr,
    BITS: tl.constexpr,
) -> None:
    """Choose among the boxes 64 * begin to 64 * end of an image.

    Args:
        scores: (B, N) float32.
        overlaps: (B, 64 * W, W) int64, from `mark_overlaps`.
        done: (B,) int8, not 0 for an image without work; written.
        keep: (B, N) int8, decided up to `begin` and zero from there on; written.
        count: N.
        words: W.
        begin: First block of 64 boxes to go through.
        end: Block before which to end.
        limit: Number of kept boxes after which to stop, once no further box ties with the last of them.
        WIDTH: Power of two, at least end - begin.
        ROWS: Number of rows of bits to join at a time, a power of two.
    """
    image = tl.program_id(0).to(tl.int64)
    if tl.load(done + image) != 0:
        return
    scores += image * count
    overlaps += image * words * BITS * words
    keep += image * count
    word = begin + tl.arange(0, WIDTH)
    kept, removed = _join_earlier(overlaps, keep, begin, end, word, words, ROWS, BITS)
    block = begin
    best_score = tl.load(scores + block * BITS)
    while (block < end) & (best_score != -float("inf")):
        row = block * BITS
        gone = tl.sum(tl.where(word == block, removed, 0), axis=0)
        gone = _resolve(gone, scores + row, overlaps + row * words + block, count - row, words, BITS)
        lane = tl.arange(0, BITS)
        chosen = _clear_bits(gone, lane)
        tl.store(keep + row + lane, chosen.to(tl.int8), mask=row + lane < count)
        kept += tl.sum(chosen.to(tl.int32), axis=0)
        for start in range(0, BITS, ROWS):
            line = start + tl.arange(0, ROWS)
            later = tl.where(word > block, word, end)
            removed |= _join(overlaps, row + line, _clear_bits(gone, line), later, end, words)
        last_score = tl.load(scores + tl.minimum(row + BITS, count) - 1)
        block += 1
        best_score = tl.load(scores + block * BITS, mask=block < words, other=-float("inf"))
        if (kept >= limit) & (best_score < last_score):
            best_score = -float("inf")
    tl.store(done + image, (best_score == -float("inf")).to(tl.int8))


@triton.jit
def _join_earlier(
    overlaps: tl.tensor,
    keep: tl.tensor,
    begin: tl.tensor,
    end: tl.tensor,
    word: tl.tensor,
    words: tl.tensor,
    ROWS: tl.constexpr,
    BITS: tl.constexpr,
) -> tuple[tl.tensor, tl.tensor]:
    """Return the number of boxes kept before block `begin` and the words of the bits that any of them has."""
    kept = 0
    removed = tl.zeros_like(word).to(tl.int64)
    for start in range(0, begin * BITS, ROWS):
        row = start + tl.arange(0, ROWS)
        chosen = tl.load(keep + row)
        kept += tl.sum(chosen.to(tl.int32), axis=0)
        removed |= _join(overlaps, row, chosen != 0, word, end, words)
    return kept, removed


@triton.jit
def _resolve(
    gone: tl.tensor,
    scores: tl.tensor,
    diagonal: tl.tensor,
    count: tl.tensor,
    words: tl.tensor,
    BITS: tl.constexpr,
) -> tl.tensor:
    """Return the bits of the boxes of a block that are removed or not present.

    Args:
        gone: Bits of the boxes that boxes before the block suppress.
        scores: Score of the block's first box.
        diagonal: Bits of the block's first box against the block, W words before those of the next box.
        count: Number of boxes from the block on.
        words: W.
    """
    lane = tl.arange(0, BITS)
    present = tl.load(scores + lane, mask=lane < count, other=-float("inf")) != -float("inf")
    gone |= ~tl.sum(present.to(tl.int64) << lane.to(tl.int64), axis=0)
    for bit in tl.static_range(BITS):
        suppressed = tl.load(diagonal + bit * words)
        gone |= tl.where(((gone >> bit) & 1) == 0, suppressed, 0)
    return gone


@triton.jit
def _join(
    overlaps: tl.tensor, row: tl.tensor, chosen: tl.tensor, word: tl.tensor, end: tl.tensor, words: tl.tensor
) -> tl.tensor:
    """Return the words before `end` of the bits that any of the chosen rows has."""
    needed = chosen[:, None] & (word[None, :] < end)
    bits = tl.load(overlaps + row[:, None] * words + word[None, :], mask=needed, other=0)
    return tl.reduce(bits, 0, _either)


@triton.jit
def _clear_bits(bits: tl.tensor, position: tl.tensor) -> tl.tensor:
    return ((bits >> position.to(tl.int64)) & 1) == 0


@triton.jit
def _either(a: tl.tensor, b: tl.tensor) -> tl.tensor:
    return a | b
