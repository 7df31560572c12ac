"""The whole network: the modules of equations (1) to (8) in a chain, and back, equation (9)."""

from __future__ import annotations

from functools import partial
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from iicnet_cli.network.config import IICNetConfig
from iicnet_cli.network.coupling import (
    CouplingBlock,
    CouplingLayers,
    DenseBlock,
    ResidualNet,
    SubnetFactory,
)
from iicnet_cli.network.detail import DetailLayers
from iicnet_cli.network.downscaling import InvertibleDownscaling
from iicnet_cli.network.invertible import InvertibleConv1x1
from iicnet_cli.network.relation import RelationBlock, RelationModule
from iicnet_cli.network.squeeze import ChannelSqueeze

_INITIAL_SPREAD = 0.3
"""Other images start in the preliminary embeddings scaled by this factor."""


class IICNet(nn.Module):
    """Converts images to one embedding (:meth:`forward`) and back (:meth:`inverse`).

    ::

        images - [detail] - [relation] - [downscaling] - [1x1] - coupling - squeeze - [upscaling]

    Modules in brackets depend on the configuration. ``upscaling`` is the inverse of the downscaling
    for one image; it is there when the coupling layers work on a smaller size than that of the
    embedding. Quantization is not part of the network: callers put :class:`Quantization` (in
    training) or a PNG between the two passes.

    Args:
        config: the variant to build.
    """

    def __init__(self, config: IICNetConfig) -> None:
        super().__init__()
        self.config = config
        self.relation = (
            RelationModule(config.images, config.channels, **config.relation.model_dump())
            if config.relation
            else None
        )
        self.detail = (
            DetailLayers(config.channels, **config.detail.model_dump()) if config.detail else None
        )
        self.downscaling: InvertibleDownscaling | None = None
        self.upscaling: InvertibleDownscaling | None = None
        if config.downscaling != "none":
            self.downscaling = InvertibleDownscaling(
                config.images, config.channels, config.downscaling, config.channel_order
            )
            if not config.half_size or config.detail:
                self.upscaling = InvertibleDownscaling(
                    1, config.embedding_channels, config.downscaling
                )
        self.downscaling_conv = (
            InvertibleConv1x1(config.working_channels, init="orthogonal")
            if config.downscaling_conv
            else None
        )
        subnet: SubnetFactory
        if config.subnet == "dense":
            subnet = partial(DenseBlock, growth=config.width)
        else:
            subnet = partial(ResidualNet, width=config.width, depth=config.depth)
        self.coupling = CouplingLayers(
            config.working_channels,
            config.split,
            config.blocks,
            subnet,
            fused=config.fused,
            mixing=config.mixing,
        )
        self.squeeze = ChannelSqueeze(config.working_channels, config.squeezed_channels)
        if config.mixing:
            self._start_at_reference()

    def forward(self, images: Tensor) -> Tensor:
        """Embed images, equations (1) to (8).

        Args:
            images: (B, K, C, H, W), sRGB, 0..1, the reference first.

        Returns:
            (B, C_e, H_e, W_e), near the reference, about 0..1, neither rounded nor clamped.

        Raises:
            ValueError: K or C differs from the configuration, or H or W is no multiple of
                ``config.multiple``.
        """
        self._check_shape(images)
        if self.detail is not None:
            images = self.detail(images)
        x = torch.cat(images.unbind(1), dim=1)  # unlike flatten, keeps the memory format
        if self.relation is not None:
            x = self.relation(x)
        if self.downscaling is not None:
            x = self.downscaling(x)
        if self.downscaling_conv is not None:
            x = self.downscaling_conv(x)
        e = self.squeeze(self.coupling(x))
        return e if self.upscaling is None else self.upscaling.inverse(e)

    def inverse(self, embedding: Tensor) -> Tensor:
        """Restore images, equation (9).

        Args:
            embedding: (B, C_e, H_e, W_e), 0..1.

        Returns:
            (B, K, C, H, W), near the images, about 0..1, neither rounded nor clamped.
        """
        e = embedding if self.upscaling is None else self.upscaling(embedding)
        x = self.coupling.inverse(self.squeeze.inverse(e))
        if self.downscaling_conv is not None:
            x = self.downscaling_conv.inverse(x)
        if self.downscaling is not None:
            x = self.downscaling.inverse(x)
        if self.relation is not None:
            x = self.relation.inverse(x)
        images = x.unflatten(1, (self.config.images, self.config.channels))
        return images if self.detail is None else self.detail.inverse(images)

    def reference(self, images: Tensor) -> Tensor:
        """Return e_ref, the image that the embedding should look like (section 3.2).

        Args:
            images: (B, K, C, H, W), the reference first.

        Returns:
            (B, C_e, H_e, W_e): the first image; its luma (Rec. 601) if the embedding has one
            channel; halved bilinearly if the embedding has half the size.
        """
        reference = self._select_reference(images)
        if self.config.half_size:
            reference = F.interpolate(reference, scale_factor=0.5, mode="bilinear")
        return reference

    def set_subnet_dtype(self, dtype: torch.dtype | None) -> Self:
        """Let h1, g, h2 and f_rel compute in another data type, such as ``torch.bfloat16``.

        Weights and all other operations keep their precision, and the state dict does not change.

        Args:
            dtype: data type for autocast; ``None`` to use that of the inputs again.

        Returns:
            This network.
        """
        for module in self.modules():
            if isinstance(module, CouplingBlock | RelationBlock):
                module.subnet_dtype = dtype
        return self

    def _select_reference(self, images: Tensor) -> Tensor:
        """Return the first image of (B, K, C, H, W) with the channels of the embedding."""
        first = images[:, 0]
        if self.config.embedding_channels < self.config.channels:
            luma = first.new_tensor([0.299, 0.587, 0.114])
            first = torch.einsum("bchw,c->bhw", first, luma)[:, None]
        return first

    @torch.no_grad()
    def _start_at_reference(self) -> None:
        """Initialise the last mixing so that the average of equation (8) is the reference.

        What the reference does not contain goes, scaled down, into differences between the
        preliminary embeddings. With the identity, the embedding would start as the mean of all.
        """
        reference = self._reference_matrix()
        channels, squeezed = self.config.working_channels, self.config.squeezed_channels
        # A basis: the reference, and all channels but those that weigh most in it.
        weights = reference.abs()
        replaced = []
        for row in range(squeezed):
            replaced.append(int(weights[row].argmax()))
            weights[:, replaced[-1]] = -1
        others = [i for i in range(channels) if i not in replaced]
        basis = torch.cat([reference, torch.eye(channels)[others]])
        copies = channels // squeezed
        mixing = torch.eye(copies) * _INITIAL_SPREAD
        mixing[0, 1:] = -_INITIAL_SPREAD
        mixing[:, 0] = 1
        last = self.coupling.layers[-2]
        assert isinstance(last, InvertibleConv1x1)
        last.weight.copy_(torch.kron(mixing, torch.eye(squeezed)) @ basis)

    def _reference_matrix(self) -> Tensor:
        """Return the (C, M) matrix from the M working channels to the reference.

        C are the channels of one preliminary embedding.
        """
        x = torch.eye(self.config.working_channels)[:, :, None, None]
        images = x if self.downscaling is None else self.downscaling.inverse(x)
        images = images.unflatten(1, (self.config.images, self.config.channels))
        # With detail layers, the images are halved already when they reach the downscaling.
        reference = self._select_reference(images) if self.detail else self.reference(images)
        if self.upscaling is not None:
            reference = self.upscaling(reference)
        return reference[:, :, 0, 0].T

    def _check_shape(self, images: Tensor) -> None:
        expected = (self.config.images, self.config.channels)
        if images.dim() != 5 or tuple(images.shape[1:3]) != expected:
            raise ValueError(
                f"expected images of shape (B, {expected[0]}, {expected[1]}, H, W), "
                f"not {tuple(images.shape)}"
            )
        multiple = self.config.multiple
        height, width = images.shape[-2:]
        if height % multiple or width % multiple:
            raise ValueError(
                f"height and width must be multiples of {multiple}, not {height}x{width}"
            )
