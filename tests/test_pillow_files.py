"""Pictures that are damaged, too large or of an unsupported kind."""

from __future__ import annotations

import importlib.util
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from iicnet_cli.errors import MediaError
from iicnet_cli.media.pillow_files import decoding, open_image
from iicnet_cli.media.stills import read_still, still_size
from tests.media_samples import mp4_box, noise, smooth


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif", "avif", "bmp", "gif"])
def test_truncated_pictures_are_one_line_errors(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"t.{suffix}"
    Image.fromarray(noise(64, 64)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(MediaError, match=r"t\.\w+: ") as caught:
        read_still(path)
    assert "\n" not in str(caught.value)


def test_errors_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="no such file"):
        read_still(tmp_path / "missing.png")
    with pytest.raises(MediaError, match="is a folder"):
        read_still(tmp_path)
    (tmp_path / "empty.png").touch()
    for name, hint in {
        "text.png": "PNG, JPEG",
        "x.heic": "pillow-heif",
        "x.svg": "export",
        "x.nef": "develop",
        "x.mp4": "clip",
        "empty.png": "PNG, JPEG",
    }.items():
        (tmp_path / name).write_bytes(b"" if name == "empty.png" else b"no picture at all")
        with pytest.raises(MediaError) as caught:
            read_still(tmp_path / name)
        assert hint in caught.value.hint, name


def test_decompression_bomb_is_refused_but_large_pictures_are_not(tmp_path: Path) -> None:
    def bmp(name: str, side: int) -> Path:
        header = b"BM" + struct.pack("<IHHI", 0, 0, 0, 54)
        header += struct.pack("<IiiHHIIiiII", 40, side, side, 1, 1, 0, 0, 0, 0, 0, 0)
        (tmp_path / name).write_bytes(header)
        return tmp_path / name

    with pytest.raises(MediaError, match="megapixels"):
        read_still(bmp("bomb.bmp", 30_000))
    assert still_size(bmp("large.bmp", 20_000)) == (20_000, 20_000)
    assert Image.MAX_IMAGE_PIXELS is not None


def test_running_out_of_memory_is_a_media_error() -> None:
    with pytest.raises(MediaError, match=r"^x\.png: not enough memory"), decoding("x.png"):
        raise MemoryError


def test_heic_is_known_by_its_first_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(mp4_box(b"ftyp", b"heic\0\0\0\0mif1heic") + bytes(400))
    with pytest.raises(MediaError) as caught, open_image(tmp_path / "a.jpg"):
        pass
    if importlib.util.find_spec("pillow_heif") is None:
        assert "HEIC" in caught.value.hint


@pytest.mark.parametrize("options", [{}, {"subsampling": 0}, {"quality": 20}], ids=str)
def test_a_jpeg_that_only_lacks_its_end_is_whole(tmp_path: Path, options: dict[str, int]) -> None:
    Image.fromarray(smooth(37, 51)).save(tmp_path / "a.jpg", **options)
    data = (tmp_path / "a.jpg").read_bytes()
    whole = read_still(tmp_path / "a.jpg").pixels
    (tmp_path / "b.jpg").write_bytes(data[:-2])
    still = read_still(tmp_path / "b.jpg")
    assert np.array_equal(still.pixels, whole) and still.notes == ("its end is missing",)
    for missing in (20, 60, len(data) // 3):
        (tmp_path / "c.jpg").write_bytes(data[:-missing])
        with pytest.raises(MediaError, match=r"(?i)truncated"):
            read_still(tmp_path / "c.jpg")


def test_a_png_of_few_bytes_is_refused_before_its_pixels_take_memory(tmp_path: Path) -> None:
    path = tmp_path / "long.png"
    Image.new("1", (3, 2)).save(path)
    assert read_still(path).pixels.shape == (2, 3, 3)
    data = bytearray(path.read_bytes())
    data[16:24] = struct.pack(">II", 48, 4_194_336)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    path.write_bytes(data)
    with pytest.raises(MediaError, match="too few bytes for its size"), open_image(path):
        pass


def test_a_large_png_of_one_colour_is_read(tmp_path: Path) -> None:
    Image.new("1", (20_000, 1000)).save(tmp_path / "flat.png")
    with open_image(tmp_path / "flat.png") as (image, _):
        assert image.size == (20_000, 1000)


def test_a_webp_whose_canvas_is_larger_than_any_frame_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "wide.webp"
    frames = [Image.new("RGB", (32, 16), colour) for colour in ("red", "blue")]
    frames[0].save(path, save_all=True, append_images=frames[1:], lossless=True)
    data = bytearray(path.read_bytes())
    canvas = data.index(b"VP8X") + 12
    data[canvas + 3 : canvas + 6] = (8_340_223 - 1).to_bytes(3, "little")
    path.write_bytes(data)
    with pytest.raises(MediaError, match="no WebP is 32x8340223"), open_image(path):
        pass


def test_a_tiff_whose_data_end_early_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "tall.tif"
    Image.new("RGB", (48, 32)).save(path)
    data = bytearray(path.read_bytes())
    entries = int.from_bytes(data[4:8], "little")
    for i in range(int.from_bytes(data[entries : entries + 2], "little")):
        entry = entries + 2 + 12 * i
        if int.from_bytes(data[entry : entry + 2], "little") == 257:  # ImageLength
            data[entry + 2 : entry + 12] = struct.pack("<HII", 4, 1, 9_306_144)
    path.write_bytes(data)
    with pytest.raises(MediaError, match="has 32 rows of data only"), open_image(path):
        pass


@pytest.mark.parametrize("height", [400, 23328])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"optimize": True}])
def test_a_jpeg_that_lacks_rows_is_refused(
    tmp_path: Path, options: dict[str, bool], height: int
) -> None:
    path = tmp_path / "tall.jpg"
    Image.fromarray(smooth(64, 96)).save(path, **options)
    data = path.read_bytes()
    size = struct.pack(">HH", 64, 96)
    assert data.count(size) == 1
    path.write_bytes(data.replace(size, struct.pack(">HH", height, 96)))
    with pytest.raises(MediaError, match="too few bytes"):
        read_still(path)


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("options", [{}, {"progressive": True, "optimize": True}])
def test_a_jpeg_of_one_colour_is_read(tmp_path: Path, mode: str, options: dict[str, bool]) -> None:
    path = tmp_path / "flat.jpg"
    Image.new(mode, (2000, 1500), 128).save(path, **options)
    assert read_still(path).pixels.shape == (1500, 2000, 3)
