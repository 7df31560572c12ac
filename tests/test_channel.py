"""engines/lowbits/channel.py: bytes in the low bits of a picture."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from iicnet_cli.engines.lowbits import channel
from iicnet_cli.errors import DamagedError, NotAnEmbeddingError, UsageError
from iicnet_cli.pictures.arrays import Pixels
from iicnet_cli.pictures.metrics import psnr

FOLDER = Path(__file__).parent / "compat"


def picture(shape: tuple[int, ...] = (150, 200, 3), seed: int = 0) -> Pixels:
    """A slope from black to white, with a white sky and a noisy ground."""
    rng = np.random.default_rng(seed)
    height, width = shape[:2]
    slope = np.linspace(0, 255, width)[None, :] + np.zeros((height, 1))
    slope[: height // 4] = 255
    slope[height // 2 :] += rng.normal(0, 20, (height - height // 2, width))
    pixels = slope.clip(0, 255).astype(np.uint8)
    return pixels if len(shape) == 2 else pixels[..., None].repeat(shape[2], axis=2)


@pytest.mark.parametrize("shape", [(150, 200, 3), (150, 200), (150, 200, 1)])
@pytest.mark.parametrize("embed_psnr", [36.0, 44.0])
def test_a_full_picture_has_the_psnr_that_was_asked_for(
    shape: tuple[int, ...], embed_psnr: float
) -> None:
    reference = picture(shape)
    size = channel.capacity(reference, embed_psnr)
    data = np.random.default_rng(1).bytes(size)
    pixels = channel.write(reference, data)
    assert (pixels.shape, pixels.dtype) == (reference.shape, np.uint8)
    assert channel.read(pixels) == data
    assert psnr(pixels, reference) == pytest.approx(embed_psnr, abs=0.3)
    assert channel.expected_psnr(reference, size) == pytest.approx(embed_psnr, abs=0.1)


@pytest.mark.parametrize("shape", [(150, 200, 3), (150, 200)])
@pytest.mark.parametrize("embed_psnr", [36.0, 40.0, 44.0])
def test_a_measured_capacity_is_closer(shape: tuple[int, ...], embed_psnr: float) -> None:
    reference = picture(shape)
    data = np.random.default_rng(1).bytes(channel.measured_capacity(reference, embed_psnr))
    assert psnr(channel.write(reference, data), reference) == pytest.approx(embed_psnr, abs=0.15)


@pytest.mark.parametrize("size", [0, 1, 100, 3001])
def test_any_number_of_bytes(size: int) -> None:
    reference = picture((60, 90, 3))
    data = np.random.default_rng(size).bytes(size)
    assert channel.read(channel.write(reference, data)) == data
    assert np.array_equal(reference, picture((60, 90, 3)))


def test_capacity_grows_with_the_error() -> None:
    sizes = [channel.capacity(picture(), embed_psnr) for embed_psnr in (50, 44, 40, 36)]
    assert sizes == sorted(sizes)
    # 40 dB are 3.35 bits a sample, where values can change to both sides.
    noise = np.random.default_rng(0).integers(60, 200, (256, 256, 3), dtype=np.uint8)
    assert channel.capacity(noise, 40) * 8 / noise.size == pytest.approx(3.33, abs=0.03)


def test_white_carries_less_than_what_can_change_to_both_sides() -> None:
    grey, white = np.full((64, 64, 3), 128, np.uint8), np.full((64, 64, 3), 255, np.uint8)
    assert channel.capacity(white, 40) < 0.8 * channel.capacity(grey, 40)
    data = np.random.default_rng(0).bytes(channel.capacity(white, 40))
    assert psnr(channel.write(white, data), white) == pytest.approx(40, abs=0.5)


def test_flat_cells_change_less_than_busy_ones() -> None:
    reference = np.full((64, 128, 3), 128, np.uint8)
    busy = np.random.default_rng(0).integers(64, 192, (64, 64, 3), dtype=np.uint8)
    reference[:, 64:] = busy
    pixels = channel.write(reference, np.random.default_rng(0).bytes(9000))
    halves = [psnr(pixels[:, half], reference[:, half]) for half in (slice(64), slice(64, 128))]
    assert halves[0] > halves[1] + 1.5


def test_any_change_is_noticed_or_does_no_harm() -> None:
    reference = picture((60, 90, 3))
    data = np.random.default_rng(0).bytes(5000)
    pixels = channel.write(reference, data)
    noticed = 0
    for i in np.random.default_rng(1).integers(0, pixels.size, 100):
        altered = pixels.copy()
        altered.reshape(-1)[i] ^= 1
        try:
            assert channel.read(altered) == data
        except (DamagedError, NotAnEmbeddingError):
            noticed += 1
    # A few samples carry nothing: those behind the last whole block of digits.
    assert noticed > 95


def test_a_grey_picture_saved_as_rgb() -> None:
    pixels = channel.write(picture((80, 90)), b"in grey")
    assert channel.read(pixels[..., None].repeat(3, axis=2)) == b"in grey"


def test_a_file_of_the_first_version() -> None:
    """Written by the first version of the format, with cells of many bases."""
    with Image.open(FOLDER / "low-bits-1.png") as image:
        assert channel.read(np.asarray(image)) == bytes(range(256)) * 30


def test_pictures_without_a_file() -> None:
    for pixels in (picture(), np.zeros((3, 3, 3), np.uint8), np.zeros((1, 1), np.uint8)):
        with pytest.raises(NotAnEmbeddingError):
            channel.read(pixels)


def test_cut_and_shifted_pictures_are_refused() -> None:
    pixels = channel.write(picture(), np.random.default_rng(0).bytes(3000))
    for altered in (pixels[:-1], pixels[:, :-1], np.roll(pixels, 1, axis=1), pixels[..., 0]):
        with pytest.raises((DamagedError, NotAnEmbeddingError)):
            channel.read(altered)


def test_too_many_bytes_for_a_picture() -> None:
    reference = picture((40, 40, 3))
    with pytest.raises(UsageError, match="do not fit"):
        channel.write(reference, bytes(reference.size))
    tiny = np.zeros((4, 4, 3), np.uint8)
    assert channel.capacity(tiny, 30) == 0
    with pytest.raises(UsageError):
        channel.write(tiny, b"")


def test_a_picture_of_several_stretches() -> None:
    reference = picture((700, 800, 3))
    data = np.random.default_rng(2).bytes(500_000)
    assert channel.read(channel.write(reference, data)) == data


def test_reading_loads_neither_torch_nor_numba() -> None:
    program = (
        "import sys; import numpy as np; from PIL import Image\n"
        "from iicnet_cli.engines.lowbits import channel\n"
        f"pixels = np.asarray(Image.open({str(FOLDER / 'low-bits-1.png')!r}))\n"
        "assert len(channel.read(pixels)) == 7680\n"
        "assert channel.capacity(pixels, 40) > 7000\n"
        "for name in ('torch', 'numba', 'cryptography'): assert name not in sys.modules, name\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
