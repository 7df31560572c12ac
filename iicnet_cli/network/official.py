"""Settings and weights of the authors' code (github.com/felixcheng97/IICNet).

The published networks read and write images in BGR order, ours in RGB. The difference is removed in
the weights: in every convolution that reads or writes image channels, these are reversed image by
image. So the rest of the program knows RGB only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from iicnet_cli.errors import ModelError
from iicnet_cli.network.config import IICNetConfig
from iicnet_cli.network.downscaling import InvertibleDownscaling
from iicnet_cli.network.iicnet import IICNet


def _grayscale() -> IICNetConfig:
    # The published network splits the first channel, blue, from the other two. In RGB blue is the
    # last channel, so a mixing before the first block reverses the channels.
    paper = IICNetConfig.paper(1, blocks=16, embedding_channels=1)
    return IICNetConfig.model_validate({**paper.model_dump(), "mixing": True})


PUBLISHED_SETTINGS: dict[str, IICNetConfig] = {
    "paper/video-5": IICNetConfig.paper(5),
    "paper/video-7": IICNetConfig.paper(7),
    "paper/video-9": IICNetConfig.paper(9),
    "paper/video-3-half": IICNetConfig.paper(3, half_size=True, channel_order="band"),
    "paper/video-5-half": IICNetConfig.paper(5, half_size=True, downscaling="pixel_shuffle"),
    "paper/stereo": IICNetConfig.paper(2, blocks=16),
    "paper/dual": IICNetConfig.paper(2),
    "paper/layers-3": IICNetConfig.paper(3),
    "paper/layers-2": IICNetConfig.paper(2),
    "paper/stego-2": IICNetConfig.paper(2),
    "paper/stego-3": IICNetConfig.paper(3),
    "paper/stego-4": IICNetConfig.paper(4),
    "paper/stego-5": IICNetConfig.paper(5),
    "paper/grayscale": _grayscale(),
    "paper/rescale": IICNetConfig.paper(
        1, blocks=16, half_size=True, downscaling="pixel_shuffle", channel_order="band"
    ),
}
"""Configurations of the published networks, by the names that ``models import --as`` accepts.

The images are ordered with the reference first: the middle frame, then the others in time (video);
left, right (stereo); normal, zoomed (dual); composed, background[, foreground] (layers).
"""


def published_task(name: str) -> str:
    """Return the task of a published setting, such as ``video`` for ``paper/video-3-half``."""
    return name.removeprefix("paper/").partition("-")[0]


class _Origin(NamedTuple):
    """The official tensor that becomes one of ours.

    Attributes:
        key: its key in the official state dict.
        inputs: number of leading input channels that are image channels.
        outputs: whether the output channels are image channels.
    """

    key: str
    inputs: int = 0
    outputs: bool = False


def convert_state_dict(state: Mapping[str, Tensor], config: IICNetConfig) -> dict[str, Tensor]:
    """Convert weights of the authors' code to those of an :class:`IICNet` that computes the same.

    ::

        0  relation      0.forw_rel.DB_heads.0.conv1.weight
        1  downscaling   1.operations.0.haar_weights, 1.operations.1.weight
        2  coupling      2.operations.0.F.conv1.weight       F = h2, G = h1, H = g
        3  squeeze       nothing
        4  quantization  nothing

    Args:
        state: state dict of their ModuleList, or of one in a DistributedDataParallel (keys that
            start with ``module.``).
        config: one of :data:`PUBLISHED_SETTINGS`, with any number of blocks.

    Returns:
        The state dict of an :class:`IICNet` with this configuration, float.

    Raises:
        ModelError: a tensor is missing, surplus or of another shape, or the Haar kernel is not that
            of the paper.
    """
    remaining = {key.removeprefix("module."): tensor for key, tensor in state.items()}
    shapes = {key: tensor.shape for key, tensor in IICNet(config).state_dict().items()}

    def take(key: str, shape: torch.Size) -> Tensor:
        tensor = remaining.pop(key, None)
        if tensor is None:
            raise _misfit(f"'{key}' is missing")
        if tensor.shape != shape:
            raise _misfit(f"'{key}' has the shape {tuple(tensor.shape)}, not {tuple(shape)}")
        return tensor.float()

    converted: dict[str, Tensor] = {}
    if config.downscaling == "haar":
        kernel = 4 * InvertibleDownscaling(1, 1).kernel.repeat(config.image_channels, 1, 1, 1)
        key = "1.operations.0.haar_weights"
        if not torch.equal(take(key, kernel.shape), kernel):
            raise _misfit(f"'{key}' are not the Haar wavelets")
    for ours, origin in _list_origins(config):
        tensor = take(origin.key, shapes[ours])
        if origin.inputs:
            tensor = _reverse_images(tensor, 1, origin.inputs)
        if origin.outputs:
            tensor = _reverse_images(tensor, 0, tensor.shape[0])
        converted[ours] = tensor
    if remaining:
        raise _misfit(f"'{next(iter(remaining))}' has no place in it")
    if config.mixing:
        identity = torch.eye(config.working_channels)
        for block in range(config.blocks):
            converted[f"coupling.layers.{2 * block}.weight"] = identity.clone()
        converted["coupling.layers.0.weight"] = identity.flip(0)
    return converted


def _misfit(reason: str) -> ModelError:
    return ModelError(
        f"these weights do not fit this published setting: {reason}",
        hint="is it another setting? see: iicnet models import --help",
    )


def _list_origins(config: IICNetConfig) -> Iterator[tuple[str, _Origin]]:
    """Yield our key and the origin of each tensor that the official state dict has."""
    if config.relation is not None:
        for direction, their_name in (("forward", "forw"), ("inverse", "back")):
            ours, theirs = f"relation.{direction}_block", f"0.{their_name}_rel"
            for k in range(config.images):
                head, tail = f"{ours}.heads.{k}", f"{ours}.tails.{k}"
                yield from _dense(f"{head}.0", f"{theirs}.DB_heads.{k}", inputs=config.channels)
                yield from _convolution(f"{head}.1", f"{theirs}.conv_1x1_heads.{k}")
                yield from _convolution(f"{tail}.0", f"{theirs}.conv_merges.{k}")
                yield from _convolution(f"{tail}.1", f"{theirs}.conv_1x1_tails.{k}")
                yield from _dense(f"{tail}.2", f"{theirs}.DB_tails.{k}", outputs=True)
    if config.downscaling_conv:
        yield (
            "downscaling_conv.weight",
            _Origin("1.operations.1.weight", inputs=config.working_channels, outputs=True),
        )
    # With a mixing, the coupling layers see the channels in the published order.
    published_order = config.mixing
    top, bottom = config.split, config.working_channels - config.split
    for block in range(config.blocks):
        ours = f"coupling.layers.{2 * block + 1 if config.mixing else block}"
        theirs = f"2.operations.{block}"
        for net, their_name, inputs in (
            ("h2", "F", bottom),
            ("affine.h1", "G", top),
            ("affine.g", "H", top),
        ):
            yield from _dense(
                f"{ours}.{net}",
                f"{theirs}.{their_name}",
                inputs=0 if published_order else inputs,
                outputs=not published_order,
            )


def _dense(
    ours: str, theirs: str, *, inputs: int = 0, outputs: bool = False
) -> Iterator[tuple[str, _Origin]]:
    for i in range(4):
        yield from _convolution(f"{ours}.layers.{i}", f"{theirs}.conv{i + 1}", inputs)
    yield from _convolution(f"{ours}.last", f"{theirs}.conv5", inputs, outputs)


def _convolution(
    ours: str, theirs: str, inputs: int = 0, outputs: bool = False
) -> Iterator[tuple[str, _Origin]]:
    yield f"{ours}.weight", _Origin(f"{theirs}.weight", inputs, outputs)
    yield f"{ours}.bias", _Origin(f"{theirs}.bias", outputs=outputs)


def _reverse_images(tensor: Tensor, dim: int, channels: int) -> Tensor:
    """Reverse the three channels of each image in the leading ``channels`` of a dimension."""
    index = torch.arange(tensor.shape[dim])
    index[:channels] = index[:channels].unflatten(0, (-1, 3)).flip(1).flatten()
    return tensor.index_select(dim, index)
