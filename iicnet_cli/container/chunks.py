"""Chunks of PNG files, as sequences of bytes."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import IO

from iicnet_cli.errors import DamagedError

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
"""Every PNG file begins with these bytes."""
HEADER_KEYWORD = b"iicnet"
"""The text chunk with this keyword holds the header of an embedding."""
FULL_COPY_HINT = "get the original file again: copy or download it as a file, not as a preview"
"""Advice to users whose file is damaged."""


def write_chunk(file: IO[bytes], kind: bytes, *parts: bytes) -> None:
    """Write a chunk whose data consists of these parts."""
    crc = zlib.crc32(kind)
    file.write(struct.pack(">I4s", sum(map(len, parts)), kind))
    for part in parts:
        crc = zlib.crc32(part, crc)
        file.write(part)
    file.write(struct.pack(">I", crc))


def walk_chunks(file: IO[bytes], label: str) -> Iterator[tuple[bytes, int]]:
    """Go through the chunks of a file up to IEND.

    Args:
        file: a PNG file that can seek; its signature is not checked.
        label: what to call it in errors.

    Yields:
        Kind and length of each chunk. The file then stands at the chunk's data.

    Raises:
        DamagedError: the file ends before IEND, or what follows is no chunk.
    """
    position = len(PNG_SIGNATURE)
    while True:
        file.seek(position)
        start = file.read(8)
        if len(start) < 8:
            raise DamagedError(f"{label}: the PNG file is cut off", hint=FULL_COPY_HINT)
        length, kind = struct.unpack(">I4s", start)
        if not kind.isalpha() or length >= 2**31:
            raise DamagedError(f"{label}: the PNG file is damaged", hint=FULL_COPY_HINT)
        yield kind, length
        if kind == b"IEND":
            return
        position += 12 + length


def read_chunk(file: IO[bytes], kind: bytes, length: int, label: str) -> bytes:
    """Read the data of a chunk at which ``walk_chunks`` has stopped.

    Raises:
        DamagedError: the file is cut off, or the CRC is wrong.
    """
    data, crc = file.read(length), file.read(4)
    if len(data) < length or len(crc) < 4:
        raise DamagedError(f"{label}: the PNG file is cut off", hint=FULL_COPY_HINT)
    if zlib.crc32(data, zlib.crc32(kind)) != int.from_bytes(crc, "big"):
        raise DamagedError(f"{label}: the {kind.decode()} chunk is damaged", hint=FULL_COPY_HINT)
    return data
