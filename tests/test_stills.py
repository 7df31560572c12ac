"""Reading and writing single pictures."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from iicnet_cli.errors import MediaError, OutputExistsError, UsageError
from iicnet_cli.media.stills import (
    has_alpha,
    read_still,
    read_still_with_alpha,
    resize,
    still_size,
    write_still,
)
from iicnet_cli.pictures.metrics import psnr
from tests.media_samples import noise, smooth


@pytest.mark.parametrize("suffix", ["png", "webp", "tif", "bmp"])
@pytest.mark.parametrize("shape", [(31, 45, 3), (31, 45)])
def test_exact_formats_keep_every_pixel(
    tmp_path: Path, suffix: str, shape: tuple[int, ...]
) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    target = tmp_path / f"x.{suffix}"
    write_still(target, pixels)
    still = read_still(target)
    expected = pixels if pixels.ndim == 3 else np.repeat(pixels[:, :, None], 3, 2)
    assert np.array_equal(still.pixels, expected)
    assert (still.name, still.notes) == (target.name, ())
    assert list(tmp_path.iterdir()) == [target]
    assert still_size(target) == (45, 31)


@pytest.mark.parametrize("suffix", ["jpg", "avif"])
def test_lossy_formats_stay_close(tmp_path: Path, suffix: str) -> None:
    target = tmp_path / f"x.{suffix}"
    write_still(target, smooth(60, 80))
    assert psnr(read_still(target).pixels, smooth(60, 80)) > 40


def test_streams_and_named_formats(tmp_path: Path) -> None:
    stream = io.BytesIO()
    write_still(stream, noise(5, 7))
    stream.seek(0)
    still = read_still(stream)
    assert still.name == "stream"
    assert np.array_equal(still.pixels, noise(5, 7))
    write_still(tmp_path / "odd.name", noise(5, 7), format="PNG")
    assert np.array_equal(read_still(tmp_path / "odd.name").pixels, noise(5, 7))
    with pytest.raises(UsageError, match="cannot write"):
        write_still(tmp_path / "x.xyz", noise(5, 7))


def test_only_the_first_picture_of_several_is_read(tmp_path: Path) -> None:
    frames = [Image.fromarray(noise(8, 8, i)) for i in range(3)]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    still = read_still(tmp_path / "a.png")
    assert np.array_equal(still.pixels, noise(8, 8, 0))
    assert still.notes == ("only the first frame of 3 is used",)
    frames[0].save(tmp_path / "a.mpo", save_all=True, append_images=frames[1:2])
    assert read_still(tmp_path / "a.mpo").notes == ("only the first picture of 2 is used",)


def test_alpha_is_found_and_kept(tmp_path: Path) -> None:
    pixels = np.dstack([noise(4, 5), np.full((4, 5), 255, np.uint8)])
    Image.fromarray(pixels).save(tmp_path / "opaque.png")
    pixels[1, 2, 3] = 99
    Image.fromarray(pixels).save(tmp_path / "clear.png")
    Image.fromarray(noise(4, 5)).save(tmp_path / "plain.png")
    assert [has_alpha(tmp_path / f"{n}.png") for n in ("opaque", "clear", "plain", "missing")] == [
        *(False, True, False, False)
    ]
    still = read_still_with_alpha(tmp_path / "clear.png")
    assert np.array_equal(still.pixels, pixels)
    assert (still.name, still.notes) == ("clear.png", ())
    plain = read_still_with_alpha(tmp_path / "plain.png").pixels
    assert np.array_equal(plain[..., :3], noise(4, 5)) and plain[..., 3].min() == 255


def test_files_are_only_overwritten_when_asked_to(tmp_path: Path) -> None:
    target = tmp_path / "x.png"
    write_still(target, noise(4, 4))
    with pytest.raises(OutputExistsError) as caught:
        write_still(target, noise(5, 5))
    assert caught.value.hint == "add -y to overwrite"
    assert read_still(target).pixels.shape == (4, 4, 3)
    write_still(target, noise(5, 5), overwrite=True)
    assert read_still(target).pixels.shape == (5, 5, 3)
    with pytest.raises(MediaError, match="folder does not exist"):
        write_still(tmp_path / "no" / "x.png", noise(4, 4))
    with pytest.raises(ValueError, match="uint8"):
        write_still(tmp_path / "y.png", noise(4, 4).astype(np.float32))
    assert list(tmp_path.iterdir()) == [target]


def test_resize_keeps_the_whole_picture() -> None:
    pixels = smooth(90, 120)
    assert resize(pixels, 120, 90) is pixels
    small = resize(pixels, 60, 45)
    assert small.shape == (45, 60, 3)
    assert resize(pixels[:, :, 0], 17, 5).shape == (5, 17)
    assert psnr(resize(small, 120, 90), pixels) > 38
    with pytest.raises(UsageError):
        resize(pixels, 0, 5)


@pytest.mark.parametrize("suffix", [".tif", ".gif"])
def test_damage_between_pages_is_told(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    pages = [Image.fromarray(noise(8, 8, seed=i)) for i in range(3)]
    pages[0].save(path, save_all=True, append_images=pages[1:])
    data = path.read_bytes()
    for cut in range(len(data) // 3, len(data) - 1, 7):
        path.write_bytes(data[:cut])
        try:
            assert read_still(path).pixels.shape == (8, 8, 3)
        except MediaError as error:
            assert path.name in str(error)
