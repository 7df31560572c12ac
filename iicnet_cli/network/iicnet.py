"""The whole network: equations (1) to (9) in a row."""

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


class IICNet(nn.Module):
    """Images to one embedding (:meth:`forward`) and back (:meth:`inverse`).

    Quantization is not part of it: callers put :class:`Quantization` (training) or a PNG (use)
    between the two passes. When the coupling layers work on smaller images than the embedding is,
    the squeezed channels go back through the inverse of the downscaling.

    Args:
        config: which variant to build.
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
        """Embed.

        Args:
            images: (B, K, C, H, W), sRGB in 0..1, the reference first.

        Returns:
            (B, C_e, H_e, W_e), close to the reference, neither rounded nor clamped.

        Raises:
            ValueError: K or C differ from the configuration, or H or W is no multiple of
                ``config.multiple``.
        """
        self._check(images)
        if self.detail is not None:
            images = self.detail(images)
        x = torch.cat(images.unbind(1), dim=1)  # keeps the memory format; flatten may not
        if self.relation is not None:
            x = self.relation(x)
        if self.downscaling is not None:
            x = self.downscaling(x)
        if self.downscaling_conv is not None:
            x = self.downscaling_conv(x)
        e = self.squeeze(self.coupling(x))
        return e if self.upscaling is None else self.upscaling.inverse(e)

    def inverse(self, embedding: Tensor) -> Tensor:
        """Restore, equation (9).

        Args:
            embedding: (B, C_e, H_e, W_e), in 0..1.

        Returns:
            (B, K, C, H, W), close to the images, neither rounded nor clamped.
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
        """e_ref, what the embedding should look like (section 3.2).

        Args:
            images: (B, K, C, H, W), the reference first.

        Returns:
            (B, C_e, H_e, W_e): the first image; halved bilinearly when the embedding has half
            the size; its luma (Rec. 601) when the embedding has one channel.
        """
        reference = self._first(images)
        if self.config.half_size:
            reference = F.interpolate(reference, scale_factor=0.5, mode="bilinear")
        return reference

    def subnets_in(self, dtype: torch.dtype | None) -> Self:
        """Let h1, g, h2 and f_rel compute in a lower precision, as ``torch.bfloat16``, from now on.

        Weights, 1x1 mixings, couplings and squeeze stay as they are, and nothing of it is kept in
        the state dict. ``None`` goes back.

        Returns:
            This network.
        """
        for module in self.modules():
            if isinstance(module, CouplingBlock | RelationBlock):
                module.subnet_dtype = dtype
        return self

    def _first(self, images: Tensor) -> Tensor:
        """The first of (B, K, C, H, W) as (B, C_e, H, W)."""
        first = images[:, 0]
        if self.config.embedding_channels < self.config.channels:
            luma = first.new_tensor([0.299, 0.587, 0.114])
            first = torch.einsum("bchw,c->bhw", first, luma)[:, None]
        return first

    @torch.no_grad()
    def _start_at_reference(self, spread: float = 0.3) -> None:
        """Let the last mixing start where the average of equation (8) is the reference itself.

        All that the reference leaves out goes, scaled down, into the differences between the
        preliminary embeddings. With the identity the embedding would start as the average of all.
        """
        reference = self._reference_matrix()
        channels, squeezed = self.config.working_channels, self.config.squeezed_channels
        # The reference and what completes it: all channels but those that weigh most in it.
        weights = reference.abs()
        completed = []
        for row in range(squeezed):
            completed.append(int(weights[row].argmax()))
            weights[:, completed[-1]] = -1
        left_out = [i for i in range(channels) if i not in completed]
        basis = torch.cat([reference, torch.eye(channels)[left_out]])
        copies = channels // squeezed
        mixing = torch.eye(copies) * spread
        mixing[0, 1:] = -spread
        mixing[:, 0] = 1
        last = self.coupling.layers[-2]
        assert isinstance(last, InvertibleConv1x1)
        last.weight.copy_(torch.kron(mixing, torch.eye(squeezed)) @ basis)

    def _reference_matrix(self) -> Tensor:
        """(C, M): the channels of a preliminary embedding that equals the reference, from M."""
        x = torch.eye(self.config.working_channels)[:, :, None, None]
        images = x if self.downscaling is None else self.downscaling.inverse(x)
        images = images.unflatten(1, (self.config.images, self.config.channels))
        # The detail layers halve before the downscaling, whose channels these are.
        reference = self._first(images) if self.detail else self.reference(images)
        if self.upscaling is not None:
            reference = self.upscaling(reference)
        return reference[:, :, 0, 0].T

    def _check(self, images: Tensor) -> None:
        wanted = (self.config.images, self.config.channels)
        if images.dim() != 5 or tuple(images.shape[1:3]) != wanted:
            raise ValueError(
                f"expected images of shape (B, {wanted[0]}, {wanted[1]}, H, W), "
                f"not {tuple(images.shape)}"
            )
        multiple = self.config.multiple
        height, width = images.shape[-2:]
        if height % multiple or width % multiple:
            raise ValueError(
                f"height and width must be multiples of {multiple}, not {height}x{width}"
            )
