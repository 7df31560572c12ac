"""The coupling layers of compact networks on a CPU, by Winograd convolutions.

This computes what :class:`CouplingLayers` does, two to three times as fast: with fewer
multiplications, and with everything between two convolutions done while it is in the cache. Results
differ from PyTorch's in the last bits.

All M channels lie in one plane: those of u_t, then those of u_b, each padded to a multiple of 8.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from iicnet_cli.inference.coupling_strips import GROUP, Convolution, Values, run_subnet
from iicnet_cli.inference.winograd import (
    LANES,
    TILE,
    Plane,
    multiply_strips,
    transform_kernel,
)
from iicnet_cli.network.coupling import (
    CouplingBlock,
    CouplingLayers,
    FusedAffineNets,
    ResidualNet,
)
from iicnet_cli.network.invertible import InvertibleConv1x1


@dataclass(frozen=True)
class _Block:
    """A mixing with its inverse, and a coupling block: the layers of h2, and those of g and h1."""

    mixing: Values
    unmixing: Values
    h2: tuple[Convolution, ...]
    affine: tuple[Convolution, ...]


class FastCoupling:
    """Coupling layers for inference on a CPU.

    Args:
        layers: of a compact network; see ``acceleration.py``. Their weights may change.
    """

    def __init__(self, layers: CouplingLayers) -> None:
        self._layers = layers
        self._version: tuple[object, ...] = ()
        self._blocks: list[_Block] = []
        self._parts: tuple[int, int] = (0, 0)

    def forward(self, x: Tensor) -> Tensor:
        """As :meth:`CouplingLayers.forward`."""
        return self._run_each(self._forward, x)

    def inverse(self, y: Tensor) -> Tensor:
        """As :meth:`CouplingLayers.inverse`."""
        return self._run_each(self._inverse, y)

    def _run_each(self, run: Callable[[Tensor, int], Tensor], pictures: Tensor) -> Tensor:
        """Run a pass over each picture of a batch.

        With as many pictures as threads, each picture has one thread. Else each has all of them,
        which is more work: the parts of a picture that threads share overlap.
        """
        self._prepared()  # once, not in each thread
        threads = torch.get_num_threads()
        if len(pictures) == 1:
            return run(pictures[0], threads)  # not copied
        if 1 < threads <= len(pictures):
            return torch.cat(list(_POOL.map(lambda picture: run(picture, 1), pictures)))
        return torch.cat([run(picture, threads) for picture in pictures])

    def _forward(self, picture: Tensor, threads: int) -> Tensor:
        blocks = self._prepared()
        run = _Pass(self._parts, picture, threads, blocks[0].mixing)
        for block, mixing in zip(blocks, [*(b.mixing for b in blocks[1:]), _NONE], strict=True):
            run.change(block.h2, (False, 1.0), _NONE)
            run.change(block.affine, (True, 1.0), mixing)
        return run.result()

    def _inverse(self, picture: Tensor, threads: int) -> Tensor:
        blocks = self._prepared()
        run = _Pass(self._parts, picture, threads)
        for block in reversed(blocks):
            run.change(block.affine, (True, -1.0), _NONE)
            run.change(block.h2, (False, -1.0), block.unmixing)
        return run.result()

    def _prepared(self) -> list[_Block]:
        """The blocks with the weights that the layers have now."""
        version = tuple((p.data_ptr(), p._version) for p in self._layers.parameters())
        if version != self._version:
            pairs = zip(self._layers.layers[::2], self._layers.layers[1::2], strict=True)
            self._blocks = [_prepare_block(*pair) for pair in pairs]
            block = self._layers.layers[1]
            assert isinstance(block, CouplingBlock)
            self._parts = (block.parts[0], block.parts[1])
            self._version = version
        return self._blocks


class _Pass:
    """The planes of one pass over one picture, (M, H, W).

    Args:
        parts: channels of u_t and of u_b.
        picture: M channels.
        threads: of the pool that share it; with 1, the calling thread has it for itself.
        mixing: of a block; multiplies the picture first.
    """

    def __init__(
        self,
        parts: tuple[int, int],
        picture: Tensor,
        threads: int,
        mixing: Values | None = None,
    ) -> None:
        self._height, self._width = picture.shape[1:]
        self._threads = threads
        self._parts, self._start = parts, _padded(parts[0], GROUP)
        channels = self._start + _padded(parts[1], GROUP)
        self._u, self._mixed = (self._plane(channels) for _ in range(2))
        values, (top, bottom) = picture.permute(1, 2, 0).numpy(), parts
        inside = self._inside(self._u)
        inside[..., :top] = values[..., :top]
        inside[..., self._start : self._start + bottom] = values[..., top:]
        if mixing is not None:
            self._each_part(partial(multiply_strips, self._u, mixing, self._mixed))
            self._u, self._mixed = self._mixed, self._u

    def result(self) -> Tensor:
        """(1, M, H, W), in memory with the channels last."""
        (top, bottom), start = self._parts, self._start
        inside = self._inside(self._u)
        values = np.concatenate([inside[..., :top], inside[..., start : start + bottom]], axis=2)
        return torch.from_numpy(values).permute(2, 0, 1)[None]

    def change(
        self, subnet: tuple[Convolution, ...], step: tuple[bool, float], mixing: Values
    ) -> None:
        """Equation (3), (4), (5) or (6); then multiply the channels of each pixel by a matrix."""
        u, mixed, shape = self._u, self._mixed, (self._height, self._width)
        self._each_part(partial(run_subnet, subnet, u, self._start, step, mixing, mixed, shape))
        if mixing.size:
            self._u, self._mixed = mixed, u

    def _plane(self, channels: int) -> Plane:
        rows, columns = (_padded(n, TILE) + 2 for n in (self._height, self._width))
        size = rows * columns * channels
        return np.zeros(size + LANES, np.float32)[:size].reshape(rows, columns, channels)

    def _inside(self, plane: Plane) -> Plane:
        return plane[1 : self._height + 1, 1 : self._width + 1]

    def _each_part(self, work: Callable[[tuple[int, int]], Any]) -> None:
        """Call ``work`` for parts of the strips, each in a thread."""
        strips = _padded(self._height, TILE) // TILE
        threads = min(self._threads, strips)
        ends = [strips * i // threads for i in range(threads + 1)]
        if threads == 1:
            work((0, strips))
        else:
            list(_POOL.map(work, pairwise(ends)))


_POOL = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="coupling")
"""For all passes, so that those of several groups at once can use all cores together."""

_NONE: Values = np.zeros((0, 0), np.float32)
"""No mixing."""


def _padded(length: int, multiple: int) -> int:
    return -(-length // multiple) * multiple


def _places(parts: tuple[int, int]) -> NDArray[np.intp]:
    """Where the channels of u_t and u_b lie in a plane."""
    top, bottom = parts
    return np.concatenate([np.arange(top), _padded(top, GROUP) + np.arange(bottom)])


@torch.no_grad()
def _prepare_block(mixing: nn.Module, block: nn.Module) -> _Block:
    assert isinstance(mixing, InvertibleConv1x1)
    assert isinstance(block, CouplingBlock)
    assert isinstance(block.affine, FusedAffineNets)
    top, bottom = block.parts
    places = _places((top, bottom))
    channels = sum(_padded(part, GROUP) for part in block.parts)
    weight = mixing.weight.double().numpy()

    def spread(matrix: NDArray[np.float64]) -> Values:
        rows = _place(matrix.T, 0, places, channels)
        return _place(rows, 1, places, channels).astype(np.float32)

    c = np.arange(bottom)
    g = c // GROUP * 2 * GROUP + c % GROUP  # 8 channels of g, then 8 of h1
    return _Block(
        mixing=spread(weight),
        unmixing=spread(np.linalg.inv(weight)),
        h2=_prepare_subnet(block.h2, np.arange(top)),
        affine=_prepare_subnet(block.affine.g_h1, np.concatenate([g, g + GROUP])),
    )


def _prepare_subnet(net: nn.Module, outputs: NDArray[np.intp]) -> tuple[Convolution, ...]:
    """The layers of a subnet, the last one with its outputs at those places."""
    assert isinstance(net, ResidualNet)
    features = np.arange(net.first.out_channels)
    inner = [_prepare(layer, features) for layer in (net.first, *net.body)]
    return *inner, _prepare(net.last, outputs)


def _prepare(layer: nn.Module, outputs: NDArray[np.intp]) -> Convolution:
    assert isinstance(layer, nn.Conv2d)
    assert layer.bias is not None
    length = _padded(int(outputs.max()) + 1, LANES)
    weight, bias = (_place(x.numpy(), 0, outputs, length) for x in (layer.weight, layer.bias))
    return transform_kernel(weight), bias.astype(np.float32)


def _place(array: NDArray[Any], axis: int, places: NDArray[np.intp], length: int) -> NDArray[Any]:
    """Put the entries of an axis at some places of a longer one, between zeros."""
    shape = list(array.shape)
    shape[axis] = length
    placed = np.zeros(shape, array.dtype)
    np.moveaxis(placed, axis, 0)[places] = np.moveaxis(array, axis, 0)
    return placed
