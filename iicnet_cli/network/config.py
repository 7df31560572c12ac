"""The validated description from which every variant of the network is built."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

MAX_WIDTH = 256
"""Layers have at most so many feature channels."""
MAX_WEIGHTS = 200_000_000
"""Networks with more weights are not built; those of the paper have up to 14 million."""


class RelationConfig(BaseModel):
    """Architecture of the relation module, equation (1)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    features: int = Field(
        default=64, ge=1, le=MAX_WIDTH, description="feature channels of each image"
    )
    growth: int = Field(default=32, ge=1, le=MAX_WIDTH, description="growth of the dense blocks")
    scale: FiniteFloat = Field(default=0.2, description="factor of the residual")


class DetailConfig(BaseModel):
    """Architecture of the detail layers, which halve each image and keep part of its detail."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    blocks: int = Field(default=4, ge=1, le=16, description="coupling blocks")
    width: int = Field(
        default=24, ge=4, le=MAX_WIDTH, description="feature channels of the residual subnets"
    )


class IICNetConfig(BaseModel):
    """The complete description of the architecture of an :class:`IICNet`.

    The networks of the paper (:meth:`paper`) and the small ones that come with iicnet
    (:meth:`compact`) are two settings of the same modules. The notation is that of the paper: K
    images of C channels, N = C K, M channels after the downscaling module.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: int = Field(ge=1, le=16, description="K, the number of images with the reference")
    channels: Literal[1, 3] = Field(default=3, description="C, channels of each image")
    embedding_channels: Literal[1, 3] = Field(default=3, description="C_e, of the embedding")
    half_size: bool = Field(
        default=False, description="the embedding has half the height and width of the images"
    )

    downscaling: Literal["none", "haar", "pixel_shuffle"] = "haar"
    downscaling_conv: bool = Field(
        default=False, description="invertible 1x1 convolution after downscaling"
    )
    channel_order: Literal["image", "band"] = Field(
        default="image",
        description="channels after downscaling: all bands of image 1, of image 2, ..., or band 1 "
        "of all images, band 2, ...",
    )

    relation: RelationConfig | None = None
    detail: DetailConfig | None = Field(
        default=None, description="halve the images before all other modules; needs half_size"
    )

    blocks: int = Field(default=8, ge=1, le=64, description="coupling blocks")
    mixing: bool = Field(
        default=True, description="learned invertible 1x1 convolution before each block"
    )
    subnet: Literal["dense", "residual"] = "residual"
    width: int = Field(
        default=32,
        ge=4,
        le=MAX_WIDTH,
        description="growth (dense) or feature channels (residual) of subnets",
    )
    depth: int = Field(default=1, ge=0, le=16, description="3x3 layers inside a residual subnet")
    fused: bool = Field(default=True, description="h1 and g are one subnet with two outputs")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.half_size and self.downscaling == "none" and not self.detail:
            raise ValueError("half_size needs downscaling 'haar' or 'pixel_shuffle', or detail")
        if self.detail and not self.half_size:
            raise ValueError("detail needs half_size")
        if self.downscaling_conv and self.downscaling == "none":
            raise ValueError("downscaling_conv needs a downscaling")
        if self.working_channels % self.squeezed_channels:
            raise ValueError(
                f"{self.working_channels} channels cannot be averaged into groups of "
                f"{self.squeezed_channels}"
            )
        if not 0 < self.split < self.working_channels:
            raise ValueError(
                f"the split at {self.split} leaves one part of {self.working_channels} channels "
                "empty"
            )
        if self._upper_bound_of_weights > MAX_WEIGHTS:
            raise ValueError(f"a network of more than {MAX_WEIGHTS} weights")
        return self

    @property
    def _upper_bound_of_weights(self) -> int:
        """Roughly, and not less than, the number of weights in the coupling blocks."""
        width = self.width * (self.depth + 1 if self.subnet == "dense" else 1)
        layers = 2 * self.working_channels * width + (self.depth + 1) * width * self.width
        return self.blocks * 3 * 9 * layers

    @property
    def scale(self) -> int:
        """Pixels of a picture to one pixel of the embedding, on each axis."""
        return 2 if self.half_size else 1

    @property
    def multiple(self) -> int:
        """Height and width of the images must be multiples of this many pixels."""
        return self.downscaling_factor * (2 if self.detail else 1)

    @property
    def downscaling_factor(self) -> int:
        """The downscaling module divides height and width by this."""
        return 1 if self.downscaling == "none" else 2

    @property
    def image_channels(self) -> int:
        """N = C K, the channels of all images."""
        return self.images * self.channels

    @property
    def working_channels(self) -> int:
        """M, the channels of the coupling layers."""
        return self.image_channels * self.downscaling_factor**2

    @property
    def squeezed_channels(self) -> int:
        """Channels of one preliminary embedding in the coupling layers, equation (8)."""
        halves = self.half_size and not self.detail
        return self.embedding_channels * (1 if halves else self.downscaling_factor**2)

    @property
    def split(self) -> int:
        """Channels of u_t, section 3.1: those of the reference, or of the lowest band."""
        if self.channel_order == "band" and self.downscaling != "none":
            return self.working_channels // 4
        return self.embedding_channels * self.downscaling_factor**2

    @property
    def halo(self) -> int:
        """Reach of the receptive field of either pass, in pixels of the images to each side."""
        subnet = 5 if self.subnet == "dense" else 2 + self.depth
        coupling = 2 * subnet * self.blocks
        relation = 11 if self.relation else 0
        factor = self.downscaling_factor
        reach = coupling * factor + (factor - 1) + relation
        if self.detail:
            reach = 2 * (reach + 2 * 3 * self.detail.blocks) + 1
        return reach

    @classmethod
    def compact(cls, images: int, **changes: object) -> Self:
        """Describe a small network like those that come with iicnet.

        It works in the Haar domain, with learned mixings and residual subnets.

        Args:
            images: K.
            changes: fields that differ from their defaults.

        Raises:
            ValidationError: the fields contradict each other.
        """
        return cls.model_validate({"images": images, **changes})

    @classmethod
    def paper(
        cls,
        images: int,
        *,
        blocks: int = 10,
        half_size: bool = False,
        downscaling: Literal["haar", "pixel_shuffle"] = "haar",
        channel_order: Literal["image", "band"] = "image",
        embedding_channels: Literal[1, 3] = 3,
        relation: bool = True,
    ) -> Self:
        """Describe a network of the paper.

        It works on pixels, or after downscaling and a 1x1 convolution if the embedding has half the
        size. Its three subnets h1, g and h2 are separate dense blocks.

        Raises:
            ValidationError: the arguments contradict each other.
        """
        return cls(
            images=images,
            embedding_channels=embedding_channels,
            half_size=half_size,
            downscaling=downscaling if half_size else "none",
            downscaling_conv=half_size,
            channel_order=channel_order,
            relation=RelationConfig() if relation else None,
            blocks=blocks,
            mixing=False,
            subnet="dense",
            width=32,
            depth=4,
            fused=False,
        )
