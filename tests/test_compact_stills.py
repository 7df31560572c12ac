"""Stills in few bytes."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
from PIL import Image

from iicnet_cli.media.compact_stills import StillEncoder
from iicnet_cli.pictures.metrics import psnr
from tests.samples import natural

PICTURE = natural(64, 80, 3)


@pytest.fixture(scope="module")
def encoder() -> StillEncoder:
    return StillEncoder(PICTURE)


@pytest.mark.parametrize("size", [1500, 4000, 9000])
def test_best_file_fits_and_tells_its_quality(encoder: StillEncoder, size: int) -> None:
    still = encoder.best(size)
    assert still is not None
    assert 0.6 * size < still.size <= size
    with Image.open(io.BytesIO(still.data)) as image:
        decoded = np.array(image.convert("RGB"))
    assert psnr(decoded, PICTURE) == pytest.approx(still.psnr)
    assert image.format == {".avif": "AVIF", ".jp2": "JPEG2000"}[still.suffix]


def test_more_bytes_are_better(encoder: StillEncoder) -> None:
    qualities = [found.psnr for size in (1500, 4000, 9000) if (found := encoder.best(size))]
    assert qualities == sorted(qualities)
    assert len(set(qualities)) == 3


def test_enough_room_is_without_loss(encoder: StillEncoder) -> None:
    still = encoder.best(10**6)
    assert still is not None
    assert (still.suffix, still.psnr) == (".webp", math.inf)


def test_a_pattern_is_without_loss_in_few_bytes() -> None:
    glyph = np.random.default_rng(0).integers(0, 2, (16, 16, 1)).repeat(3, 2) * 255
    page = np.tile(glyph, (64, 64, 1)).astype(np.uint8)
    still = StillEncoder(page).best(600)
    assert still is not None
    assert (still.suffix, still.psnr) == (".webp", math.inf)


def test_nothing_fits_into_nothing(encoder: StillEncoder) -> None:
    assert encoder.best(10) is None


def test_sizes_grow_with_the_quality(encoder: StillEncoder) -> None:
    sizes = [encoder.least_size(wanted) for wanted in (25, 30, 35, 40, 200)]
    assert sizes == sorted(sizes)
    assert encoder.quality_without_avif(encoder.least_size(35)) == pytest.approx(35, abs=1)
