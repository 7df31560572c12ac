"""Stills in some hundred bytes."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from iicnet_cli.errors import DamagedError
from iicnet_cli.media.stills import resize
from iicnet_cli.media.tiny_stills import decode_tiny, encode_tiny
from iicnet_cli.pictures.metrics import psnr
from tests.samples import natural

PHOTO = natural(300, 400, 4)


@pytest.mark.parametrize("size", [150, 400, 1500])
def test_more_bytes_show_more(size: int) -> None:
    data = encode_tiny(PHOTO, size)
    assert data is not None and 0.7 * size < len(data) <= size
    pixels = decode_tiny(data)
    assert pixels.shape[1] == pytest.approx(pixels.shape[0] * 4 / 3, abs=2)
    half = encode_tiny(PHOTO, size * 2 // 3)
    assert half is not None
    better, worse = (psnr(resize(decode_tiny(each), 400, 300), PHOTO) for each in (data, half))
    assert better > worse > 15


def test_too_few_bytes_make_no_picture() -> None:
    assert encode_tiny(PHOTO, 60) is None


def test_a_picture_is_not_enlarged() -> None:
    data = encode_tiny(natural(12, 20, 1), 2000)
    assert data is not None and decode_tiny(data).shape == (12, 20, 3)


def test_what_is_no_small_picture_is_refused() -> None:
    good = encode_tiny(PHOTO, 300)
    assert good is not None
    png = io.BytesIO()
    Image.fromarray(PHOTO).save(png, "PNG")
    for data in (b"", good[:2], good[:12], png.getvalue()):
        with pytest.raises(DamagedError, match="the small version cannot be read"):
            decode_tiny(data)
