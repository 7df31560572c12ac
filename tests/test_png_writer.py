"""Writing embeddings as PNG files."""

from __future__ import annotations

import hashlib
import io
import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageSequence

from iicnet_cli.container import png_writer
from iicnet_cli.container.embedding_file import EmbeddingFile
from iicnet_cli.container.frame_hash import hash_frame
from iicnet_cli.container.png_writer import PngWriter, delay_fields
from iicnet_cli.errors import UsageError
from iicnet_cli.pictures.limits import MAX_PIXELS_VARIABLE
from tests.png_files import chunks_of, some_header, write_embedding
from tests.random_arrays import random_pixels, smooth_pixels


def test_header_gets_the_hash_of_all_frames() -> None:
    frames = [random_pixels(16, 20), random_pixels(16, 20, seed=1)]
    expected = hashlib.sha256()
    for pixels in frames:
        hash_frame(expected, pixels)
    assert write_embedding(io.BytesIO(), *frames).pixels_sha256 == expected.hexdigest()


@pytest.mark.parametrize("grey", [False, True])
def test_one_frame_is_a_plain_png(tmp_path: Path, grey: bool) -> None:
    path = tmp_path / "a.png"
    pixels = random_pixels(150, 150, grey)
    write_embedding(path, pixels)
    chunks = chunks_of(path.read_bytes())
    kinds = [kind for kind, _ in chunks]
    assert kinds == [b"IHDR", b"sRGB", *[b"IDAT"] * (len(kinds) - 4), b"iTXt", b"IEND"]
    assert dict(chunks)[b"sRGB"] == b"\0"
    with Image.open(path) as image:
        assert image.mode == ("L" if grey else "RGB")
        assert image.n_frames == 1 and not image.is_animated  # type: ignore[attr-defined]
        assert np.array_equal(np.asarray(image), pixels)
        assert image.text.keys() == {"iicnet"}  # type: ignore[attr-defined]


def test_animation_as_pillow_sees_it(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    frames = [random_pixels(200, 200, seed=seed) for seed in range(3)]
    write_embedding(path, *frames, frame_delay=Fraction(5005, 30000), compress_level=1)
    with Image.open(path) as image:
        assert image.n_frames == 3 and image.is_animated  # type: ignore[attr-defined]
        seen = []
        for frame in ImageSequence.Iterator(image):
            assert frame.info["duration"] == pytest.approx(1000 * 5005 / 30000)
            seen.append(np.array(frame))
        assert image.info["loop"] == 0
    assert all(np.array_equal(a, b) for a, b in zip(seen, frames, strict=True))
    chunks = chunks_of(path.read_bytes())
    numbers = [int.from_bytes(b[:4], "big") for k, b in chunks if k in (b"fcTL", b"fdAT")]
    assert numbers == list(range(len(numbers)))
    assert [k for k, _ in chunks[:4]] == [b"IHDR", b"sRGB", b"acTL", b"fcTL"]
    assert [k for k, _ in chunks[-2:]] == [b"iTXt", b"IEND"]


@given(st.fractions(min_value=Fraction(1, 10**4), max_value=10**4))
def test_frame_delay_is_close(delay: Fraction) -> None:
    numerator, denominator = delay_fields(delay)
    assert 1 <= numerator <= 65535 and 1 <= denominator <= 65535
    assert abs(Fraction(numerator, denominator) - delay) <= delay / 1000 + Fraction(1, 65535)


def test_extreme_frame_delays() -> None:
    assert delay_fields(Fraction(10**9)) == (65535, 1)
    assert delay_fields(Fraction(1, 10**9)) == (1, 65535)
    with pytest.raises(ValueError):
        PngWriter(io.BytesIO(), frame_delay=Fraction(0))


def test_a_long_header_stays_readable_by_pillow(tmp_path: Path) -> None:
    header = some_header(timestamps=[i / 30 for i in range(150_000)])
    path = tmp_path / "a.png"
    with open(path, "w+b") as file:
        writer = PngWriter(file)
        writer.add(random_pixels(16, 16))
        header = writer.finish(header)
    assert len(header.to_json()) > 2**20
    with EmbeddingFile(path) as reader:
        assert reader.header == header
        assert reader.verify() is True


def test_a_header_that_is_too_large_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(png_writer, "MAX_HEADER_BYTES", 100_000)
    writer = PngWriter(io.BytesIO())
    writer.add(random_pixels(16, 16))
    with pytest.raises(UsageError, match="header is too large"):
        writer.finish(some_header(software="x", options={"k": "x" * 100_000}))


def test_pictures_that_are_too_large_are_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MAX_PIXELS_VARIABLE, "1000")
    with pytest.raises(UsageError, match="limit"):
        write_embedding(io.BytesIO(), smooth_pixels(30, 40))


@pytest.mark.parametrize("count", [1, 3])
def test_the_caller_keeps_the_file(count: int) -> None:
    file = io.BytesIO()
    write_embedding(file, *[random_pixels(16, 16)] * count)
    assert not file.closed
    assert file.tell() == len(file.getvalue())


def test_a_frame_is_needed() -> None:
    with pytest.raises(ValueError, match="frame"):
        write_embedding(io.BytesIO())


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((16, 16, 3), np.float32),
        np.zeros((16, 16, 4), np.uint8),
        np.zeros((16, 16, 1), np.uint8),
        np.zeros((2, 16, 16, 3), np.uint8),
    ],
)
def test_only_8_bit_rgb_or_grey_is_written(pixels: Any) -> None:
    with pytest.raises(ValueError, match="not 8-bit"):
        write_embedding(io.BytesIO(), pixels)


def test_frames_must_agree() -> None:
    for other in (random_pixels(16, 18), random_pixels(16, 16, grey=True)):
        with pytest.raises(ValueError, match="differs"):
            write_embedding(io.BytesIO(), random_pixels(16, 16), other)


def test_a_pipe_is_not_written_to() -> None:
    read_end, write_end = os.pipe()
    with open(read_end, "rb"), open(write_end, "wb") as file:
        with pytest.raises(ValueError, match="seek"):
            PngWriter(file)
