"""Motion photos: a JPEG or HEIC picture of a phone with a short MP4 behind it in the same file."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

from iicnet_cli.media.ffmpeg import ByteRange
from iicnet_cli.media.suffixes import HEIC_BRANDS

_MAX_CANDIDATES, _MAX_BOXES = 100, 10_000
"""So many boxes called ``ftyp`` are tried, and so many boxes of each are followed at most.

Chance makes one in 4 GB; a file may be full of them so that the search never ends."""


def is_motion_photo(path: str | Path) -> bool:
    """Return whether a file is a JPEG or HEIC photo with a clip behind its picture.

    `read_still` reads the picture of such a file, `open_frames` its clip. False for files that
    are missing or unreadable, and for folders.
    """
    return find_embedded_clip(Path(path)) is not None


def find_embedded_clip(path: Path) -> ByteRange | None:
    """Return which bytes of a photo are a complete MP4; None if there are none.

    All makers put an MP4 behind the picture (in HEIC, inside a box), but each records its position
    in another way, and editors drop the record. So only the clip's own boxes are searched for.
    """
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            is_heic = data[4:8] == b"ftyp" and data[8:12] in HEIC_BRANDS
            if not is_heic and data[:3] != b"\xff\xd8\xff":
                return None
            # A JPEG ends with FF D9; its thumbnail may do so earlier, which does no harm.
            found = 12 if is_heic else data.find(b"\xff\xd9") + 2
            for _ in range(_MAX_CANDIDATES):
                found = data.find(b"ftyp", found + 1)
                if found < 0:
                    break
                start = found - 4
                if end := _end_of_mp4(data, start):
                    return start, end
    except (OSError, ValueError):  # unreadable, or empty
        pass
    return None


def _end_of_mp4(data: mmap.mmap, start: int) -> int | None:
    """Return where the MP4 that begins at ``start`` ends; None if it is not complete.

    Bytes that are no box may follow it: Samsung, Oppo and vivo write a trailer.
    """
    at, kinds = start, set()
    for _ in range(_MAX_BOXES):
        if at + 16 > len(data):
            break
        size, kind, large_size = struct.unpack_from(">I4sQ", data, at)
        size = {0: len(data) - at, 1: large_size}.get(size, size)
        is_other_file = (kind == b"ftyp") != (at == start)
        if size < 8 or at + size > len(data) or not kind.isalnum() or is_other_file:
            break
        kinds.add(kind)
        at += size
    return at if kinds >= {b"ftyp", b"moov", b"mdat"} else None
