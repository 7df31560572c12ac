"""Embeddings with their mark, also after other tools saved them again."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from iicnet_cli.errors import ContainerError, DamagedError, NotAnEmbeddingError
from iicnet_cli.payload.embedding_reader import EmbeddingReader
from iicnet_cli.payload.mark import TASKS, Mark, model_id
from iicnet_cli.payload.mark_pixels import write_mark
from tests.png_files import WEIGHTS, png_of, save_again, without_text, write_embedding
from tests.random_arrays import random_pixels, smooth_pixels

MARK = Mark(task=TASKS.index("stego"), model=model_id(WEIGHTS), images=3, valid=3)


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("count", [1, 3])
def test_mark_of_the_first_frame(grey: bool, count: int) -> None:
    frames = [random_pixels(20, 24, grey, seed) for seed in range(count)]
    file = io.BytesIO()
    header = write_embedding(file, write_mark(frames[0], MARK), *frames[1:])
    with EmbeddingReader(file) as reader:
        assert reader.mark == MARK
        assert reader.header == header
        assert reader.n_frames == count and reader.size == (24, 20)
        assert reader.verify() is True
    assert not file.closed


def test_stripped_chunks_leave_the_mark(tmp_path: Path) -> None:
    marked = write_mark(smooth_pixels(30, 40), MARK)
    path = tmp_path / "still.png"
    write_embedding(path, marked)
    with EmbeddingReader(io.BytesIO(without_text(path.read_bytes()))) as reader:
        assert reader.header is None
        assert reader.mark == MARK
        assert reader.verify() is None
        assert np.array_equal(next(iter(reader)), marked)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_rgb_saved_again_by_other_tools(mode: str) -> None:
    colours = np.where(np.arange(20 * 16)[:, None] % 7, [10, 20, 30], [240, 100, 0])
    pixels = write_mark(colours.reshape(20, 16, 3).astype(np.uint8), MARK)
    header = write_embedding(io.BytesIO(), pixels)
    image = Image.fromarray(pixels)
    if mode == "P":
        image = image.quantize(256)
        assert np.array_equal(np.asarray(image.convert("RGB")), pixels)
    else:
        image = image.convert(mode)
    with EmbeddingReader(save_again(image, header)) as reader:
        assert reader.mark == MARK
        assert reader.header == header
        assert np.array_equal(next(iter(reader)), pixels)
        assert reader.verify() is True


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_grey_saved_again_by_other_tools(mode: str) -> None:
    pixels = write_mark(random_pixels(20, 24, grey=True), MARK)
    header = write_embedding(io.BytesIO(), pixels)
    if mode == "I;16":
        image = Image.fromarray(pixels.astype(np.uint16) * 257)
        assert image.mode == "I;16"
    else:
        image = Image.fromarray(pixels).convert(mode)
    with EmbeddingReader(save_again(image, header)) as reader:
        assert reader.mark == MARK
        assert np.array_equal(next(iter(reader)), pixels)
        assert reader.verify() is True


def test_sixteen_bit_rgb() -> None:
    pixels = write_mark(random_pixels(18, 22), MARK)
    wide = (pixels.astype(np.uint16) * 257).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in wide)
    ihdr = struct.pack(">IIBBBBB", 22, 18, 16, 2, 0, 0, 0)
    data = png_of([(b"IHDR", ihdr), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")])
    with EmbeddingReader(io.BytesIO(data)) as reader:
        assert reader.mark == MARK
        assert np.array_equal(next(iter(reader)), pixels)


@pytest.mark.parametrize("grey", [False, True])
def test_an_ordinary_png_has_nothing(grey: bool) -> None:
    pixels = smooth_pixels(20, 20, grey)
    with EmbeddingReader(save_again(Image.fromarray(pixels).convert("RGB"))) as reader:
        assert reader.header is None and reader.mark is None and reader.verify() is None
        assert next(iter(reader)).shape == (20, 20, 3)


def test_errors_are_those_of_an_embedding_file(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    Image.fromarray(smooth_pixels(20, 20)).save(path, "GIF")
    with pytest.raises(NotAnEmbeddingError, match="GIF"):
        EmbeddingReader(path)
    write_embedding(path, smooth_pixels(30, 40))
    with pytest.raises(DamagedError):
        EmbeddingReader(io.BytesIO(path.read_bytes()[:-5]))


@settings(deadline=None)
@given(st.data())
def test_flipped_bytes_raise_only_our_errors(data: st.DataObject) -> None:
    file = io.BytesIO()
    write_embedding(file, smooth_pixels(20, 20), smooth_pixels(20, 20)[::-1])
    spoiled = bytearray(file.getvalue())
    for _ in range(data.draw(st.integers(1, 3))):
        spoiled[data.draw(st.integers(0, len(spoiled) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        with EmbeddingReader(io.BytesIO(spoiled)) as reader:
            reader.verify()
    except ContainerError:
        pass
