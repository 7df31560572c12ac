"""A stub until the real channel is here: plain low bits."""

from __future__ import annotations

import numpy as np

from iicnet_cli.errors import DamagedError, UsageError
from iicnet_cli.pictures.arrays import Pixels


def capacity(reference: Pixels, psnr: float) -> int:
    return int(reference.size * max(0.0, 2.6 - (psnr - 40) / 6.02) / 8) - 8


def write(reference: Pixels, data: bytes) -> Pixels:
    framed = b"LOWB" + len(data).to_bytes(4, "big") + data
    bits = np.unpackbits(np.frombuffer(framed, np.uint8)).astype(np.int64)
    bits = np.concatenate([bits, np.zeros(-len(bits) % 3, np.int64)]).reshape(-1, 3)
    digits = bits @ np.array([4, 2, 1])
    if len(digits) > reference.size:
        raise UsageError("more bytes than fit")
    flat = reference.reshape(-1).astype(np.int64).copy()
    part = flat[: len(digits)]
    change = (digits - part) % 8
    moved = part + np.where(change > 4, change - 8, change)
    moved += np.where(moved < 0, 8, 0) - np.where(moved > 255, 8, 0)
    flat[: len(digits)] = moved
    return flat.astype(np.uint8).reshape(reference.shape)


def read(pixels: Pixels) -> bytes:
    digits = (pixels.reshape(-1) & 7).astype(np.uint8)
    bits = np.stack([digits >> 2 & 1, digits >> 1 & 1, digits & 1], axis=1).reshape(-1)
    data = np.packbits(bits).tobytes()
    if data[:4] != b"LOWB":
        raise DamagedError("its pixels carry nothing")
    length = int.from_bytes(data[4:8], "big")
    if length > len(data) - 8:
        raise DamagedError("its pixels were altered")
    return data[8 : 8 + length]
