"""Channel squeeze layer, equation (8)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ChannelSqueeze(nn.Module):
    """Average K_e = M / C_e preliminary embeddings; copy the embedding K_e times on the way back.

    ``forward(inverse(e)) == e`` exactly. The other way round it is a projection.

    Args:
        channels: M.
        squeezed: C_e, channels of one preliminary embedding.

    Raises:
        ValueError: M is no multiple of C_e.
    """

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        if channels % squeezed:
            raise ValueError(f"{channels} channels are no multiple of {squeezed}")
        self.copies = channels // squeezed

    def forward(self, x: Tensor) -> Tensor:
        """(B, M, H, W) to (B, C_e, H, W)."""
        # Unlike mean and repeat, these operations keep the memory format.
        first, *others = x.chunk(self.copies, dim=1)
        return sum(others, first) / self.copies

    def inverse(self, y: Tensor) -> Tensor:
        """(B, C_e, H, W) to (B, M, H, W)."""
        return torch.cat([y] * self.copies, dim=1)
