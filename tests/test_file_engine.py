"""What the writers of all engines for files have in common."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from iicnet_cli import Converter, EmbedOptions
from iicnet_cli.engines.file_engine import LastPicture
from iicnet_cli.engines.jpegproof import jpeg_channel
from iicnet_cli.engines.lowbits import channel
from tests.helpers import save
from tests.samples import natural


def test_the_last_cover_is_measured_once() -> None:
    asked = []

    def find_out(cover: np.ndarray) -> int:
        asked.append(cover.shape)
        return int(cover[0, 0, 0])

    known = LastPicture(find_out)
    light, dark = (np.full((4, 6, 3), value, np.uint8) for value in (200, 10))
    assert [known(cover) for cover in (light, light.copy(), dark, dark, light)] == [
        200,
        200,
        10,
        10,
        200,
    ]
    assert len(asked) == 3
    known(light[:2])
    assert asked[-1] == (2, 6, 3)


@pytest.mark.parametrize(
    ("engine", "destination", "place", "name"),
    [
        ("lowbits", "file", channel, "measured_capacity"),
        ("jpegproof", "jpeg", jpeg_channel, "measure"),
    ],
)
def test_a_cover_is_measured_once_for_a_picture(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    engine: str,
    destination: str,
    place: object,
    name: str,
) -> None:
    measure, calls = getattr(place, name), []

    def counted(*arguments: object) -> object:
        calls.append(arguments)
        return measure(*arguments)

    monkeypatch.setattr(place, name, counted)
    photos = [
        save(tmp_path / f"{i}.png", natural(*s, i)) for i, s in enumerate([(256, 320), (24, 30)])
    ]
    options = EmbedOptions(engine=engine, destination=destination)
    Converter().embed(photos, tmp_path / "out.png", options=options)
    assert len(calls) == 1
