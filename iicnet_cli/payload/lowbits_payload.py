"""The payload in the low bits of a picture: which samples carry which of its bits.

The samples of the flattened picture are cut into stretches of ``STRETCH``. Each stretch carries its
share of the payload on its own, so that pictures of any size take bounded memory. Its carriers are
the samples whose base is 1 or more and that hold no bit of the mark. Its bits are, in this order::

    +-----------------+  one for each carrier: the syndrome of a trellis code
    | message bits    |
    +-----------------+
    | digits, base 2  |  of the carriers of base 2, in order
    | digits, base 3  |  of those of base 3, and so on
    | ...             |
    +-----------------+

The payload is whitened, so that zeros or text in it draw no pattern into the picture.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from iicnet_cli.payload.digits import bits_in, from_digits, to_digits
from iicnet_cli.pictures.arrays import Pixels
from iicnet_cli.quantize.tcq import MAX_BASE, extract_syndrome, levels_and_digits

STRETCH = 1 << 20
"""The samples of a picture are cut into stretches of this many."""


def capacity_bits(bases: Pixels) -> int:
    """How many bits of payload samples with these bases carry; 0 is the base of no carrier."""
    total = 0
    for part in _stretches(len(bases)):
        total += _stretch_bits(bases[part])
    return total


def write_payload(samples: Pixels, bases: Pixels, data: bytes) -> Pixels:
    """Change samples so that they carry a payload.

    Args:
        samples: (N,) uint8, the flattened picture.
        bases: (N,) uint8; 0 for samples that are no carriers.
        data: at most as many bits as :func:`capacity_bits` says; zeros fill the rest.
    """
    written = samples.copy()
    data = whiten(data.ljust(-(-capacity_bits(bases) // 8), b"\0"))
    place = 0
    for part in _stretches(len(samples)):
        stop = place + _stretch_bits(bases[part])
        bits = _bits_of(data, place, stop)
        place = stop
        carriers = bases[part] > 0
        if carriers.any():
            written[part][carriers] = _write_stretch(
                samples[part][carriers], bases[part][carriers], bits
            )
    return written


def read_payload(samples: Pixels, bases: Pixels, size: int) -> bytes | None:
    """Read the first bytes of a payload; ``None`` if the carriers hold fewer."""
    chunks = []
    rest = np.zeros(0, np.uint8)
    missing = size
    for part in _stretches(len(samples)):
        carriers = bases[part] > 0
        if missing <= 0:
            break
        bits = np.concatenate([rest, _read_stretch(samples[part][carriers], bases[part][carriers])])
        whole = min(len(bits) // 8, missing)
        chunks.append(np.packbits(bits[: 8 * whole]).tobytes())
        rest = bits[8 * whole :]
        missing -= whole
    return whiten(b"".join(chunks)) if missing == 0 else None


def whiten(data: bytes) -> bytes:
    """Change each byte by a fixed pseudo-random one (exclusive or); twice changes nothing.

    The big-endian word i, from 1 on, of the random ones is the finalizer of MurmurHash3 at i.
    """
    words = np.arange(1, -(-len(data) // 4) + 1, dtype=np.uint32)
    for factor, shift in ((1, 16), (0x85EBCA6B, 13), (0xC2B2AE35, 16)):
        words *= np.uint32(factor)
        words ^= words >> np.uint32(shift)
    noise = words.astype(">u4").view(np.uint8)[: len(data)]
    return (np.frombuffer(data, np.uint8) ^ noise).tobytes()


def _stretches(samples: int) -> Iterator[slice]:
    for start in range(0, samples, STRETCH):
        yield slice(start, min(start + STRETCH, samples))


def _stretch_bits(bases: Pixels) -> int:
    counts = np.bincount(bases, minlength=MAX_BASE + 1)
    digits = sum(bits_in(int(count), base) for base, count in enumerate(counts) if base > 1)
    return int(counts[1:].sum()) + digits


def _write_stretch(samples: Pixels, bases: Pixels, bits: Pixels) -> Pixels:
    # Loads Numba, which a reader does not need.
    from iicnet_cli.quantize.tcq_search import quantize

    digits = np.zeros_like(samples)
    place = len(samples)
    for base in range(2, MAX_BASE + 1):
        of_base = np.flatnonzero(bases == base)
        if len(of_base):
            stop = place + bits_in(len(of_base), base)
            digits[of_base] = to_digits(bits[place:stop], len(of_base), base)
            place = stop
    return quantize(samples, bases, digits, bits[: len(samples)])


def _read_stretch(samples: Pixels, bases: Pixels) -> Pixels:
    levels, digits = levels_and_digits(samples, bases)
    parts = [extract_syndrome(levels)]
    present = np.flatnonzero(np.bincount(bases, minlength=2))
    parts += [from_digits(digits[bases == base], int(base)) for base in present if base > 1]
    return np.concatenate(parts)


def _bits_of(data: bytes, start: int, stop: int) -> Pixels:
    """The bits of the data from one place to another."""
    first = start // 8
    part = np.frombuffer(data[first : -(-stop // 8)], np.uint8)
    return np.unpackbits(part)[start - 8 * first : stop - 8 * first]
