"""Layered files that are odd, hostile or damaged."""

from __future__ import annotations

import io
import sys
import xml.etree.ElementTree as ET
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms
from psd_tools import PSDImage
from psd_tools.constants import BlendMode

from iicnet_cli.errors import MediaError, UsageError
from iicnet_cli.media import openraster
from iicnet_cli.media.layered_files import is_layered, read_layers
from iicnet_cli.media.layered_image import Layer, composite, flatten
from iicnet_cli.media.openraster import write_ora

RED = (255, 0, 0, 255)
ONE = '<image w="4" h="4"><stack><layer name="one" src="data/a.png"/></stack></image>'


def png(image: Image.Image | None = None, **options: Any) -> bytes:
    file = io.BytesIO()
    (image or Image.new("RGBA", (4, 4), RED)).save(file, "PNG", **options)
    return file.getvalue()


def ora(path: Path, stack: str | bytes, picture: bytes | None = None) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mimetype", "image/openraster")
        archive.writestr("stack.xml", stack)
        archive.writestr("data/a.png", png() if picture is None else picture)
    return path


def layer(name: str = "", alpha: int = 255, size: tuple[int, int] = (6, 8)) -> Layer:
    pixels = np.random.default_rng(alpha).integers(0, 256, (*size, 4), dtype=np.uint8)
    pixels[..., 3] = alpha
    return Layer(name, pixels)


# --- OpenRaster ----------------------------------------------------------------------------


def test_the_file_is_as_the_standard_wants_it(tmp_path: Path) -> None:
    layers = [layer("below", size=(300, 600)), layer("above", 99, size=(300, 600))]
    write_ora(tmp_path / "a.ora", layers, composite(layers))
    with zipfile.ZipFile(tmp_path / "a.ora") as archive:
        assert archive.testzip() is None
        assert archive.namelist()[0] == "mimetype"
        # Without an extra field the type stands where file(1) looks for it.
        assert (tmp_path / "a.ora").read_bytes()[30:54] == b"mimetypeimage/openraster"
        root = ET.fromstring(archive.read("stack.xml"))
        assert (root.tag, root.get("w"), root.get("h")) == ("image", "600", "300")
        assert tuple(map(int, str(root.get("version")).split("."))) >= (0, 0, 3)
        # The first one in the list is the topmost.
        assert [one.get("name") for one in root.iter("layer")] == ["above", "below"]
        assert all(one.get("src") in archive.namelist() for one in root.iter("layer"))
        thumbnail = Image.open(io.BytesIO(archive.read("Thumbnails/thumbnail.png")))
        assert thumbnail.size == (256, 128)
        assert Image.open(io.BytesIO(archive.read("mergedimage.png"))).size == (600, 300)
    assert list(tmp_path.iterdir()) == [tmp_path / "a.ora"]


@pytest.mark.parametrize(
    ("name", "read"), [("a\x00b", "a?b"), ("a\udcff", "a?"), ("ä\n<b>&'\"", "ä\n<b>&'\"")]
)
def test_any_name_can_be_written(tmp_path: Path, name: str, read: str) -> None:
    one = layer(name)
    write_ora(tmp_path / "a.ora", [one], composite([one]))
    assert read_layers(tmp_path / "a.ora").layers[0].name == read


def test_sizes_must_agree(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="one size"):
        write_ora(tmp_path / "a.ora", [layer()], np.zeros((5, 8, 3), np.uint8))
    assert list(tmp_path.iterdir()) == []


def test_groups_move_their_layers_and_their_blend_modes_are_noted(tmp_path: Path) -> None:
    stack = """<image w="9" h="9"><stack><stack name="g" x="3" y="2" opacity="0.5"
      composite-op="svg:multiply"><layer x="1" src="data/a.png"/></stack></stack></image>"""
    image = read_layers(ora(tmp_path / "a.ora", stack))
    expected = np.zeros((9, 9), np.uint8)
    expected[2:6, 4:8] = 128
    assert np.array_equal(image.layers[0].pixels[..., 3], expected)
    assert image.notes == ("blend mode of group 'g' ignored",)


def test_the_layers_of_a_hidden_group_are_hidden(tmp_path: Path) -> None:
    stack = """<image w="4" h="4"><stack><stack visibility="hidden"><layer src="data/a.png"/>
      <layer src="data/a.png"/></stack><layer name="seen" src="data/a.png"/></stack></image>"""
    image = read_layers(ora(tmp_path / "a.ora", stack))
    assert [one.name for one in image.layers] == ["seen"]
    assert image.notes == ("2 hidden layers left out",)


def test_sixteen_bit_and_wide_gamut_layers_are_converted_and_noted(tmp_path: Path) -> None:
    ramp = np.tile(np.linspace(0, 65535, 4).astype(np.uint16), (4, 1))
    image = read_layers(ora(tmp_path / "a.ora", ONE, png(Image.fromarray(ramp))))
    assert image.layers[0].pixels[0].tolist() == [[v, v, v, 255] for v in (0, 85, 170, 255)]
    assert image.notes == ("16-bit values scaled to 8 bits",)
    # A profile with red and blue swapped shows that it is used; alpha stays as it is.
    swapped = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, blue = swapped.index(b"rXYZ"), swapped.index(b"bXYZ")
    swapped[red : red + 4], swapped[blue : blue + 4] = b"bXYZ", b"rXYZ"
    for at in (i for i in range(len(swapped) - 4) if swapped[i : i + 4] == b"sRGB"):
        swapped[at : at + 4] = b"swap"
    title = "sRGB".encode("utf-16-be")
    half = Image.new("RGBA", (4, 4), (255, 0, 0, 77))
    profile = bytes(swapped).replace(title, "swap".encode("utf-16-be"))
    image = read_layers(ora(tmp_path / "b.ora", ONE, png(half, icc_profile=profile)))
    red_value, _, blue_value, alpha = image.layers[0].pixels[0, 0]
    assert (red_value < 60, blue_value > 200, alpha) == (True, True, 77)
    assert "converted from profile" in image.notes[0]


BOMB = '<!DOCTYPE x [<!ENTITY a "{}">]><image w="4" h="4"><stack/></image>'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_dtd_is_refused_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    document = f'<?xml version="1.0" encoding="{encoding}"?>' + BOMB.format("lol")
    with pytest.raises(MediaError, match="DTD"):
        read_layers(ora(tmp_path / "a.ora", document.encode(encoding)))


@pytest.mark.parametrize(
    "stack",
    [
        "<image w='4' h='4'>" + "<stack>" * 20000 + "</stack>" * 20000 + "</image>",
        ONE.replace("data/a", "../../data/a"),
        ONE.replace("name=", "x='99999999999' name="),
        ONE.replace("name=", "x='1.5' name="),
        ONE.replace("name=", "opacity='half' name="),
        ONE.replace('w="4"', 'w="0"'),
        ONE.replace('w="4"', 'w="-4"'),
        ONE.replace('w="4"', "w='" + "9" * 5000 + "'"),
        "<image/>",
        "",
    ],
    ids=range(10),
)
def test_hostile_stacks_are_one_line_errors(tmp_path: Path, stack: str) -> None:
    with pytest.raises(MediaError, match=r"^a\.ora: ") as error:
        read_layers(ora(tmp_path / "a.ora", stack))
    assert "\n" not in str(error.value)


def test_a_canvas_of_too_many_layers_is_refused_before_it_is_made(tmp_path: Path) -> None:
    many = '<layer src="data/a.png"/>' * 600
    stack = f'<image w="1000" h="1000"><stack>{many}</stack></image>'
    with pytest.raises(MediaError, match="600 layers is too much"):
        read_layers(ora(tmp_path / "a.ora", stack))


def test_members_that_inflate_too_much_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openraster, "MAX_LAYER_BYTES", 1000)
    path = ora(tmp_path / "a.ora", ONE, bytes(1_000_000))
    assert path.stat().st_size < 3000
    with pytest.raises(MediaError, match="longer than 1000 bytes"):
        read_layers(path)
    spaces = ONE + " " * (2 << 20)
    with pytest.raises(MediaError, match=r"stack\.xml is longer"):
        read_layers(ora(tmp_path / "b.ora", spaces))


def patched(path: Path, central: int, local: int, value: int) -> Path:
    """A zip with one field of every header set, in the central folder and before each member."""
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x01\x02", central), (b"PK\x03\x04", local)):
        at = data.find(signature)
        while at >= 0:
            data[at + offset] = value
            at = data.find(signature, at + 4)
    path.write_bytes(data)
    return path


def test_zips_that_cannot_be_unpacked(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="encrypted"):
        read_layers(patched(ora(tmp_path / "a.ora", ONE), 8, 6, 1))
    with pytest.raises(MediaError, match="compression"):
        read_layers(patched(ora(tmp_path / "a.ora", ONE), 10, 8, 77))


def test_damage_anywhere_raises_only_our_errors(tmp_path: Path) -> None:
    whole = ora(tmp_path / "whole.ora", ONE).read_bytes()
    path = tmp_path / "a.ora"
    failed = 0
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        try:
            read_layers(path)
        except MediaError as error:
            assert "\n" not in str(error)
            failed += 1
    assert failed > len(whole) / 3
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(MediaError):
            read_layers(path)


def test_a_layer_that_is_no_picture_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"^a\.ora: "):
        read_layers(ora(tmp_path / "a.ora", ONE, b"no picture"))


# --- compositing ---------------------------------------------------------------------------


def test_compositing_is_source_over() -> None:
    below, above = layer(alpha=255), layer(alpha=100)
    share = 100 / 255
    expected = share * above.pixels[..., :3] + (1 - share) * below.pixels[..., :3].astype(float)
    assert np.abs(composite([below, above]) - expected).max() <= 1
    empty = Layer("", np.zeros((6, 8, 4), np.uint8))
    assert (composite([empty], (1, 2, 3)) == [1, 2, 3]).all()
    assert (composite([empty]) == 255).all()


def test_results_are_arrays_of_their_own() -> None:
    """torch warns of arrays that cannot be written to."""
    one = layer(alpha=7)
    for pixels in (composite([one]), flatten([one])):
        assert pixels.flags.writeable and pixels.flags.c_contiguous


# --- TIFF ----------------------------------------------------------------------------------


def tiff(path: Path, *pages: Image.Image, **options: Any) -> Path:
    pages[0].save(path, save_all=True, append_images=pages[1:], **options)
    return path


def test_pages_are_converted_and_it_is_said(tmp_path: Path) -> None:
    ramp = np.tile(np.linspace(0, 65535, 4).astype(np.uint16), (3, 1))
    image = read_layers(tiff(tmp_path / "a.tif", *[Image.fromarray(ramp)] * 2))
    assert image.layers[1].pixels[0].tolist() == [[v, v, v, 255] for v in (0, 85, 170, 255)]
    assert image.notes == ("16-bit values scaled to 8 bits",)
    cmyk = Image.new("CMYK", (4, 3), (0, 255, 255, 0))
    image = read_layers(tiff(tmp_path / "b.tif", cmyk, cmyk))
    assert image.layers[0].pixels[0, 0].tolist() == [255, 0, 0, 255]
    assert "CMYK" in image.notes[0] and len(image.notes) == 1


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_pages_are_turned_upright(tmp_path: Path, mode: str) -> None:
    page = Image.new(mode, (4, 2))
    page.putpixel((0, 0), (255, 255, 255, 255)[: len(mode)])
    path = tiff(tmp_path / "a.tif", page, page, tiffinfo={274: 6}, compression="tiff_deflate")
    image = read_layers(path)
    assert image.layers[0].pixels.shape == (4, 2, 4)
    assert image.layers[0].pixels[0, 1].tolist() == [255] * 4  # turned clockwise
    assert image.notes == ("turned upright as its EXIF orientation says",)


def test_pages_of_two_sizes_and_other_pictures_are_no_layers(tmp_path: Path) -> None:
    page = Image.new("RGB", (8, 8))
    path = tiff(tmp_path / "a.tif", page, page.resize((4, 4)))
    assert not is_layered(path)
    with pytest.raises(MediaError, match="differ in size"):
        read_layers(path)
    page.save(tmp_path / "a.jpg")
    with pytest.raises(MediaError, match="holds no layers") as error:
        read_layers(tmp_path / "a.jpg")
    assert ".ora" in error.value.hint


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_a_damaged_tiff(tmp_path: Path) -> None:
    page = Image.fromarray(layer(size=(40, 40)).pixels)
    path = tiff(tmp_path / "a.tif", page, page)
    whole = path.read_bytes()
    failed = 0
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        assert is_layered(path) in (True, False)
        try:
            read_layers(path)
        except MediaError as error:
            assert "\n" not in str(error)
            failed += 1
    assert failed > len(whole) / 97 / 3


# --- PSD -----------------------------------------------------------------------------------


def solid(width: int, colour: tuple[int, ...]) -> Image.Image:
    return Image.new("RGBA", (width, 8), colour)


def test_psd_groups_give_their_opacity_and_modes_are_noted(tmp_path: Path) -> None:
    document = PSDImage.new("RGB", (8, 8))
    group = document.create_group(name="g")
    group.opacity, group.blend_mode = 128, BlendMode.MULTIPLY
    group.append(document.create_pixel_layer(solid(8, RED), name="l"))
    document.save(tmp_path / "a.psd")
    image = read_layers(tmp_path / "a.psd")
    assert [one.name for one in image.layers] == ["l"]
    assert (image.layers[0].pixels == [255, 0, 0, 128]).all()
    assert image.notes == ("blend mode of group 'g' ignored",)


def test_psd_clipped_layers_are_merged_once(tmp_path: Path) -> None:
    document = PSDImage.new("RGB", (8, 8))
    document.create_pixel_layer(solid(4, (0, 0, 255, 255)), name="base")
    document.create_pixel_layer(solid(8, RED), name="clipped").clipping = True
    document.save(tmp_path / "a.psd")
    image = read_layers(tmp_path / "a.psd")
    assert [one.name for one in image.layers] == ["base"]
    assert (image.layers[0].pixels[:, :4] == RED).all()
    assert (image.layers[0].pixels[:, 4:, 3] == 0).all()
    assert image.notes == ("1 clipped layer merged below",)


def test_psd_layers_keep_their_own_opacity_and_hidden_ones_go(tmp_path: Path) -> None:
    document = PSDImage.new("RGB", (8, 8))
    document.create_pixel_layer(solid(8, RED), name="half").opacity = 128
    document.create_pixel_layer(solid(8, RED), name="hidden").visible = False
    document.save(tmp_path / "a.psd")
    image = read_layers(tmp_path / "a.psd")
    assert [one.name for one in image.layers] == ["half"]
    assert (image.layers[0].pixels[..., 3] == 128).all()
    assert image.notes == ("hidden layer 'hidden' left out",)


def test_psd_needs_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    PSDImage.new("RGB", (8, 8)).save(tmp_path / "a.psd")
    monkeypatch.setitem(sys.modules, "psd_tools", None)
    with pytest.raises(MediaError, match="psd-tools") as error:
        read_layers(tmp_path / "a.psd")
    assert error.value.hint == 'pip install "iicnet[psd]"'
