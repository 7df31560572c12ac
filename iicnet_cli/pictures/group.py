"""The pictures that travel through the program together."""

from __future__ import annotations

from dataclasses import dataclass

from iicnet_cli.pictures.arrays import Pixels


@dataclass(frozen=True)
class Group:
    """The pictures that one embedding holds.

    Attributes:
        images: (K, H, W, C) uint8, the reference first.
        valid: how many of them, in the task's own order, are real and not padding.
    """

    images: Pixels
    valid: int
