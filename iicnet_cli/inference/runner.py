"""Both passes of a network over 8-bit pictures of any size, in bounded memory."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from torch import Tensor

from iicnet_cli.engines.network.enhancement_layer import Plan, planned
from iicnet_cli.engines.network.parallel import MOST
from iicnet_cli.engines.network.search import Target, improve
from iicnet_cli.inference.allocator import keep_freed_memory
from iicnet_cli.network import IICNet, IICNetConfig
from iicnet_cli.network.compiling import compiled as compile_pass
from iicnet_cli.network.pixels import (
    channels_last,
    tensor_to_fixed_point,
    to_levels,
    to_pixels,
    to_rounding_residual,
    to_tensor,
)
from iicnet_cli.network.precision import Precision, set_precision
from iicnet_cli.pictures.arrays import FRACTION, FixedPoint, PixelArray, Pixels
from iicnet_cli.quantize.lattice import NoiseShapingFilter, UnroundedEmbedding

MOST_MEMORY = 1 << 30
"""Bytes for the tensors of one tile on a CPU, if nobody says."""

_STRIP = 256
"""Rows of an embedding."""
_MARGIN = 16
"""Likewise: beside those from which only some rows of the images are restored."""
_ARRAYS = 16
"""Bytes for each sample of the images, beside the tensors."""


@dataclass(frozen=True)
class Tile:
    """A piece of a picture, in its pixels: what is kept, and what is computed for it."""

    keep: tuple[slice, slice]
    compute: tuple[slice, slice]

    @property
    def inner(self) -> tuple[slice, slice]:
        """Where the kept part lies inside the computed part."""
        (ky, kx), (cy, cx) = self.keep, self.compute
        return (
            slice(ky.start - cy.start, ky.stop - cy.start),
            slice(kx.start - cx.start, kx.stop - cx.start),
        )


def plan_tiles(
    height: int, width: int, config: IICNetConfig, memory: int, precision: Precision = "fp32"
) -> list[Tile]:
    """Cut a picture so that each tile with its halo is computed within ``memory`` bytes.

    The halo is the network's receptive field, so tiles give what the whole picture would give. All
    computed parts have the same size, which lets their memory be used again. Of the grids that fit
    into the memory this is the one that computes least in all, for halos are dear.

    Args:
        height: pixels, a multiple of ``config.multiple``.
        width: likewise.
        config: the network.
        memory: bytes for the tensors of one tile. It gets what a square of four halos to the side
            takes, if that is more.
        precision: that the network computes in.
    """
    multiple = config.multiple
    halo = math.ceil(config.halo / multiple) * multiple
    pixels = max(memory // bytes_per_pixel(config, precision), (4 * halo) ** 2)
    grids = []
    for rows in range(1, max(1, height // halo) + 1):
        tall = _window(height, rows, halo, multiple)
        room = pixels // tall // multiple * multiple
        if room >= width:
            columns = 1
        elif room > 2 * halo:
            columns = math.ceil((width - 2 * halo) / (room - 2 * halo))
        else:
            continue
        wide = _window(width, columns, halo, multiple)
        grids.append((rows * tall * columns * wide, tall, wide))
    _, tall, wide = min(grids)
    return [
        Tile((keep_y, keep_x), (compute_y, compute_x))
        for keep_y, compute_y in _spans(height, tall, halo)
        for keep_x, compute_x in _spans(width, wide, halo)
    ]


def _window(length: int, count: int, halo: int, multiple: int) -> int:
    """How long each of ``count`` windows must be that overlap by two halos."""
    return math.ceil((length + 2 * halo * (count - 1)) / count / multiple) * multiple


def _spans(length: int, window: int, halo: int) -> list[tuple[slice, slice]]:
    """Along one axis: what is kept of each window, and the window."""
    spans = []
    done = 0
    while done < length:
        start = min(max(0, done - halo), length - window)
        stop = start + window
        end = length if stop == length else stop - halo
        spans.append((slice(done, end), slice(start, stop)))
        done = end
    return spans


def bytes_per_pixel(config: IICNetConfig, precision: Precision = "fp32") -> int:
    """Estimated peak of both passes, in bytes per pixel of an image."""
    # Numbers of 4 bytes; those inside of subnets may have 2.
    number = 0.5 if precision == "bf16" else 1
    channels = config.working_channels
    inside = 3 * config.width if config.subnet == "residual" else 2 * (channels + 5 * config.width)
    coupling = (4 * channels + number * inside) / config.multiple**2 + config.image_channels
    if config.detail:
        detail = config.images * (4 * 4 * config.channels + 3 * config.detail.width) // 4
        coupling = max(coupling, detail + config.image_channels)
    if config.relation:
        relation = config.images * config.relation.features * 2 + 6 * config.relation.growth
        coupling = max(coupling, number * relation)
    # Half as much again: measured; allocators and convolutions keep it beside the tensors.
    return math.ceil(6 * coupling)


def default_memory(device: torch.device) -> int:
    """Bytes for the tensors of one tile: half of what is free, on a CPU 1 GiB at most."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free // 2
    return min(MOST_MEMORY, _free_memory() // 2)


def _free_memory() -> int:
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not every system tells
        return 4 * MOST_MEMORY


def _silent(share: float) -> None:
    """No tick."""


class Runner:
    """A network on a device, applied to uint8 pictures.

    Args:
        net: in evaluation mode.
        device: where to compute; the CPU by default.
        feedback: how the rounding of embeddings is to be diffused, for whoever marks them.
        memory: bytes for the tensors of one tile; :func:`default_memory` by default.
        compiled: compile both passes before their first use, which takes half a minute each.
        precision: less than fp32 is faster on some devices, and restores a little worse.

    Both passes may run in several threads at once. Their ``tick`` is called after each tile with
    the share 0..1 of the picture that is done.
    """

    def __init__(
        self,
        net: IICNet,
        device: torch.device | None = None,
        *,
        feedback: NoiseShapingFilter | None = None,
        memory: int | None = None,
        compiled: bool = False,
        precision: Precision = "fp32",
    ) -> None:
        self.device = device or torch.device("cpu")
        if self.device.type == "cpu":
            keep_freed_memory()
        self.net = channels_last(net.to(self.device)).eval()
        set_precision(self.net, precision, self.device)
        self._forward: Callable[[Tensor], Tensor] = self.net.forward
        self._inverse: Callable[[Tensor], Tensor] = self.net.inverse
        if compiled:
            # All tiles have one size, so nothing is compiled twice.
            self._forward = compile_pass(self._forward, freezing=True)
            self._inverse = compile_pass(self._inverse, freezing=True)
        self.config = net.config
        self.feedback = feedback
        self.precision: Precision = precision
        self._compiled = compiled
        self._told_memory = memory
        self.memory = default_memory(self.device) if memory is None else memory

    @property
    def scale(self) -> int:
        """Pixels of an image to one pixel of the embedding, on each axis."""
        return 2 if self.config.half_size else 1

    def at_once(self, height: int, width: int) -> int:
        """Groups of pictures of this size that may be embedded together, each on a core or more.

        Their tensors are to fit into the memory for a tile, or, on a CPU and if nobody said how
        much that is, into twice the most of it.
        """
        if self._compiled:  # compiling is for one thread
            return 1
        memory = self.memory
        if self._told_memory is None and self.device.type == "cpu":
            memory = min(2 * MOST_MEMORY, _free_memory() // 2)
        config = self.config
        tensors = min(self.memory, bytes_per_pixel(config, self.precision) * height * width)
        arrays = _ARRAYS * config.images * config.channels * height * width
        return max(1, min(MOST, torch.get_num_threads(), memory // (tensors + arrays)))

    def tiles(self, height: int, width: int, *, searching: bool = False) -> list[Tile]:
        """That pictures of this size are computed in; smaller ones while searching.

        Gradients need the tensors of every block.
        """
        memory = self.memory // (1 + self.config.blocks) if searching else self.memory
        return plan_tiles(height, width, self.config, memory, self.precision)

    @torch.inference_mode()
    def reference(self, images: PixelArray) -> Pixels:
        """What the embedding of (K, H, W, C) should look like: (H_e, W_e, C_e) uint8."""
        scale = self.scale
        height, width = images.shape[1] // scale, images.shape[2] // scale
        out = np.empty((height, width, self.config.embedding_channels), np.uint8)
        for top in range(0, height, _STRIP):
            strip = to_tensor(images[None, :1, scale * top : scale * (top + _STRIP)], self.device)
            out[top : top + _STRIP] = to_pixels(self.net.reference(strip))[0]
        return out

    def embed(self, images: PixelArray) -> Pixels:
        """(K, H, W, C), the reference first, to the embedding (H_e, W_e, C_e) uint8.

        Raises:
            ValueError: H or W is no multiple of ``config.multiple``, or K or C differ.
        """
        return self.embed_unrounded(images).pixels

    @torch.inference_mode()
    def embed_unrounded(
        self, images: PixelArray, tick: Callable[[float], None] = _silent
    ) -> UnroundedEmbedding:
        """As :meth:`embed`, before rounding."""
        height, width = images.shape[1:3]
        scale = self.scale
        shape = (height // scale, width // scale, self.config.embedding_channels)
        out, rest = np.empty(shape, np.uint8), np.empty(shape, np.int8)
        for tile in self._ticking(height, width, tick):
            part = to_tensor(images[:, *tile.compute][None], self.device)
            values = self._forward(part)
            kept, inner = _scaled(tile.keep, scale), _scaled(tile.inner, scale)
            out[kept] = to_pixels(values)[0][inner]
            rest[kept] = to_rounding_residual(values)[0][inner]
        return UnroundedEmbedding(out, rest)

    @torch.inference_mode()
    def restore(
        self,
        embedding: Pixels,
        dtype: DTypeLike = np.uint8,
        tick: Callable[[float], None] = _silent,
    ) -> PixelArray:
        """The embedding to the images.

        Args:
            embedding: (H_e, W_e, C_e) uint8.
            dtype: int16 for images that were not within 0..255.
            tick: see the class.

        Returns:
            (K, H, W, C) of that type.
        """
        out: PixelArray = np.empty(self._restored_shape(embedding), dtype)
        to_array: Callable[[Tensor], PixelArray] = to_pixels if out.dtype == np.uint8 else to_levels
        for keep, restored in self._restored(embedding, tick=tick):
            out[keep] = to_array(restored)
        return out

    @torch.inference_mode()
    def restore_fixed_point(
        self,
        embedding: Pixels,
        dtype: DTypeLike = np.uint8,
        remainder: NDArray[np.int8] | None = None,
        rows: slice | None = None,
        tick: Callable[[float], None] = _silent,
    ) -> FixedPoint:
        """As :meth:`restore`, in parts of a level (``levels.FRACTION``).

        Args:
            embedding: likewise.
            dtype: whose range the images are kept in.
            remainder: what rounding took from the embedding, to restore from it before that.
            rows: restore these only, from what is near to them in the embedding. Within the whole
                they would differ in a few levels, for receptive fields are larger; the most in the
                first and last rows.
            tick: see the class.

        Returns:
            (K, H, W, C).
        """
        if rows is not None:
            multiple = self.config.multiple // self.scale
            top = max(0, rows.start // self.scale - _MARGIN) // multiple * multiple
            bottom = -(-rows.stop // self.scale) + _MARGIN
            near = slice(top, -(-bottom // multiple) * multiple)
            rest = None if remainder is None else remainder[near]
            some = self.restore_fixed_point(embedding[near], dtype, rest, tick=tick)
            return some[:, rows.start - top * self.scale : rows.stop - top * self.scale]
        out: FixedPoint = np.empty(self._restored_shape(embedding), np.int16)
        for keep, restored in self._restored(embedding, remainder, tick):
            out[keep] = tensor_to_fixed_point(restored, clamped=np.dtype(dtype) == np.uint8)
        return out

    def _restored_shape(self, embedding: Pixels) -> tuple[int, int, int, int]:
        height, width = (side * self.scale for side in embedding.shape[:2])
        return self.config.images, height, width, self.config.channels

    def _restored(
        self,
        embedding: Pixels,
        remainder: NDArray[np.int8] | None = None,
        tick: Callable[[float], None] = _silent,
    ) -> Iterator[tuple[tuple[slice, slice, slice], Tensor]]:
        """Tile by tile: where it lies in all images, and its part of them, (K, C, H, W)."""
        for tile in self._ticking(*self._restored_shape(embedding)[1:3], tick):
            area = _scaled(tile.compute, self.scale)
            part: Pixels | NDArray[np.float32] = embedding[area]
            if remainder is not None:
                part = UnroundedEmbedding(embedding[area], remainder[area]).values()
            restored = self._inverse(to_tensor(part[None], self.device))
            yield (slice(None), *tile.keep), restored[0][..., *tile.inner]

    def improve(
        self,
        images: PixelArray,
        embedding: UnroundedEmbedding,
        steps: int,
        target: Target,
        tick: Callable[[float, float], None] = lambda share, gain: None,
        *,
        room: int = 0,
        known: NDArray[np.bool_] | None = None,
    ) -> UnroundedEmbedding:
        """Improve an embedding by :func:`~iicnet_cli.inference.effort.improve`, tile by tile.

        Args:
            images: (K, H, W, C), the reference first.
            embedding: (H_e, W_e, C_e).
            steps: of the optimiser.
            target: what to hold.
            tick: called after each step with the share 0..1 that is done, and the dB gained so
                far in this tile.
            room: bytes of the enhancement layer that is to come; 0 for none.
            known: (H, W), pixels that need not be restored, and of the embedding stay as they are;
                only where an embedding is as large as the images.

        Returns:
            The improved embedding.
        """
        scale = self.scale
        out, rest = embedding.pixels.copy(), embedding.residual.copy()
        height, width = images.shape[1:3]
        tiles = self.tiles(height, width, searching=True)
        for i, tile in enumerate(tiles):
            area, inner = _scaled(tile.compute, scale), _scaled(tile.inner, scale)
            values = UnroundedEmbedding(out[area], rest[area]).values()
            start = 255 * to_tensor(values[None], self.device)
            free = torch.zeros(start.shape, dtype=torch.bool, device=self.device)
            free[0, :, *inner] = True
            settled = None
            if known is not None:
                settled = torch.from_numpy(known[tile.compute]).to(self.device)
                free &= ~settled
            wanted = images[:, *tile.compute]
            share = wanted.shape[1] * wanted.shape[2] / (height * width)
            found = improve(
                self.net,
                to_tensor(wanted[None], self.device),
                start,
                steps,
                target=target,
                layer=_layer(wanted, int(room * share)),
                free=free,
                known=settled,
                tick=_of_all(tick, i, len(tiles)),
            )
            kept = _scaled(tile.keep, scale)
            changed = free[0, :, *inner].permute(1, 2, 0).cpu().numpy()
            levels, lost = (
                to_pixels(found / 255)[0][inner],
                to_rounding_residual(found / 255)[0][inner],
            )
            out[kept] = np.where(changed, levels, out[kept])
            rest[kept] = np.where(changed, lost, rest[kept])
        return UnroundedEmbedding(out, rest)

    def _ticking(self, height: int, width: int, tick: Callable[[float], None]) -> Iterator[Tile]:
        tiles = self.tiles(height, width)
        for i, tile in enumerate(tiles):
            yield tile
            tick((i + 1) / len(tiles))


def _layer(wanted: PixelArray, room: int) -> Callable[[Tensor], Tensor]:
    """What a layer in so many bytes would add to what is restored, (1, K, C, H, W) in 0..1."""
    plan: Plan | None = None

    def layer(restored: Tensor) -> Tensor:
        nonlocal plan
        levels = tensor_to_fixed_point(restored, clamped=wanted.dtype == np.uint8)[0]
        plan = plan or planned(wanted, levels, room)
        if plan is None:
            return torch.zeros_like(restored)
        told = torch.from_numpy(plan.told(levels, room)).movedim(-1, -3)
        return told[None].to(restored) / (255 * FRACTION)

    return layer


def _of_all(
    tick: Callable[[float, float], None], tile: int, count: int
) -> Callable[[float, float], None]:
    """The share of all tiles instead of that of one."""
    return lambda share, gain: tick((tile + share) / count, gain)


def _scaled(area: tuple[slice, slice], scale: int) -> tuple[slice, slice]:
    y, x = area
    return (
        slice(y.start // scale, y.stop // scale),
        slice(x.start // scale, x.stop // scale),
    )
