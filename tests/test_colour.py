"""Conversion to upright 8-bit sRGB, seen through `read_still`."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps

from iicnet_cli.media.stills import has_alpha, read_still, read_still_with_alpha, still_size
from iicnet_cli.pictures.metrics import psnr
from tests.media_samples import (
    display_p3_profile,
    linear_srgb_profile,
    moving_pattern,
    noise,
    run_ffmpeg,
)
from tests.samples import natural


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path, suffix: str) -> None:
    ramp = np.tile(np.linspace(0, 65535, 256).astype(np.uint16), (4, 1))
    Image.fromarray(ramp).save(tmp_path / f"deep.{suffix}")
    still = read_still(tmp_path / f"deep.{suffix}")
    assert np.array_equal(still.pixels[0, :, 0], np.arange(256))
    assert still.notes == ("16-bit values scaled to 8 bits",)


def test_sixteen_bit_colour_is_scaled(tmp_path: Path) -> None:
    run_ffmpeg(tmp_path / "deep.png", *moving_pattern(1), "-frames:v", "1", "-pix_fmt", "rgb48be")
    run_ffmpeg(tmp_path / "flat.png", *moving_pattern(1), "-frames:v", "1", "-pix_fmt", "rgb24")
    deep, flat = (read_still(tmp_path / f"{n}.png") for n in ("deep", "flat"))
    assert np.abs(deep.pixels.astype(int) - flat.pixels).max() <= 2
    assert deep.notes == ("16-bit values scaled to 8 bits",)
    assert flat.notes == ()


def test_floats_from_0_to_1_are_scaled(tmp_path: Path) -> None:
    Image.fromarray(np.linspace(0, 1, 256, dtype=np.float32)[None]).save(tmp_path / "f.tif")
    assert np.array_equal(read_still(tmp_path / "f.tif").pixels[0, :, 1], np.arange(256))


def test_palette_with_transparency_is_composited(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "p.png", transparency=1)
    still = read_still(tmp_path / "p.png", background=(10, 20, 30))
    assert still.pixels.tolist() == [[[255, 0, 0], [10, 20, 30]]]
    assert still.notes == ("transparency composited on #0a141e",)


def test_alpha_is_composited_and_noted_only_where_it_is_used(tmp_path: Path) -> None:
    Image.new("RGBA", (3, 2), (0, 0, 0, 51)).save(tmp_path / "a.png")
    still = read_still(tmp_path / "a.png")
    assert np.all(still.pixels == 204)
    assert len(still.notes) == 1
    Image.new("RGBA", (3, 2), (9, 8, 7, 255)).save(tmp_path / "b.png")
    assert read_still(tmp_path / "b.png").notes == ()
    Image.new("LA", (3, 2), (0, 0)).save(tmp_path / "c.png")
    assert np.all(read_still(tmp_path / "c.png").pixels == 255)


def test_cmyk_is_converted(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "c.jpg", quality=100)
    still = read_still(tmp_path / "c.jpg")
    assert psnr(still.pixels, np.full((8, 8, 3), (255, 0, 0), np.uint8)) > 35
    assert "CMYK" in still.notes[0]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "tif", "png", "webp"])
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int, suffix: str) -> None:
    image = Image.new("RGB", (32, 16))
    image.paste((255, 255, 255), (0, 0, 16, 8))  # the top left quarter is white
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(tmp_path / f"o.{suffix}", exif=exif)
    still = read_still(tmp_path / f"o.{suffix}")
    tall = orientation >= 5
    assert still.pixels.shape == ((32, 16, 3) if tall else (16, 32, 3))
    assert still_size(tmp_path / f"o.{suffix}") == ((16, 32) if tall else (32, 16))
    height, width = still.pixels.shape[:2]
    corner = {1: (0, 0), 2: (0, 1), 3: (1, 1), 4: (1, 0), 5: (0, 0), 6: (0, 1), 7: (1, 1)}
    down, right = corner.get(orientation, (1, 0))
    assert still.pixels[height // 4 + down * height // 2, width // 4 + right * width // 2, 0] > 200
    assert bool(still.notes) == (orientation != 1)


@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK"])
@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_rotated_tiffs_are_the_same_from_a_path_and_from_a_stream(
    tmp_path: Path, mode: str, orientation: int
) -> None:
    path = tmp_path / "turned.tif"
    Image.fromarray(natural(20, 33, 1)).convert(mode).save(path, tiffinfo={274: orientation})
    by_path = read_still(path).pixels
    assert by_path.shape == (33, 20, 3)
    with path.open("rb") as stream:
        assert np.array_equal(read_still(stream).pixels, by_path)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(path.read_bytes())))
    assert np.array_equal(np.asarray(upright.convert("RGB")), by_path) or mode == "CMYK"


def test_wide_gamut_profile_is_converted(tmp_path: Path) -> None:
    image = Image.new("RGB", (4, 4), (200, 100, 100))
    image.save(tmp_path / "p3.png", icc_profile=display_p3_profile())
    still = read_still(tmp_path / "p3.png")
    red, green, _ = (int(v) for v in still.pixels[0, 0])
    assert red > 205  # P3 colours have more saturated numbers in sRGB
    assert green < 95
    assert still.notes == ("colours converted from profile 'Display P3' to sRGB",)


def test_an_srgb_profile_changes_nothing_and_a_bad_one_is_noted(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(noise(9, 9)).save(tmp_path / "s.png", icc_profile=profile)
    still = read_still(tmp_path / "s.png")
    assert np.array_equal(still.pixels, noise(9, 9))
    assert still.notes == ()
    Image.fromarray(noise(9, 9)).save(tmp_path / "b.png", icc_profile=b"nonsense")
    still = read_still(tmp_path / "b.png")
    assert np.array_equal(still.pixels, noise(9, 9))
    assert "profile ignored" in still.notes[0]


def test_grey_with_an_rgb_profile_stays_grey(tmp_path: Path) -> None:
    Image.new("L", (4, 4), 99).save(tmp_path / "g.png", icc_profile=display_p3_profile())
    pixels = read_still(tmp_path / "g.png").pixels
    assert np.abs(pixels.astype(int) - 99).max() <= 3


def test_bilevel_and_lab_pictures_are_converted(tmp_path: Path) -> None:
    Image.new("1", (4, 4), 1).save(tmp_path / "one.png")
    assert np.all(read_still(tmp_path / "one.png").pixels == 255)
    Image.new("LAB", (4, 4), (255, 128, 128)).save(tmp_path / "lab.tif")
    assert read_still(tmp_path / "lab.tif").pixels.min() > 250


def test_profiles_are_known_by_their_curves_not_their_names(tmp_path: Path) -> None:
    shown = np.maximum(natural(40, 50, 1), 60).astype(int)
    value = shown / 255
    light = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    image = Image.fromarray(np.rint(255 * light).astype(np.uint8))
    image.save(tmp_path / "a.png", icc_profile=linear_srgb_profile("sRGB-elle-V2-g10.icc"))
    still = read_still(tmp_path / "a.png")
    assert np.abs(still.pixels - shown).max() <= 5
    assert still.notes == ("colours converted from profile 'sRGB-elle-V2-g10.icc' to sRGB",)

    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(natural(40, 50, 1)).save(tmp_path / "b.png", icc_profile=srgb)
    still = read_still(tmp_path / "b.png")
    assert np.array_equal(still.pixels, natural(40, 50, 1)) and still.notes == ()


def test_deep_grey_keeps_its_transparent_value_and_its_levels(tmp_path: Path) -> None:
    levels = np.tile(np.linspace(0, 65535, 256).astype(np.uint16), (4, 1))
    Image.fromarray(levels).save(tmp_path / "a.png", transparency=0)
    still = read_still(tmp_path / "a.png", background=(0, 255, 0))
    assert still.pixels[0, 0].tolist() == [0, 255, 0]
    assert still.pixels[0, 1:, 1].tolist() == list(range(1, 256))
    assert "transparency composited on #00ff00" in still.notes
    pixels = read_still_with_alpha(tmp_path / "a.png").pixels
    assert pixels[0, :, 3].tolist() == [0] + [255] * 255
    assert pixels[0, :, 0].tolist() == list(range(256))


def deep_png(path: Path, values: NDArray[np.uint16], transparent: tuple[int, int, int]) -> Path:
    """Write a 16-bit RGB PNG, (H, W, 3), of which one colour is transparent; return its path."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    height, width = values.shape[:2]
    data = b"\x89PNG\r\n\x1a\n"
    for kind, body in (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)),
        (b"tRNS", struct.pack(">3H", *transparent)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ):
        data += struct.pack(">I", len(body)) + kind + body
        data += struct.pack(">I", zlib.crc32(kind + body))
    path.write_bytes(data)
    return path


def test_the_transparent_colour_of_a_deep_picture_is_exact(tmp_path: Path) -> None:
    values = np.full((4, 6, 3), (0x1234, 0xABCD, 0x00FF), np.uint16)
    values[:, 2:4] = (0x1234, 0xABCD, 0x0100)
    values[:, 4:] = (0x1235, 0xABCD, 0x00FF)  # the same high bytes as the transparent one
    path = deep_png(tmp_path / "a.png", values, (0x1234, 0xABCD, 0x00FF))
    still = read_still(path, background=(0, 255, 0))
    assert (
        still.pixels[0].tolist()
        == [[0, 255, 0]] * 2 + [[0x12, 0xAB, 1]] * 2 + [[0x12, 0xAB, 0]] * 2
    )
    assert still.notes == (
        "16-bit values scaled to 8 bits",
        "transparency composited on #00ff00",
    )
    alpha = read_still_with_alpha(path).pixels[..., 3]
    assert alpha[0].tolist() == [0, 0, 255, 255, 255, 255]
    assert has_alpha(path)
    opaque = deep_png(tmp_path / "b.png", values, (0x1234, 0xABCD, 0x0101))
    assert not has_alpha(opaque)
    assert "transparency" not in " ".join(read_still(opaque).notes)


@pytest.mark.parametrize("bits", [8, 16])
def test_tiffs_whose_zero_is_white_are_inverted(tmp_path: Path, bits: int) -> None:
    ramp = np.linspace(0, 2**bits - 1, 256).astype(np.uint8 if bits == 8 else np.uint16)[None]
    inks = ramp.max() - ramp
    Image.fromarray(inks if bits == 16 else ramp).save(tmp_path / "a.tif", tiffinfo={262: 0})
    assert np.abs(read_still(tmp_path / "a.tif").pixels[0, :, 0] - np.arange(256.0)).max() <= 1
