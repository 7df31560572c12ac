"""The first file of a bundle: what it says of its pictures."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from iicnet_cli.container.header import Header
from iicnet_cli.errors import DamagedError, UsageError
from iicnet_cli.payload.bundle import Bundle, BundledFile, Role

MAX_DESCRIPTION_BYTES = 16 * 2**20
"""A description of more bytes, before it is compressed, is neither written nor read."""


def description_file(header: Header) -> BundledFile:
    """A description as the first file of a bundle.

    Raises:
        UsageError: it is too long to be read again.
    """
    text = header.to_json().encode()
    if len(text) > MAX_DESCRIPTION_BYTES:
        raise UsageError(
            "the names and times of so many frames do not fit into one picture",
            hint="make several PNGs, each of a part",
        )
    packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    data = packer.compress(text) + packer.flush()
    return BundledFile(Role.DESCRIPTION, "", data)


def read_description(bundle: Bundle) -> Header:
    """What a bundle says of its pictures.

    Raises:
        DamagedError: nothing, or nonsense.
    """
    files = bundle.of_role(Role.DESCRIPTION)
    if len(files) != 1:
        raise DamagedError("the payload has no description")
    unpacker = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
    try:
        text = unpacker.decompress(files[0].data, MAX_DESCRIPTION_BYTES)
    except zlib.error as error:
        raise DamagedError("the description in the payload is damaged") from error
    return Header.from_json(text)


def joined_description(headers: Sequence[Header]) -> Header:
    """The description of the parts of one source together."""
    first = headers[0]
    if len(headers) == 1:
        return first
    frames = sum(header.frames or 0 for header in headers)
    times = [time for header in headers for time in header.timestamps or ()]
    return first.model_copy(update={"frames": frames, "timestamps": times or None})
