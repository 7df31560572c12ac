"""Both passes of a network over pictures of any size, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from torch import Tensor

from iicnet_cli.inference.acceleration import accelerate
from iicnet_cli.inference.allocator import keep_freed_memory
from iicnet_cli.inference.tiling import (
    MAX_CPU_MEMORY,
    Tile,
    bytes_per_pixel,
    default_memory,
    free_memory,
    plan_tiles,
    scale_area,
)
from iicnet_cli.network import IICNet, IICNetConfig
from iicnet_cli.network.compiling import compile_pass
from iicnet_cli.network.pixels import (
    channels_last,
    tensor_to_fixed_point,
    to_pixels,
    to_rounding_residual,
    to_signed_pixels,
    to_tensor,
)
from iicnet_cli.network.precision import Precision, set_precision
from iicnet_cli.pictures.arrays import FixedPoint, PixelArray, Pixels
from iicnet_cli.quantize.lattice import NoiseShapingFilter, UnroundedEmbedding

MAX_GROUPS_AT_ONCE = 4
"""At most this many groups are worked on by threads at the same time: Python itself runs for one
of them at a time."""

_REFERENCE_ROWS = 256
"""The reference is computed this many rows of the embedding at a time, to save memory."""
_MARGIN_ROWS = 12
"""When only some rows are restored, this many rows of the embedding above and below are used."""
_BYTES_PER_SAMPLE = 16
"""Encoding a group keeps about this many bytes for each sample of its pictures, besides tensors."""

Tick = Callable[[float], None]
"""Called after each tile with the share 0..1 of the picture that is done."""


def ignore_tick(share: float) -> None:
    """Do nothing with the progress of a pass."""


class Passes(Protocol):
    """The embedding and the restoring pass of a network, over whole pictures.

    Attributes:
        config: of the network.
        noise_shaping: filter for the rounding of its embeddings; ``None`` for plain rounding.
    """

    config: IICNetConfig
    noise_shaping: NoiseShapingFilter | None

    @property
    def scale(self) -> int:
        """Pixels of a picture to one pixel of the embedding, on each axis."""

    def reference(self, images: PixelArray) -> Pixels:
        """What the embedding of (K, H, W, C) should look like: (H_e, W_e, C_e) uint8."""

    def embed(self, images: PixelArray, tick: Tick = ignore_tick) -> UnroundedEmbedding:
        """The embedding (H_e, W_e, C_e) of (K, H, W, C), the reference first."""

    def restore_fixed_point(
        self,
        embedding: Pixels | UnroundedEmbedding,
        dtype: DTypeLike = np.uint8,
        rows: slice | None = None,
        tick: Tick = ignore_tick,
    ) -> FixedPoint:
        """The pictures (K, H, W, C) of an embedding; see :meth:`Runner.restore_fixed_point`."""

    def restore_areas(
        self, embedding: UnroundedEmbedding, dtype: DTypeLike, areas: Sequence[slice]
    ) -> list[FixedPoint]:
        """Some rows of the pictures, as if each area was restored by itself."""

    def restore(
        self, embedding: Pixels, dtype: DTypeLike = np.uint8, tick: Tick = ignore_tick
    ) -> PixelArray:
        """The pictures (K, H, W, C) of an embedding, rounded."""


class Runner:
    """A network on a device, applied to 8-bit pictures tile by tile.

    Args:
        net: in evaluation mode.
        device: where to compute; the CPU by default.
        noise_shaping: filter for the rounding of its embeddings, for whoever rounds them.
        memory: bytes for the tensors of one tile; :func:`default_memory` by default.
        compiled: compile both passes before their first use, which takes half a minute each.
        precision: bf16 and tf32 are faster on some devices, and restore slightly worse.

    Both passes may run in several threads at the same time.
    """

    def __init__(
        self,
        net: IICNet,
        device: torch.device | None = None,
        *,
        noise_shaping: NoiseShapingFilter | None = None,
        memory: int | None = None,
        compiled: bool = False,
        precision: Precision = "fp32",
    ) -> None:
        self.device = device or torch.device("cpu")
        if self.device.type == "cpu":
            keep_freed_memory()
        self.net = channels_last(net.to(self.device)).eval()
        set_precision(self.net, precision, self.device)
        self.net.coupling.accelerator = None  # another runner may have used this network
        if self.device.type == "cpu" and precision == "fp32" and not compiled:
            accelerate(self.net)
        self._forward: Callable[[Tensor], Tensor] = self.net.forward
        self._inverse: Callable[[Tensor], Tensor] = self.net.inverse
        if compiled:
            # All tiles have one size, so nothing is compiled twice.
            self._forward = compile_pass(self._forward, freezing=True)
            self._inverse = compile_pass(self._inverse, freezing=True)
        self.config = net.config
        self.noise_shaping = noise_shaping
        self.precision: Precision = precision
        self._compiled = compiled
        self._requested_memory = memory
        self.memory = default_memory(self.device) if memory is None else memory

    @property
    def scale(self) -> int:
        """Pixels of a picture to one pixel of the embedding, on each axis."""
        return self.config.scale

    def groups_at_once(self, height: int, width: int) -> int:
        """How many groups of pictures of this size may be embedded at once, each on a core or more.

        Their tensors have to fit into the memory for a tile; on a CPU, and unless the user set that
        memory, into twice the default.
        """
        if self._compiled:  # a compiled pass runs in one thread only
            return 1
        memory = self.memory
        if self._requested_memory is None and self.device.type == "cpu":
            memory = min(2 * MAX_CPU_MEMORY, free_memory() // 2)
        config = self.config
        tensors = min(self.memory, bytes_per_pixel(config, self.precision) * height * width)
        arrays = _BYTES_PER_SAMPLE * config.images * config.channels * height * width
        limit = min(MAX_GROUPS_AT_ONCE, torch.get_num_threads())
        return max(1, min(limit, memory // (tensors + arrays)))

    def tiles(self, height: int, width: int, *, searching: bool = False) -> list[Tile]:
        """The tiles of pictures of this size; a search needs smaller ones.

        Its gradients keep the tensors of every block.
        """
        memory = self.memory // (1 + self.config.blocks) if searching else self.memory
        return plan_tiles(height, width, self.config, memory, self.precision)

    @torch.inference_mode()
    def reference(self, images: PixelArray) -> Pixels:
        """What the embedding of (K, H, W, C) should look like: (H_e, W_e, C_e) uint8."""
        scale = self.scale
        height, width = images.shape[1] // scale, images.shape[2] // scale
        out = np.empty((height, width, self.config.embedding_channels), np.uint8)
        for top in range(0, height, _REFERENCE_ROWS):
            rows = slice(scale * top, scale * (top + _REFERENCE_ROWS))
            strip = to_tensor(images[None, :1, rows], self.device)
            out[top : top + _REFERENCE_ROWS] = to_pixels(self.net.reference(strip))[0]
        return out

    @torch.inference_mode()
    def embed(self, images: PixelArray, tick: Tick = ignore_tick) -> UnroundedEmbedding:
        """The embedding (H_e, W_e, C_e) of (K, H, W, C), the reference first.

        Raises:
            ValueError: H or W is no multiple of ``config.multiple``, or K or C differ.
        """
        height, width = images.shape[1:3]
        scale = self.scale
        shape = (height // scale, width // scale, self.config.embedding_channels)
        pixels, residual = np.empty(shape, np.uint8), np.empty(shape, np.int8)
        for tile in self._tiles_with_ticks(height, width, tick):
            part = to_tensor(images[:, *tile.compute][None], self.device)
            values = self._forward(part)
            kept, inner = scale_area(tile.keep, scale), scale_area(tile.inner, scale)
            pixels[kept] = to_pixels(values)[0][inner]
            residual[kept] = to_rounding_residual(values)[0][inner]
        return UnroundedEmbedding(pixels, residual)

    @torch.inference_mode()
    def restore(
        self, embedding: Pixels, dtype: DTypeLike = np.uint8, tick: Tick = ignore_tick
    ) -> PixelArray:
        """The pictures of an embedding, rounded.

        Args:
            embedding: (H_e, W_e, C_e) uint8.
            dtype: uint8, or int16 for pictures that were not within 0..255.
            tick: called after each tile.

        Returns:
            (K, H, W, C) of that type.
        """
        out: PixelArray = np.empty(self._restored_shape(embedding.shape), dtype)
        to_array: Callable[[Tensor], PixelArray] = (
            to_pixels if out.dtype == np.uint8 else to_signed_pixels
        )
        for keep, restored in self._restored_tiles(embedding, tick):
            out[keep] = to_array(restored)
        return out

    @torch.inference_mode()
    def restore_fixed_point(
        self,
        embedding: Pixels | UnroundedEmbedding,
        dtype: DTypeLike = np.uint8,
        rows: slice | None = None,
        tick: Tick = ignore_tick,
    ) -> FixedPoint:
        """The pictures of an embedding, before they are rounded.

        Args:
            embedding: (H_e, W_e, C_e); as it is read, or as it was before it was rounded.
            dtype: the range of the pictures: 0..255 for uint8, -512..512 for int16.
            rows: restore these rows of the pictures only, from the embedding near them. They differ
                slightly from those of the whole, because the receptive field is larger; the first
                and last rows differ most.
            tick: called after each tile.

        Returns:
            (K, H, W, C).
        """
        shape = (embedding if isinstance(embedding, np.ndarray) else embedding.pixels).shape
        if rows is not None:
            window = self._window(rows, shape[0])
            some = self.restore_fixed_point(embedding[window], dtype, tick=tick)
            return some[:, self._rows_in_window(rows, window)]
        out: FixedPoint = np.empty(self._restored_shape(shape), np.int16)
        for keep, restored in self._restored_tiles(embedding, tick):
            out[keep] = tensor_to_fixed_point(restored, clamped=np.dtype(dtype) == np.uint8)
        return out

    @torch.inference_mode()
    def restore_areas(
        self, embedding: UnroundedEmbedding, dtype: DTypeLike, areas: Sequence[slice]
    ) -> list[FixedPoint]:
        """Some rows of the pictures, as if each area was restored by itself.

        Areas of one size are one batch, which uses several cores better, if they fit into the
        memory for a tile.

        Args:
            embedding: (H_e, W_e, C_e), before rounding.
            dtype: as for :meth:`restore_fixed_point`.
            areas: rows of the pictures.

        Returns:
            (K, h, W, C) of each.
        """
        height, width = embedding.pixels.shape[:2]
        windows = [self._window(rows, height) for rows in areas]
        pixels = sum(window.stop - window.start for window in windows) * width * self.scale**2
        fits = bytes_per_pixel(self.config, self.precision) * pixels <= self.memory
        is_one_size = len({window.stop - window.start for window in windows}) == 1
        # A compiled pass would be compiled anew for the size of the batch.
        if self._compiled or not (fits and is_one_size):
            return [self.restore_fixed_point(embedding, dtype, rows) for rows in areas]
        batch = np.stack([embedding[window].values() for window in windows])
        restored = self._inverse(to_tensor(batch, self.device))
        clamped = np.dtype(dtype) == np.uint8
        return [
            tensor_to_fixed_point(pictures, clamped=clamped)[:, self._rows_in_window(rows, window)]
            for pictures, rows, window in zip(restored, areas, windows, strict=True)
        ]

    def _window(self, rows: slice, height: int) -> slice:
        """The rows of an embedding from which some rows of the pictures are restored."""
        multiple = self.config.multiple // self.scale
        top = max(0, rows.start // self.scale - _MARGIN_ROWS) // multiple * multiple
        bottom = -(-rows.stop // self.scale) + _MARGIN_ROWS
        return slice(top, min(-(-bottom // multiple) * multiple, height))

    def _rows_in_window(self, rows: slice, window: slice) -> slice:
        """Where some rows of the pictures lie in what is restored from their window."""
        top = window.start * self.scale
        return slice(rows.start - top, rows.stop - top)

    def _restored_shape(self, embedding: tuple[int, ...]) -> tuple[int, int, int, int]:
        height, width = (side * self.scale for side in embedding[:2])
        return self.config.images, height, width, self.config.channels

    def _restored_tiles(
        self, embedding: Pixels | UnroundedEmbedding, tick: Tick
    ) -> Iterator[tuple[tuple[slice, slice, slice], Tensor]]:
        """Tile by tile: where it lies in all pictures, and its part of them, (K, C, H, W)."""
        shape = (embedding if isinstance(embedding, np.ndarray) else embedding.pixels).shape
        for tile in self._tiles_with_ticks(*self._restored_shape(shape)[1:3], tick):
            area = embedding[scale_area(tile.compute, self.scale)]
            values: Pixels | NDArray[np.float32]
            values = area if isinstance(area, np.ndarray) else area.values()
            restored = self._inverse(to_tensor(values[None], self.device))
            yield (slice(None), *tile.keep), restored[0][..., *tile.inner]

    def _tiles_with_ticks(self, height: int, width: int, tick: Tick) -> Iterator[Tile]:
        tiles = self.tiles(height, width)
        for i, tile in enumerate(tiles):
            yield tile
            tick((i + 1) / len(tiles))
