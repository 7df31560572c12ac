"""The mark, as bytes: what an embedding's own pixels say about how to restore it.

The pixels keep it when a site strips the PNG's chunks. Multi-byte numbers are big-endian::

    +---------------+  magic, version, task, model, counts, padding, frame rate, CRC-16
    | fixed header  |  12 bytes; all of a mark without parts
    +---------------+
    | parts header  |  in version 4 place in the clip; size of each part, payload code, first
    |               |  sample, CRC-16
    +---------------+
    | static region |  bytes of a StaticRegion, CRC-32        in versions 3 and 4
    +---------------+
    | motion        |  bytes of a MotionField, CRC-32         } the payload; absent where
    | enhancement   |  bytes of an enhancement layer, CRC-32  } both are empty
    +---------------+

Where in the picture these bytes lie is said in `mark_pixels.py`.
"""

from __future__ import annotations

import binascii
import hashlib
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from fractions import Fraction

from iicnet_cli.errors import UnsupportedVersionError
from iicnet_cli.payload.payload_code import PayloadCode
from iicnet_cli.payload.static_map import StaticRegion

TASKS = ("video", "video-half", "stereo", "dual", "layers", "stego", "grayscale", "rescale")
"""Names of tasks. The index of a name is its number in the mark, so new ones go to the end."""

FIXED_HEADER_BYTES = 12
"""Every mark begins with a fixed header of this many bytes."""
CHECKSUM_BYTES = 4
"""Each part of a mark ends with a CRC-32 of this many bytes."""

_MAGIC = b"\x1c\xe7"
# magic; version and task; model; images - 1 and valid - 1; padding right and bottom; frame rate
_FIXED_HEADER = struct.Struct(">2sB3sBBH")
_PART_SIZE_BYTES = 3
_CLIP_PLACE = struct.Struct(">I")  # 31 bits: number of the embedding; 1 bit: it is the last
_PAYLOAD_PLACE = struct.Struct(">BI")  # payload code, first sample
_CRC16_BYTES = 2

_NTSC = {round(Fraction(n * 100_000, 1001)): Fraction(n * 1000, 1001) for n in (24, 30, 60, 120)}


class _Version(IntEnum):
    NO_PARTS = 1
    PAYLOAD = 2
    STATIC_REGION = 3
    OF_SEVERAL = 4


_PART_COUNTS: dict[int, int] = {
    _Version.NO_PARTS: 0,
    _Version.PAYLOAD: 2,
    _Version.STATIC_REGION: 3,
    _Version.OF_SEVERAL: 3,
}
"""The parts header of each version gives the sizes of this many parts."""


def model_id(weights_sha256: str) -> int:
    """24-bit number of a checkpoint, from the hash of its weights as a hexadecimal string."""
    return int.from_bytes(hashlib.sha256(weights_sha256.encode()).digest()[:3], "big")


def fps_code(fps: Fraction | None) -> int:
    """Frames per second as hundredths, 1 to 65535; 0 if unknown or out of that range."""
    code = 0 if fps is None else round(fps * 100)
    return code if 0 < code <= 65535 else 0


def fps_from_code(code: int) -> Fraction | None:
    """Inverse of ``fps_code``; 23.98, 29.97, 59.94 and 119.88 become the exact NTSC rates."""
    return _NTSC.get(code, Fraction(code, 100)) if code else None


@dataclass(frozen=True)
class ClipPlace:
    """Which of the embeddings of a clip one is: tells what is missing when the header is lost.

    Attributes:
        number: from 0 on, below 2^31.
        is_last: whether no other follows. The total is not known before, for clips are read once.
    """

    number: int
    is_last: bool


@dataclass(frozen=True)
class PartsHeader:
    """The second header of a mark that has parts.

    Attributes:
        static_region_size: bytes of the static region, without its CRC; 0 if there is none.
        motion_size: bytes of the motion field, likewise.
        enhancement_size: bytes of the enhancement layer, likewise.
        code: how the payload is carried.
        first_sample: the payload begins with the carriers from this sample of the picture on.
        place: of one embedding of several.
    """

    static_region_size: int = 0
    motion_size: int = 0
    enhancement_size: int = 0
    code: PayloadCode = PayloadCode.LSB_1
    first_sample: int = 0
    place: ClipPlace | None = None

    @property
    def sizes(self) -> tuple[int, int, int]:
        """The sizes of the parts, in the order of the mark."""
        return self.static_region_size, self.motion_size, self.enhancement_size

    @property
    def stored_parts(self) -> slice:
        """Which of the three parts the mark stores, with their checksums."""
        has_payload = self.motion_size + self.enhancement_size > 0
        return slice(0 if self.static_region_size else 1, 3 if has_payload else 1)

    @property
    def parts_start(self) -> int:
        """Bytes of the mark before its first part."""
        return _parts_start(self.version)

    @property
    def payload_start(self) -> int:
        """Bytes of the mark before its payload."""
        size = self.static_region_size
        return self.parts_start + (size and size + CHECKSUM_BYTES)

    @property
    def payload_size(self) -> int:
        """Bytes of the payload, checksums included."""
        size = self.motion_size + self.enhancement_size
        return size and size + 2 * CHECKSUM_BYTES

    @property
    def version(self) -> int:
        """The version of the mark."""
        if self.place is not None:
            return _Version.OF_SEVERAL
        return _Version.STATIC_REGION if self.static_region_size else _Version.PAYLOAD

    def to_bytes(self) -> bytes:
        """The header with its CRC-16."""
        body = b""
        if self.place is not None:
            body = _CLIP_PLACE.pack(self.place.number << 1 | self.place.is_last)
        for size in self.sizes[-_PART_COUNTS[self.version] :]:
            body += size.to_bytes(_PART_SIZE_BYTES, "big")
        return _with_crc16(body + _PAYLOAD_PLACE.pack(self.code, self.first_sample))

    @classmethod
    def from_mark(cls, data: bytes) -> PartsHeader | None:
        """Read the parts header from the first bytes of a mark.

        Returns:
            ``None`` if there is none, or one of the two headers is damaged.

        Raises:
            UnsupportedVersionError: the payload is carried in a way that is unknown here.
        """
        fixed = _without_crc16(data, 0, FIXED_HEADER_BYTES)
        if fixed is None or not fixed.startswith(_MAGIC):
            return None
        version = fixed[len(_MAGIC)] >> 4
        count = _PART_COUNTS.get(version)
        if not count:
            return None
        body = _without_crc16(data, FIXED_HEADER_BYTES, _parts_start(version))
        if body is None:
            return None
        place, sizes_start = None, 0
        if version == _Version.OF_SEVERAL:
            (number,) = _CLIP_PLACE.unpack_from(body)
            place, sizes_start = ClipPlace(number >> 1, bool(number & 1)), _CLIP_PLACE.size
        sizes_stop = sizes_start + count * _PART_SIZE_BYTES
        sizes = [
            int.from_bytes(body[i : i + _PART_SIZE_BYTES], "big")
            for i in range(sizes_start, sizes_stop, _PART_SIZE_BYTES)
        ]
        static_region, motion, enhancement = [0] * (3 - count) + sizes
        code, first_sample = _PAYLOAD_PLACE.unpack_from(body, sizes_stop)
        if place is None and not any(sizes):
            return None
        if bool(static_region) and version == _Version.PAYLOAD:
            return None
        try:
            known_code = PayloadCode(code)
        except ValueError:
            raise UnsupportedVersionError(
                f"the pixels carry bits in a way ({code}) that is unknown here",
                hint="upgrade iicnet",
            ) from None
        return cls(static_region, motion, enhancement, known_code, first_sample, place)


def _parts_start(version: int) -> int:
    header = _PART_COUNTS[version] * _PART_SIZE_BYTES + _PAYLOAD_PLACE.size + _CRC16_BYTES
    if version == _Version.OF_SEVERAL:
        header += _CLIP_PLACE.size
    return FIXED_HEADER_BYTES + header


MAX_HEADERS_BYTES = _parts_start(_Version.OF_SEVERAL)
"""The two headers of a mark together have this many bytes, at most."""


@dataclass(frozen=True)
class Mark:
    """What ``restore`` needs to know when only the pixels are left.

    Attributes:
        task: index in ``TASKS``.
        model: the ``model_id`` of the checkpoint.
        images: network inputs of a group, 1 to 16.
        valid: how many of them are real frames in this group, 1 to ``images``.
        padding: pixels added to the right and at the bottom, 0 to 15 each.
        fps: an ``fps_code``.
        static_region_bytes: a :class:`StaticRegion` as bytes; empty if there is none.
        motion: the motion field of the pictures as bytes, opaque here; may be empty.
        enhancement: their enhancement layer as bytes, opaque here; may be empty.
        code: how samples outside of the static region carry the payload, which is ``motion`` and
            ``enhancement``.
        first_sample: the payload begins with the carriers from this sample of the picture on, and
            goes on at the top of the picture.
        place: which embedding of the clip it is; ``None`` for the only one.
        layer_is_lost: the mark was read, and its enhancement layer was damaged.

    Raises:
        ValueError: a value is out of range.
    """

    task: int
    model: int
    images: int
    valid: int
    padding: tuple[int, int] = (0, 0)
    fps: int = 0
    static_region_bytes: bytes = b""
    motion: bytes = b""
    enhancement: bytes = b""
    code: PayloadCode = PayloadCode.LSB_1
    first_sample: int = 0
    place: ClipPlace | None = None
    layer_is_lost: bool = field(default=False, compare=False)

    def __post_init__(self) -> None:
        fits = (
            0 <= self.task < len(TASKS)
            and 0 <= self.model < 1 << 24
            and 1 <= self.valid <= self.images <= 16
            and all(0 <= side <= 15 for side in self.padding)
            and 0 <= self.fps <= 65535
            and max(map(len, self._parts)) < 1 << 8 * _PART_SIZE_BYTES
            and (self.static_region is not None) == (self.static_region_bytes != b"")
            and 0 <= self.first_sample < 1 << 32
            and (self.place is None or 0 <= self.place.number < 1 << 31)
        )
        if not fits:
            raise ValueError(f"out of range: {self}")

    @classmethod
    def for_measuring(cls, images: int, motion: bytes = b"") -> Mark:
        """A mark of no particular task and checkpoint, where only its size matters."""
        return cls(task=0, model=0, images=images, valid=images, motion=motion)

    @property
    def task_name(self) -> str:
        """The task's name in ``TASKS``."""
        return TASKS[self.task]

    @property
    def static_region(self) -> StaticRegion | None:
        """The static region, decoded; ``None`` if there is none."""
        return StaticRegion.from_bytes(self.static_region_bytes)

    @property
    def has_payload(self) -> bool:
        """Whether there is motion or an enhancement layer."""
        return bool(self.motion or self.enhancement)

    @property
    def parts_header(self) -> PartsHeader | None:
        """The second header; ``None`` for the mark of an only embedding without parts."""
        if not any(self._parts) and self.place is None:
            return None
        return PartsHeader(
            len(self.static_region_bytes),
            len(self.motion),
            len(self.enhancement),
            self.code,
            self.first_sample,
            self.place,
        )

    @property
    def _parts(self) -> Sequence[bytes]:
        return self.static_region_bytes, self.motion, self.enhancement

    def to_bytes(self) -> bytes:
        """The bytes that the pixels carry; see the module for their layout."""
        header = self.parts_header
        version = _Version.NO_PARTS if header is None else header.version
        fixed = _FIXED_HEADER.pack(
            _MAGIC,
            version << 4 | self.task,
            self.model.to_bytes(3, "big"),
            (self.images - 1) << 4 | (self.valid - 1),
            self.padding[0] << 4 | self.padding[1],
            self.fps,
        )
        if header is None:
            return _with_crc16(fixed)
        parts = b"".join(map(_with_crc32, self._parts[header.stored_parts]))
        return _with_crc16(fixed) + header.to_bytes() + parts

    @classmethod
    def from_bytes(cls, data: bytes) -> Mark | None:
        """Inverse of ``to_bytes``.

        Bytes that are left over at the end are ignored. An enhancement layer that fails its CRC is
        left out, for pictures can be restored without it.

        Returns:
            ``None`` if magic, a CRC or a field is wrong.

        Raises:
            UnsupportedVersionError: a sound mark of another version or a newer task.
        """
        fixed = _without_crc16(data, 0, FIXED_HEADER_BYTES)
        if fixed is None or not fixed.startswith(_MAGIC):
            return None
        _, version_task, model, counts, padding, fps = _FIXED_HEADER.unpack(fixed)
        version, task = version_task >> 4, version_task & 15
        if version not in _PART_COUNTS or task >= len(TASKS):
            raise UnsupportedVersionError(
                f"the pixels carry a mark of version {version}, task {task}, unknown here",
                hint="upgrade iicnet",
            )
        header, parts = PartsHeader(), (b"", b"", b"")
        if version != _Version.NO_PARTS:
            found = PartsHeader.from_mark(data)
            found_parts = None if found is None else _read_parts(data, found)
            if found is None or found_parts is None:
                return None
            header, parts = found, found_parts
        try:
            return cls(
                task=task,
                model=int.from_bytes(model, "big"),
                images=(counts >> 4) + 1,
                valid=(counts & 15) + 1,
                padding=(padding >> 4, padding & 15),
                fps=fps,
                static_region_bytes=parts[0],
                motion=parts[1],
                enhancement=parts[2],
                code=header.code,
                first_sample=header.first_sample,
                place=header.place,
                layer_is_lost=bool(header.enhancement_size and not parts[2]),
            )
        except ValueError:
            return None


def _read_parts(data: bytes, header: PartsHeader) -> tuple[bytes, bytes, bytes] | None:
    """The parts of a mark; ``None`` if one that is needed is damaged."""
    parts = [b"", b"", b""]
    start = header.parts_start
    for i in range(3)[header.stored_parts]:
        stop = start + header.sizes[i] + CHECKSUM_BYTES
        part = _without_crc32(data[start:stop])
        is_enhancement = i == 2
        if part is None and not is_enhancement:
            return None
        parts[i] = part or b""
        start = stop
    static_region, motion, enhancement = parts
    return static_region, motion, enhancement


def _with_crc32(body: bytes) -> bytes:
    return body + zlib.crc32(body).to_bytes(CHECKSUM_BYTES, "big")


def _without_crc32(data: bytes) -> bytes | None:
    body = data[:-CHECKSUM_BYTES]
    return body if len(data) >= CHECKSUM_BYTES and _with_crc32(body) == data else None


def _with_crc16(body: bytes) -> bytes:
    return body + binascii.crc_hqx(body, 0).to_bytes(_CRC16_BYTES, "big")


def _without_crc16(data: bytes, start: int, stop: int) -> bytes | None:
    """The bytes of a header; ``None`` if it is cut short, or not what its CRC says."""
    header = data[start:stop]
    body = header[:-_CRC16_BYTES]
    return body if len(data) >= stop and _with_crc16(body) == header else None
