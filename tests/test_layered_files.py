"""Which files hold layers, and multi-page TIFF."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from iicnet_cli.errors import MediaError
from iicnet_cli.media.layered_files import is_layered, read_layers
from iicnet_cli.media.layered_image import flatten
from tests.media_samples import noise_layer, window_layer


def tiff(path: Path, *pages: Image.Image, **options: Any) -> Path:
    pages[0].save(path, save_all=True, append_images=pages[1:], **options)
    return path


def test_the_pages_of_a_tiff_are_its_layers(tmp_path: Path) -> None:
    path = tmp_path / "pages.tif"
    pages = [Image.fromarray(window_layer("", seed, alpha=100).pixels) for seed in (1, 2)]
    pages[0].save(path, save_all=True, append_images=pages[1:])
    assert is_layered(path)
    image = read_layers(path)
    for one, page in zip(image.layers, pages, strict=True):
        assert np.array_equal(one.pixels, np.asarray(page))
    pages[0].save(tmp_path / "one.tif")
    assert not is_layered(tmp_path / "one.tif")
    pages[0].save(tmp_path / "uneven.tif", save_all=True, append_images=[pages[1].resize((9, 9))])
    assert not is_layered(tmp_path / "uneven.tif")


def test_pages_are_converted_and_it_is_noted(tmp_path: Path) -> None:
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
def test_damaged_tiffs_are_one_line_errors(tmp_path: Path) -> None:
    page = Image.fromarray(noise_layer(size=(40, 40)).pixels)
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


def test_missing_files_are_errors(tmp_path: Path) -> None:
    for suffix in (".ora", ".psd", ".tif"):
        assert not is_layered(tmp_path / f"missing{suffix}")
        with pytest.raises(MediaError, match="no such file"):
            read_layers(tmp_path / f"missing{suffix}")


def test_a_first_page_that_shows_the_others_together_is_no_layer(tmp_path: Path) -> None:
    layers = [noise_layer(alpha=255, size=(20, 30)), window_layer("front", 1)]
    if layers[1].pixels.shape != layers[0].pixels.shape:
        layers[0] = noise_layer(alpha=255, size=layers[1].pixels.shape[:2])
    pages = [Image.fromarray(layer.pixels) for layer in layers]
    merged = Image.fromarray(flatten(layers))
    merged.save(tmp_path / "a.tif", save_all=True, append_images=pages)
    image = read_layers(tmp_path / "a.tif")
    assert [layer.name for layer in image.layers] == ["page 2", "page 3"]
    assert "page 1 is what the others make together, and is left out" in image.notes
    pages[0].save(tmp_path / "b.tif", save_all=True, append_images=[pages[1], merged])
    assert len(read_layers(tmp_path / "b.tif").layers) == 3
