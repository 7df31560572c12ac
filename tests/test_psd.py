"""Photoshop documents."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from PIL import Image, ImageDraw
from psd_tools import PSDImage
from psd_tools.constants import BlendMode, Tag
from psd_tools.psd.base import EmptyElement
from psd_tools.psd.tagged_blocks import TaggedBlock

from iicnet_cli.errors import MediaError
from iicnet_cli.media.layered_files import is_layered, read_layers

RED = (255, 0, 0, 255)


def solid(width: int, colour: tuple[int, ...]) -> Image.Image:
    return Image.new("RGBA", (width, 8), colour)


def test_layers_are_placed_on_the_canvas(tmp_path: Path) -> None:
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


def test_groups_give_their_opacity_and_their_modes_are_noted(tmp_path: Path) -> None:
    document = PSDImage.new("RGB", (8, 8))
    group = document.create_group(name="g")
    group.opacity, group.blend_mode = 128, BlendMode.MULTIPLY
    group.append(document.create_pixel_layer(solid(8, RED), name="l"))
    document.save(tmp_path / "a.psd")
    image = read_layers(tmp_path / "a.psd")
    assert [one.name for one in image.layers] == ["l"]
    assert (image.layers[0].pixels == [255, 0, 0, 128]).all()
    assert image.notes == ("blend mode of group 'g' ignored",)


def test_clipped_layers_are_merged_once(tmp_path: Path) -> None:
    document = PSDImage.new("RGB", (8, 8))
    document.create_pixel_layer(solid(4, (0, 0, 255, 255)), name="base")
    document.create_pixel_layer(solid(8, RED), name="clipped").clipping = True
    document.save(tmp_path / "a.psd")
    image = read_layers(tmp_path / "a.psd")
    assert [one.name for one in image.layers] == ["base"]
    assert (image.layers[0].pixels[:, :4] == RED).all()
    assert (image.layers[0].pixels[:, 4:, 3] == 0).all()
    assert image.notes == ("1 clipped layer merged below",)


def test_layers_keep_their_own_opacity_and_hidden_ones_are_left_out(tmp_path: Path) -> None:
    document = PSDImage.new("RGB", (8, 8))
    document.create_pixel_layer(solid(8, RED), name="half").opacity = 128
    document.create_pixel_layer(solid(8, RED), name="hidden").visible = False
    document.save(tmp_path / "a.psd")
    image = read_layers(tmp_path / "a.psd")
    assert [one.name for one in image.layers] == ["half"]
    assert (image.layers[0].pixels[..., 3] == 128).all()
    assert image.notes == ("hidden layer 'hidden' left out",)


def test_reading_needs_psd_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    PSDImage.new("RGB", (8, 8)).save(tmp_path / "a.psd")
    monkeypatch.setitem(sys.modules, "psd_tools", None)
    with pytest.raises(MediaError, match="psd-tools") as error:
        read_layers(tmp_path / "a.psd")
    assert error.value.hint == 'pip install "iicnet[psd]"'


def test_adjustment_layers_are_left_out_and_noted(tmp_path: Path) -> None:
    document = PSDImage.new("RGB", (8, 8))
    document.create_pixel_layer(solid(8, RED), name="photo")
    adjustment = document.create_pixel_layer(solid(8, RED), name="adjust")
    blocks = adjustment._record.tagged_blocks
    blocks[Tag.INVERT] = TaggedBlock(key=Tag.INVERT, data=EmptyElement())
    document.save(tmp_path / "a.psd")
    image = read_layers(tmp_path / "a.psd")
    assert [layer.name for layer in image.layers] == ["photo"]
    assert "invert layer 'adjust' left out" in image.notes


def test_a_look_that_differs_from_the_merged_picture_is_noted(tmp_path: Path) -> None:
    note = "its layers together look different from the merged picture in the file"
    document = PSDImage.new("RGB", (8, 8))
    document.create_pixel_layer(solid(8, RED), name="photo")
    document.save(tmp_path / "a.psd")
    assert note not in read_layers(tmp_path / "a.psd").notes
    document = PSDImage.open(tmp_path / "a.psd")
    other = [bytes(range(0, 256, 4))] * 3  # a ramp in each channel
    document._record.image_data.set_data(other, document._record.header)
    document.save(tmp_path / "b.psd")
    assert note in read_layers(tmp_path / "b.psd").notes
