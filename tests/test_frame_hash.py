"""The hash of frames."""

from __future__ import annotations

import hashlib
import struct

from iicnet_cli.container.frame_hash import hash_frame
from tests.random_arrays import random_pixels


def test_hash_is_as_specified() -> None:
    frames = [random_pixels(16, 20), random_pixels(16, 20, grey=True)]
    expected = hashlib.sha256()
    expected.update(struct.pack(">III", 16, 20, 3) + frames[0].tobytes())
    expected.update(struct.pack(">III", 16, 20, 1) + frames[1].tobytes())
    digest = hashlib.sha256()
    hash_frame(digest, frames[0][::-1][::-1])  # not contiguous in memory
    hash_frame(digest, frames[1])
    assert digest.digest() == expected.digest()
