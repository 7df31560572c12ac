"""The channel in the low bits as an engine that carries files."""

from __future__ import annotations

import pytest

from iicnet_cli.engines import DESTINATIONS, FILE_ENGINES, open_file_engine
from iicnet_cli.engines.base import Alteration
from iicnet_cli.errors import DamagedError, NotAnEmbeddingError
from iicnet_cli.pictures.metrics import psnr
from tests.samples import Pixels, natural

ENGINE = open_file_engine("lowbits")
PICTURE = natural(64, 96, 5)


@pytest.mark.parametrize("cover", [PICTURE, PICTURE[..., 0]], ids=["rgb", "grey"])
def test_bytes_come_back_at_the_quality_that_was_promised(cover: Pixels) -> None:
    worse, writer, better = (ENGINE.writer_for("file", quality) for quality in (36, 40, 44))
    size = writer.capacity(cover)
    data = bytes(i * 7 % 251 for i in range(size))
    embedding = writer.write(cover, data)
    assert ENGINE.recognises(embedding)
    assert ENGINE.read(embedding) == data
    assert psnr(embedding, cover) > 39.7
    assert worse.capacity(cover) > size > better.capacity(cover)


def test_other_pictures_and_altered_ones_are_refused() -> None:
    assert not ENGINE.recognises(PICTURE)
    with pytest.raises(NotAnEmbeddingError):
        ENGINE.read(PICTURE)
    altered = ENGINE.writer_for("file", None).write(PICTURE, bytes(3000))
    altered[20, 20, 0] ^= 1
    with pytest.raises(DamagedError):
        ENGINE.read(altered)


def test_it_survives_nothing_but_the_loss_of_metadata() -> None:
    assert ENGINE.survives() == {Alteration.METADATA_STRIPPED}


def test_every_destination_has_its_engine() -> None:
    assert set(DESTINATIONS.values()) == {"network", *FILE_ENGINES}
