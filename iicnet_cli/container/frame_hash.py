"""The hash by which altered pixels are found."""

from __future__ import annotations

import hashlib
import struct

import numpy as np

from iicnet_cli.pictures.arrays import Pixels


def hash_frame(digest: hashlib._Hash, pixels: Pixels) -> None:
    """Add a frame to a SHA-256: height, width and channels as big-endian u32, then the samples."""
    height, width = pixels.shape[:2]
    digest.update(struct.pack(">III", height, width, 3 if pixels.ndim == 3 else 1))
    digest.update(np.ascontiguousarray(pixels).data)
