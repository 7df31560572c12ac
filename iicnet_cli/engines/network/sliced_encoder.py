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
from iicnet_cli.engines.network.enhancement_layer import LayerPlan, add_layer, slice_rows
from iicnet_cli.engines.network.layer_planner import LayerPlanner, sampled_rows
from iicnet_cli.engines.network.level_search import MIN_FILLED, SizeModel
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
MAX_SLICES = 7
"""More slices take more time and gain little."""

_BITS_BY_BASE_MSE = {1.6: 1, 2.2: 2, 64.0: 3, 100.0: 4, 150.0: 5, math.inf: 6}
"""Where the base layer's mean squared error is below the key: most payload bits a pixel of the
embedding that the layer may take."""
_ROUNDING_MSE_KEPT = 1.0
"""About this share of the mean squared error of rounding remains in the restored pictures, besides
what the layer leaves; 0.6 to 3, depending on picture and network."""
_SAMPLED_SHARE, _SAMPLE_MULTIPLE, _MIN_SAMPLED_SLICE = 0.3, 8, 60
"""Layers are planned from this share of the rows of each slice, in multiples of so many rows; and
only if slices have so many rows of the embedding."""
_MIN_COMPARED = 256
"""Pictures with fewer rows are compared as a whole."""
_MIN_OPEN_SHARE = 1e-3
"""The share of samples outside of the static region counts as at least this, because errors are
divided by it."""
_MIN_SLICE_BYTES, _MIN_SLICE_ROWS = 4096, 48
"""A slice has at least this many bytes of the layer and rows of the embedding."""
_ROWS_AT_ONCE = 256
"""Pictures are compared this many rows at a time, to save memory."""
_MAX_SHARE, _MIN_FILLED_AT_FIRST = 1.06, 0.88
"""All slices but the last may take this many times their share of the bytes that are left, and are
not coded again if they fill this part of that."""
_MIN_FILLED_THOROUGH = 0.985
"""The last slice fills this share of its bytes where time matters less."""
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
    samples = _samples(request)
    base = _restore_base(request, samples)
    wanted = request.wanted if samples is None else sampled_rows(request.wanted, samples)
    base_mse = _rounded_mse(wanted, base)
    planner = LayerPlanner(request.wanted, base, samples)
    is_forced = bits is not None
    if bits is None:
        bits, plan = _choose_bits(request, planner, base_mse)
    else:
        plan = _plan(request, planner, bits)
    if plan is None:
        return _encode_plain(request)
    layered = _SliceEncoder(request, plan, bits)
    first = layered.rows_of_first
    restored = request.restore(request.embedding, first) if samples else base[:, first].copy()
    del base
    is_certain = len(plan.sizes) > 1 and base_mse >= UNCERTAIN_BASE_MSE * request.open_share
    if is_forced or is_certain:
        return layered.encode(restored)
    ways = _encode_plain(request), layered.encode(restored)
    return max(ways, key=lambda way: _total_psnr(request, *way))


def layer_capacity(embedding: Pixels, mark: Mark, bits: int) -> int:
    """Bytes that are available for a layer of ``bits`` payload bits a pixel."""
    code = PayloadCode.trellis(bits)
    capacity = payload_capacity(
        embedding.shape, mark.static_region_bytes, code=code, place=mark.place
    )
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


def _plan(request: LayerRequest, planner: LayerPlanner, bits: int) -> LayerPlan | None:
    """A plan for a layer of ``bits`` payload bits a pixel."""
    size = layer_capacity(request.embedding.pixels, request.mark, bits)
    return planner.plan(size, _slice_count(request, bits))


def _slice_count(request: LayerRequest, bits: int) -> int:
    embedding = request.embedding.pixels
    size = layer_capacity(embedding, request.mark, bits)
    return max(1, min(MAX_SLICES, size // _MIN_SLICE_BYTES, len(embedding) // _MIN_SLICE_ROWS))


def _samples(request: LayerRequest) -> list[slice] | None:
    """Rows of the pictures in the middle of each slice that are enough to plan a layer.

    ``None`` where restoring them would take as long as restoring all rows, and where the number of
    slices depends on that of the bits.
    """
    areas = slice_rows(request.wanted.shape[1], MAX_SLICES)
    smallest = min(rows.stop - rows.start for rows in areas)
    if (
        request.mark.static_region is not None  # what moves may be anywhere
        or _slice_count(request, 1) < MAX_SLICES
        or smallest < _MIN_SAMPLED_SLICE * request.passes.scale
    ):
        return None
    height = max(1, round(_SAMPLED_SHARE * smallest / _SAMPLE_MULTIPLE)) * _SAMPLE_MULTIPLE
    samples = []
    for rows in areas:
        before = (rows.stop - rows.start - height) // 2
        top = rows.start + before // _SAMPLE_MULTIPLE * _SAMPLE_MULTIPLE
        samples.append(slice(top, top + height))
    return samples


def _restore_base(request: LayerRequest, samples: list[slice] | None) -> FixedPoint:
    """All rows, or those samples, one below the other, restored from the exact values."""
    if samples is None:
        return request.restore(request.embedding)
    restored = request.passes.restore_areas(request.embedding, request.wanted.dtype, samples)
    return np.concatenate(restored, axis=1)[:, :, : request.wanted.shape[2]]


def _choose_bits(
    request: LayerRequest, planner: LayerPlanner, base_mse: float
) -> tuple[int, LayerPlan | None]:
    """Payload bits a pixel that pay, and the plan for them.

    Each bit makes the layer larger and the rounding coarser, which costs both the embedding and the
    restored pictures. So, starting from the usual number, a bit is given up as long as the sum of
    the two expected PSNRs gains by that.
    """
    base_mse_outside = base_mse / request.open_share
    usual = next(n for limit, n in _BITS_BY_BASE_MSE.items() if base_mse_outside < limit)
    choices = _different_codes(request.embedding.pixels.shape[2])
    bits = next(n for n in choices if n >= usual)
    plan = _plan(request, planner, bits)
    if plan is None:
        return bits, None
    for fewer in reversed(choices[: choices.index(bits)]):
        smaller = _plan(request, planner, fewer)
        if smaller is None:
            break
        gained = _expected_psnr(request, base_mse, fewer, smaller)
        if gained <= _expected_psnr(request, base_mse, bits, plan):
            break
        bits, plan = fewer, smaller
    return bits, plan


def _different_codes(channels: int) -> list[int]:
    """Numbers of the trellis codes, by what they carry; of those that carry as much, the best."""
    # Of equal codes the last one has columns for two low bits of each sample.
    carried = {sum(code.message_bits(channels)): n for n, code in TRELLIS_CODES.items()}
    return sorted(carried.values())


def _expected_psnr(request: LayerRequest, base_mse: float, bits: int, plan: LayerPlan) -> float:
    """Sum of the PSNRs of embedding and restored pictures that a plan should lead to."""
    channels = request.embedding.pixels.shape[2]
    rounding = TRELLIS_CODES[bits].expected_mse(channels) * request.open_share
    remaining = base_mse - plan.mse_reduction + _ROUNDING_MSE_KEPT * rounding
    return mse_to_psnr(request.embedding_mse + rounding) + mse_to_psnr(remaining)


def _total_psnr(request: LayerRequest, mark: Mark, embedding: Pixels) -> float:
    """Sum of the PSNRs of embedding and restored pictures, in dB.

    The error of rounding is independent of that of the values, so the two are added. Of large
    pictures only the rows in the middle are restored, which are enough for a comparison.
    """
    shown = request.embedding_mse + request.embedding.mse(embedding)
    wanted = request.wanted
    height = wanted.shape[1]
    rows = slice(0, height) if height < _MIN_COMPARED else slice(3 * height // 8, 5 * height // 8)
    restored = request.restore(embedding, rows)
    if mark.enhancement:
        added = np.zeros(wanted.shape, np.int16)
        add_layer(mark.enhancement, added)
        restored += added[:, rows]
    errors = shown, mse(wanted[:, rows], from_fixed_point(restored, wanted.dtype))
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

    @property
    def rows_of_first(self) -> slice:
        """Rows of the pictures that the first slice covers."""
        return self._plan.rows(self._plan.first)

    def encode(self, restored: FixedPoint) -> tuple[Mark, Pixels]:
        """Code the layer and round all slices.

        Args:
            restored: (K, h, W, C), the rows of the first slice, restored from the exact values.
        """
        plan, quantizer = self._plan, self._row_quantizer
        samples_of_row = math.prod(quantizer.pixels.shape[1:])
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
        layer, size_model = plan.header, SizeModel()
        remaining_size = sum(plan.sizes)
        of_last = _MIN_FILLED_THOROUGH if plan.thorough else MIN_FILLED
        for corrected, carrier in zip(plan.order, carriers, strict=True):
            left = self._layer_bytes - len(layer)
            # What a slice carries has to be known before it is rounded.
            needed = payload * next(carried_samples) // all_samples + _SPARE_BYTES
            min_size = min(needed - len(mark.motion) - len(layer), left)
            share = left * plan.sizes[corrected] // remaining_size
            remaining_size -= plan.sizes[corrected]
            # What one slice takes too much or leaves, those after it make up for.
            is_last = carrier == carriers[-1]
            filled = of_last if is_last else _MIN_FILLED_AT_FIRST
            max_size = min(left, max(share if is_last else round(_MAX_SHARE * share), min_size))
            layer += plan.encode_slice(corrected, restored, max_size, min_size, filled, size_model)
            mark = replace(mark, enhancement=layer.ljust(self._layer_bytes, b"\0"))
            rows = self._areas[carrier].rows
            samples = slice(rows.start * samples_of_row, rows.stop * samples_of_row)
            quantizer.quantize(rows, constrain_samples(quantizer.pixels.shape, mark, samples))
            residual[rows] = 0
            self._request.tick(1 - left / self._layer_bytes)
            if not is_last:
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
