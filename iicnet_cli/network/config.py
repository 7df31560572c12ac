"""The validated description that builds every variant of the network."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class RelationConfig(BaseModel):
    """Relation module, equation (1): widths of its dense blocks and the scale of its residual."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    features: int = Field(default=64, ge=1)
    growth: int = Field(default=32, ge=1)
    scale: float = 0.2


class DetailConfig(BaseModel):
    """Layers that halve each image by itself and fold into it what halving would lose."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    blocks: int = Field(default=4, ge=1, le=16)
    width: int = Field(default=24, ge=4, description="features of the residual subnets")


class IICNetConfig(BaseModel):
    """Every choice that the shape of an IICNet depends on.

    The paper's networks (:meth:`paper`) and the small ones that come with iicnet
    (:meth:`compact`) are two settings of the same modules. Notation of the paper: K images of C
    channels, N = C K, M channels after the downscaling module.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: int = Field(ge=1, le=16, description="K, the reference included")
    channels: Literal[1, 3] = Field(default=3, description="C")
    embedding_channels: Literal[1, 3] = Field(default=3, description="C_e")
    half_size: bool = Field(default=False, description="the embedding has half the size")

    downscaling: Literal["none", "haar", "pixel_shuffle"] = "haar"
    downscaling_conv: bool = Field(default=False, description="invertible 1x1 after downscaling")
    channel_order: Literal["image", "band"] = Field(
        default="image",
        description="after downscaling: all bands of image 1, of image 2, ..., or band by band",
    )

    relation: RelationConfig | None = None
    detail: DetailConfig | None = Field(
        default=None, description="half size: halve the images before all the rest"
    )

    blocks: int = Field(default=8, ge=1, le=64)
    mixing: bool = Field(default=True, description="learned invertible 1x1 before each block")
    subnet: Literal["dense", "residual"] = "residual"
    width: int = Field(default=32, ge=4, description="growth (dense) or features (residual)")
    depth: int = Field(default=1, ge=0, description="3x3 layers in the body of a residual subnet")
    fused: bool = Field(default=True, description="h1 and g are one net with two outputs")

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
        return self

    @property
    def scale(self) -> int:
        """Pixels of a picture to one pixel of the embedding, on each axis."""
        return 2 if self.half_size else 1

    @property
    def multiple(self) -> int:
        """Height and width of the images must be multiples of this."""
        return self.cell * (2 if self.detail else 1)

    @property
    def cell(self) -> int:
        """Factor of the downscaling module, on each axis."""
        return 1 if self.downscaling == "none" else 2

    @property
    def image_channels(self) -> int:
        """N = C K."""
        return self.images * self.channels

    @property
    def working_channels(self) -> int:
        """M, channels in the coupling layers."""
        return self.image_channels * self.cell**2

    @property
    def squeezed_channels(self) -> int:
        """Channels of one preliminary embedding in the coupling layers' domain, equation (8)."""
        halves = self.half_size and not self.detail
        return self.embedding_channels * (1 if halves else self.cell**2)

    @property
    def split(self) -> int:
        """Where u is split in u_t (the reference, or the lowest band) and u_b, section 3.1."""
        if self.channel_order == "band" and self.downscaling != "none":
            return self.working_channels // 4
        return self.embedding_channels * self.cell**2

    @property
    def halo(self) -> int:
        """Receptive field of either pass, in pixels of the images to each side."""
        subnet = 5 if self.subnet == "dense" else 2 + self.depth
        working = 2 * subnet * self.blocks
        relation = 11 if self.relation else 0
        reach = working * self.cell + (self.cell - 1) + relation
        if self.detail:
            reach = 2 * (reach + 2 * 3 * self.detail.blocks) + 1
        return reach

    @classmethod
    def compact(cls, images: int, **changes: object) -> Self:
        """The small networks that come with iicnet: Haar domain, learned mixing, residual nets."""
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
        """The setting of the paper: pixels, or Haar and 1x1 for half size; three dense blocks."""
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
