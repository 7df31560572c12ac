"""Bytes into a picture and out again, with JPEG in between.

::

    payload -> stages of bits -> shaping, error correction -> lattice -> pixels
    payload <- message bits   <- soft decoding             <- lattice <- pixels, place found

A small version of what is hidden may go beside the payload, coded so strongly that it survives
more.

How much error correction a picture needs is measured on it: random bits are put into it, it goes
through the hardest simulated channels, and the information that arrives is what the codes may use.
"""

from __future__ import annotations

import dataclasses
from typing import Self

import numpy as np
from PIL import Image

from iicnet_cli.engines.jpegproof.capacity_measurement import (
    PARTIAL_PAYLOAD,
    CarryingPlan,
    measure,
)
from iicnet_cli.engines.jpegproof.cell_layout import CellLayout
from iicnet_cli.engines.jpegproof.coefficient_lattice import CoefficientLattice
from iicnet_cli.engines.jpegproof.dct_blocks import BLOCK, forward_dct, luma_of, whole_blocks
from iicnet_cli.engines.jpegproof.lattice_decoder import decode, decode_small_version
from iicnet_cli.engines.jpegproof.lattice_encoder import LatticeCover, encode
from iicnet_cli.engines.jpegproof.payload_codes import PayloadCodes
from iicnet_cli.engines.jpegproof.profiles import LATTICES, SIDES, Profile
from iicnet_cli.engines.jpegproof.recompression import estimate_quality
from iicnet_cli.engines.jpegproof.robust_mark import MOST_BLOCKS, RobustMark
from iicnet_cli.engines.jpegproof.simulated_channels import hardest_channels
from iicnet_cli.engines.jpegproof.small_version_code import small_version_capacity
from iicnet_cli.engines.jpegproof.synchronisation import Located, busiest_part, locate_uncropped
from iicnet_cli.errors import DamagedError, UsageError
from iicnet_cli.pictures.arrays import Pixels
from iicnet_cli.pictures.limits import MAX_LOSSY_PIXELS

_TOLERANCE = 3
"""A quality is estimated as exactly as this."""
_MOST_SCALED = 2.5
"""A picture is recognised as resized up to this factor."""
_MUCH = 0.1
"""Lost share of a picture that explains why the payload is lost."""


@dataclasses.dataclass(frozen=True)
class PreparedCover:
    """A cover, and what it carries through the channels of a profile.

    Attributes:
        cover: on the profile's lattice.
        plan: what it carries.
        plan_beside: what it carries beside a small version.
        profile: what has to be survived.
    """

    cover: LatticeCover
    plan: CarryingPlan
    plan_beside: CarryingPlan
    profile: Profile

    @classmethod
    def of(cls, pixels: Pixels, profile: Profile) -> Self:
        """Measure what a cover (H, W, 3) or (H, W) carries.

        Raises:
            UsageError: it is too large.
        """
        height, width = pixels.shape[:2]
        if max(whole_blocks(pixels)) > MOST_BLOCKS or height * width > MAX_LOSSY_PIXELS:
            raise UsageError(
                f"a cover of {width} x {height} pixels is too large",
                hint=f"it has at most {MAX_LOSSY_PIXELS // 10**6} megapixels, "
                f"and {MOST_BLOCKS * BLOCK} on a side",
            )
        cover = LatticeCover.of(pixels, profile.lattice)
        plans = measure(cover, hardest_channels(profile.lattice.quality))
        return cls(cover, *plans, profile)

    @property
    def capacity(self) -> int:
        """Bytes, at least 0."""
        return self.plan.capacity

    @property
    def capacity_beside(self) -> int:
        """Bytes beside a small version, at least 0."""
        return self.plan_beside.capacity

    @property
    def spared_capacity(self) -> int:
        """Bytes beside a small version that a part of the picture restores, at least 0."""
        return int(self._spared(self.plan_beside).capacity * PARTIAL_PAYLOAD)

    @property
    def small_version_capacity(self) -> int:
        """Bytes of a small version, at least 0."""
        layout = CellLayout(self.profile.lattice, *whole_blocks(self.cover.pixels))
        return small_version_capacity(layout) if self.capacity_beside else 0

    def write(self, data: bytes, small_version: bytes | None = None) -> Pixels:
        """Embed bytes.

        Args:
            data: at most ``capacity`` bytes, or ``capacity_beside``; the fewer, the more damage
                they survive.
            small_version: at most ``small_version_capacity`` bytes that survive more.

        Returns:
            Pixels of the cover's shape.

        Raises:
            UsageError: the data do not fit.
        """
        plan = self.plan if small_version is None else self.plan_beside
        spared = self._spared(plan)
        if len(data) <= spared.capacity * PARTIAL_PAYLOAD:
            plan = spared
        for size, most in (
            (len(data), plan.capacity),
            (len(small_version or b""), self.small_version_capacity),
        ):
            if size > most:
                raise UsageError(
                    f"{size} bytes are too many for this picture, which holds {most}",
                    hint="use a larger cover, less data or a higher quality",
                )
        rows, columns = whole_blocks(self.cover.pixels)
        mark = RobustMark(
            lattice=self.profile.lattice_number,
            rows=rows,
            columns=columns,
            payload_bytes=len(data),
            upper_rates=plan.upper_rates(len(data)),
            group_bits=plan.group_bits,
            has_small_version=small_version is not None,
        )
        return encode(self.cover, mark, data, small_version or b"")

    def _spared(self, plan: CarryingPlan) -> CarryingPlan:
        """What is carried if a reserve is left."""
        return dataclasses.replace(plan, group_bits=self.profile.lattice.spared_group_bits)


def payload_of(located: Located) -> bytes:
    """The bytes in a received picture.

    Raises:
        DamagedError: there is a mark, but the payload cannot be restored.
    """
    lattice = LATTICES[located.mark.lattice]
    try:
        return decode(located.reception, PayloadCodes(lattice, located.mark))
    except DamagedError as error:
        raise DamagedError(_likely_damage(located, lattice)) from error
    except ValueError as error:
        raise DamagedError("the mark of the picture is impossible") from error


def small_version_of(located: Located) -> bytes | None:
    """The small version in a received picture; ``None`` if there is none."""
    lattice = LATTICES[located.mark.lattice]
    return decode_small_version(located.reception, PayloadCodes(lattice, located.mark).layout)


def likely_change(pixels: Pixels) -> str:
    """What may have destroyed a mark that was not found, in words; empty if there is no sign.

    Args:
        pixels: (H, W, 3).
    """
    height, width = pixels.shape[:2]
    for side in SIDES:
        scale = side / max(height, width)
        if scale == 1 or not 1 / _MOST_SCALED <= scale <= _MOST_SCALED:
            continue
        size = max(1, round(width * scale)), max(1, round(height * scale))
        back = Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS)
        located = locate_uncropped(np.array(back, np.uint8), LATTICES)
        if located is not None:
            return f": it was resized from {size[0]}x{size[1]} to {width}x{height}"
    quality = estimate_quality(forward_dct(luma_of(busiest_part(pixels))))
    if quality is None:
        return ""
    return f": it was compressed at about quality {quality}, or resized before that"


def _likely_damage(located: Located, lattice: CoefficientLattice) -> str:
    """One line on why a payload is lost though its mark was read."""
    lost = float(located.reception.lost.mean())
    quality = estimate_quality(located.coefficients)
    if quality is not None and quality < lattice.quality - _TOLERANCE:
        return (
            f"the picture was recompressed at about quality {quality}, "
            f"but it was made for {lattice.quality} and better"
        )
    if lost > _MUCH:
        return (
            f"{lost:.0%} of the picture were cut off, painted over or changed too much, "
            "more than can be restored"
        )
    return "the picture was changed more than can be restored"
