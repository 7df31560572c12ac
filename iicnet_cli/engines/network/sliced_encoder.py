"""Encoding an embedding that carries its own enhancement layer, slice by slice.

The layer corrects the errors of rounding, too; but its own bits decide how the samples that carry
them are rounded. So each slice of the embedding carries the part of the layer that corrects the
slice rounded before it. Only the part for the last slice is made from the exact values; it is
carried by the first slice.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from iicnet_cli.engines.network.decoder import (
    Carried,
    decode_pictures,
    restore_before_prediction,
)
from iicnet_cli.engines.network.enhancement_layer import LayerPlan, plan_layer
from iicnet_cli.inference.runner import Passes
from iicnet_cli.payload.mark import Mark
from iicnet_cli.payload.mark_pixels import constrain_samples, payload_capacity, write_mark
from iicnet_cli.payload.payload_code import PayloadCode
from iicnet_cli.pictures.arrays import FixedPoint, PixelArray, Pixels, from_fixed_point
from iicnet_cli.pictures.metrics import cap_psnr, mse, mse_to_psnr
from iicnet_cli.quantize.error_diffusion import RowQuantizer
from iicnet_cli.quantize.lattice import UnroundedEmbedding
from iicnet_cli.quantize.trellis_codes import TRELLIS_CODES

UNCERTAIN_BASE_MSE = 1.0
"""Where the base layer has a smaller mean squared error than this, carrying a layer may cost more
than it gains, so both ways are tried and compared."""
MAX_SLICES = 8
"""More slices take more time and gain little."""

_BITS_BY_BASE_MSE = {1.6: 1, 2.2: 2, 64.0: 3, 512.0: 4, math.inf: 6}
"""Where the base layer's mean squared error is below the key: most payload bits a pixel of the
embedding that the layer may take."""
_ROUNDING_MSE_KEPT = 1.0
"""About this share of the mean squared error of rounding remains in the restored pictures, besides
what the layer leaves; 0.6 to 3, depending on picture and network."""
_MIN_OPEN_SHARE = 1e-3
"""The share of samples outside of the static region counts as at least this, because errors are
divided by it."""
_MIN_SLICE_BYTES, _MIN_SLICE_ROWS = 4096, 48
"""A slice has at least this many bytes of the layer and rows of the embedding."""
_ROWS_AT_ONCE = 256
"""Pictures are compared this many rows at a time, to save memory."""
_SPARE_BYTES = 256
"""Bytes more than a slice's share of the payload: the samples that carry the mark's first part
shift the others."""


@dataclass(frozen=True)
class LayerRequest:
    """An embedding that is to get an enhancement layer.

    Attributes:
        passes: the network.
        wanted: (K, H, W, C), the pictures as the network got them, before padding.
        mark: what the embedding carries without a layer.
        embedding: (H_e, W_e, C_e), before rounding.
        embedding_mse: mean squared error of these values compared with the reference.
        thorough: whether coding may take eight times as long.
        tick: called after each slice with the share 0..1 that is done.
    """

    passes: Passes
    wanted: PixelArray
    mark: Mark
    embedding: UnroundedEmbedding
    embedding_mse: float
    thorough: bool = False
    tick: Callable[[float], None] = lambda share: None

    def restore(
        self, embedding: Pixels | UnroundedEmbedding, rows: slice | None = None
    ) -> FixedPoint:
        """What the network restores of some rows, with the static region put back."""
        region = self.mark.static_region
        return restore_before_prediction(self.passes, embedding, self.wanted, region, rows)

    @property
    def open_share(self) -> float:
        """Share of the samples outside of the static region: those that may carry payload."""
        region = self.mark.static_region
        if region is None:
            return 1.0
        return max(1 - float(region.cells.mean()), _MIN_OPEN_SHARE)


def encode_with_layer(request: LayerRequest, bits: int | None = None) -> tuple[Mark, Pixels]:
    """Round an embedding so that it carries its mark and, if that is better, a layer.

    Args:
        request: the embedding.
        bits: payload bits a pixel, 1 to 6, whether they pay or not; by default as many as pay.

    Returns:
        The mark that it carries, and the embedding.
    """
    base = request.restore(request.embedding)
    base_mse = _rounded_mse(request.wanted, base)
    is_forced = bits is not None
    if bits is None:
        bits, plan = _choose_bits(request, base, base_mse)
    else:
        plan = _plan(request, base, bits)
    if plan is None:
        return _encode_plain(request)
    needs_comparison = not is_forced and (
        len(plan.sizes) == 1 or base_mse < UNCERTAIN_BASE_MSE * request.open_share
    )
    plain = _encode_plain(request) if needs_comparison else None
    layered = _SliceEncoder(request, plan, bits).encode(base)
    if plain is None or _total_psnr(request, *layered) > _total_psnr(request, *plain):
        return layered
    return plain


def layer_capacity(embedding: Pixels, mark: Mark, bits: int) -> int:
    """Bytes that are available for a layer of ``bits`` payload bits a pixel."""
    code = PayloadCode.trellis(bits)
    capacity = payload_capacity(embedding.shape, mark.static_region_bytes, code=code)
    return capacity - len(mark.motion)


def restored_pictures(
    passes: Passes, mark: Mark, embedding: Pixels, wanted: PixelArray
) -> PixelArray:
    """What a marked embedding restores, before prediction.

    Args:
        passes: the network.
        mark: of the embedding.
        embedding: (H_e, W_e, C_e), rounded.
        wanted: (K, H, W, C), the pictures as the network got them; they give size and range.

    Returns:
        Pictures like ``wanted``.
    """
    carried = Carried(layer=mark.enhancement, region=mark.static_region)
    size = wanted.shape[2], wanted.shape[1]
    return decode_pictures(passes, embedding, carried, size, wanted.dtype)


def _encode_plain(request: LayerRequest) -> tuple[Mark, Pixels]:
    """The embedding with its mark, but without a layer."""
    mark, noise_shaping = request.mark, request.passes.noise_shaping
    return mark, write_mark(request.embedding, mark, noise_shaping)


def _plan(request: LayerRequest, base: FixedPoint, bits: int) -> LayerPlan | None:
    """A plan for a layer of ``bits`` payload bits a pixel."""
    embedding = request.embedding.pixels
    size = layer_capacity(embedding, request.mark, bits)
    slices = max(1, min(MAX_SLICES, size // _MIN_SLICE_BYTES, len(embedding) // _MIN_SLICE_ROWS))
    return plan_layer(request.wanted, base, size, slices)


def _choose_bits(
    request: LayerRequest, base: FixedPoint, base_mse: float
) -> tuple[int, LayerPlan | None]:
    """Payload bits a pixel that pay, and the plan for them.

    Each bit makes the layer larger and the rounding coarser, which costs both the embedding and the
    restored pictures. So, starting from the usual number, a bit is given up as long as the sum of
    the two expected PSNRs gains by that.
    """

    def expected_psnr(bits: int, plan: LayerPlan | None) -> float:
        if plan is None:
            return -math.inf
        channels = request.embedding.pixels.shape[2]
        rounding = TRELLIS_CODES[bits].expected_mse(channels) * request.open_share
        remaining = base_mse - plan.mse_reduction + _ROUNDING_MSE_KEPT * rounding
        return mse_to_psnr(request.embedding_mse + rounding) + mse_to_psnr(remaining)

    base_mse_outside = base_mse / request.open_share
    bits = next(n for limit, n in _BITS_BY_BASE_MSE.items() if base_mse_outside < limit)
    plan = _plan(request, base, bits)
    while plan is not None and bits > 1:
        smaller = _plan(request, base, bits - 1)
        if expected_psnr(bits - 1, smaller) <= expected_psnr(bits, plan):
            break
        bits, plan = bits - 1, smaller
    return bits, plan


def _total_psnr(request: LayerRequest, mark: Mark, embedding: Pixels) -> float:
    """Sum of the PSNRs of embedding and restored pictures, in dB.

    The error of rounding is independent of that of the values, so the two are added.
    """
    shown = request.embedding_mse + request.embedding.mse(embedding)
    restored = restored_pictures(request.passes, mark, embedding, request.wanted)
    errors = shown, mse(request.wanted, restored)
    return sum(cap_psnr(mse_to_psnr(error)) for error in errors)


def _rounded_mse(wanted: PixelArray, restored: FixedPoint) -> float:
    """Mean squared error of restored pictures after they are rounded."""
    height = len(wanted[0])
    total = 0.0
    for top in range(0, height, _ROWS_AT_ONCE):
        some = wanted[:, top : top + _ROWS_AT_ONCE]
        rounded = from_fixed_point(restored[:, top : top + _ROWS_AT_ONCE], some.dtype)
        total += mse(some, rounded) * some.shape[1]
    return total / height


@dataclass(frozen=True)
class _SliceArea:
    """The rows of the embedding that belong to a slice, and how many samples there can carry."""

    rows: slice
    samples: int


class _SliceEncoder:
    """Rounds the slices of one embedding in turn."""

    def __init__(self, request: LayerRequest, plan: LayerPlan, bits: int) -> None:
        embedding, region = request.embedding, request.mark.static_region
        self._request = request
        self._static = None if region is None else region.mask(*embedding.pixels.shape[:2])
        self._areas = _areas_of_slices(plan, embedding.pixels.shape, self._static)
        first = first_slice(plan.sizes, [area.samples for area in self._areas])
        self._plan = replace(plan, first=first, thorough=request.thorough)
        self._layer_bytes = layer_capacity(embedding.pixels, request.mark, bits)
        self._mark = replace(request.mark, code=PayloadCode.trellis(bits))
        self._row_quantizer = RowQuantizer(
            embedding,
            request.passes.noise_shaping,
            self._static,
        )

    def encode(self, base: FixedPoint) -> tuple[Mark, Pixels]:
        """Code the layer and round all slices.

        Args:
            base: (K, H, W, C), restored from the exact values.
        """
        plan, quantizer = self._plan, self._row_quantizer
        samples_of_row = math.prod(quantizer.pixels.shape[1:])
        restored = base[:, plan.rows(plan.first)].copy()
        del base
        residual = quantizer.unrounded.residual.copy()  # 0 where the embedding is rounded already
        carriers = plan.order[1:] + plan.order[:1]
        mark = replace(
            self._mark,
            enhancement=bytes(self._layer_bytes),
            first_sample=self._areas[carriers[0]].rows.start * samples_of_row,
        )
        payload = len(mark.to_bytes())
        carried_samples = accumulate(self._areas[i].samples for i in carriers)
        all_samples = sum(area.samples for area in self._areas)
        layer = plan.header
        remaining_size = sum(plan.sizes)
        for corrected, carrier in zip(plan.order, carriers, strict=True):
            left = self._layer_bytes - len(layer)
            # What a slice carries has to be known before it is rounded.
            needed = payload * next(carried_samples) // all_samples + _SPARE_BYTES
            min_size = min(needed - len(mark.motion) - len(layer), left)
            share = left * plan.sizes[corrected] // remaining_size
            remaining_size -= plan.sizes[corrected]
            layer += plan.encode_slice(corrected, restored, max(share, min_size), min_size)
            mark = replace(mark, enhancement=layer.ljust(self._layer_bytes, b"\0"))
            rows = self._areas[carrier].rows
            samples = slice(rows.start * samples_of_row, rows.stop * samples_of_row)
            quantizer.quantize(rows, constrain_samples(quantizer.pixels.shape, mark, samples))
            residual[rows] = 0
            self._request.tick(1 - left / self._layer_bytes)
            if carrier != carriers[-1]:
                partly_rounded = UnroundedEmbedding(quantizer.pixels, residual)
                restored = self._request.restore(partly_rounded, plan.rows(carrier))
        self._request.tick(1)
        return mark, quantizer.pixels


def _areas_of_slices(
    plan: LayerPlan, shape: tuple[int, ...], static: NDArray[np.bool_] | None
) -> list[_SliceArea]:
    """The area of each slice in an embedding of this shape; static pixels carry nothing."""
    height, (rows_of_embedding, columns, channels) = plan.wanted.shape[1], shape
    scale = -(-height // rows_of_embedding)
    areas = []
    for index in range(len(plan.sizes)):
        rows = plan.rows(index)
        stop = rows_of_embedding if rows.stop == height else rows.stop // scale
        inside = slice(rows.start // scale, stop)
        pixels = (stop - inside.start) * columns
        if static is not None:
            pixels -= np.count_nonzero(static[inside])
        areas.append(_SliceArea(inside, pixels * channels))
    return areas


def first_slice(sizes: list[int], samples: list[int]) -> int:
    """The slice whose part of the layer is best made from the exact values.

    The slices after it are then rounded in cyclic order, and each should find as many bytes of the
    layer as it can carry; so the slices that need many bytes should come early.

    Args:
        sizes: bytes of the layer that each slice needs.
        samples: number of samples in each slice that can carry payload.
    """
    needed = np.array(sizes, float)
    carried = np.array(samples) / sum(samples) * needed.sum()

    def smallest_reserve(first: int) -> float:
        made, filled = np.roll(needed, -first), np.roll(carried, -first - 1)
        return float(min(np.cumsum(made) - np.cumsum(filled)))

    return max(range(len(sizes)), key=smallest_reserve)
