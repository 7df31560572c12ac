"""What people can do without a network, to be measured beside it.

* Plain 4-bit LSB: the high bits of the hidden pictures in the low bits of the cover.
* A codec in the low bits: the hidden pictures as AVIF or x265, the bytes in the low bits of the
  cover, as many of them as change the cover just as much as a network does::

    pictures --encode--> bytes --length, CRC--> digits --hide--> PNG
    PNG --reveal--> digits --CRC--> bytes --decode--> pictures, or None

The restored cover is in both the PNG itself. No error correction is added, so the codec's pictures
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

from iicnet_cli.engines.network.enhancement_layer import best_quality
from iicnet_cli.errors import MediaError
from iicnet_cli.media import ffmpeg
from iicnet_cli.media.stills import resize
from iicnet_cli.pictures.metrics import cap_psnr, psnr

Pixels = NDArray[np.uint8]
Bits = NDArray[np.uint8]

FRAME = struct.Struct("<II")
"""Before the payload: its length in bytes, and its CRC-32."""


class DoesNotFitError(ValueError):
    """The pictures need more bytes than the cover holds, at the lowest quality too."""


# Digits in samples


@dataclass(frozen=True)
class Carrier:
    """How many levels carry a digit: ``high`` for a share of the samples, ``low`` for the others.

    A sample changes to the nearest level that leaves the digit when divided by the modulus. The
    receiver has to know the carrier; its few bytes are not counted.

    Attributes:
        low: modulus, 1 or more; 1 carries nothing.
        high: modulus.
        share: of the samples that carry ``high``, 0..1.
    """

    low: int
    high: int
    share: float = 0.0

    def parts(self, samples: int) -> list[tuple[int, NDArray[np.int64]]]:
        """Modulus and places of its samples, scattered over the flattened picture."""
        places = np.random.default_rng(0).permutation(samples)
        high, low = np.split(places, [round(self.share * samples)])
        return [(self.high, high), (self.low, low)]

    def capacity(self, samples: int) -> int:
        """Bytes of payload that a cover of so many samples holds; below 0 if not even its frame."""
        bits = 0
        for modulus, places in self.parts(samples):
            digits, width = block(modulus)
            bits += len(places) // digits * width
        return bits // 8 - FRAME.size


def carrier_for(cover: Pixels, embed_psnr: float) -> Carrier:
    """The carrier that changes a cover by ``embed_psnr`` dB when all of it is used.

    Odd moduli only: between two of them, an even one holds less for the same error.
    """
    counts = np.bincount(cover.ravel(), minlength=256)
    wanted = 255**2 / 10 ** (embed_psnr / 10)
    low, low_error = 1, 0.0
    for high in range(3, 128, 2):
        error = float(counts @ _errors(high)) / cover.size
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
    flat = cover.flatten()
    for modulus, places in carrier.parts(flat.size):
        digits, width = block(modulus)
        room = len(places) // digits * width
        values = to_digits(bits[:room], modulus)
        used = places[: len(values)]
        flat[used] = _nearest(flat[used], values, modulus)
        bits = bits[room:]
    return flat.reshape(cover.shape)


def reveal(stego: Pixels, carrier: Carrier) -> bytes | None:
    """What :func:`hide` put there; None if any of it was damaged."""
    flat = stego.ravel()
    bits = [from_digits(flat[p] % m, m) for m, p in carrier.parts(flat.size)]
    framed = np.packbits(np.concatenate(bits)).tobytes()
    if len(framed) < FRAME.size:
        return None
    length, checksum = FRAME.unpack_from(framed)
    payload = framed[FRAME.size : FRAME.size + length]
    return payload if len(payload) == length and zlib.crc32(payload) == checksum else None


@cache
def block(modulus: int) -> tuple[int, int]:
    """How many digits hold how many whole bits, 63 at most, with the least loss."""
    # Of equal ones the shortest, which wastes least of the last block.
    sizes = [(digits, (modulus**digits).bit_length() - 1) for digits in range(1, 64)]
    fitting = [(digits, width) for digits, width in sizes if width <= 63]
    return max(fitting, key=lambda size: size[1] / size[0])


def to_digits(bits: Bits, modulus: int) -> NDArray[np.int64]:
    """Bits 0 or 1 as digits 0..modulus - 1; the last block is filled up with zeros."""
    digits, width = block(modulus)
    if width == 0:
        return np.empty(0, np.int64)
    filled = np.pad(bits, (0, -len(bits) % width)).reshape(-1, width)
    numbers = filled.astype(np.int64) @ (1 << np.arange(width, dtype=np.int64))
    columns = []
    for _ in range(digits):
        numbers, column = np.divmod(numbers, modulus)
        columns.append(column)
    return np.stack(columns, axis=1).reshape(-1)


def from_digits(values: NDArray[np.integer], modulus: int) -> Bits:
    """Bits of all whole blocks of digits."""
    digits, width = block(modulus)
    whole = values[: len(values) // digits * digits].astype(np.int64).reshape(-1, digits)
    # Damaged digits can overflow; what wraps around then fails the CRC.
    numbers = whole @ np.array([modulus**i for i in range(digits)], np.int64)
    return (numbers[:, None] >> np.arange(width, dtype=np.int64) & 1).astype(np.uint8).reshape(-1)


def _nearest(levels: Pixels, digits: NDArray[np.int64], modulus: int) -> Pixels:
    """The levels 0..255 nearest to the given ones that leave these digits."""
    before = levels.astype(np.int64)
    change = (digits - before) % modulus
    after = before + np.where(change > modulus // 2, change - modulus, change)
    after += np.where(after < 0, modulus, 0) - np.where(after > 255, modulus, 0)
    return after.astype(np.uint8)


@cache
def _errors(modulus: int) -> NDArray[np.float64]:
    """Expected squared change of each level 0..255 when all digits are as likely."""
    levels = np.repeat(np.arange(256, dtype=np.uint8), modulus)
    after = _nearest(levels, np.tile(np.arange(modulus), 256), modulus)
    change = after.astype(np.float64) - levels
    return np.asarray(np.mean(np.square(change).reshape(256, modulus), axis=1))


# Pictures as bytes


@dataclass(frozen=True)
class Codec:
    """A lossy codec for (K, H, W, 3) uint8.

    Attributes:
        name: for the reader.
        steps: how many qualities it has.
        encode: pictures and a quality, 0..1, to bytes.
        decode: bytes to pictures.
    """

    name: str
    steps: int
    encode: Callable[[Pixels, float], bytes]
    decode: Callable[[bytes], Pixels]

    def largest(self, pictures: Pixels, room: int) -> bytes:
        """The pictures in the best quality that takes at most ``room`` bytes.

        Raises:
            DoesNotFitError: none does.
        """
        files: dict[int, bytes] = {}

        def needed(step: int) -> int:
            files[step] = self.encode(pictures, step / (self.steps - 1))
            return len(files[step])

        best = best_quality(needed, room, self.steps, self.steps // 2)
        if best < 0:
            raise DoesNotFitError(f"{len(pictures)} pictures do not fit into {room} bytes")
        return files[best]


def _encode_stills(pictures: Pixels, quality: float) -> bytes:
    count, height, width = pictures.shape[:3]
    # AVIF has 64 quantizers, wide apart at the top: between two of them some pictures take the
    # better one.
    finest = round(quality * (AVIF.steps - 1)) * count // STEPS_BETWEEN
    files = [
        _avif(picture.tobytes(), (width, height), (finest + i) // count)
        for i, picture in enumerate(pictures)
    ]
    sizes = struct.pack(f"<{len(files) + 1}I", len(files), *map(len, files))
    return sizes + b"".join(files)


@lru_cache(maxsize=32)
def _avif(levels: bytes, size: tuple[int, int], quantizer: int) -> bytes:
    file = io.BytesIO()
    image = Image.frombytes("RGB", size, levels)
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


STEPS_BETWEEN = 4
"""Qualities for each quantizer of AVIF."""

AVIF = Codec("AVIF 4:4:4", 63 * STEPS_BETWEEN + 1, _encode_stills, _decode_stills)
"""Still pictures, each on its own."""


def _ffmpeg(arguments: list[str], data: bytes) -> bytes:
    command = [ffmpeg.executable(), "-hide_banner", "-v", "error", *arguments, "-"]
    result = subprocess.run(command, input=data, capture_output=True, check=False)
    if result.returncode:
        log = result.stderr.decode("utf-8", "replace")
        raise MediaError(f"ffmpeg failed: {ffmpeg.reason(log)}")
    return result.stdout


def _encode_clip(options: list[str], worst: int, frames: Pixels, quality: float) -> bytes:
    count, height, width = frames.shape[:3]
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-i", "-"]
    # 10 bits: the conversion from and to RGB then costs less than 8 bits of YCbCr would.
    crf = ["-pix_fmt", "yuv444p10le", "-crf", f"{worst * (1 - quality):.2f}"]
    return struct.pack("<3H", count, height, width) + _ffmpeg(
        [*raw, *crf, *options], frames.tobytes()
    )


def _decode_clip(kind: str, data: bytes) -> Pixels:
    shape = (*struct.unpack_from("<3H", data), 3)
    raw = _ffmpeg(["-f", kind, "-i", "-", "-f", "rawvideo", "-pix_fmt", "rgb24"], data[6:])
    return np.frombuffer(raw, np.uint8).reshape(shape)


# One frame thread: the same bytes on every machine. info=0: no kilobyte about the encoder.
_X265 = ["-c:v", "libx265", "-x265-params", "frame-threads=1:info=0:log-level=error", "-f", "hevc"]
_AV1 = ["-c:v", "libaom-av1", "-cpu-used", "6", "-f", "ivf"]

X265 = Codec("x265 4:4:4", 128, partial(_encode_clip, _X265, 51), partial(_decode_clip, "hevc"))
AV1 = Codec("AV1 4:4:4", 64, partial(_encode_clip, _AV1, 63), partial(_decode_clip, "ivf"))


@cache
def clip_codec() -> Codec:
    """x265, or AV1 where this ffmpeg has no x265."""
    return X265 if b" libx265 " in ffmpeg.run(["-encoders"]).stdout else AV1


def codec_for(task: str) -> Codec:
    """What the pictures of a task are compressed with."""
    return clip_codec() if task == "video" else AVIF


def through_png(pixels: Pixels) -> Pixels:
    """(H, W, C) uint8, C 1 or 3, written as PNG and read back."""
    file = io.BytesIO()
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    image.save(file, "PNG", compress_level=1)
    with Image.open(file) as written:
        read: Pixels = np.array(written, np.uint8).reshape(pixels.shape)
    return read


# Plain LSB


def hide_lsb(images: Pixels) -> Pixels:
    """The high 4 bits of the hidden pictures in the low 4 bits of the cover.

    One hidden picture goes in at full size. With more of them, each is reduced by the same whole
    number to each side, the least at which all have a place: 2 for up to four pictures, 3 for up
    to nine. Each then has its own place in every square of 2x2 or 3x3 pixels.

    Args:
        images: (K, H, W, 3) uint8, the cover first.

    Returns:
        (H, W, 3) uint8.
    """
    stego: Pixels = images[0].copy()
    for picture, (place, (height, width)) in zip(images[1:], _places(images.shape), strict=True):
        stego[place] = stego[place] & 0xF0 | resize(picture, width, height) >> 4
    return stego


def reveal_lsb(stego: Pixels, images: int) -> Pixels:
    """(K, H, W, 3) uint8 from what :func:`hide_lsb` made; the cover is ``stego`` itself."""
    height, width = stego.shape[:2]
    restored = [stego]
    for place, _ in _places((images, height, width)):
        # The middle of the levels that have these high bits.
        restored.append(resize((stego[place] << 4 | 8).astype(np.uint8), width, height))
    return np.stack(restored)


def _places(shape: tuple[int, ...]) -> list[tuple[tuple[slice, slice], tuple[int, int]]]:
    """For each hidden picture of (K, H, W, ...): its pixels in the cover, and their size."""
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
    """Mean dB; ``hidden_psnr`` without the first picture, None if there is no other."""

    embed_psnr: float
    restored_psnr: float
    hidden_psnr: float | None


def figures(stego: Pixels, reference: Pixels, restored: Pixels, images: Pixels) -> Figures:
    """Of one PNG (H_e, W_e, C) beside its reference, and (K, H, W, 3) beside the originals."""
    values = [cap_psnr(psnr(a, b)) for a, b in zip(restored, images, strict=True)]
    return Figures(
        embed_psnr=cap_psnr(psnr(stego, reference)),
        restored_psnr=float(np.mean(values)),
        hidden_psnr=float(np.mean(values[1:])) if len(values) > 1 else None,
    )


def mean(rows: Iterable[Figures | None]) -> Figures | None:
    """Mean of every column over the rows that there are; None without any."""
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
    """The codec in the low bits, through a PNG; None if the pictures do not fit.

    Args:
        reference: (H_e, W_e, C) uint8, the cover. Where it is the first picture, the others are
            hidden in it; where it is smaller or grey, all are.
        images: (K, H, W, 3) uint8.
        embed_psnr: dB that the PNG is to have beside the reference.
        codec: for the hidden pictures.
    """
    shown = reference.shape == images.shape[1:]
    carrier = carrier_for(reference, embed_psnr)
    try:
        payload = codec.largest(images[int(shown) :], carrier.capacity(reference.size))
    except DoesNotFitError:
        return None
    stego = through_png(hide(reference, payload, carrier))
    revealed = reveal(stego, carrier)
    assert revealed == payload
    decoded = codec.decode(revealed)
    restored = np.concatenate([stego[None], decoded]) if shown else decoded
    return figures(stego, reference, restored, images)


def measure_lsb(images: Pixels) -> Figures:
    """Plain LSB of (K, H, W, 3) uint8, K 2 or more, through a PNG."""
    stego = through_png(hide_lsb(images))
    return figures(stego, images[0], reveal_lsb(stego, len(images)), images)
