"""The in-pixel mark: least-significant bits that survive when a site strips PNG chunks.

96 of them, and more behind them where motion was compensated.
"""

from __future__ import annotations

import binascii
import hashlib
import struct
import zlib
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from iicnet_cli.errors import UnsupportedVersionError

Pixels = NDArray[np.uint8]
"""8-bit pixels of shape (H, W, 3) for RGB or (H, W) for grey, values 0 to 255."""

TASKS = ("video", "video-half", "stereo", "dual", "layers", "stego", "grayscale", "rescale")
"""Task names; a name's place is its id in the mark, so new ones go at the end."""

_PLAIN, _MOVING = 1, 2
"""Versions: the mark alone, or with motion behind it."""
_MAGIC = b"\x1c\xe7"
# magic | version, task | model | images-1, valid-1 | padding right, bottom | fps, then the CRC
_LAYOUT = struct.Struct(">2sB3sBBH")
MARK_BITS = 8 * (_LAYOUT.size + 2)
"""How many samples carry a mark without motion; a picture needs at least as many."""
_LENGTH = 3
"""Bytes that tell how long the motion is."""
_BEFORE_MOTION = MARK_BITS // 8 + _LENGTH + 2
"""Bytes of a mark with motion that come before it, each bit in a sample of its own."""
_LARGEST_BLOCK = 8
"""Bits that samples carry together, at most; their numbers, up to 255, are bytes then."""

_NTSC = {round(Fraction(n * 100_000, 1001)): Fraction(n * 1000, 1001) for n in (24, 30, 60, 120)}


def model_id(weights_sha256: str) -> int:
    """24-bit id of a checkpoint, from the hash of its weights as a hexadecimal string."""
    return int.from_bytes(hashlib.sha256(weights_sha256.encode()).digest()[:3], "big")


def fps_code(fps: Fraction | None) -> int:
    """Frames per second as hundredths, 1 to 65535; 0 when unknown or out of that range."""
    code = 0 if fps is None else round(fps * 100)
    return code if 0 < code <= 65535 else 0


def fps_from_code(code: int) -> Fraction | None:
    """Inverse of ``fps_code``; 23.98, 29.97, 59.94 and 119.88 become the exact NTSC rates."""
    return _NTSC.get(code, Fraction(code, 100)) if code else None


@dataclass(frozen=True)
class Mark:
    """What ``restore`` needs when only the pixels are left.

    ``task`` is a place in ``TASKS``, ``model`` a ``model_id``, ``images`` the network inputs per
    group (1 to 16), ``valid`` how many of them are real frames in this group (1 to ``images``),
    ``padding`` the pixels added to the right and at the bottom (0 to 15 each), ``fps`` an
    ``fps_code``, and ``motion`` that of the pictures as bytes, of which this module knows nothing.
    Raises ``ValueError`` when a value does not fit.
    """

    task: int
    model: int
    images: int
    valid: int
    padding: tuple[int, int] = (0, 0)
    fps: int = 0
    motion: bytes = b""

    def __post_init__(self) -> None:
        fits = (
            0 <= self.task < len(TASKS)
            and 0 <= self.model < 1 << 24
            and 1 <= self.valid <= self.images <= 16
            and all(0 <= side <= 15 for side in self.padding)
            and 0 <= self.fps <= 65535
            and len(self.motion) < 1 << 8 * _LENGTH
        )
        if not fits:
            raise ValueError(f"out of range: {self}")

    @property
    def task_name(self) -> str:
        """The task's name in ``TASKS``."""
        return TASKS[self.task]

    def to_bytes(self) -> bytes:
        """``MARK_BITS / 8`` bytes: magic, version, fields, CRC-16.

        With motion, its length and a CRC-16 follow, then itself and a CRC-32.
        """
        version = _MOVING if self.motion else _PLAIN
        body = _LAYOUT.pack(
            _MAGIC,
            version << 4 | self.task,
            self.model.to_bytes(3, "big"),
            (self.images - 1) << 4 | (self.valid - 1),
            self.padding[0] << 4 | self.padding[1],
            self.fps,
        )
        if not self.motion:
            return _with_crc(body)
        length = len(self.motion).to_bytes(_LENGTH, "big")
        checksum = zlib.crc32(self.motion).to_bytes(4, "big")
        return _with_crc(body) + _with_crc(length) + self.motion + checksum

    @classmethod
    def from_bytes(cls, data: bytes) -> Mark | None:
        """Inverse of ``to_bytes``; None when magic, CRC or fields do not fit.

        What is left over at the end is ignored. Raises ``UnsupportedVersionError`` for a sound
        mark of another version or a newer task.
        """
        size = MARK_BITS // 8
        body = _without_crc(data[:size])
        if body is None or not body.startswith(_MAGIC):
            return None
        _, version_task, model, counts, padding, fps = _LAYOUT.unpack(body)
        version, task = version_task >> 4, version_task & 15
        if version not in (_PLAIN, _MOVING) or task >= len(TASKS):
            raise UnsupportedVersionError(
                f"the pixels carry a mark of version {version}, task {task}, unknown here",
                hint="upgrade iicnet",
            )
        motion = b""
        if version == _MOVING:
            end = _BEFORE_MOTION + (_motion_length(data) or 0)
            motion = data[_BEFORE_MOTION:end]
            if not motion or data[end : end + 4] != zlib.crc32(motion).to_bytes(4, "big"):
                return None
        try:
            return cls(
                task=task,
                model=int.from_bytes(model, "big"),
                images=(counts >> 4) + 1,
                valid=(counts & 15) + 1,
                padding=(padding >> 4, padding & 15),
                fps=fps,
                motion=motion,
            )
        except ValueError:
            return None


def _with_crc(body: bytes) -> bytes:
    return body + binascii.crc_hqx(body, 0).to_bytes(2, "big")


def _without_crc(data: bytes) -> bytes | None:
    body = data[:-2]
    return body if len(data) > 2 and _with_crc(body) == data else None


def _motion_length(data: bytes) -> int | None:
    """Bytes of the motion, told by a mark that has it; ``None`` for others."""
    body = _without_crc(data[: MARK_BITS // 8])
    if body is None or not body.startswith(_MAGIC) or body[len(_MAGIC)] >> 4 != _MOVING:
        return None
    length = _without_crc(data[MARK_BITS // 8 : _BEFORE_MOTION])
    return None if length is None else int.from_bytes(length, "big")


def motion_room(samples: int) -> int:
    """How many bytes of motion a picture of so many samples can carry without harm."""
    # With so few, at least 7 samples carry 3 bits together, of which one changes.
    return max(0, samples // 24 - 2 * _BEFORE_MOTION)


def _positions(samples: int, count: int) -> NDArray[np.int64]:
    """Places of ``count`` bits in the flattened picture: one after the other in each stretch.

    ``MARK_BITS`` equal stretches take a bit each, then a second one beside the first, and so on;
    no more than there is room for.
    """
    bits = np.arange(MARK_BITS + 1, dtype=np.int64)
    starts = bits * samples // MARK_BITS
    # The golden ratio scatters the places: regular steps can line up in one column of pixels.
    scatter = bits[:-1] * 40503 % 65536
    lengths = np.diff(starts)
    rows = np.arange(min(-(-count // MARK_BITS), samples // MARK_BITS))[:, None]
    places = starts[:-1] + (lengths * scatter // 65536 + rows) % lengths
    return places.reshape(-1)[:count]


def write_mark(pixels: Pixels, mark: Mark) -> Pixels:
    """A copy of ``pixels`` that carries ``mark``; a sample for each bit changes by 0 or 1 level.

    Of motion, by one level, one in so many samples as can carry 8 bits or fewer together.

    Raises ``ValueError`` when the picture has fewer samples than the mark needs.
    """
    data = mark.to_bytes()
    flat = pixels.flatten()
    if mark.motion:
        if len(mark.motion) > motion_room(flat.size):
            raise ValueError(
                f"{len(mark.motion)} bytes of motion are too much for {flat.size} samples"
            )
        _write_block_code(flat, data[_BEFORE_MOTION:])
        data = data[:_BEFORE_MOTION]
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    where = _positions(flat.size, len(bits))
    if len(where) < len(bits):
        raise ValueError(f"a mark needs {len(bits)} samples, the picture has {pixels.size}")
    flat[where] = flat[where] & 0xFE | bits
    return flat.reshape(pixels.shape)


def read_mark(pixels: Pixels) -> Mark | None:
    """The mark in ``pixels``, or None when there is none or the pixels have changed too much.

    Raises ``UnsupportedVersionError`` for the mark of a newer program.
    """
    where = _positions(pixels.size, 8 * _BEFORE_MOTION)
    flat = pixels.reshape(-1)
    data = np.packbits(flat[where] & 1).tobytes()
    length = _motion_length(data)
    if length is not None:
        if length > motion_room(flat.size):
            return None
        data = data[:_BEFORE_MOTION] + _read_block_code(flat, length + 4)
    return Mark.from_bytes(data)


def _blocks(flat: Pixels, count: int) -> tuple[int, NDArray[np.intp]]:
    """Bits to a block, and the places of its samples in the picture: (2**bits - 1, blocks)."""
    where = _positions(flat.size, 8 * _BEFORE_MOTION)
    free = flat.size - len(where)
    size = max(k for k in range(1, _LARGEST_BLOCK + 1) if (2**k - 1) * -(-8 * count // k) <= free)
    blocks = -(-8 * count // size)
    needed = (2**size - 1) * blocks
    places = np.delete(np.arange(needed + len(where)), where[where < needed + len(where)])
    return size, places[:needed].reshape(-1, blocks)


def _write_block_code(flat: Pixels, data: bytes) -> None:
    """Matrix embedding by Hamming codes (Crandall, 1998): k bits in 2**k - 1 samples.

    The bits are the exclusive or of the numbers, from 1, of the odd samples; so a change of one
    sample, or of none, makes it any number.
    """
    size, places = _blocks(flat, len(data))
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    groups = np.pad(bits, (0, -len(bits) % size)).reshape(-1, size)
    wanted = groups @ (1 << np.arange(size)[::-1])
    change = _syndromes(flat[places]) ^ wanted
    (blocks,) = np.nonzero(change)
    flat[places[change[blocks] - 1, blocks]] ^= 1


def _read_block_code(flat: Pixels, count: int) -> bytes:
    """So many bytes, as :func:`_write_block_code` wrote them."""
    size, places = _blocks(flat, count)
    numbers = _syndromes(flat[places])
    bits = numbers[:, None] >> np.arange(size)[::-1] & 1
    return np.packbits(bits.reshape(-1)[: 8 * count].astype(np.uint8)).tobytes()


def _syndromes(samples: Pixels) -> Pixels:
    """(samples, blocks) to (blocks,): the exclusive or of the numbers of those that are odd."""
    numbers = np.arange(1, len(samples) + 1, dtype=np.uint8)[:, None]
    together: Pixels = np.bitwise_xor.reduce((samples & 1) * numbers, axis=0)
    return together
