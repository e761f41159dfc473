"""3x3 convolutions by Winograd's algorithm (Lavin and Gray, CVPR 2016, section 4), for inference on a CPU.

F(4x4, 3x3) computes 4x4 outputs from a tile of 6x6 inputs. The tile and the filter are each transformed to 36
numbers. These are multiplied pair by pair and summed over the channels, as 36 matrix products, and the 36
sums are transformed to the outputs. This takes a quarter of the multiplications of a direct convolution. In
float32, rounding errors are about four times those of a direct convolution, and a thousandth of those of one
in bfloat16.

Shapes: B maps of C channels, H x W cells; t x u tiles per map, T = B * t * u in all; K output channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from megavid.models.acceleration.cpu.packed import PackedLinear

_IN, _OUT = 6, 4

_TYPICAL_TILES = 144
"""Number of tiles that the matrix products are packed for: the tiles of a map of 63 x 36 cells."""

# Transforms of six inputs in a row, of three weights in a row, and back to four outputs (section 4.2).
_INPUT = (
    (4.0, 0.0, -5.0, 0.0, 1.0, 0.0),
    (0.0, -4.0, -4.0, 1.0, 1.0, 0.0),
    (0.0, 4.0, -4.0, -1.0, 1.0, 0.0),
    (0.0, -2.0, -1.0, 2.0, 1.0, 0.0),
    (0.0, 2.0, -1.0, -2.0, 1.0, 0.0),
    (0.0, 4.0, 0.0, -5.0, 0.0, 1.0),
)
_FILTER = (
    (1 / 4, 0.0, 0.0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0.0, 0.0, 1.0),
)
_OUTPUT = (
    (1.0, 1.0, 1.0, 1.0, 1.0, 0.0),
    (0.0, 1.0, -1.0, 2.0, -2.0, 0.0),
    (0.0, 1.0, 1.0, 4.0, 4.0, 0.0),
    (0.0, 1.0, -1.0, 8.0, -8.0, 1.0),
)


class WinogradConv2d(nn.Module):
    """3x3 convolution, always in float32, whose weights take four times the memory of the usual ones.

    Args:
        conv: Convolution to replace, with stride 1, padding 1, no dilation and no groups.
    """

    to_tiles: Tensor
    to_outputs: Tensor

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        assert (conv.kernel_size, conv.stride, conv.padding) == ((3, 3), (1, 1), (1, 1))
        assert (conv.dilation, conv.groups) == ((1, 1), 1)
        self.register_buffer("to_tiles", _both_axes(_INPUT).float())
        self.register_buffer("to_outputs", _both_axes(_OUTPUT).float())
        self.bias = conv.bias
        filters = conv.weight.detach().double().flatten(2)
        self.products = nn.ModuleList(_product(filters @ part) for part in _both_axes(_FILTER))

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, K, H, W) float32."""
        with torch.autocast(maps.device.type, enabled=False):
            (B, C, H, W), maps = maps.shape, maps.float()
            t, u = -(-H // _OUT), -(-W // _OUT)
            padded = F.pad(maps, (1, u * _OUT + 1 - W, 1, t * _OUT + 1 - H)).permute(0, 2, 3, 1)
            # Tiles (B, t, u, C, 6, 6) -> columns (36, T * C); products (36, T * K).
            tiles = padded.unfold(1, _IN, _OUT).unfold(2, _IN, _OUT)
            columns = self.to_tiles @ tiles.permute(4, 5, 0, 1, 2, 3).reshape(_IN**2, -1)
            rows = columns.view(_IN**2, -1, C)
            products = torch.stack([p(x) for p, x in zip(self.products, rows, strict=True)])
            outputs = (self.to_outputs @ products.flatten(1)).view(_OUT, _OUT, B, t, u, -1)
            cells = outputs.permute(2, 3, 0, 4, 1, 5).reshape(B, t * _OUT, u * _OUT, -1)[:, :H, :W]
            return (cells if self.bias is None else cells + self.bias).permute(0, 3, 1, 2)


def _both_axes(rows: tuple[tuple[float, ...], ...]) -> Tensor:
    """Return the matrix (float64) that transforms both the rows and the columns of a flattened tile."""
    one = torch.tensor(rows, dtype=torch.float64)
    return torch.kron(one, one)


def _product(weight_KC: Tensor) -> PackedLinear:
    layer = nn.Linear(weight_KC.shape[1], weight_KC.shape[0], bias=False)
    layer.weight = nn.Parameter(weight_KC.float(), requires_grad=False)
    return PackedLinear(layer, rows=_TYPICAL_TILES)
