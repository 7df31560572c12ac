"""The in-pixel mark: least-significant bits that survive when a site strips PNG chunks.

96 of them, and more behind them where a common area, motion or an enhancement layer is carried.
"""

from __future__ import annotations

import binascii
import hashlib
import math
import struct
import zlib
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from iicnet_cli.errors import UnsupportedVersionError
from iicnet_cli.payload.carriers import MARK_BITS, PayloadCarriers, header_positions
from iicnet_cli.payload.static_map import StaticRegion
from iicnet_cli.pictures.arrays import Pixels
from iicnet_cli.quantize.error_diffusion import rounded
from iicnet_cli.quantize.lattice import NoiseShapingFilter
from iicnet_cli.quantize.trellis_codes import CODED, CODES

TASKS = ("video", "video-half", "stereo", "dual", "layers", "stego", "grayscale", "rescale")
"""Task names; a name's place is its id in the mark, so new ones go at the end."""

_PLAIN, _LADEN, _COMMON = 1, 2, 3
"""Versions: the mark alone; with motion or an enhancement layer behind it; with a common area, and
perhaps these, behind it."""
_PARTS = {_LADEN: 2, _COMMON: 3}
"""Of these versions: how many parts, whose lengths they tell."""
_MAGIC = b"\x1c\xe7"
# magic | version, task | model | images-1, valid-1 | padding right, bottom | fps, then the CRC
_LAYOUT = struct.Struct(">2sB3sBBH")
_LENGTH = 3
"""Bytes that tell how long a part is."""
# depth | first
_PLACE = struct.Struct(">BI")
_DEPTHS = (1, 2, *range(CODED + 1, CODED + 1 + len(CODES)))
"""Low bits of a sample that carry a load; or that its pixels do by one of the ``CODES``."""
_CHECKSUM = 4
"""Bytes of the CRC-32 behind each part."""

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
    ``fps_code``. ``common`` is a :class:`StaticRegion` as bytes, or empty. ``motion`` and ``enhancement``
    are bytes of which this module knows nothing: that of the pictures, and their enhancement layer;
    the load. A sample outside of the common area carries ``depth`` bits of it (1 or 2), or a
    pixel, by a code, as many as ``depth`` is above ``CODED``; the first are those from the sample
    ``first`` of the picture on. Raises ``ValueError`` when a value does not fit.
    """

    task: int
    model: int
    images: int
    valid: int
    padding: tuple[int, int] = (0, 0)
    fps: int = 0
    common: bytes = b""
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
            and max(map(len, (self.common, self.motion, self.enhancement))) < 1 << 8 * _LENGTH
            and (self.area is not None) == (self.common != b"")
            and self.depth in _DEPTHS
            and 0 <= self.first < 1 << 32
        )
        if not fits:
            raise ValueError(f"out of range: {self}")

    @property
    def task_name(self) -> str:
        """The task's name in ``TASKS``."""
        return TASKS[self.task]

    @property
    def area(self) -> StaticRegion | None:
        """What ``common`` tells."""
        return StaticRegion.from_bytes(self.common)

    @property
    def laden(self) -> bool:
        """Whether there is a common area, motion or an enhancement layer."""
        return self._version != _PLAIN

    @property
    def _version(self) -> int:
        if self.common:
            return _COMMON
        return _LADEN if self.motion or self.enhancement else _PLAIN

    def to_bytes(self) -> bytes:
        """``MARK_BITS / 8`` bytes: magic, version, fields, CRC-16.

        With a common area, motion or an enhancement layer, the lengths of the last two, or of all
        three if there is a common area, the place of the load and a CRC-16 follow; then these
        parts, each with a CRC-32. A load of nothing is left out.
        """
        body = _LAYOUT.pack(
            _MAGIC,
            self._version << 4 | self.task,
            self.model.to_bytes(3, "big"),
            (self.images - 1) << 4 | (self.valid - 1),
            self.padding[0] << 4 | self.padding[1],
            self.fps,
        )
        if not self.laden:
            return _with_crc16(body)
        load = self.motion, self.enhancement
        parts = (self.common, *load)[-_PARTS[self._version] :]
        lengths = b"".join(len(part).to_bytes(_LENGTH, "big") for part in parts)
        place = _PLACE.pack(self.depth, self.first)
        carried = b"".join(map(_with_crc32, parts if any(load) else parts[:1]))
        return _with_crc16(body) + _with_crc16(lengths + place) + carried

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
        if version not in (_PLAIN, *_PARTS) or task >= len(TASKS):
            raise UnsupportedVersionError(
                f"the pixels carry a mark of version {version}, task {task}, unknown here",
                hint="upgrade iicnet",
            )
        told = _Told(0, 0, 0, 1, 0)
        parts = [b"", b"", b""]
        if version in _PARTS:
            found = _told(data)
            if found is None:
                return None
            told = found
            start = told.head
            for i, size in list(enumerate(told.sizes))[told.parts]:
                stop = start + size + _CHECKSUM
                part = _without_crc32(data[start:stop])
                if part is None and i < len(parts) - 1:
                    return None
                parts[i] = part or b""
                start = stop
        try:
            return cls(
                task=task,
                model=int.from_bytes(model, "big"),
                images=(counts >> 4) + 1,
                valid=(counts & 15) + 1,
                padding=(padding >> 4, padding & 15),
                fps=fps,
                common=parts[0],
                motion=parts[1],
                enhancement=parts[2],
                depth=told.depth,
                first=told.first,
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
class _Told:
    """By the head of a mark: bytes of what it carries, without checksums, and where the load is."""

    common: int
    motion: int
    enhancement: int
    depth: int
    first: int

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Of the parts, in their order."""
        return self.common, self.motion, self.enhancement

    @property
    def parts(self) -> slice:
        """Those that there are."""
        loaded = self.motion + self.enhancement > 0
        return slice(0 if self.common else 1, 3 if loaded else 1)

    @property
    def head(self) -> int:
        """Bytes of the mark that come before the parts."""
        return _head(_COMMON if self.common else _LADEN)

    @property
    def before(self) -> int:
        """Bytes of the mark that come before its load."""
        return self.head + (self.common and self.common + _CHECKSUM)

    @property
    def load(self) -> int:
        """Bytes of it, with checksums."""
        load = self.motion + self.enhancement
        return load and load + 2 * _CHECKSUM


def _head(version: int) -> int:
    """Bytes of a laden mark that come before its parts."""
    return MARK_BITS // 8 + _PARTS[version] * _LENGTH + _PLACE.size + 2


def _told(data: bytes) -> _Told | None:
    """What the head of a laden mark tells; ``None`` for others.

    Raises ``UnsupportedVersionError`` where bits are carried in a way that is not known here.
    """
    body = _without_crc16(data[: MARK_BITS // 8])
    version = body[len(_MAGIC)] >> 4 if body and body.startswith(_MAGIC) else _PLAIN
    if version not in _PARTS:
        return None
    told = _without_crc16(data[MARK_BITS // 8 : _head(version)])
    if told is None:
        return None
    place = _PARTS[version] * _LENGTH
    sizes = [int.from_bytes(told[i : i + _LENGTH], "big") for i in range(0, place, _LENGTH)]
    common, motion, enhancement = [0] * (_PARTS[_COMMON] - len(sizes)) + sizes
    depth, first = _PLACE.unpack_from(told, place)
    if not any(sizes) or bool(common) != (version == _COMMON):
        return None
    if depth not in _DEPTHS:
        raise UnsupportedVersionError(
            f"the pixels carry bits in a way ({depth}) that is unknown here", hint="upgrade iicnet"
        )
    return _Told(common, motion, enhancement, depth, first)


def payload_capacity(
    shape: tuple[int, ...], common: bytes = b"", to_a_bit: int = 1, depth: int = 1
) -> int:
    """Bytes of motion and enhancement layer together that a picture can carry.

    Args:
        shape: (H, W, C) or (H, W).
        common: of the :class:`Mark`.
        to_a_bit: samples, or pixels, to each that carries some, at least.
        depth: as of the :class:`Mark`.
    """
    told = _Told(len(common), 0, 0, depth, 0)
    taken = header_positions(math.prod(shape), 8 * told.before)
    if len(taken) < 8 * told.before:
        return 0
    carriers = PayloadCarriers(shape, taken, StaticRegion.from_bytes(common), depth)
    return max(0, carriers.count // to_a_bit * carriers.bits // 8 - 2 * _CHECKSUM)


def carried(
    shape: tuple[int, ...], mark: Mark, some: slice = slice(0, None)
) -> tuple[Pixels, Pixels]:
    """What samples of a flattened picture must be to carry a mark.

    Args:
        shape: (H, W, C) or (H, W), of the picture.
        mark: to be carried.
        some: of the samples; all by default.

    Returns:
        Depths and residues, as :meth:`Rounding.rows` takes them.

    Raises ``ValueError`` when the picture has fewer than the mark needs, or the common area is not
    of its size.
    """
    data = mark.to_bytes()
    samples = math.prod(shape)
    if mark.area is not None and not mark.area.fits(shape):
        raise ValueError(f"the common area is not that of a picture of {shape}")
    sizes = len(mark.common), len(mark.motion), len(mark.enhancement)
    told = _Told(*sizes, mark.depth, mark.first)
    before = 8 * told.before if mark.laden else MARK_BITS
    places = header_positions(samples, before)
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
        carriers = PayloadCarriers(shape, places, mark.area, mark.depth)
        count = carriers.needed(told.load)
        if count > carriers.count:
            raise ValueError(f"a mark with {sum(sizes)} bytes is too much for a picture of {shape}")
        symbols = _symbols(data[told.before :], carriers.bits)
        for part, where in carriers.spread(count, told.first, slice(start, stop)):
            for each, residue in carriers.residues(where, symbols[part]):
                put(each, residue, mark.depth)
    return depths, residues


def write_mark(
    pixels: Pixels,
    mark: Mark,
    remainder: NDArray[np.int8] | None = None,
    feedback: NoiseShapingFilter | None = None,
) -> Pixels:
    """A copy of ``pixels`` that carries ``mark``: the low bits of some samples are its bits.

    Args:
        pixels: (H, W, C) or (H, W).
        mark: what to carry.
        remainder: of the same shape, what rounding took from each sample, in 1/256 of a level.
        feedback: how errors of rounding are diffused, see :class:`Rounding`; by default they are
            not, and only samples that carry bits change, with one bit each by 0 or 1 level.

    Raises ``ValueError`` when the picture has fewer samples than the mark needs, or the common area
    is not of its size.
    """
    if remainder is None:
        remainder = np.zeros(pixels.shape, np.int8)
    shape = (*pixels.shape[:2], -1)
    levels = rounded(
        pixels.reshape(shape),
        remainder.reshape(shape),
        feedback,
        *carried(pixels.shape, mark),
        kept=mark.area.mask(*pixels.shape[:2]) if mark.area else None,
    )
    return levels.reshape(pixels.shape)


def read_mark(pixels: Pixels) -> Mark | None:
    """The mark in ``pixels``, or None when there is none or the pixels have changed too much.

    Raises ``UnsupportedVersionError`` for the mark of a newer program.
    """
    flat = pixels.reshape(-1)

    def first(count: int) -> tuple[bytes, NDArray[np.int64]]:
        places = header_positions(flat.size, 8 * count)
        return np.packbits(flat[places] & 1).tobytes(), places

    data, _ = first(_head(_COMMON))
    told = _told(data)
    if told is not None:
        data, places = first(told.before)
        area = None
        if told.common:
            area = StaticRegion.from_bytes(data[told.head : -_CHECKSUM])
            if area is None or not area.fits(pixels.shape):
                return None
        carriers = PayloadCarriers(pixels.shape, places, area, told.depth)
        if carriers.needed(told.load) > carriers.count:
            return None
        symbols = carriers.symbols(pixels, carriers.needed(told.load), told.first)
        data += _from_symbols(symbols, carriers.bits)
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
