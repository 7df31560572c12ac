"""Two ways to hide pictures without a network, to be measured beside it.

* Plain LSB: the high 4 bits of the hidden pictures replace the low 4 bits of the cover.
* A codec in the low bits: the hidden pictures are coded as AVIF or x265, and the bytes are carried
  by the low bits of the cover. They change the cover by as many dB as the network does::

    pictures --encode--> bytes --length, CRC--> digits --hide--> PNG
    PNG --reveal--> digits --CRC--> bytes --decode--> pictures, or None

In both, the restored cover is the PNG itself. There is no error correction, so the codec's pictures
come back whole or not at all.
"""

from __future__ import annotations

import io
import struct
import subprocess
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, lru_cache, partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from iicnet_cli.errors import MediaError
from iicnet_cli.media import ffmpeg
from iicnet_cli.media.quality_search import best_quality
from iicnet_cli.media.stills import resize
from iicnet_cli.pictures.arrays import Pixels
from iicnet_cli.pictures.metrics import cap_psnr, psnr

Bits = NDArray[np.uint8]

FRAME = struct.Struct("<II")
"""The length of the payload in bytes and its CRC-32, which are hidden before it."""


class DoesNotFitError(ValueError):
    """The pictures need more bytes than the cover holds, even at the lowest quality."""


# Digits in samples


@dataclass(frozen=True)
class Carrier:
    """Which samples of a cover carry digits, and of which base.

    A sample carries its value modulo the base; it changes to the nearest value that has the wanted
    remainder. The receiver has to know the carrier; its few bytes are not counted.

    Attributes:
        low: base of the digits in most samples, 1 or more; 1 carries nothing.
        high: base of the digits in the other samples.
        share: share of the samples, 0..1, that have the base ``high``.
    """

    low: int
    high: int
    share: float = 0.0

    def positions(self, samples: int) -> list[tuple[int, NDArray[np.int64]]]:
        """Each base and the indices of its samples, scattered over the flattened picture."""
        shuffled = np.random.default_rng(0).permutation(samples)
        high, low = np.split(shuffled, [round(self.share * samples)])
        return [(self.high, high), (self.low, low)]

    def capacity(self, samples: int) -> int:
        """Bytes of payload that this many samples hold; below 0 if not even the frame fits."""
        bits = sum(_bits_in(len(indices), base) for base, indices in self.positions(samples))
        return bits // 8 - FRAME.size


def carrier_for(cover: Pixels, embed_psnr: float) -> Carrier:
    """The carrier that changes a cover by ``embed_psnr`` dB when all of its capacity is used.

    Only odd bases are mixed: at the same error, an even base holds less than a mixture of its two
    neighbours.
    """
    counts = np.bincount(cover.ravel(), minlength=256)
    wanted = 255**2 / 10 ** (embed_psnr / 10)
    low, low_error = 1, 0.0
    for high in range(3, 128, 2):
        error = float(counts @ _expected_errors(high)) / cover.size
        if error > wanted:
            return Carrier(low, high, (wanted - low_error) / (error - low_error))
        low, low_error = high, error
    return Carrier(low, low)


def hide(cover: Pixels, payload: bytes, carrier: Carrier) -> Pixels:
    """A cover of any shape, changed so that it carries ``payload``.

    Raises:
        DoesNotFitError: the payload is longer than the carrier's capacity.
    """
    if len(payload) > carrier.capacity(cover.size):
        raise DoesNotFitError(f"{len(payload)} bytes do not fit into {cover.size} samples")
    framed = FRAME.pack(len(payload), zlib.crc32(payload)) + payload
    bits = np.unpackbits(np.frombuffer(framed, np.uint8))
    samples = cover.flatten()
    for base, indices in carrier.positions(samples.size):
        count = _bits_in(len(indices), base)
        digits = to_digits(bits[:count], base)
        used = indices[: len(digits)]
        samples[used] = _nearest_with_digit(samples[used], digits, base)
        bits = bits[count:]
    return samples.reshape(cover.shape)


def reveal(stego: Pixels, carrier: Carrier) -> bytes | None:
    """The payload that :func:`hide` put there; ``None`` if any of it was damaged."""
    samples = stego.ravel()
    bits = [
        from_digits(samples[indices] % base, base)
        for base, indices in carrier.positions(samples.size)
    ]
    framed = np.packbits(np.concatenate(bits)).tobytes()
    if len(framed) < FRAME.size:
        return None
    length, checksum = FRAME.unpack_from(framed)
    payload = framed[FRAME.size : FRAME.size + length]
    return payload if len(payload) == length and zlib.crc32(payload) == checksum else None


@cache
def block_size(base: int) -> tuple[int, int]:
    """The number of digits, and of whole bits (at most 63) in them, that wastes least."""
    sizes = [(digits, (base**digits).bit_length() - 1) for digits in range(1, 64)]
    # Of several that are equally good, max() takes the shortest: it leaves the fewest digits over.
    return max((size for size in sizes if size[1] <= 63), key=lambda size: size[1] / size[0])


def to_digits(bits: Bits, base: int) -> NDArray[np.int64]:
    """Bits, 0 or 1, as digits 0..base - 1; the last block is filled up with zeros."""
    digits, width = block_size(base)
    if width == 0:
        return np.empty(0, np.int64)
    filled = np.pad(bits, (0, -len(bits) % width)).reshape(-1, width)
    numbers = filled.astype(np.int64) @ (1 << np.arange(width, dtype=np.int64))
    columns = []
    for _ in range(digits):
        numbers, column = np.divmod(numbers, base)
        columns.append(column)
    return np.stack(columns, axis=1).reshape(-1)


def from_digits(values: NDArray[np.integer], base: int) -> Bits:
    """The bits of all whole blocks of digits."""
    digits, width = block_size(base)
    whole = values[: len(values) // digits * digits].astype(np.int64).reshape(-1, digits)
    # Damaged digits can overflow; what wraps around then fails the CRC.
    numbers = whole @ np.array([base**i for i in range(digits)], np.int64)
    return (numbers[:, None] >> np.arange(width, dtype=np.int64) & 1).astype(np.uint8).reshape(-1)


def _bits_in(samples: int, base: int) -> int:
    """Number of bits that this many digits hold in whole blocks."""
    digits, width = block_size(base)
    return samples // digits * width


def _nearest_with_digit(samples: Pixels, digits: NDArray[np.int64], base: int) -> Pixels:
    """The values 0..255 nearest to the samples that have these digits as remainders."""
    before = samples.astype(np.int64)
    change = (digits - before) % base
    after = before + np.where(change > base // 2, change - base, change)
    after += np.where(after < 0, base, 0) - np.where(after > 255, base, 0)
    return after.astype(np.uint8)


@cache
def _expected_errors(base: int) -> NDArray[np.float64]:
    """(256,), the expected squared change of each sample value, all digits being equally likely."""
    values = np.repeat(np.arange(256, dtype=np.uint8), base)
    after = _nearest_with_digit(values, np.tile(np.arange(base), 256), base)
    change = after.astype(np.float64) - values
    return np.asarray(np.mean(np.square(change).reshape(256, base), axis=1))


# Pictures as bytes


@dataclass(frozen=True)
class Codec:
    """A lossy codec for (K, H, W, 3) uint8.

    Attributes:
        name: as tables show it.
        qualities: number of different qualities.
        encode: makes bytes of pictures at a quality 0..1.
        decode: makes pictures of these bytes.
    """

    name: str
    qualities: int
    encode: Callable[[Pixels, float], bytes]
    decode: Callable[[bytes], Pixels]

    def encode_within(self, pictures: Pixels, max_size: int) -> bytes:
        """The pictures in the best quality that takes at most ``max_size`` bytes.

        Raises:
            DoesNotFitError: even the lowest quality takes more.
        """
        files: dict[int, bytes] = {}

        def size_at(quality: int) -> int:
            files[quality] = self.encode(pictures, quality / (self.qualities - 1))
            return len(files[quality])

        best = best_quality(size_at, max_size, self.qualities, self.qualities // 2)
        if best < 0:
            raise DoesNotFitError(f"{len(pictures)} pictures do not fit into {max_size} bytes")
        return files[best]


def _encode_stills(pictures: Pixels, quality: float) -> bytes:
    count, height, width = pictures.shape[:3]
    # The best of AVIF's 64 quantizers are far apart in size. A quality between two of them codes
    # some of the pictures with the better one.
    total = round(quality * (AVIF.qualities - 1)) * count // _QUALITIES_PER_QUANTIZER
    files = [
        _encode_avif(picture.tobytes(), (width, height), (total + i) // count)
        for i, picture in enumerate(pictures)
    ]
    sizes = struct.pack(f"<{len(files) + 1}I", len(files), *map(len, files))
    return sizes + b"".join(files)


@lru_cache(maxsize=32)
def _encode_avif(samples: bytes, size: tuple[int, int], quantizer: int) -> bytes:
    file = io.BytesIO()
    image = Image.frombytes("RGB", size, samples)
    image.save(file, "AVIF", quality=round(quantizer / 63 * 100), subsampling="4:4:4", speed=8)
    return file.getvalue()


def _decode_stills(data: bytes) -> Pixels:
    (count,) = struct.unpack_from("<I", data)
    pictures = []
    start = 4 * (count + 1)
    for size in struct.unpack_from(f"<{count}I", data, 4):
        with Image.open(io.BytesIO(data[start : start + size])) as image:
            pictures.append(np.array(image.convert("RGB"), np.uint8))
        start += size
    return np.stack(pictures)


_QUALITIES_PER_QUANTIZER = 4
"""The codec for stills has this many qualities from one quantizer of AVIF to the next."""

AVIF = Codec("AVIF 4:4:4", 63 * _QUALITIES_PER_QUANTIZER + 1, _encode_stills, _decode_stills)
"""The codec for stills; it codes each picture on its own."""


def _run_ffmpeg(arguments: list[str], data: bytes) -> bytes:
    command = [ffmpeg.executable(), "-hide_banner", "-v", "error", *arguments, "-"]
    result = subprocess.run(command, input=data, capture_output=True, check=False)
    if result.returncode:
        log = result.stderr.decode("utf-8", "replace")
        raise MediaError(f"ffmpeg failed: {ffmpeg.reason(log)}")
    return result.stdout


def _encode_clip(options: list[str], worst: int, frames: Pixels, quality: float) -> bytes:
    count, height, width = frames.shape[:3]
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-i", "-"]
    # The conversion from and to RGB costs less in 10 bits than in 8.
    crf = ["-pix_fmt", "yuv444p10le", "-crf", f"{worst * (1 - quality):.2f}"]
    coded = _run_ffmpeg([*raw, *crf, *options], frames.tobytes())
    return struct.pack("<3H", count, height, width) + coded


def _decode_clip(container: str, data: bytes) -> Pixels:
    shape = (*struct.unpack_from("<3H", data), 3)
    options = ["-f", container, "-i", "-", "-f", "rawvideo", "-pix_fmt", "rgb24"]
    return np.frombuffer(_run_ffmpeg(options, data[6:]), np.uint8).reshape(shape)


# One frame thread gives the same bytes on every machine; info=0 leaves out the kilobyte in which
# x265 describes itself.
_X265 = ["-c:v", "libx265", "-x265-params", "frame-threads=1:info=0:log-level=error", "-f", "hevc"]
_AV1 = ["-c:v", "libaom-av1", "-cpu-used", "6", "-f", "ivf"]

X265 = Codec("x265 4:4:4", 128, partial(_encode_clip, _X265, 51), partial(_decode_clip, "hevc"))
AV1 = Codec("AV1 4:4:4", 64, partial(_encode_clip, _AV1, 63), partial(_decode_clip, "ivf"))


@cache
def clip_codec() -> Codec:
    """The codec for clips: x265, or AV1 if this ffmpeg has no x265."""
    return X265 if b" libx265 " in ffmpeg.run(["-encoders"]).stdout else AV1


def codec_for(task: str) -> Codec:
    """The codec for the pictures of a task."""
    return clip_codec() if task == "video" else AVIF


def through_png(pixels: Pixels) -> Pixels:
    """Write (H, W, C), C 1 or 3, as a PNG and read it back."""
    file = io.BytesIO()
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    image.save(file, "PNG", compress_level=1)
    with Image.open(file) as written:
        read: Pixels = np.array(written, np.uint8).reshape(pixels.shape)
    return read


# Plain LSB


def hide_lsb(images: Pixels) -> Pixels:
    """Put the high 4 bits of the hidden pictures into the low 4 bits of the cover.

    One hidden picture goes in at full size. Several are first reduced by the smallest whole number
    at which all of them find a place: to half their sides for up to four pictures, to a third for
    up to nine. Each of them then has one pixel in every square of 2x2 or 3x3.

    Args:
        images: (K, H, W, 3), the cover first.

    Returns:
        (H, W, 3).
    """
    stego: Pixels = images[0].copy()
    positions = _lsb_positions(images.shape)
    for picture, (pixels, (height, width)) in zip(images[1:], positions, strict=True):
        stego[pixels] = stego[pixels] & 0xF0 | resize(picture, width, height) >> 4
    return stego


def reveal_lsb(stego: Pixels, images: int) -> Pixels:
    """The K = ``images`` pictures (K, H, W, 3) of :func:`hide_lsb`; the cover is ``stego``."""
    height, width = stego.shape[:2]
    restored = [stego]
    for pixels, _ in _lsb_positions((images, height, width)):
        # Of the values that have these high bits, take the middle one.
        restored.append(resize((stego[pixels] << 4 | 8).astype(np.uint8), width, height))
    return np.stack(restored)


def _lsb_positions(shape: tuple[int, ...]) -> list[tuple[tuple[slice, slice], tuple[int, int]]]:
    """For each hidden picture of (K, H, W, ...): its pixels in the cover, and (rows, columns)."""
    images, height, width = shape[:3]
    side = int(np.ceil(np.sqrt(images - 1)))
    size = (height // side, width // side)
    return [
        ((slice(y, side * size[0], side), slice(x, side * size[1], side)), size)
        for y, x in (divmod(i, side) for i in range(images - 1))
    ]


# Figures


@dataclass(frozen=True)
class Figures:
    """PSNRs of one PNG, or their means over several, in dB.

    Attributes:
        embed_psnr: of the PNG beside its reference.
        restored_psnr: mean over all restored pictures.
        hidden_psnr: the same without the first picture; ``None`` if it is the only one.
    """

    embed_psnr: float
    restored_psnr: float
    hidden_psnr: float | None


def mean_figures(rows: Iterable[Figures | None]) -> Figures | None:
    """Mean of every column over the rows that are not ``None``; ``None`` if all are."""
    known = [row for row in rows if row is not None]
    if not known:
        return None
    hidden = [row.hidden_psnr for row in known if row.hidden_psnr is not None]
    return Figures(
        embed_psnr=float(np.mean([row.embed_psnr for row in known])),
        restored_psnr=float(np.mean([row.restored_psnr for row in known])),
        hidden_psnr=float(np.mean(hidden)) if hidden else None,
    )


def measure_codec(
    reference: Pixels, images: Pixels, embed_psnr: float, codec: Codec
) -> Figures | None:
    """Hide pictures as a codec's bytes in the low bits of a PNG, restore them, and measure.

    Args:
        reference: (H_e, W_e, C), the cover. If it is the first picture, the others are hidden in
            it; if it is smaller or grey, all are.
        images: (K, H, W, 3).
        embed_psnr: dB that the PNG is to have beside the reference.
        codec: for the hidden pictures.

    Returns:
        The figures; ``None`` if the pictures do not fit.
    """
    is_first = reference.shape == images.shape[1:]
    carrier = carrier_for(reference, embed_psnr)
    try:
        payload = codec.encode_within(images[int(is_first) :], carrier.capacity(reference.size))
    except DoesNotFitError:
        return None
    stego = through_png(hide(reference, payload, carrier))
    revealed = reveal(stego, carrier)
    assert revealed == payload
    decoded = codec.decode(revealed)
    restored = np.concatenate([stego[None], decoded]) if is_first else decoded
    return _figures(stego, reference, restored, images)


def measure_lsb(images: Pixels) -> Figures:
    """Hide (K, H, W, 3), K 2 or more, by plain LSB in a PNG, restore them, and measure."""
    stego = through_png(hide_lsb(images))
    return _figures(stego, images[0], reveal_lsb(stego, len(images)), images)


def _figures(stego: Pixels, reference: Pixels, restored: Pixels, images: Pixels) -> Figures:
    """Compare (H_e, W_e, C) with its reference, and (K, H, W, 3) with the originals."""
    values = [cap_psnr(psnr(a, b)) for a, b in zip(restored, images, strict=True)]
    return Figures(
        embed_psnr=cap_psnr(psnr(stego, reference)),
        restored_psnr=float(np.mean(values)),
        hidden_psnr=float(np.mean(values[1:])) if len(values) > 1 else None,
    )
