"""Region proposal network (Ren et al., NeurIPS 2015, section 3.1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from megavid.core import box_ops
from megavid.core.config import Config
from megavid.models.faster_rcnn.anchors import cell_anchors, grid_anchors
from megavid.models.faster_rcnn.preprocess import LARGEST_SIDE
from megavid.models.layers.suppression import suppress

ANCHOR_WEIGHTS = (1.0, 1.0, 1.0, 1.0)
"""Weights by which the RPN's box deltas dx, dy, dw and dh are scaled."""

MOST_BOXES = 100_000
"""Upper limit on the number of boxes per frame, many times what detectors use."""

_MOST_ANCHORS = 32
"""Upper limit on the number of anchor sizes and of ratios; the published models have 4 and 3."""

_Side = Annotated[int, Field(ge=1, le=LARGEST_SIDE)]
_Ratio = Annotated[float, Field(ge=0.01, le=100)]


class RPNConfig(Config):
    """Anchors, the selection of proposals, and the sampling of anchors in training.

    Attributes:
        anchor_sizes: Square roots of the anchors' areas, input pixels.
        anchor_ratios: Height / width of anchors.
        pre_nms_top_n: Number of best-scored anchors that enter non-maximum suppression.
        post_nms_top_n: Number of proposals kept after non-maximum suppression.
        nms_threshold: IoU above which the lower-scored of two boxes is suppressed.
        batch_size_per_image: Maximum number of anchors per image that the RPN is trained on.
    """

    renamed_keys: ClassVar[Mapping[str, str]] = {
        "candidates": "pre_nms_top_n",
        "proposals": "post_nms_top_n",
        "sampled": "batch_size_per_image",
    }

    anchor_sizes: tuple[_Side, ...] = Field(strict=False, min_length=1, max_length=_MOST_ANCHORS)
    anchor_ratios: tuple[_Ratio, ...] = Field(strict=False, min_length=1, max_length=_MOST_ANCHORS)
    pre_nms_top_n: int = Field(ge=1, le=MOST_BOXES)
    post_nms_top_n: int = Field(ge=1, le=MOST_BOXES)
    nms_threshold: float = Field(gt=0, le=1)
    batch_size_per_image: int = Field(default=256, ge=1, le=MOST_BOXES)


@dataclass(frozen=True)
class RPNOutput:
    """Output of the network for all N anchors of B images of the same size.

    Attributes:
        logits: (B, N) float32, objectness.
        deltas: (B, N, 4) float32, box deltas.
        anchors: (N, 4) half-open, input pixels.
    """

    logits: Tensor
    deltas: Tensor
    anchors: Tensor


class RPN(nn.Module):
    """Region proposal network: predicts objectness and box deltas of anchors, and selects proposals.

    Args:
        config: Anchors and limits.
        channels: Number of channels of the feature map.
        stride: Input pixels per cell.
    """

    cell: Tensor

    def __init__(self, config: RPNConfig, *, channels: int, stride: int) -> None:
        super().__init__()
        self.config = config
        self.stride = stride
        cell = cell_anchors(stride=stride, sizes=config.anchor_sizes, ratios=config.anchor_ratios)
        self.register_buffer("cell", cell, persistent=False)
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.objectness = nn.Conv2d(channels, len(cell), 1)
        self.deltas = nn.Conv2d(channels, 4 * len(cell), 1)

    def forward(self, c4: Tensor) -> RPNOutput:
        """Compute objectness and deltas of the anchors on maps (B, C, h, w)."""
        x = F.relu(self.conv(c4))
        with torch.autocast(x.device.type, enabled=False):  # in half precision many scores would tie
            x = x.float()
            objectness, deltas = self.objectness(x), self.deltas(x)
        anchors = grid_anchors(self.cell, stride=self.stride, height=c4.shape[2], width=c4.shape[3])
        return RPNOutput(
            logits=objectness.permute(0, 2, 3, 1).flatten(1),
            deltas=deltas.permute(0, 2, 3, 1).reshape(len(c4), -1, 4),
            anchors=anchors,
        )

    def select(
        self, output: RPNOutput, image_size: tuple[int, int], *, padded: bool
    ) -> tuple[list[Tensor], list[Tensor | None]]:
        """Select the proposals of each image.

        Args:
            output: Output of the RPN.
            image_size: (height, width) of the network's input.
            padded: Whether to fill up the proposals, so that no shape depends on data.

        Returns:
            (P, 4) boxes of each image, best first; and (P,) bool, False for padding, or None without padding.
        """
        if not padded:
            boxes = self.propose(output, image_size)
            return boxes, [None] * len(boxes)
        padded_boxes, valid = self._propose_padded(output, image_size)
        return [*padded_boxes.unbind()], [*valid.unbind()]

    @torch.no_grad()
    def propose(self, output: RPNOutput, image_size: tuple[int, int]) -> list[Tensor]:
        """Select the proposals of each image, without gradient.

        Args:
            output: Output of the network.
            image_size: (height, width) of the network's input.

        Returns:
            (P, 4) boxes of each image, best first, float32, half-open, input pixels.
        """
        return [
            self._select(*self._best(logits, deltas, output.anchors, image_size))
            for logits, deltas in zip(output.logits, output.deltas, strict=True)
        ]

    @torch.no_grad()
    def _propose_padded(self, output: RPNOutput, image_size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Select the proposals of all images like `propose`, but always P = `post_nms_top_n`.

        Returns:
            (B, P, 4) boxes; and (B, P) bool, False for padding, which comes last.
        """
        boxes, scores = self._best(output.logits, output.deltas, output.anchors, image_size)
        N, limit = boxes.shape[1], self.config.post_nms_top_n
        keep = suppress(boxes, scores, None, self.config.nms_threshold, limit)
        # Boxes that are kept come first, in their order; padding is filled with others.
        rank = torch.arange(N, 0, -1, device=keep.device).expand(keep.shape).masked_fill(~keep, 0)
        rank, kept = (F.pad(best, (0, max(limit - N, 0))) for best in rank.topk(min(limit, N)))
        return boxes.gather(1, kept[..., None].expand(-1, -1, 4)), rank > 0

    def _best(
        self, logits: Tensor, deltas: Tensor, anchors: Tensor, size: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """Return the boxes (..., N, 4) and scores (..., N) that enter suppression, best first."""
        scores, best = logits.sigmoid().topk(min(self.config.pre_nms_top_n, logits.shape[-1]))
        chosen = deltas.gather(-2, best[..., None].expand(*best.shape, 4))
        boxes = box_ops.decode(chosen, anchors[best], ANCHOR_WEIGHTS)[..., 0, :]
        return box_ops.clip(boxes, *size), scores

    def _select(self, boxes: Tensor, scores: Tensor) -> Tensor:
        config = self.config
        return boxes[box_ops.nms_best(boxes, scores, config.nms_threshold, limit=config.post_nms_top_n)]
