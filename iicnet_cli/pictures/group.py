"""The pictures that travel through the program together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from iicnet_cli.pictures.arrays import Pixels


@dataclass(frozen=True)
class Group:
    """The pictures that one embedding holds.

    Attributes:
        images: (K, H, W, C) uint8, the reference first.
        valid: how many of them, in the task's own order, are real and not padding.
        own_sizes: the pictures (H, W, C) as they were before they were fitted to the reference;
            ``None`` where all have its size.
    """

    images: Pixels
    valid: int
    own_sizes: Sequence[Pixels] | None = None

    @property
    def pictures(self) -> Sequence[Pixels]:
        """The pictures at their own sizes, the reference first."""
        return list(self.images) if self.own_sizes is None else self.own_sizes
