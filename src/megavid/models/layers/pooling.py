"""RoIAlign (He et al., ICCV 2017) as the original release computes it.

The inclusive coordinates of a RoI are used, without a shift by half a pixel, and its sides are at least one
cell long. Along a side of s cells, each of the n bins has ceil(s / n) samples.
"""

from __future__ import annotations

from typing import cast

from torch import Tensor
from torchvision.ops import roi_align

from megavid.core import box_ops


def pool_rois(maps: Tensor, boxes: list[Tensor], *, pool_size: int, stride: int) -> Tensor:
    """Pool RoIs sample by sample; in the result, channels come before bins.

    Args:
        maps: (B, C, h, w).
        boxes: (P_i, 4) boxes of each image, half-open, input pixels.
        pool_size: n.
        stride: Input pixels per cell of the map.

    Returns:
        (sum of P_i, C * n * n).
    """
    rois = [box_ops.to_inclusive(b) for b in boxes]
    # Computed in float32 whatever the maps' dtype: half precision cannot tell neighboring coordinates apart.
    pooled = roi_align(maps.float(), rois, pool_size, 1.0 / stride, sampling_ratio=-1, aligned=False)
    return cast(Tensor, pooled.flatten(1))
