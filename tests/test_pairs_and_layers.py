"""Stereo and layered files, written by the tools that people have and by this package."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from psd_tools import PSDImage

from iicnet_cli.errors import MediaError, OutputExistsError, UsageError
from iicnet_cli.media.layered_files import is_layered, read_layers
from iicnet_cli.media.layered_image import Layer, composite, flatten
from iicnet_cli.media.openraster import write_ora
from iicnet_cli.media.stereo_formats import is_stereo, read_pair, write_pair
from iicnet_cli.media.stereo_layouts import LAYOUTS, anaglyph, join, split
from iicnet_cli.pictures.metrics import psnr
from tests.conftest import Pixels, natural

LEFT, RIGHT = natural(24, 36, 1), natural(24, 36, 2)


# --- stereo --------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 20), st.integers(1, 20), st.sampled_from(LAYOUTS), st.integers(0, 9))
def test_join_and_split_are_inverse(height: int, width: int, layout: str, seed: int) -> None:
    left, right = np.random.default_rng(seed).integers(0, 256, (2, height, width, 3), np.uint8)
    again = split(join(left, right, layout), layout)
    assert np.array_equal(again[0], left) and np.array_equal(again[1], right)


def test_layouts_put_the_views_where_they_say() -> None:
    assert np.array_equal(join(LEFT, RIGHT, "side-by-side")[:, :36], LEFT)
    assert np.array_equal(join(LEFT, RIGHT, "cross-eyed")[:, :36], RIGHT)
    assert np.array_equal(join(LEFT, RIGHT, "top-bottom")[:24], LEFT)


def test_odd_sides_and_unknown_layouts_are_refused() -> None:
    with pytest.raises(UsageError, match="width is odd"):
        split(LEFT[:, :35], "side-by-side")
    with pytest.raises(UsageError, match="height is odd"):
        split(LEFT[:23], "top-bottom")
    with pytest.raises(UsageError, match="no layout"):
        split(LEFT, "diagonal")


def test_anaglyph_takes_red_from_the_left_and_cyan_from_the_right() -> None:
    black, white = np.zeros((2, 2, 3), np.uint8), np.full((2, 2, 3), 255, np.uint8)
    assert (anaglyph(white, black)[0, 0] == [255, 0, 0]).all()
    right = anaglyph(black, white)[0, 0]
    assert right[0] == 0 and (right[1:] > 240).all()
    grey = np.repeat(LEFT.mean(-1, keepdims=True), 3, -1).astype(np.uint8)
    assert psnr(anaglyph(grey, grey), grey) > 35


def test_mpo_of_this_package_is_a_stereo_mpo(tmp_path: Path) -> None:
    path = tmp_path / "pair.mpo"
    write_pair(path, LEFT, RIGHT)
    with Image.open(path) as image:
        assert image.format == "MPO"
        kinds = [entry["Attribute"]["MPType"] for entry in image.mpinfo[0xB002]]  # type: ignore
        assert kinds == ["Multi-Frame Image: (Disparity)"] * 2
    renamed = path.rename(tmp_path / "pair.jpg")
    assert is_stereo(renamed)
    pair = read_pair(renamed)
    assert psnr(pair.left, LEFT) > 30 and psnr(pair.right, RIGHT) > 30
    assert pair.notes == ()


def mpo(path: Path, *pictures: Pixels) -> Path:
    first, *others = map(Image.fromarray, pictures)
    first.save(path, "MPO", save_all=True, append_images=others, quality=95)
    return path


def test_mpos_of_phones_are_no_pairs(tmp_path: Path) -> None:
    assert not is_stereo(mpo(tmp_path / "preview.mpo", LEFT, RIGHT[:12, :18]))
    assert not is_stereo(mpo(tmp_path / "IMG_1.jpg", LEFT, RIGHT))
    assert is_stereo(mpo(tmp_path / "untyped.mpo", LEFT, RIGHT))
    Image.fromarray(LEFT).save(tmp_path / "plain.jpg")
    assert not is_stereo(tmp_path / "plain.jpg")
    assert not is_stereo(tmp_path / "missing.mpo")
    (tmp_path / "text.mpo").write_text("no picture")
    assert not is_stereo(tmp_path / "text.mpo")


def test_orientation_holds_for_each_view(tmp_path: Path) -> None:
    path = tmp_path / "turned.mpo"
    first, second = (Image.fromarray(np.rot90(view)) for view in (LEFT, RIGHT))
    exif = Image.Exif()
    exif[0x0112] = 6
    second.encoderinfo = {"exif": exif, "quality": 95}
    first.save(path, "MPO", save_all=True, append_images=[second], exif=exif, quality=95)
    pair = read_pair(path)
    assert pair.left.shape == LEFT.shape
    assert psnr(pair.left, LEFT) > 28
    assert pair.notes == ("turned upright as its EXIF orientation says",)


@pytest.mark.parametrize("suffix", [".jps", ".pns"])
def test_jps_is_cross_eyed(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"pair{suffix}"
    write_pair(path, LEFT, RIGHT)
    assert is_stereo(path)
    with Image.open(path) as image:
        joined = np.asarray(image)
    assert psnr(joined[:, :36], RIGHT) > 30
    pair = read_pair(path)
    assert psnr(pair.left, LEFT) > 30


def test_stereo_errors(tmp_path: Path) -> None:
    plain = tmp_path / "plain.png"
    Image.fromarray(LEFT).save(plain)
    with pytest.raises(UsageError) as error:
        read_pair(plain)
    assert "--layout" in error.value.hint
    with pytest.raises(UsageError, match="leave --layout out"):
        write_pair(tmp_path / "a.mpo", LEFT, RIGHT, "top-bottom")
    with pytest.raises(OutputExistsError):
        write_pair(plain, LEFT, RIGHT)
    whole = mpo(tmp_path / "whole.mpo", LEFT, RIGHT).read_bytes()
    (tmp_path / "cut.mpo").write_bytes(whole[: len(whole) - 900])
    with pytest.raises(MediaError):
        read_pair(tmp_path / "cut.mpo")


# --- layers --------------------------------------------------------------------------------


def layer(name: str, seed: int, alpha: int = 255) -> Layer:
    pixels = np.dstack([natural(20, 30, seed), np.full((20, 30), 255, np.uint8)])
    pixels[5:15, 8:20, 3] = alpha
    return Layer(name, pixels)


def test_openraster_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "a.ora"
    layers = [layer('back <&> "quoted"', 1), layer("front", 2, alpha=90)]
    write_ora(path, layers, composite(layers))
    assert is_layered(path)
    image = read_layers(path)
    assert [one.name for one in image.layers] == [one.name for one in layers]
    for one, other in zip(image.layers, layers, strict=True):
        assert np.array_equal(one.pixels, other.pixels)
    with zipfile.ZipFile(path) as archive:
        first = archive.infolist()[0]
        assert (first.filename, first.compress_type) == ("mimetype", zipfile.ZIP_STORED)
        merged = np.asarray(Image.open(io.BytesIO(archive.read("mergedimage.png"))))
    assert np.array_equal(merged, composite(layers))
    with pytest.raises(OutputExistsError):
        write_ora(path, layers, composite(layers))


def test_compositing() -> None:
    back, front = layer("", 1), layer("", 2, alpha=0)
    assert np.array_equal(composite([back, front])[5:15, 8:20], back.pixels[5:15, 8:20, :3])
    assert np.array_equal(composite([back, front])[:5], front.pixels[:5, :, :3])
    assert (composite([front], (1, 2, 3))[5:15, 8:20] == [1, 2, 3]).all()
    assert np.array_equal(flatten([front])[..., 3], front.pixels[..., 3])


def ora(path: Path, stack: str, **files: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mimetype", "image/openraster")
        archive.writestr("stack.xml", stack)
        for name, data in files.items():
            archive.writestr(f"data/{name}.png", data)
    return path


def png(width: int, height: int, colour: tuple[int, ...]) -> bytes:
    file = io.BytesIO()
    Image.new("RGBA", (width, height), colour).save(file, "PNG")
    return file.getvalue()


def test_openraster_of_a_paint_program(tmp_path: Path) -> None:
    stack = """<image w="20" h="10"><stack>
      <layer src="data/a.png" x="15" y="-2" name="top" composite-op="svg:multiply"/>
      <stack opacity="0.5"><layer src="data/a.png" name="in a group" opacity="0.5"/></stack>
      <layer src="data/a.png" visibility="hidden" name="hidden"/>
      <layer src="data/b.png" name="bottom"/></stack></image>"""
    red, grey = png(8, 8, (255, 0, 0, 255)), png(20, 10, (9, 9, 9, 255))
    path = ora(tmp_path / "p.ora", stack, a=red, b=grey)
    image = read_layers(path)
    assert [one.name for one in image.layers] == ["bottom", "in a group", "top"]
    assert {one.pixels.shape for one in image.layers} == {(10, 20, 4)}
    top, group = image.layers[2].pixels, image.layers[1].pixels
    assert top[:6, 15:, 3].min() == 255 and top[6:, :, 3].max() == 0
    assert group[0, 0].tolist() == [255, 0, 0, 64]
    assert "1 hidden layer left out" in image.notes
    assert any("blend mode of layer 'top'" in note for note in image.notes)


@pytest.mark.parametrize(
    ("stack", "words"),
    [
        ("<image w='4' h='4'><stack/></image>", "no visible layer"),
        ("<image w='4' h='4'><stack><layer src='data/none.png'/></stack></image>", "damaged"),
        ("<image w='99999' h='99999'><stack><layer src='data/a.png'/></stack></image>", "too much"),
        ("<!DOCTYPE x [<!ENTITY a 'b'>]><image w='4' h='4'/>", "DTD"),
        ("<image", "damaged"),
        ("<image w='x' h='4'/>", "damaged"),
    ],
)
def test_bad_openraster(tmp_path: Path, stack: str, words: str) -> None:
    with pytest.raises(MediaError, match=words):
        read_layers(ora(tmp_path / "bad.ora", stack, a=png(4, 4, (0, 0, 0, 0))))


def test_no_zip_and_no_openraster(tmp_path: Path) -> None:
    (tmp_path / "text.ora").write_text("no zip")
    with pytest.raises(MediaError, match="damaged"):
        read_layers(tmp_path / "text.ora")
    with zipfile.ZipFile(tmp_path / "zip.ora", "w") as archive:
        archive.writestr("mimetype", "application/epub+zip")
    with pytest.raises(MediaError, match="not an OpenRaster"):
        read_layers(tmp_path / "zip.ora")
    with pytest.raises(MediaError, match="no such file"):
        read_layers(tmp_path / "missing.ora")


def test_multi_page_tiff(tmp_path: Path) -> None:
    path = tmp_path / "pages.tif"
    pages = [Image.fromarray(layer("", seed, alpha=100).pixels) for seed in (1, 2)]
    pages[0].save(path, save_all=True, append_images=pages[1:])
    assert is_layered(path)
    image = read_layers(path)
    for one, page in zip(image.layers, pages, strict=True):
        assert np.array_equal(one.pixels, np.asarray(page))
    pages[0].save(tmp_path / "one.tif")
    assert not is_layered(tmp_path / "one.tif")
    pages[0].save(tmp_path / "uneven.tif", save_all=True, append_images=[pages[1].resize((9, 9))])
    assert not is_layered(tmp_path / "uneven.tif")


def test_psd(tmp_path: Path) -> None:
    document = PSDImage.new("RGB", (30, 20))
    back, front = Image.new("RGB", (30, 20), (10, 20, 30)), Image.new("RGBA", (12, 10))
    ImageDraw.Draw(front).rectangle((2, 2, 8, 8), (200, 100, 0, 255))
    for image, name, top, left in ((back, "back", 0, 0), (front, "front", 5, 8)):
        document.create_pixel_layer(image, name=name, top=top, left=left)
    path = tmp_path / "a.psd"
    document.save(path)
    assert is_layered(path)
    bottom, upper = read_layers(path).layers
    assert (bottom.name, upper.name) == ("back", "front")
    assert bottom.pixels[0, 0].tolist() == [10, 20, 30, 255]
    assert upper.pixels[8, 12].tolist() == [200, 100, 0, 255]
    assert upper.pixels[0, 0, 3] == 0
    (tmp_path / "bad.psd").write_bytes(path.read_bytes()[:200])
    with pytest.raises(MediaError, match="damaged PSD"):
        read_layers(tmp_path / "bad.psd")
