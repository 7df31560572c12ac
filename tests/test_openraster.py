"""OpenRaster files of this package, of others, hostile and damaged."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ET
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from iicnet_cli.errors import MediaError, OutputExistsError, UsageError
from iicnet_cli.media import openraster
from iicnet_cli.media.layered_files import is_layered, read_layers
from iicnet_cli.media.layered_image import composite
from iicnet_cli.media.openraster import write_ora
from tests.media_samples import noise_layer, swapped_profile, window_layer

RED = (255, 0, 0, 255)
ONE = '<image w="4" h="4"><stack><layer name="one" src="data/a.png"/></stack></image>'


def png(image: Image.Image | None = None, **options: Any) -> bytes:
    file = io.BytesIO()
    (image or Image.new("RGBA", (4, 4), RED)).save(file, "PNG", **options)
    return file.getvalue()


def ora(path: Path, stack: str | bytes, picture: bytes | None = None, **others: bytes) -> Path:
    """Write an OpenRaster file whose pictures are called data/a.png and by their keywords."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mimetype", "image/openraster")
        archive.writestr("stack.xml", stack)
        archive.writestr("data/a.png", png() if picture is None else picture)
        for name, data in others.items():
            archive.writestr(f"data/{name}.png", data)
    return path


def test_written_layers_are_read_back(tmp_path: Path) -> None:
    path = tmp_path / "a.ora"
    layers = [window_layer('back <&> "quoted"', 1), window_layer("front", 2, alpha=90)]
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


def test_the_file_is_as_the_standard_wants_it(tmp_path: Path) -> None:
    layers = [noise_layer("below", size=(300, 600)), noise_layer("above", 99, size=(300, 600))]
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
    one = noise_layer(name)
    write_ora(tmp_path / "a.ora", [one], composite([one]))
    assert read_layers(tmp_path / "a.ora").layers[0].name == read


def test_sizes_must_agree(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="one size"):
        write_ora(tmp_path / "a.ora", [noise_layer()], np.zeros((5, 8, 3), np.uint8))
    assert list(tmp_path.iterdir()) == []


def test_openraster_of_a_paint_program(tmp_path: Path) -> None:
    stack = """<image w="20" h="10"><stack>
      <layer src="data/a.png" x="15" y="-2" name="top" composite-op="svg:multiply"/>
      <stack opacity="0.5"><layer src="data/a.png" name="in a group" opacity="0.5"/></stack>
      <layer src="data/a.png" visibility="hidden" name="hidden"/>
      <layer src="data/b.png" name="bottom"/></stack></image>"""
    red, grey = (
        png(Image.new("RGBA", (8, 8), RED)),
        png(Image.new("RGBA", (20, 10), (9, 9, 9, 255))),
    )
    path = ora(tmp_path / "p.ora", stack, red, b=grey)
    image = read_layers(path)
    assert [one.name for one in image.layers] == ["bottom", "in a group", "top"]
    assert {one.pixels.shape for one in image.layers} == {(10, 20, 4)}
    top, group = image.layers[2].pixels, image.layers[1].pixels
    assert top[:6, 15:, 3].min() == 255 and top[6:, :, 3].max() == 0
    assert group[0, 0].tolist() == [255, 0, 0, 64]
    assert "1 hidden layer left out" in image.notes
    assert any("blend mode of layer 'top'" in note for note in image.notes)


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
    half = Image.new("RGBA", (4, 4), (255, 0, 0, 77))
    image = read_layers(ora(tmp_path / "b.ora", ONE, png(half, icc_profile=swapped_profile())))
    red_value, _, blue_value, alpha = image.layers[0].pixels[0, 0]
    assert (red_value < 60, blue_value > 200, alpha) == (True, True, 77)
    assert "converted from profile" in image.notes[0]


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
def test_unusable_stacks_say_why(tmp_path: Path, stack: str, words: str) -> None:
    with pytest.raises(MediaError, match=words):
        read_layers(ora(tmp_path / "bad.ora", stack))


def test_other_files_are_no_openraster(tmp_path: Path) -> None:
    (tmp_path / "text.ora").write_text("no zip")
    with pytest.raises(MediaError, match="damaged"):
        read_layers(tmp_path / "text.ora")
    with zipfile.ZipFile(tmp_path / "zip.ora", "w") as archive:
        archive.writestr("mimetype", "application/epub+zip")
    with pytest.raises(MediaError, match="not an OpenRaster"):
        read_layers(tmp_path / "zip.ora")
    with pytest.raises(MediaError, match="no such file"):
        read_layers(tmp_path / "missing.ora")


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


def test_zips_that_cannot_be_unpacked_are_errors(tmp_path: Path) -> None:
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


def test_layers_much_larger_than_their_picture_are_not_decoded(tmp_path: Path) -> None:
    path = ora(tmp_path / "a.ora", ONE, png(Image.new("RGBA", (2100, 2100))))
    with pytest.raises(MediaError, match="2100x2100 in a picture of 4x4 is too much"):
        read_layers(path)
    path = ora(tmp_path / "b.ora", ONE, png(Image.new("RGBA", (40, 40), RED)))
    assert read_layers(path).layers[0].pixels.shape == (4, 4, 4)
