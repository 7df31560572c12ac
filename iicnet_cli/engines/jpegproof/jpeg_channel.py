"""Bytes into a picture and out again, with JPEG in between.

::

    payload -> stages of bits -> shaping, error correction -> lattice -> pixels
    payload <- message bits   <- soft decoding             <- lattice <- pixels, place found

How much error correction a picture needs is measured on it: random bits are put into it, it goes
through the hardest simulated channels, and the information that arrives is what the codes may use.
"""

from __future__ import annotations

from iicnet_cli.engines.jpegproof.capacity_measurement import CarryingPlan, measure
from iicnet_cli.engines.jpegproof.coefficient_lattice import CoefficientLattice
from iicnet_cli.engines.jpegproof.dct_blocks import BLOCK, forward_dct, luma_of, whole_blocks
from iicnet_cli.engines.jpegproof.lattice_decoder import decode
from iicnet_cli.engines.jpegproof.lattice_encoder import LatticeCover, encode
from iicnet_cli.engines.jpegproof.payload_codes import PayloadCodes
from iicnet_cli.engines.jpegproof.profiles import LATTICES, Profile
from iicnet_cli.engines.jpegproof.recompression import estimate_quality
from iicnet_cli.engines.jpegproof.robust_mark import MOST_BLOCKS, RobustMark
from iicnet_cli.engines.jpegproof.simulated_channels import hardest_channels
from iicnet_cli.engines.jpegproof.synchronisation import Located, locate
from iicnet_cli.errors import DamagedError, NotAnEmbeddingError, UsageError
from iicnet_cli.pictures.arrays import Pixels

_TOLERANCE = 3
"""A quality is estimated as exactly as this."""
_MUCH = 0.1
"""Lost share of a picture that explains why the payload is lost."""


def capacity(cover: Pixels, profile: Profile) -> int:
    """Bytes that a cover (H, W, 3) can carry through the profile's channels, at least 0.

    Raises:
        UsageError: the cover is too large.
    """
    return _prepare(cover, profile)[1].capacity


def write(cover: Pixels, data: bytes, profile: Profile) -> Pixels:
    """Embed bytes in a cover.

    Args:
        cover: (H, W, 3); it is not changed.
        data: at most :func:`capacity` bytes; the fewer, the more damage they survive.
        profile: what they have to survive.

    Returns:
        (H, W, 3).

    Raises:
        UsageError: the data do not fit, or the cover is too large.
    """
    prepared, plan = _prepare(cover, profile)
    if len(data) > plan.capacity:
        raise UsageError(
            f"{len(data)} bytes are too many for this picture, which holds {plan.capacity}",
            hint="use a larger cover, less data or a higher quality",
        )
    rows, columns = whole_blocks(cover)
    mark = RobustMark(
        lattice=profile.lattice_number,
        rows=rows,
        columns=columns,
        payload_bytes=len(data),
        upper_rates=plan.upper_rates(len(data)),
        group_bits=profile.lattice.group_bits,
    )
    return encode(prepared, mark, data)


def read(pixels: Pixels) -> bytes:
    """The bytes in a received picture (H, W, 3).

    Raises:
        NotAnEmbeddingError: no mark was found.
        DamagedError: there is a mark, but the payload cannot be restored.
    """
    located = locate(pixels, LATTICES)
    if located is None:
        quality = estimate_quality(forward_dct(luma_of(pixels)))
        known = "" if quality is None else f"; it was compressed at about quality {quality}"
        raise NotAnEmbeddingError(f"no mark was found in the picture{known}")
    lattice = LATTICES[located.mark.lattice]
    try:
        return decode(located.reception, PayloadCodes(lattice, located.mark))
    except DamagedError as error:
        raise DamagedError(_likely_damage(located, lattice)) from error
    except ValueError as error:
        raise DamagedError("the mark of the picture is impossible") from error


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
        return f"{lost:.0%} of the picture were cut off or painted over, more than can be restored"
    return "the picture was changed more than can be restored"


def _prepare(cover: Pixels, profile: Profile) -> tuple[LatticeCover, CarryingPlan]:
    """The cover on its lattice, and what it carries."""
    if max(whole_blocks(cover)) > MOST_BLOCKS:
        raise UsageError(
            f"a cover of {cover.shape[1]} x {cover.shape[0]} pixels is too large",
            hint=f"a side has at most {MOST_BLOCKS * BLOCK} pixels",
        )
    prepared = LatticeCover.of(cover, profile.lattice)
    return prepared, measure(prepared, hardest_channels(profile.lattice.quality))
