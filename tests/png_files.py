"""PNG files chunk by chunk, and embeddings written to memory, for the tests of the container."""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from pathlib import Path
from typing import IO, Any

from PIL import Image, PngImagePlugin

from iicnet_cli.container.header import Header
from iicnet_cli.container.png_writer import PngWriter
from iicnet_cli.pictures.arrays import Pixels

WEIGHTS = hashlib.sha256(b"weights").hexdigest()


def some_header(**fields: Any) -> Header:
    """A valid header with some fields as given."""
    values: dict[str, Any] = {
        "task": "stego",
        "model": "stego-3",
        "weights_sha256": WEIGHTS,
        "images": 3,
        "width": 40,
        "height": 30,
    }
    return Header(**(values | fields))


def write_embedding(target: Path | IO[bytes], *frames: Pixels, **options: Any) -> Header:
    """Write frames and ``some_header()`` to a path or a file; options are those of PngWriter."""
    if isinstance(target, Path):
        with open(target, "w+b") as file:
            return write_embedding(file, *frames, **options)
    writer = PngWriter(target, **options)
    for pixels in frames:
        writer.add(pixels)
    return writer.finish(some_header())


def chunks_of(data: bytes) -> list[tuple[bytes, bytes]]:
    """Kind and data of all chunks, with their CRCs checked."""
    found, at = [], 8
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        (crc,) = struct.unpack_from(">I", data, at + 8 + length)
        assert crc == zlib.crc32(kind + body)
        found.append((kind, body))
        at += 12 + length
    return found


def png_of(chunks: list[tuple[bytes, bytes]]) -> bytes:
    """A PNG file with these chunks."""
    data = b"\x89PNG\r\n\x1a\n"
    for kind, body in chunks:
        data += struct.pack(">I", len(body)) + kind + body
        data += struct.pack(">I", zlib.crc32(kind + body))
    return data


def without_text(data: bytes) -> bytes:
    """A PNG file without its header and other ancillary chunks."""
    return png_of([(k, b) for k, b in chunks_of(data) if k in (b"IHDR", b"IDAT", b"IEND")])


def replace_header(data: bytes, kind: bytes, body: bytes) -> bytes:
    """A PNG file with another chunk in place of its header."""
    return png_of([(kind, body) if k == b"iTXt" else (k, b) for k, b in chunks_of(data)])


def save_again(image: Image.Image, header: Header | None = None) -> io.BytesIO:
    """Save a picture as another tool would, with the header compressed or dropped."""
    file, info = io.BytesIO(), PngImagePlugin.PngInfo()
    if header is not None:
        info.add_itxt("iicnet", header.to_json(), zip=True)
    image.save(file, "PNG", pnginfo=info)
    return file
