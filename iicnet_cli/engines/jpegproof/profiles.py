"""What pictures have to survive: lattices for qualities of JPEG, and what services do.

Services change what they do without notice. What is said here was read in their own source or
documentation where there is any; everything is simulated, nothing was sent through a service.
"""

from __future__ import annotations

import dataclasses

from iicnet_cli.engines.jpegproof.coefficient_lattice import CoefficientLattice
from iicnet_cli.engines.jpegproof.simulated_channels import SimulatedChannel, service
from iicnet_cli.errors import UsageError

LATTICES = (
    CoefficientLattice(60, 19.04, 8, group_bits=5, spared_group_bits=4, strong_position=(0, 2)),
    CoefficientLattice(70, 19.0, 7, group_bits=4, spared_group_bits=3, strong_position=(0, 2)),
    CoefficientLattice(75, 18.0, 5, group_bits=6, spared_group_bits=5, strong_position=(0, 1)),
    CoefficientLattice(85, 15.0, 3, group_bits=6, spared_group_bits=5, strong_position=(0, 2)),
)
"""The lattices, by their number in the mark. They are part of the format, but for the bits of
groups: only append."""


@dataclasses.dataclass(frozen=True)
class Profile:
    """What happens to a picture on one way.

    Attributes:
        name: as ``--for`` takes it.
        quality: of the JPEG that the service makes, at least that of the first of ``LATTICES``.
        longest_side: pixels that the service leaves, ``None`` if any number.
        source: where these numbers are from.
    """

    name: str
    quality: int
    longest_side: int | None
    source: str

    @property
    def channel(self) -> SimulatedChannel:
        """What happens to a picture on this way, simulated."""
        return service(self.name, self.quality, self.longest_side)

    @property
    def summary(self) -> str:
        """The same in words."""
        size = "" if self.longest_side is None else f", at most {self.longest_side} pixels a side"
        return f"JPEG {self.quality}{size}"

    @property
    def lattice_number(self) -> int:
        """Index into ``LATTICES``: the one that loses least and survives the quality."""
        return max(n for n, lattice in enumerate(LATTICES) if lattice.quality <= self.quality)

    @property
    def lattice(self) -> CoefficientLattice:
        """The lattice that survives the quality."""
        return LATTICES[self.lattice_number]


SERVICES = (
    Profile("signal", 70, 1600, "source of Signal Android and Desktop, standard quality"),
    Profile("signal-high", 75, 4096, "source of Signal Android, high quality"),
    Profile("telegram", 87, 1280, "source of Telegram Desktop"),
    Profile("telegram-large", 87, 2560, "source of Telegram Desktop, large photos"),
    Profile("x", 85, 4096, "documentation of X"),
    Profile("whatsapp", 60, 1600, "reports of users: 1600 pixels, quality about 62"),
)
"""The services that are simulated."""

SIDES = tuple(sorted({each.longest_side for each in SERVICES if each.longest_side}))
"""Pixels of the longer sides that they leave."""


def jpeg_profile(quality: int = 75) -> Profile:
    """JPEG of at least this quality, of any size.

    Raises:
        UsageError: nothing survives the quality.
    """
    if quality < LATTICES[0].quality:
        raise UsageError(
            f"no picture survives JPEG of quality {quality}",
            hint=f"the lowest quality is {LATTICES[0].quality}",
        )
    return Profile(f"jpeg:{quality}", quality, None, "asked for")


def find_profile(name: str) -> Profile:
    """The profile of ``jpeg``, ``jpeg:QUALITY`` or a service.

    Raises:
        UsageError: there is none, or nothing survives the quality.
    """
    kind, colon, quality = name.partition(":")
    if kind == "jpeg" and not colon:
        return jpeg_profile()
    if kind == "jpeg" and quality.isdecimal() and 1 <= int(quality) <= 100:
        return jpeg_profile(int(quality))
    for profile in SERVICES:
        if profile.name == name:
            return profile
    if kind == "jpeg":
        raise UsageError(
            f"{quality!r} is no quality of JPEG",
            hint=f"it is a number from {LATTICES[0].quality} to 100, as in jpeg:70",
        )
    known = ", ".join(profile.name for profile in SERVICES)
    raise UsageError(
        f"{name!r} is no service that can be simulated", hint=f"these are: {known}; or jpeg:QUALITY"
    )
