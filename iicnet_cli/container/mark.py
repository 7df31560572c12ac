"""The in-pixel mark: least-significant bits that survive when a site strips PNG chunks.

96 of them, and more behind them where motion or an enhancement layer is carried.
"""

from __future__ import annotations

import binascii
import hashlib
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from iicnet_cli.errors import UnsupportedVersionError
from iicnet_cli.levels import Pixels
from iicnet_cli.rounding import Feedback, rounded

TASKS = ("video", "video-half", "stereo", "dual", "layers", "stego", "grayscale", "rescale")
"""Task names; a name's place is its id in the mark, so new ones go at the end."""

_PLAIN, _LADEN = 1, 2
"""Versions: the mark alone, or with motion and an enhancement layer behind it."""
_MAGIC = b"\x1c\xe7"
# magic | version, task | model | images-1, valid-1 | padding right, bottom | fps, then the CRC
_LAYOUT = struct.Struct(">2sB3sBBH")
MARK_BITS = 8 * (_LAYOUT.size + 2)
"""How many samples carry a mark alone; a picture needs at least as many."""
_LENGTH = 3
"""Bytes that tell how long the motion, or the enhancement layer, is."""
# depth | first
_PLACE = struct.Struct(">BI")
_BEFORE_LOAD = MARK_BITS // 8 + 2 * _LENGTH + _PLACE.size + 2
"""Bytes of a laden mark that come before its load, each bit in a sample of its own."""
MAX_DEPTH = 2
"""Low bits of a sample that carry a load, at most."""
_TOGETHER = 1 << 16
"""Symbols whose places are computed at once, to save memory."""
_CHECKSUM = 4
"""Bytes of the CRC-32 behind the motion, and behind the enhancement layer."""

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
    ``fps_code``. ``motion`` and ``enhancement`` are bytes of which this module knows nothing: that
    of the pictures, and their enhancement layer. A sample carries ``depth`` bits of these (1 or 2),
    and the sample ``first`` of the picture is the first that does. Raises ``ValueError`` when a
    value does not fit.
    """

    task: int
    model: int
    images: int
    valid: int
    padding: tuple[int, int] = (0, 0)
    fps: int = 0
    motion: bytes = b""
    enhancement: bytes = b""
    depth: int = 1
    first: int = 0

    def __post_init__(self) -> None:
        fits = (
            0 <= self.task < len(TASKS)
            and 0 <= self.model < 1 << 24
            and 1 <= self.valid <= self.images <= 16
            and all(0 <= side <= 15 for side in self.padding)
            and 0 <= self.fps <= 65535
            and max(len(self.motion), len(self.enhancement)) < 1 << 8 * _LENGTH
            and 1 <= self.depth <= MAX_DEPTH
            and 0 <= self.first < 1 << 32
        )
        if not fits:
            raise ValueError(f"out of range: {self}")

    @property
    def task_name(self) -> str:
        """The task's name in ``TASKS``."""
        return TASKS[self.task]

    @property
    def laden(self) -> bool:
        """Whether there is motion or an enhancement layer."""
        return bool(self.motion or self.enhancement)

    def to_bytes(self) -> bytes:
        """``MARK_BITS / 8`` bytes: magic, version, fields, CRC-16.

        With motion or an enhancement layer, the lengths of both, their place and a CRC-16 follow,
        then each of them with a CRC-32.
        """
        body = _LAYOUT.pack(
            _MAGIC,
            (_LADEN if self.laden else _PLAIN) << 4 | self.task,
            self.model.to_bytes(3, "big"),
            (self.images - 1) << 4 | (self.valid - 1),
            self.padding[0] << 4 | self.padding[1],
            self.fps,
        )
        if not self.laden:
            return _with_crc16(body)
        parts = self.motion, self.enhancement
        lengths = b"".join(len(part).to_bytes(_LENGTH, "big") for part in parts)
        place = _PLACE.pack(self.depth, self.first)
        load = b"".join(map(_with_crc32, parts))
        return _with_crc16(body) + _with_crc16(lengths + place) + load

    @classmethod
    def from_bytes(cls, data: bytes) -> Mark | None:
        """Inverse of ``to_bytes``; None when magic, CRC or fields do not fit.

        An enhancement layer whose CRC does not fit is left out, for the rest can do without; what
        is left over at the end is ignored. Raises ``UnsupportedVersionError`` for a sound mark of
        another version or a newer task.
        """
        size = MARK_BITS // 8
        body = _without_crc16(data[:size])
        if body is None or not body.startswith(_MAGIC):
            return None
        _, version_task, model, counts, padding, fps = _LAYOUT.unpack(body)
        version, task = version_task >> 4, version_task & 15
        if version not in (_PLAIN, _LADEN) or task >= len(TASKS):
            raise UnsupportedVersionError(
                f"the pixels carry a mark of version {version}, task {task}, unknown here",
                hint="upgrade iicnet",
            )
        motion = enhancement = b""
        load = _Load(0, 0, 1, 0)
        if version == _LADEN:
            told = _load(data)
            if told is None:
                return None
            load = told
            middle = _BEFORE_LOAD + load.motion + _CHECKSUM
            sound = _without_crc32(data[_BEFORE_LOAD:middle])
            if sound is None:
                return None
            motion = sound
            end = middle + load.enhancement + _CHECKSUM
            enhancement = _without_crc32(data[middle:end]) or b""
        try:
            return cls(
                task=task,
                model=int.from_bytes(model, "big"),
                images=(counts >> 4) + 1,
                valid=(counts & 15) + 1,
                padding=(padding >> 4, padding & 15),
                fps=fps,
                motion=motion,
                enhancement=enhancement,
                depth=load.depth,
                first=load.first,
            )
        except ValueError:
            return None


def _with_crc16(body: bytes) -> bytes:
    return body + binascii.crc_hqx(body, 0).to_bytes(2, "big")


def _without_crc16(data: bytes) -> bytes | None:
    body = data[:-2]
    return body if len(data) > 2 and _with_crc16(body) == data else None


def _with_crc32(body: bytes) -> bytes:
    return body + zlib.crc32(body).to_bytes(_CHECKSUM, "big")


def _without_crc32(data: bytes) -> bytes | None:
    body = data[:-_CHECKSUM]
    return body if len(data) >= _CHECKSUM and _with_crc32(body) == data else None


@dataclass(frozen=True)
class _Load:
    """Bytes of motion and enhancement layer without their checksums, and where they are."""

    motion: int
    enhancement: int
    depth: int
    first: int

    @property
    def symbols(self) -> int:
        """Samples that carry them."""
        return -(-8 * (self.motion + self.enhancement + 2 * _CHECKSUM) // self.depth)


def _load(data: bytes) -> _Load | None:
    """What a laden mark tells of its load; ``None`` for others."""
    body = _without_crc16(data[: MARK_BITS // 8])
    if body is None or not body.startswith(_MAGIC) or body[len(_MAGIC)] >> 4 != _LADEN:
        return None
    told = _without_crc16(data[MARK_BITS // 8 : _BEFORE_LOAD])
    if told is None:
        return None
    motion, enhancement = (int.from_bytes(told[i : i + _LENGTH], "big") for i in (0, _LENGTH))
    depth, first = _PLACE.unpack_from(told, 2 * _LENGTH)
    sound = motion + enhancement and 1 <= depth <= MAX_DEPTH
    return _Load(motion, enhancement, depth, first) if sound else None


def mark_room(samples: int, to_a_bit: int = 1, depth: int = 1) -> int:
    """Bytes of motion and enhancement layer together that so many samples can carry.

    Args:
        samples: of the picture.
        to_a_bit: of them to each that carries some, at least.
        depth: bits to each of these.
    """
    return max(0, (samples - 8 * _BEFORE_LOAD) // to_a_bit * depth // 8 - 2 * _CHECKSUM)


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


def carried(samples: int, mark: Mark, some: slice = slice(0, None)) -> tuple[Pixels, Pixels]:
    """What samples of a flattened picture must be to carry a mark.

    Args:
        samples: of the picture.
        mark: to be carried.
        some: of the samples; all by default.

    Returns:
        Of each of them how many low bits of its level are told, and these.

    Raises ``ValueError`` when the picture has fewer than the mark needs.
    """
    data = mark.to_bytes()
    load = len(mark.motion) + len(mark.enhancement)
    if load > mark_room(samples, depth=mark.depth):
        raise ValueError(f"a mark with {load} bytes is too much for {samples} samples")
    before = 8 * _BEFORE_LOAD if mark.laden else MARK_BITS
    places = _positions(samples, before)
    if len(places) < before:
        raise ValueError(f"a mark needs {before} samples, the picture has {samples}")
    start, stop, _ = some.indices(samples)
    depths, residues = np.zeros(stop - start, np.uint8), np.zeros(stop - start, np.uint8)

    def put(places: NDArray[np.int64], values: Pixels, depth: int) -> None:
        inside = (places >= start) & (places < stop)
        depths[places[inside] - start] = depth
        residues[places[inside] - start] = values[inside]

    put(places, np.unpackbits(np.frombuffer(data, np.uint8))[:before], 1)
    if mark.laden:
        told = _Load(len(mark.motion), len(mark.enhancement), mark.depth, mark.first)
        symbols = _symbols(data[_BEFORE_LOAD:], mark.depth)
        for part, where in _load_positions(samples, told, slice(start, stop)):
            put(where, symbols[part], mark.depth)
    return depths, residues


def write_mark(
    pixels: Pixels,
    mark: Mark,
    remainder: NDArray[np.int8] | None = None,
    feedback: Feedback | None = None,
) -> Pixels:
    """A copy of ``pixels`` that carries ``mark``: the low bits of some samples are its bits.

    Args:
        pixels: (H, W, C) or (H, W).
        mark: what to carry.
        remainder: of the same shape, what rounding took from each sample, in 1/256 of a level.
        feedback: how errors of rounding are diffused, see :class:`Rounding`; by default they are
            not, and only samples that carry bits change, with one bit each by 0 or 1 level.

    Raises ``ValueError`` when the picture has fewer samples than the mark needs.
    """
    if remainder is None:
        remainder = np.zeros(pixels.shape, np.int8)
    shape = (*pixels.shape[:2], -1)
    levels = rounded(
        pixels.reshape(shape), remainder.reshape(shape), feedback, *carried(pixels.size, mark)
    )
    return levels.reshape(pixels.shape)


def read_mark(pixels: Pixels) -> Mark | None:
    """The mark in ``pixels``, or None when there is none or the pixels have changed too much.

    Raises ``UnsupportedVersionError`` for the mark of a newer program.
    """
    flat = pixels.reshape(-1)
    data = np.packbits(flat[_positions(flat.size, 8 * _BEFORE_LOAD)] & 1).tobytes()
    load = _load(data)
    if load is not None:
        if load.motion + load.enhancement > mark_room(flat.size, depth=load.depth):
            return None
        symbols = np.empty(load.symbols, np.uint8)
        for part, places in _load_positions(flat.size, load, slice(0, flat.size)):
            symbols[part] = flat[places]
        data += _from_symbols(symbols, load.depth)
    return Mark.from_bytes(data)


def _symbols(data: bytes, depth: int) -> Pixels:
    """So many bits of the data each, the highest first; zeros at the end."""
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    groups = np.pad(bits, (0, -len(bits) % depth)).reshape(-1, depth)
    symbols: Pixels = np.packbits(groups, axis=1)[:, 0] >> np.uint8(8 - depth)
    return symbols


def _from_symbols(symbols: Pixels, depth: int) -> bytes:
    """Inverse of ``_symbols`` of whole bytes; only the low bits of each count."""
    bits = np.stack([symbols >> np.uint8(i) & 1 for i in reversed(range(depth))], axis=1)
    return np.packbits(bits.reshape(-1)[: bits.size // 8 * 8]).tobytes()


def _load_positions(
    samples: int, load: _Load, among: slice
) -> Iterator[tuple[slice, NDArray[np.int64]]]:
    """Places of the symbols of a load, in parts; of those that have some among these samples.

    They are spread evenly over the samples that carry none before the load, from a first one on to
    the end, and then from the start.
    """
    count = load.symbols
    taken = np.sort(_positions(samples, 8 * _BEFORE_LOAD))
    left = samples - len(taken)
    # Those of the samples that are passed over come before.
    before = taken - np.arange(len(taken))
    skipped = load.first - int(np.searchsorted(taken, load.first))
    for start in range(0, count, _TOGETHER):
        part = slice(start, min(start + _TOGETHER, count))
        some = np.arange(part.start, part.stop) * left // count + skipped
        rounds = some[0] // left, some[-1] // left
        some %= left
        # A rank is at most so many places too small.
        if rounds[0] == rounds[1] and (
            some[0] >= among.stop or some[-1] + len(taken) < among.start
        ):
            continue
        some += np.searchsorted(before, some, side="right")
        yield part, some
