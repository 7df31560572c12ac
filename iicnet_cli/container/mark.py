"""The in-pixel mark: least-significant bits that survive when a site strips PNG chunks.

96 of them, and more behind them where the pictures were aligned.
"""

from __future__ import annotations

import binascii
import hashlib
import struct
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from iicnet_cli.errors import UnsupportedVersionError

Pixels = NDArray[np.uint8]
"""8-bit pixels of shape (H, W, 3) for RGB or (H, W) for grey, values 0 to 255."""

TASKS = ("video", "video-half", "stereo", "dual", "layers", "stego", "grayscale", "rescale")
"""Task names; a name's place is its id in the mark, so new ones go at the end."""

_PLAIN, _ALIGNED = 1, 2
"""Versions: the mark alone, and with shifts behind it."""
_MAGIC = b"\x1c\xe7"
# magic | version, task | model | images-1, valid-1 | padding right, bottom | fps, then the CRC
_LAYOUT = struct.Struct(">2sB3sBBH")
MARK_BITS = 8 * (_LAYOUT.size + 2)
"""How many samples carry a mark without shifts; a picture needs at least as many."""
_MOST_BITS = MARK_BITS + 8 * (4 * 15 + 2)
MAX_SHIFT = 32767

Shift = tuple[int, int]
"""Rows down and columns to the right by which a picture was shifted, circularly."""

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
    ``fps_code``, and ``shifts`` those of each picture but the first (at most ``MAX_SHIFT``), or
    empty when none was shifted. Raises ``ValueError`` when a value does not fit.
    """

    task: int
    model: int
    images: int
    valid: int
    padding: tuple[int, int] = (0, 0)
    fps: int = 0
    shifts: tuple[Shift, ...] = ()

    def __post_init__(self) -> None:
        fits = (
            0 <= self.task < len(TASKS)
            and 0 <= self.model < 1 << 24
            and 1 <= self.valid <= self.images <= 16
            and all(0 <= side <= 15 for side in self.padding)
            and 0 <= self.fps <= 65535
            and len(self.shifts) in (0, self.images - 1)
            and all(abs(side) <= MAX_SHIFT for shift in self.shifts for side in shift)
        )
        if not fits:
            raise ValueError(f"out of range: {self}")

    @property
    def task_name(self) -> str:
        """The task's name in ``TASKS``."""
        return TASKS[self.task]

    def to_bytes(self) -> bytes:
        """``MARK_BITS / 8`` bytes, magic, version, fields, CRC-16; then shifts and their CRC-16."""
        body = _LAYOUT.pack(
            _MAGIC,
            (_ALIGNED if self.shifts else _PLAIN) << 4 | self.task,
            self.model.to_bytes(3, "big"),
            (self.images - 1) << 4 | (self.valid - 1),
            self.padding[0] << 4 | self.padding[1],
            self.fps,
        )
        if not self.shifts:
            return _with_crc(body)
        sides = [side for shift in self.shifts for side in shift]
        return _with_crc(body) + _with_crc(struct.pack(f">{len(sides)}h", *sides))

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
        if version not in (_PLAIN, _ALIGNED) or task >= len(TASKS):
            raise UnsupportedVersionError(
                f"the pixels carry a mark of version {version}, task {task}, unknown here",
                hint="upgrade iicnet",
            )
        images = (counts >> 4) + 1
        sides: tuple[int, ...] = ()
        if version == _ALIGNED:
            shifts = _without_crc(data[size : size + 4 * (images - 1) + 2])
            if shifts is None or len(shifts) != 4 * (images - 1):
                return None
            sides = struct.unpack(f">{2 * (images - 1)}h", shifts)
        try:
            return cls(
                task=task,
                model=int.from_bytes(model, "big"),
                images=images,
                valid=(counts & 15) + 1,
                padding=(padding >> 4, padding & 15),
                fps=fps,
                shifts=tuple(zip(sides[::2], sides[1::2], strict=True)),
            )
        except ValueError:
            return None


def _with_crc(body: bytes) -> bytes:
    return body + binascii.crc_hqx(body, 0).to_bytes(2, "big")


def _without_crc(data: bytes) -> bytes | None:
    body = data[:-2]
    return body if len(data) > 2 and _with_crc(body) == data else None


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

    Raises ``ValueError`` when the picture has fewer samples than the mark has bits.
    """
    bits = np.unpackbits(np.frombuffer(mark.to_bytes(), np.uint8))
    flat = pixels.flatten()
    where = _positions(flat.size, len(bits))
    if len(where) < len(bits):
        raise ValueError(f"a mark needs {len(bits)} samples, the picture has {pixels.size}")
    flat[where] = flat[where] & 0xFE | bits
    return flat.reshape(pixels.shape)


def read_mark(pixels: Pixels) -> Mark | None:
    """The mark in ``pixels``, or None when there is none or the pixels have changed too much.

    Raises ``UnsupportedVersionError`` for the mark of a newer program.
    """
    where = _positions(pixels.size, _MOST_BITS)
    bits = pixels.reshape(-1)[where] & 1
    return Mark.from_bytes(np.packbits(bits).tobytes())
