"""Colours that are declared by numbers: cICP, nclx, gAMA and cHRM."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from iicnet_cli.media.signalled_colour import (
    SRGB_PRIMARIES,
    colour_of_codes,
    colour_of_gamma,
    read_colour_codes,
)
from iicnet_cli.media.stills import read_still
from tests.media_samples import smooth

DISPLAY_P3 = (0.3127, 0.329, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06)


def png(path: Path, pixels: np.ndarray, **chunks: bytes) -> Path:
    """Write a PNG with further chunks before its pixels."""
    info = PngInfo()
    for kind, data in chunks.items():
        info.add(kind.encode(), data)
    Image.fromarray(pixels).save(path, pnginfo=info)
    return path


def linear(pixels: np.ndarray) -> np.ndarray:
    """The codes of the same picture where they stand for light."""
    value = pixels / 255
    light = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return np.rint(255 * light).astype(np.uint8)


def chromaticities(values: tuple[float, ...]) -> bytes:
    return struct.pack(">8I", *(round(value * 100_000) for value in values))


@pytest.mark.parametrize(
    "chunks",
    [
        {"gAMA": struct.pack(">I", 100_000)},
        {"cICP": bytes([1, 8, 0, 1])},
        {"cICP": bytes([1, 8, 0, 1]), "gAMA": struct.pack(">I", 45455)},
    ],
    ids=["gAMA", "cICP", "cICP first"],
)
@pytest.mark.parametrize("grey", [False, True])
def test_linear_light_is_encoded(tmp_path: Path, chunks: dict[str, bytes], grey: bool) -> None:
    shown = np.maximum(smooth(30, 40), 60)  # codes of dark light are too coarse to compare
    if grey:
        shown = shown[..., 0]
    still = read_still(png(tmp_path / "a.png", linear(shown), **chunks))
    wanted = shown if not grey else np.repeat(shown[..., None], 3, 2)
    assert np.abs(still.pixels.astype(int) - wanted).max() <= 4
    assert len(still.notes) == 1 and still.notes[0].startswith("colours converted from")


@pytest.mark.parametrize(
    "chunks",
    [
        {"gAMA": struct.pack(">I", 45455), "cHRM": chromaticities(SRGB_PRIMARIES)},
        {"sRGB": b"\0", "gAMA": struct.pack(">I", 100_000)},
        {"cICP": bytes([1, 13, 0, 1])},
        {"cICP": bytes([2, 2, 0, 1])},
        {"cHRM": bytes(32)},
        {"cHRM": b"\xff" * 32, "gAMA": b"\xff" * 4},
        {"gAMA": bytes(4)},
    ],
)
def test_what_means_srgb_or_nothing_changes_nothing(
    tmp_path: Path, chunks: dict[str, bytes]
) -> None:
    still = read_still(png(tmp_path / "a.png", smooth(30, 40), **chunks))
    assert np.array_equal(still.pixels, smooth(30, 40)) and still.notes == ()


def test_primaries_are_converted(tmp_path: Path) -> None:
    pixels = np.array([[[128, 128, 128], [200, 100, 100]]], np.uint8)
    by_chunk = read_still(png(tmp_path / "a.png", pixels, cHRM=chromaticities(DISPLAY_P3))).pixels
    by_number = read_still(png(tmp_path / "b.png", pixels, cICP=bytes([12, 13, 0, 1]))).pixels
    assert np.array_equal(by_chunk, by_number)
    # What colour management gives for Display P3, within rounding: greys stay, red gets stronger.
    assert np.abs(by_number[0].astype(int) - [[128, 128, 128], [213, 94, 97]]).max() <= 2


@pytest.mark.parametrize("transfer", [16, 18])
def test_hdr_is_tone_mapped_and_said(tmp_path: Path, transfer: int) -> None:
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, 2)
    still = read_still(png(tmp_path / "a.png", ramp, cICP=bytes([9, transfer, 0, 1])))
    values = still.pixels[0].astype(int)
    assert np.abs(values - values[:, :1]).max() <= 1  # greys stay grey
    assert (np.diff(values[:, 0]) >= 0).all() and values[0, 0] == 0 and values[-1, 0] == 255
    assert "HDR (BT.2020" in still.notes[0] and "tone-mapped" in still.notes[0]


def test_the_codes_of_an_avif_are_found() -> None:
    colour = struct.pack(">I4s4sHHHB", 19, b"colr", b"nclx", 9, 16, 9, 128)

    def box(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I4s", 8 + len(data), kind) + data

    properties = box(b"iprp", box(b"ipco", box(b"ispe", bytes(12)) + colour))
    data = box(b"ftyp", b"avif\0\0\0\0") + box(b"meta", bytes(4) + box(b"hdlr", b"") + properties)
    file = io.BytesIO(data)
    file.seek(5)
    assert read_colour_codes(file) == (9, 16) and file.tell() == 5
    for end in range(len(data) - 7):
        assert read_colour_codes(io.BytesIO(data[:end])) is None


def test_colours_of_srgb_need_no_conversion() -> None:
    assert colour_of_codes(1, 1) is None and colour_of_gamma(None, None) is None
