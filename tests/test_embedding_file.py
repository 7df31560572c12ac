"""Reading embeddings from PNG files, also from those that other tools have changed."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from iicnet_cli.container import embedding_file
from iicnet_cli.container.embedding_file import EmbeddingFile, has_equal_channels, read_header
from iicnet_cli.container.header import Source
from iicnet_cli.errors import ContainerError, DamagedError, MediaError, NotAnEmbeddingError
from iicnet_cli.pictures.limits import MAX_PIXELS_VARIABLE
from tests.png_files import (
    chunks_of,
    png_of,
    replace_header,
    save_again,
    some_header,
    without_text,
    write_embedding,
)
from tests.random_arrays import random_pixels, smooth_pixels


@pytest.fixture
def still(tmp_path: Path) -> Path:
    """An embedding of one frame."""
    path = tmp_path / "still.png"
    write_embedding(path, smooth_pixels(30, 40))
    return path


@settings(deadline=None, max_examples=40)
@given(st.integers(16, 70), st.integers(16, 70), st.booleans(), st.integers(1, 4))
def test_round_trip(height: int, width: int, grey: bool, count: int) -> None:
    frames = [random_pixels(height, width, grey, seed) for seed in range(count)]
    file = io.BytesIO()
    header = write_embedding(file, *frames)
    with EmbeddingFile(file) as reader:
        assert reader.n_frames == len(reader) == count
        assert reader.size == (width, height)
        assert reader.grey == grey
        assert reader.header == header == read_header(file)
        for _ in range(2):  # from the start again
            assert all(np.array_equal(a, b) for a, b in zip(reader, frames, strict=True))
        assert np.array_equal(reader.read_frame(count - 1), frames[-1])
        assert reader.verify() is True
    assert not file.closed


def test_frames_can_be_given_as_grey_or_rgb() -> None:
    pixels = random_pixels(20, 24, grey=True)
    with EmbeddingFile(save_again(Image.fromarray(pixels).convert("RGB"))) as reader:
        assert not reader.grey
        assert has_equal_channels(reader.read_frame(0))
        reader.grey = True
        assert np.array_equal(reader.read_frame(0), pixels)
    with EmbeddingFile(save_again(Image.fromarray(pixels))) as reader:
        assert reader.grey
        reader.grey = False
        assert np.array_equal(reader.read_frame(0), np.stack([pixels] * 3, axis=2))


def test_a_file_without_text_has_no_header(still: Path) -> None:
    data = without_text(still.read_bytes())
    assert read_header(io.BytesIO(data)) is None
    with EmbeddingFile(io.BytesIO(data)) as reader:
        assert reader.header is None
        assert reader.verify() is None


def test_changed_pixels_fail_the_hash(still: Path) -> None:
    file = io.BytesIO()
    write_embedding(file, smooth_pixels(30, 40)[::-1])
    other = dict(chunks_of(file.getvalue()))[b"IDAT"]
    data = png_of([(k, other if k == b"IDAT" else b) for k, b in chunks_of(still.read_bytes())])
    with EmbeddingFile(io.BytesIO(data)) as reader:
        assert reader.verify() is False


def test_animation_saved_again_by_pillow() -> None:
    frames = [smooth_pixels(30, 40) for _ in range(3)]
    frames[1][4:9, 5:9] = 7
    frames[2][20:, 30:] = 9
    images = [Image.fromarray(pixels) for pixels in frames]
    file = io.BytesIO()
    images[0].save(file, "PNG", save_all=True, append_images=images[1:], blend=1)
    with EmbeddingFile(file) as reader:
        assert all(np.array_equal(a, b) for a, b in zip(reader, frames, strict=True))


@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt", b"iTXt"])
def test_header_in_the_chunks_that_other_tools_make(still: Path, kind: bytes) -> None:
    header = some_header(sources=[Source(name="Été.png", width=1, height=1)])
    text = header.to_json().encode()
    body = {
        b"tEXt": b"iicnet\0" + text,
        b"zTXt": b"iicnet\0\0" + zlib.compress(text),
        b"iTXt": b"iicnet\0\1\0en\0word\0" + zlib.compress(text),
    }[kind]
    chunks = chunks_of(without_text(still.read_bytes()))
    chunks.insert(1, (kind, body))  # before the pixels
    assert read_header(io.BytesIO(png_of(chunks))) == header


def test_a_header_that_is_too_large_is_not_unpacked(
    still: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding_file, "MAX_HEADER_BYTES", 100_000)
    data = still.read_bytes()
    bomb = b"iicnet\0\1\0\0\0" + zlib.compress(b" " * 1_000_000 + b"{}")
    for kind, body in ((b"iTXt", bomb), (b"tEXt", b"iicnet\0" + bytes(100_000))):
        with pytest.raises(DamagedError, match="too large"):
            read_header(io.BytesIO(replace_header(data, kind, body)))


def test_every_truncation_is_damage(still: Path) -> None:
    data = still.read_bytes()
    for size in [*range(8, 80), *range(80, len(data), 97), len(data) - 12, len(data) - 5]:
        with pytest.raises(DamagedError):
            read_header(io.BytesIO(data[:size]))
        with pytest.raises(DamagedError):
            EmbeddingFile(io.BytesIO(data[:size]))


def test_a_flipped_byte_in_the_header_is_damage(still: Path) -> None:
    data = bytearray(still.read_bytes())
    data[data.index(b"stego-3")] ^= 1
    with pytest.raises(DamagedError, match="iTXt"):
        read_header(io.BytesIO(data))


@pytest.mark.parametrize(
    ("file_format", "name"),
    [("JPEG", "JPEG"), ("WEBP", "WebP"), ("GIF", "GIF"), ("BMP", "BMP"), ("TIFF", "TIFF")],
)
def test_another_format_named_png(tmp_path: Path, file_format: str, name: str) -> None:
    path = tmp_path / "photo.png"
    Image.fromarray(smooth_pixels(20, 20)).save(path, file_format)
    functions = [read_header] if name in ("JPEG", "WebP") else [read_header, EmbeddingFile]
    for function in functions:
        with pytest.raises(NotAnEmbeddingError, match=name) as caught:
            function(path)
        assert "another format" in caught.value.hint
        assert "photo.png" in str(caught.value)


@pytest.mark.parametrize(("file_format", "mode"), [("JPEG", "RGB"), ("JPEG", "L"), ("WEBP", "RGB")])
def test_what_services_make_of_a_picture_is_read(file_format: str, mode: str) -> None:
    file = io.BytesIO()
    Image.fromarray(smooth_pixels(20, 30)).convert(mode).save(file, file_format)
    with Image.open(file) as image, EmbeddingFile(file) as reader:
        assert (reader.header, reader.n_frames, reader.size) == (None, 1, (30, 20))
        assert (reader.read_frame(0) == np.asarray(image)).all()
        assert reader.grey == (mode == "L")
    with pytest.raises(DamagedError):
        EmbeddingFile(io.BytesIO(file.getvalue()[: file.tell() * 2 // 3]))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b"hello, world\n", "not a PNG"),
        (b"\0\0\0 ftypavif", "AVIF"),
        (b"\0\0\0 ftypheic", "HEIC"),
        (b"\0\0\0 ftypisom", "MP4"),
        (b"PK\x03\x04", "ZIP"),
    ],
)
def test_no_png_at_all(data: bytes, message: str) -> None:
    with pytest.raises(NotAnEmbeddingError, match=message):
        read_header(io.BytesIO(data))


def test_missing_input(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="No such file"):
        read_header(tmp_path / "none.png")


def test_reading_a_header_loads_no_pillow(still: Path) -> None:
    code = (
        "import sys; from iicnet_cli.container.embedding_file import read_header;"
        "print(read_header(sys.argv[1]).model, 'PIL' in sys.modules, 'torch' in sys.modules)"
    )
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run(
        [sys.executable, "-c", code, str(still)],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["stego-3", "False", "False"]


def test_our_limit_on_pixels_counts_not_pillows(
    still: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with EmbeddingFile(still) as reader:
            assert len(list(reader)) == 1
    assert Image.MAX_IMAGE_PIXELS == 100
    monkeypatch.setenv(MAX_PIXELS_VARIABLE, "1000")
    with pytest.raises(ContainerError, match="limit"):
        read_header(still)


@pytest.mark.parametrize("count", [1, 3])
def test_reading_from_a_pipe(count: int) -> None:
    frames = [random_pixels(60, 70, seed=seed) for seed in range(count)]
    written = io.BytesIO()
    write_embedding(written, *frames)
    read_end, write_end = os.pipe()

    def produce() -> None:
        with open(write_end, "wb") as file:
            file.write(written.getvalue())

    thread = threading.Thread(target=produce)
    thread.start()
    with open(read_end, "rb") as file:
        assert not file.seekable()
        with EmbeddingFile(file) as reader:
            assert reader.header is not None and reader.verify()
            assert all(np.array_equal(a, b) for a, b in zip(reader, frames, strict=True))
    thread.join()


def test_a_second_size_is_refused(still: Path) -> None:
    first, *others = chunks_of(still.read_bytes())
    still.write_bytes(png_of([first, first, *others]))
    with pytest.raises(DamagedError, match="the PNG file is damaged"):
        EmbeddingFile(still)


@pytest.mark.parametrize("before_pixels", [True, False])
def test_long_text_of_other_programs_does_no_harm(still: Path, before_pixels: bool) -> None:
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", "a" * 3_000_000, zip=True)
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG", pnginfo=info)
    text = file.getvalue()[33:]
    text = text[: 12 + int.from_bytes(text[:4], "big")]
    data = still.read_bytes()
    at = 33 if before_pixels else len(data) - 12
    still.write_bytes(data[:at] + text + data[at:])
    with EmbeddingFile(still) as reader:
        assert reader.verify()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="has no named pipes")
def test_a_named_pipe_is_refused_before_it_blocks(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(MediaError, match="is no regular file"):
        read_header(tmp_path / "pipe.png")


def test_a_png_is_refused_that_is_too_short_for_the_size_it_states(still: Path) -> None:
    data = bytearray(still.read_bytes())
    data[20:24] = (1 << 22).to_bytes(4, "big")  # the height in IHDR
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    with pytest.raises(DamagedError, match="too short for the pixels"):
        EmbeddingFile(io.BytesIO(data))


def test_the_flattest_png_is_not_too_short() -> None:
    file = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(file, "PNG", optimize=True)
    assert len(file.getvalue()) < 60_000
    assert EmbeddingFile(file).size == (20_000, 20_000)


def test_no_jpeg_of_more_than_32768_pixels_is_decoded() -> None:
    file = io.BytesIO()
    Image.new("L", (32_769, 1)).save(file, "JPEG")
    with pytest.raises(NotAnEmbeddingError, match="has 32769x1 pixels"):
        EmbeddingFile(file)


def test_a_jpeg_that_claims_too_much_is_refused_at_once(tmp_path: Path) -> None:
    Image.fromarray(smooth_pixels(64, 96)).save(tmp_path / "small.jpg")
    data = (tmp_path / "small.jpg").read_bytes()
    for side, error in ((4000, DamagedError), (16000, NotAnEmbeddingError)):
        path = tmp_path / f"{side}.jpg"
        path.write_bytes(
            data.replace(struct.pack(">HH", 64, 96), struct.pack(">HH", side, side), 1)
        )
        with pytest.raises(error):
            EmbeddingFile(path)
