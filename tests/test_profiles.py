"""Profiles of services."""

from __future__ import annotations

import pytest

from iicnet_cli.engines.jpegproof.profiles import LATTICES, SERVICES, find_profile
from iicnet_cli.errors import UsageError


@pytest.mark.parametrize(
    ("name", "quality", "lattice"),
    [("signal", 70, 70), ("telegram", 87, 85), ("jpeg:80", 80, 75), ("jpeg", 75, 75)],
)
def test_a_profile_takes_the_lattice_that_survives(name: str, quality: int, lattice: int) -> None:
    profile = find_profile(name)
    assert profile.quality == quality
    assert profile.lattice.quality == lattice
    assert LATTICES[profile.lattice_number] is profile.lattice


def test_every_service_has_a_lattice_and_a_source() -> None:
    assert all(service.lattice.quality <= service.quality for service in SERVICES)
    assert all(service.source for service in SERVICES)


def test_what_nothing_survives() -> None:
    with pytest.raises(UsageError, match="no picture survives JPEG of quality 40"):
        find_profile("jpeg:40")


@pytest.mark.parametrize("name", ["fax", "jpeg:", "jpeg:101", "jpeg:-5", "signal:70"])
def test_unknown_names(name: str) -> None:
    words = "is no quality of JPEG" if name.startswith("jpeg") else f"'{name}' is no service"
    with pytest.raises(UsageError, match=words):
        find_profile(name)
