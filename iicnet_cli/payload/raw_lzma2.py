"""Raw LZMA2, without a container, for parts of a mark whose unpacked size is known beforehand."""

from __future__ import annotations

import lzma

Options = dict[str, int]
"""Options of the LZMA2 filter: ``dict_size``, ``lc``, ``pb``."""


def compress(body: bytes, options: Options) -> bytes:
    """Compress bytes; the reader needs the same options and the size of ``body``."""
    return lzma.compress(body, lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2, **options}])


def decompress(data: bytes, size: int, options: Options) -> bytes | None:
    """Inverse of :func:`compress`, safe with untrusted data.

    Returns:
        ``None`` unless ``data`` unpacks to exactly ``size`` bytes.
    """
    filters = [{"id": lzma.FILTER_LZMA2, **options}]
    unpacker = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=filters)
    try:
        body = unpacker.decompress(data, size + 1)
    except (lzma.LZMAError, EOFError):
        return None
    return body if len(body) == size and unpacker.eof else None
