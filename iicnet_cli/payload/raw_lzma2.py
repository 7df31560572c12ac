"""Raw LZMA2 of parts of a mark, whose size is known before they are unpacked."""

from __future__ import annotations

import lzma

Options = dict[str, int]
"""Of the LZMA2 filter: ``dict_size``, ``lc``, ``pb``."""


def packed(body: bytes, options: Options) -> bytes:
    """Compressed, without any container."""
    return lzma.compress(body, lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2, **options}])


def unpacked(data: bytes, size: int, options: Options) -> bytes | None:
    """Inverse of :func:`packed`; ``None`` unless it is just so many bytes. It may be of anyone."""
    filters = [{"id": lzma.FILTER_LZMA2, **options}]
    unpacker = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=filters)
    try:
        body = unpacker.decompress(data, size + 1)
    except (lzma.LZMAError, EOFError):
        return None
    return body if len(body) == size and unpacker.eof else None
