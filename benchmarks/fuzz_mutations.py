"""Mutations of files for fuzz.py."""

from __future__ import annotations

import random
import struct
import zlib

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MOST_MUTATIONS = 6
_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def mutate(data: bytes, other: bytes, generator: random.Random) -> bytes:
    """Change a file in some places; half of the PNGs get right checksums again.

    Args:
        data: the file.
        other: another file, from which parts are taken.
        generator: decides what is changed.
    """
    changed = bytearray(data)
    for _ in range(generator.randint(1, _MOST_MUTATIONS)):
        _mutate_once(changed, other, generator)
    result = bytes(changed)
    if result.startswith(PNG_SIGNATURE) and generator.random() < 0.5:
        return with_right_checksums(result)
    return result


def _mutate_once(data: bytearray, other: bytes, generator: random.Random) -> None:
    if not data:
        return
    # Most of what decides how a file is read stands at its beginning.
    end = len(data) if generator.random() < 0.5 else min(len(data), 256)
    at, length = generator.randrange(end), generator.choice((1, 2, 4, 8, 64, 1024))
    kind = generator.randrange(7)
    if kind == 0:
        data[at] ^= 1 << generator.randrange(8)
    elif kind == 1:
        data[at] = generator.randrange(256)
    elif kind == 2:
        size = generator.choice((1, 2, 4))
        order = generator.choice(("big", "little"))
        number = generator.choice(_NUMBERS) & (1 << 8 * size) - 1
        data[at : at + size] = number.to_bytes(size, order)  # type: ignore[arg-type]
    elif kind == 3:
        del data[at : at + length]
    elif kind == 4:
        data[at:at] = data[at : at + length]
    elif kind == 5:
        start = generator.randrange(len(other) or 1)
        data[at : at + length] = other[start : start + length]
    elif generator.random() < 0.3:
        del data[generator.randrange(len(data)) :]


def with_right_checksums(data: bytes) -> bytes:
    """A PNG whose chunks have right CRCs, as far as there are chunks."""
    result, at = bytearray(PNG_SIGNATURE), len(PNG_SIGNATURE)
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        if at + 12 + length > len(data):
            break
        body = data[at + 4 : at + 8 + length]
        result += data[at : at + 4] + body + struct.pack(">I", zlib.crc32(body))
        at += 12 + length
    return bytes(result + data[at:])
