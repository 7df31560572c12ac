"""Cutting a picture into tiles whose tensors fit into the memory.

A tile is computed with a halo as wide as the network's receptive field, so the kept parts of all
tiles together equal what the network gives for the whole picture.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

import torch

from iicnet_cli.network import IICNetConfig
from iicnet_cli.network.precision import Precision

MAX_CPU_MEMORY = 1 << 30
"""The tensors of one tile take at most this many bytes on a CPU, unless the user says otherwise."""


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
    into the memory, this is the one whose tiles have the fewest pixels in all, halos included.

    Args:
        height: pixels, a multiple of ``config.multiple``.
        width: likewise.
        config: the network.
        memory: bytes for the tensors of one tile; a tile of four by four halos is allowed even if
            it takes more.
        precision: arithmetic of the network.
    """
    multiple = config.multiple
    halo = math.ceil(config.halo / multiple) * multiple
    pixels = max(memory // bytes_per_pixel(config, precision), (4 * halo) ** 2)
    grids = []
    for rows in range(1, max(1, height // halo) + 1):
        tall = _window_length(height, rows, halo, multiple)
        max_wide = pixels // tall // multiple * multiple
        if max_wide >= width:
            columns = 1
        elif max_wide > 2 * halo:
            columns = math.ceil((width - 2 * halo) / (max_wide - 2 * halo))
        else:
            continue
        wide = _window_length(width, columns, halo, multiple)
        grids.append((rows * tall * columns * wide, tall, wide))
    _, tall, wide = min(grids)
    return [
        Tile((keep_y, keep_x), (compute_y, compute_x))
        for keep_y, compute_y in _spans(height, tall, halo)
        for keep_x, compute_x in _spans(width, wide, halo)
    ]


def _window_length(length: int, count: int, halo: int, multiple: int) -> int:
    """The length of ``count`` windows that overlap by two halos and cover ``length`` pixels."""
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
    # In numbers of 4 bytes; in bf16, those inside of subnets have 2.
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
    # 4 bytes, and half as much again for what allocators and convolutions keep: measured.
    return math.ceil(6 * coupling)


def default_memory(device: torch.device) -> int:
    """Bytes for the tensors of one tile: half of the free memory; on a CPU at most 1 GiB."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free // 2
    return min(MAX_CPU_MEMORY, free_memory() // 2)


def free_memory() -> int:
    """Bytes of main memory that are free, or a guess where the system does not tell."""
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not POSIX
        return 4 * MAX_CPU_MEMORY


def scale_area(area: tuple[slice, slice], scale: int) -> tuple[slice, slice]:
    """Rows and columns of a picture as those of an embedding that is ``scale`` times smaller."""
    y, x = area
    return (
        slice(y.start // scale, y.stop // scale),
        slice(x.start // scale, x.stop // scale),
    )
