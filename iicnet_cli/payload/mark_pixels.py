"""Writing a mark into the pixels of an embedding, and reading it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from iicnet_cli.payload.carriers import PayloadCarriers, header_positions
from iicnet_cli.payload.mark import (
    CHECKSUM_BYTES,
    FIXED_HEADER_BYTES,
    MAX_HEADERS_BYTES,
    ClipPlace,
    Mark,
    PartsHeader,
)
from iicnet_cli.payload.payload_code import PayloadCode
from iicnet_cli.payload.static_map import StaticRegion
from iicnet_cli.pictures.arrays import Pixels
from iicnet_cli.quantize.constraints import TRELLIS_CODED, SampleConstraints
from iicnet_cli.quantize.lattice import NoiseShapingFilter, UnroundedEmbedding


def headers_fit(
    shape: tuple[int, ...], static_region_bytes: bytes = b"", *, place: ClipPlace | None = None
) -> bool:
    """Whether a picture can carry the headers and the static region of a mark.

    Args:
        shape: (H, W, C) or (H, W), of the picture.
        static_region_bytes: as in the :class:`Mark`.
        place: likewise.
    """
    bits = 8 * PartsHeader(len(static_region_bytes), place=place).payload_start
    return len(header_positions(math.prod(shape), bits)) == bits


def payload_capacity(
    shape: tuple[int, ...],
    static_region_bytes: bytes = b"",
    *,
    code: PayloadCode = PayloadCode.LSB_1,
    place: ClipPlace | None = None,
    carriers_per_symbol: int = 1,
) -> int:
    """Bytes of motion and enhancement layer together that a picture can carry.

    Args:
        shape: (H, W, C) or (H, W), of the picture.
        static_region_bytes: as in the :class:`Mark`.
        code: likewise.
        place: likewise.
        carriers_per_symbol: use one of this many carriers only.
    """
    header = PartsHeader(len(static_region_bytes), code=code, place=place)
    header_bits = 8 * header.payload_start
    positions = header_positions(math.prod(shape), header_bits)
    if len(positions) < header_bits:
        return 0
    static_region = StaticRegion.from_bytes(static_region_bytes)
    carriers = PayloadCarriers(shape, positions, static_region, code)
    symbols = carriers.count // carriers_per_symbol
    return max(0, symbols * carriers.symbol_bits // 8 - 2 * CHECKSUM_BYTES)


def constrain_samples(
    shape: tuple[int, ...], mark: Mark, samples: slice = slice(0, None)
) -> SampleConstraints:
    """Find the bits that samples need so that the picture carries a mark.

    Args:
        shape: (H, W, C) or (H, W), of the picture.
        mark: to be carried.
        samples: which samples of the flattened picture; all by default.

    Returns:
        The constraints of these samples, as flat arrays.

    Raises:
        ValueError: the picture has too few samples for the mark, or another size than its static
            region.
    """
    static_region = mark.static_region
    if static_region is not None and not static_region.fits(shape):
        raise ValueError(f"the static region is not that of a picture of {shape}")
    total = math.prod(shape)
    data = mark.to_bytes()
    header = mark.parts_header
    header_bits = 8 * (FIXED_HEADER_BYTES if header is None else header.payload_start)
    positions = header_positions(total, header_bits)
    if len(positions) < header_bits:
        raise ValueError(f"a mark needs {header_bits} samples, the picture has {total}")
    start, stop, _ = samples.indices(total)
    low_bits, residues = np.zeros(stop - start, np.uint8), np.zeros(stop - start, np.uint8)

    def put(positions: NDArray[np.int64], values: Pixels, bits: int) -> None:
        inside = (positions >= start) & (positions < stop)
        low_bits[positions[inside] - start] = bits
        residues[positions[inside] - start] = values[inside]

    put(positions, np.unpackbits(np.frombuffer(data, np.uint8))[:header_bits], 1)
    trellis_code = mark.code.trellis_code
    if header is not None:
        carriers = PayloadCarriers(shape, positions, static_region, mark.code)
        count = carriers.symbols_for(header.payload_size)
        if count > carriers.count:
            size = sum(header.sizes)
            raise ValueError(f"a mark with {size} bytes is too much for a picture of {shape}")
        symbols = _to_symbols(data[header.payload_start :], carriers.symbol_bits)
        sample_bits = int(mark.code) if trellis_code is None else TRELLIS_CODED
        wanted = slice(start, stop)
        for part, carrier_positions in carriers.positions(count, header.first_sample, wanted):
            for at, values in carriers.split_symbols(carrier_positions, symbols[part]):
                put(at, values, sample_bits)
    return SampleConstraints(low_bits, residues, trellis_code)


def write_mark(
    embedding: UnroundedEmbedding | Pixels,
    mark: Mark,
    noise_shaping: NoiseShapingFilter | None = None,
) -> Pixels:
    """Round an embedding so that it carries a mark.

    Args:
        embedding: (H, W, C) or (H, W); 8-bit pixels are taken as unrounded values without residual.
        mark: to be carried.
        noise_shaping: how rounding errors are diffused. By default they are not, and then samples
            without bits of the mark keep their values.

    Returns:
        A new uint8 array of the same shape.

    Raises:
        ValueError: see :func:`constrain_samples`.
    """
    from iicnet_cli.quantize.error_diffusion import round_embedding  # loads numba

    if not isinstance(embedding, UnroundedEmbedding):
        embedding = UnroundedEmbedding.from_pixels(embedding)
    shape = embedding.pixels.shape
    static_region = mark.static_region
    rounded = round_embedding(
        embedding.reshape(*shape[:2], -1),
        noise_shaping,
        constrain_samples(shape, mark),
        static_mask=None if static_region is None else static_region.mask(*shape[:2]),
    )
    return rounded.reshape(shape)


def read_mark(pixels: Pixels) -> Mark | None:
    """Read the mark of an embedding.

    Args:
        pixels: (H, W, C) or (H, W) uint8.

    Returns:
        ``None`` if there is no mark, or the pixels have changed too much.

    Raises:
        UnsupportedVersionError: the mark of a newer program.
    """
    flat = pixels.reshape(-1)

    def read_header(size: int) -> tuple[bytes, NDArray[np.int64]]:
        positions = header_positions(flat.size, 8 * size)
        return np.packbits(flat[positions] & 1).tobytes(), positions

    data, _ = read_header(MAX_HEADERS_BYTES)
    header = PartsHeader.from_mark(data)
    if header is not None:
        data, positions = read_header(header.payload_start)
        static_region = None
        if header.static_region_size:
            static_region = StaticRegion.from_bytes(data[header.parts_start : -CHECKSUM_BYTES])
            if static_region is None or not static_region.fits(pixels.shape):
                return None
        carriers = PayloadCarriers(pixels.shape, positions, static_region, header.code)
        count = carriers.symbols_for(header.payload_size)
        if count > carriers.count:
            return None
        symbols = carriers.read_symbols(pixels, count, header.first_sample)
        data += _from_symbols(symbols, carriers.symbol_bits)
    return Mark.from_bytes(data)


def _to_symbols(data: bytes, symbol_bits: int) -> Pixels:
    """Divide bytes into symbols of some bits, the highest bit first; zeros fill the last one."""
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    groups = np.pad(bits, (0, -len(bits) % symbol_bits)).reshape(-1, symbol_bits)
    symbols: Pixels = np.packbits(groups, axis=1)[:, 0] >> np.uint8(8 - symbol_bits)
    return symbols


def _from_symbols(symbols: Pixels, symbol_bits: int) -> bytes:
    """Inverse of ``_to_symbols``; bits that do not fill a byte are left out."""
    bits = np.stack([symbols >> np.uint8(i) & 1 for i in reversed(range(symbol_bits))], axis=1)
    return np.packbits(bits.reshape(-1)[: bits.size // 8 * 8]).tobytes()
