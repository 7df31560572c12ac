"""The container: header, in-pixel mark, still and animated PNG."""

from __future__ import annotations

import binascii
import dataclasses
import hashlib
import io
import json
import os
import struct
import subprocess
import sys
import threading
import unicodedata
import warnings
import zlib
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from iicnet_cli.container.png import EmbeddingReader, EmbeddingWriter, hash_frame, read_header
from PIL import Image, ImageSequence, PngImagePlugin

from iicnet_cli.container import png
from iicnet_cli.container.header import Header, Source, safe_name
from iicnet_cli.errors import (
    ContainerError,
    DamagedError,
    ExitCode,
    MediaError,
    NotAnEmbeddingError,
    UnsupportedVersionError,
    UsageError,
)
from iicnet_cli.payload.carriers import MARK_BITS
from iicnet_cli.payload.mark import (
    TASKS,
    Mark,
    carried,
    fps_code,
    fps_from_code,
    model_id,
    payload_capacity,
    read_mark,
    write_mark,
)
from iicnet_cli.pictures.arrays import Pixels

WEIGHTS = hashlib.sha256(b"weights").hexdigest()
MARK = Mark(task=TASKS.index("stego"), model=model_id(WEIGHTS), images=3, valid=3)
EVIL_NAMES = (
    *["../../etc/passwd", "/etc/passwd", "C:\\x", "..\\..\\x", "C:x", "..", ".", "", "/", "a/.."],
    *["NUL", "CON", "con.txt", "COM1.png", "nul .png", "a\0b", "\x1b[2Jx", "a\nb", "\u202egnp.x"],
    *["x" * 500 + ".png", "é" * 500 + ".png", "a." + "b" * 500, "\udcff.png", "x. . .", "a:b|c?"],
)


def random_pixels(height: int, width: int, grey: bool = False, seed: int = 0) -> Pixels:
    shape = (height, width) if grey else (height, width, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def smooth_pixels(height: int, width: int, grey: bool = False) -> Pixels:
    ramp = np.add.outer(np.arange(height), np.arange(width)) % 251
    pixels = ramp.astype(np.uint8)
    return pixels if grey else np.stack([pixels, pixels // 2, 255 - pixels], axis=2)


def some_header(**fields: Any) -> Header:
    values: dict[str, Any] = {
        "task": "stego",
        "model": "stego-3",
        "weights_sha256": WEIGHTS,
        "images": 3,
        "width": 40,
        "height": 30,
    }
    return Header(**(values | fields))


def write(target: Any, *frames: Pixels, **options: Any) -> Header:
    if isinstance(target, Path):
        with open(target, "w+b") as file:
            return write(file, *frames, **options)
    writer = EmbeddingWriter(target, **options)
    for pixels in frames:
        writer.add(pixels)
    return writer.finish(some_header())


def read(source: Any) -> list[Pixels]:
    with EmbeddingReader(source) as reader:
        return list(reader)


def chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], 8
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        (crc,) = struct.unpack_from(">I", data, at + 8 + length)
        assert crc == zlib.crc32(kind + body)
        found.append((kind, body))
        at += 12 + length
    return found


def png_file(parts: list[tuple[bytes, bytes]]) -> bytes:
    data = b"\x89PNG\r\n\x1a\n"
    for kind, body in parts:
        data += struct.pack(">I", len(body)) + kind + body
        data += struct.pack(">I", zlib.crc32(kind + body))
    return data


def replace_text(data: bytes, kind: bytes, body: bytes) -> bytes:
    return png_file([(kind, body) if k == b"iTXt" else (k, b) for k, b in chunks(data)])


@pytest.fixture
def still(tmp_path: Path) -> Path:
    path = tmp_path / "still.png"
    write(path, write_mark(smooth_pixels(30, 40), MARK))
    return path


# ------------------------------------------------------------------------------- header

names = st.text(max_size=300)
sizes = st.integers(1, 100_000)
sides = st.integers(1, 20_000)
headers = st.builds(
    Header,
    task=st.sampled_from(TASKS),
    model=st.sampled_from(["video-5", "paper/video-5"]),
    weights_sha256=st.just(WEIGHTS),
    images=st.integers(1, 16),
    width=sizes,
    height=sizes,
    padding=st.tuples(st.integers(0, 15), st.integers(0, 15)),
    sources=st.lists(st.builds(Source, name=names, width=sides, height=sides), max_size=5),
    frames=st.none() | st.integers(1, 10**6),
    fps=st.none() | st.sampled_from(["25", "30000/1001"]),
    motion=st.none() | st.lists(st.sampled_from(["", "AAEC", "AA=="]), max_size=3),
    timestamps=st.none() | st.lists(st.floats(0, 1e6), max_size=5),
    options=st.dictionaries(
        st.text("abc_", min_size=1),
        st.text() | st.integers(-(2**60), 2**60) | st.booleans() | st.floats(-1e9, 1e9),
        max_size=4,
    ),
    software=st.just("iicnet 1.0"),
)


@settings(deadline=None)
@given(headers)
def test_header_round_trip(header: Header) -> None:
    text = header.to_json()
    again = Header.from_json(text)
    assert text.isascii()
    assert again == header
    assert {k: type(v) for k, v in again.options.items()} == {
        k: type(v) for k, v in header.options.items()
    }


def test_header_frame_rate() -> None:
    assert some_header(fps="30000/1001").frame_rate == Fraction(30000, 1001)
    assert some_header().frame_rate is None


def test_newer_minor_with_unknown_fields_is_read() -> None:
    data = json.loads(some_header().to_json())
    data |= {"version": "1.7", "invented": {"later": [1]}}
    data["sources"] = [{"name": "a.png", "width": 4, "height": 3, "colour": "sRGB"}]
    header = Header.from_json(json.dumps(data))
    assert header.version == "1.7"
    assert header.sources == [Source(name="a.png", width=4, height=3)]


def test_newer_major_is_refused_whatever_its_fields() -> None:
    with pytest.raises(UnsupportedVersionError) as caught:
        Header.from_json('{"version": "2.0", "task": 5}')
    assert "upgrade" in caught.value.hint
    assert caught.value.exit_code == ExitCode.NOT_EMBEDDING


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "5", '"x"', "{}", '{"version": null}'])
def test_damaged_json(text: str) -> None:
    with pytest.raises(DamagedError):
        Header.from_json(text)
    with pytest.raises(DamagedError):
        Header.from_json("[" * 100_000)


@pytest.mark.parametrize(
    "fields",
    [
        {"version": "1"},
        {"version": "0.9"},
        {"task": "../x"},
        {"model": "../../etc"},
        {"model": "/etc/x"},
        {"model": "a//b"},
        {"model": "a\\b"},
        {"images": 0},
        {"images": 17},
        {"width": 0},
        {"height": 2**40},
        {"padding": [1]},
        {"padding": [-1, 0]},
        {"fps": "30/0"},
        {"motion": ["a"]},
        {"motion": ["é==="]},
        {"fps": "1e999999999"},
        {"pixels_sha256": "xyz"},
        {"options": {"a": [1]}},
        {"sources": [{"name": 5, "width": 1, "height": 1}]},
        {"sources": [{"name": "bomb", "width": 40000, "height": 40000}]},
    ],
)
def test_header_fields_that_do_not_hold(fields: dict[str, Any]) -> None:
    data = json.loads(some_header().to_json()) | fields
    with pytest.raises(DamagedError):
        Header.from_json(json.dumps(data))


def test_not_finite_numbers_are_refused() -> None:
    text = some_header().to_json()[:-1]
    for value in ("NaN", "Infinity", "1e999"):
        with pytest.raises(DamagedError):
            Header.from_json(f'{text},"timestamps":[{value}]}}')


def test_text_of_a_header_cannot_steer_a_terminal() -> None:
    header = some_header(software="x\x1b[2J", options={"k\r": "v\x07"})
    assert header.software == "x[2J"
    assert header.options == {"k": "v"}


def assert_safe(name: str) -> None:
    assert name and not any(unicodedata.category(c)[0] == "C" for c in name)
    assert len(name.encode()) <= 200
    assert not set(name) & set('/\\:<>"|?*')
    assert name == name.strip(" .")
    assert name.split(".")[0].strip().upper() not in ("CON", "NUL", "COM1", "PRN", "AUX", "LPT9")
    assert safe_name(name) == name


@pytest.mark.parametrize("name", EVIL_NAMES)
def test_malicious_names(name: str) -> None:
    assert_safe(safe_name(name))
    assert_safe(Source(name=name, width=1, height=1).name)


@given(st.text(alphabet=st.characters(), max_size=300) | st.from_regex(r"(?i)\W*(con|lpt1)\W*"))
def test_any_name_becomes_safe(name: str) -> None:
    assert_safe(safe_name(name))


def test_names_from_a_file_become_safe() -> None:
    data = json.loads(some_header().to_json())
    data["sources"] = [{"name": "../../etc/passwd", "width": 1, "height": 1}]
    assert Header.from_json(json.dumps(data)).sources[0].name == "passwd"


def test_ordinary_names_stay() -> None:
    for name in ("IMG_0001.JPG", "Été à la mer (2).png", "写真.webp", "a.tar.gz"):
        assert safe_name(name) == name
    assert safe_name("x" * 500 + ".png").endswith("xx.png")


# --------------------------------------------------------------------------------- mark

marks = st.integers(1, 16).flatmap(
    lambda images: st.builds(
        Mark,
        task=st.integers(0, len(TASKS) - 1),
        model=st.integers(0, 2**24 - 1),
        images=st.just(images),
        valid=st.integers(1, images),
        padding=st.tuples(st.integers(0, 15), st.integers(0, 15)),
        fps=st.integers(0, 65535),
    )
)
moving_marks = st.builds(
    lambda mark, motion: dataclasses.replace(mark, motion=motion),
    marks,
    st.binary(min_size=1, max_size=600),
)


@settings(deadline=None)
@given(moving_marks, st.integers(30, 90), st.integers(30, 90), st.booleans(), st.integers(0, 99))
def test_motion_round_trip(mark: Mark, height: int, width: int, grey: bool, seed: int) -> None:
    pixels = random_pixels(height, width, grey, seed)
    if len(mark.motion) > payload_capacity(pixels.shape):
        with pytest.raises(ValueError, match="too much"):
            write_mark(pixels, mark)
        return
    marked = write_mark(pixels, mark)
    assert read_mark(marked) == mark
    change = np.abs(marked.astype(int) - pixels)
    assert change.max() <= 1
    carriers = carried(pixels.shape, mark)[0].reshape(pixels.shape) > 0
    assert not change[~carriers].any()
    # Of random pixels half have the right bit already; six standard deviations more or less.
    bits = np.count_nonzero(carriers)
    assert bits <= 8 * len(mark.to_bytes())
    assert np.count_nonzero(change) <= bits / 2 + 3 * np.sqrt(bits)


def test_motion_of_changed_pixels_is_gone() -> None:
    moving = dataclasses.replace(MARK, motion=bytes(range(100)))
    marked = write_mark(random_pixels(64, 64), moving)
    broken = marked.copy()
    broken.reshape(-1)[:40] ^= 1
    assert read_mark(broken) is None
    assert read_mark(marked) == moving


@settings(deadline=None)
@given(marks, st.integers(16, 70), st.integers(16, 70), st.booleans(), st.integers(0, 99))
def test_mark_round_trip(mark: Mark, height: int, width: int, grey: bool, seed: int) -> None:
    pixels = random_pixels(height, width, grey, seed)
    bits = 8 * len(mark.to_bytes())
    if pixels.size // 96 < -(-bits // 96):
        with pytest.raises(ValueError, match=str(bits)):
            write_mark(pixels, mark)
        return
    before = pixels.copy()
    marked = write_mark(pixels, mark)
    assert np.array_equal(pixels, before)
    assert marked.shape == pixels.shape and marked.dtype == np.uint8
    assert read_mark(marked) == mark
    change = np.abs(marked.astype(int) - pixels)
    assert change.max() <= 1
    assert np.count_nonzero(change) <= bits


@pytest.mark.parametrize("value", [0, 255])
def test_mark_on_flat_pictures_and_views(value: int) -> None:
    pixels = np.full((60, 40, 3), value, np.uint8)[::2, ::-1]
    marked = write_mark(pixels, MARK)
    assert read_mark(marked) == MARK
    assert read_mark(marked[::-1][::-1]) == MARK


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize(("height", "width"), [(256, 256), (1080, 1920), (768, 512)])
def test_mark_is_spread(height: int, width: int, grey: bool) -> None:
    black = np.zeros((height, width) if grey else (height, width, 3), np.uint8)
    # A bit changes either a black picture or one of ones.
    places = (write_mark(black, MARK) != 0) | (write_mark(black + 1, MARK) != 1)
    assert np.count_nonzero(places) == MARK_BITS
    rows, columns = np.nonzero(places)[:2]
    assert len(np.unique(columns)) > len(columns) * 2 // 3
    assert len(np.unique(rows)) > len(rows) * 2 // 3


def test_mark_costs_less_than_a_hundredth_of_a_decibel() -> None:
    original = smooth_pixels(160, 160).astype(float)
    noise = np.random.default_rng(0).normal(0, 256 / 100, original.shape)
    embedding = np.clip(original + noise, 0, 255).round().astype(np.uint8)

    def psnr(pixels: Pixels) -> float:
        return float(10 * np.log10(255**2 / np.mean((pixels - original) ** 2)))

    assert 38 < psnr(embedding) < 42
    assert abs(psnr(embedding) - psnr(write_mark(embedding, MARK))) < 0.01


def test_no_mark_where_none_was_written() -> None:
    for seed in range(200):
        assert read_mark(random_pixels(20, 20, seed=seed)) is None
    assert read_mark(np.zeros((20, 20), np.uint8)) is None
    assert read_mark(np.full((20, 20, 3), 255, np.uint8)) is None


def test_mark_of_changed_pixels_is_gone() -> None:
    marked = write_mark(random_pixels(64, 64), MARK)
    assert read_mark(marked[:-1]) is None
    assert read_mark(marked ^ np.uint8(1)) is None


def test_too_small_for_a_mark() -> None:
    with pytest.raises(ValueError, match="96"):
        write_mark(np.zeros((9, 10), np.uint8), MARK)
    assert read_mark(np.zeros((9, 10), np.uint8)) is None


def test_mark_of_a_newer_program() -> None:
    body = b"\x1c\xe7\x4f" + bytes(7)
    with pytest.raises(UnsupportedVersionError):
        Mark.from_bytes(body + binascii.crc_hqx(body, 0).to_bytes(2, "big"))


def test_bits_in_a_way_of_a_newer_program() -> None:
    data = bytearray(dataclasses.replace(MARK, enhancement=bytes(9)).to_bytes())
    told = slice(12, 12 + 2 * 3 + 5)
    data[told.stop - 5] = 99
    data[told.stop : told.stop + 2] = binascii.crc_hqx(bytes(data[told]), 0).to_bytes(2, "big")
    with pytest.raises(UnsupportedVersionError, match="99"):
        Mark.from_bytes(bytes(data))


@pytest.mark.parametrize(
    "fields",
    [
        {"task": 8},
        {"images": 17},
        {"valid": 4},
        {"padding": (16, 0)},
        {"fps": -1},
        {"model": -1},
    ],
)
def test_mark_values_that_do_not_fit(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Mark(**({"task": 0, "model": 1, "images": 3, "valid": 3} | fields))


def test_task_names_and_model_ids() -> None:
    assert MARK.task_name == "stego"
    assert 0 <= model_id(WEIGHTS) < 2**24
    assert model_id(WEIGHTS) == model_id(WEIGHTS) != model_id("0" * 64)


@pytest.mark.parametrize("n", [24, 30, 60, 120])
def test_ntsc_rates_survive_the_mark(n: int) -> None:
    rate = Fraction(n * 1000, 1001)
    assert fps_from_code(fps_code(rate)) == rate


def test_other_rates() -> None:
    assert fps_from_code(fps_code(Fraction(25))) == 25
    assert fps_from_code(fps_code(Fraction(25, 2))) == Fraction(25, 2)
    assert fps_code(None) == fps_code(Fraction(1, 1000)) == fps_code(Fraction(1000)) == 0
    assert fps_from_code(0) is None


# ---------------------------------------------------------------------------------- png


@settings(deadline=None, max_examples=40)
@given(st.integers(16, 70), st.integers(16, 70), st.booleans(), st.integers(1, 4))
def test_png_round_trip(height: int, width: int, grey: bool, count: int) -> None:
    frames = [random_pixels(height, width, grey, seed) for seed in range(count)]
    file = io.BytesIO()
    header = write(file, *frames)
    with EmbeddingReader(file) as reader:
        assert reader.n_frames == len(reader) == count
        assert reader.size == (width, height)
        assert reader.header == header == read_header(file)
        assert reader.mark is None
        for _ in range(2):  # from the start again
            assert all(np.array_equal(a, b) for a, b in zip(reader, frames, strict=True))
        assert reader.verify() is True
    assert not file.closed


def test_hash_is_as_specified() -> None:
    frames = [random_pixels(16, 20), random_pixels(16, 20, seed=1)]
    expected = hashlib.sha256()
    for pixels in frames:
        expected.update(struct.pack(">III", 16, 20, 3) + pixels.tobytes())
    digest = hashlib.sha256()
    hash_frame(digest, frames[0][::-1][::-1])
    hash_frame(digest, frames[1])
    assert digest.digest() == expected.digest()
    assert write(io.BytesIO(), *frames).pixels_sha256 == expected.hexdigest()


@pytest.mark.parametrize("grey", [False, True])
def test_one_frame_is_a_plain_png(tmp_path: Path, grey: bool) -> None:
    path = tmp_path / "a.png"
    pixels = random_pixels(150, 150, grey)
    write(path, pixels)
    parts = chunks(path.read_bytes())
    kinds = [kind for kind, _ in parts]
    assert kinds == [b"IHDR", b"sRGB", *[b"IDAT"] * (len(kinds) - 4), b"iTXt", b"IEND"]
    assert dict(parts)[b"sRGB"] == b"\0"
    with Image.open(path) as image:
        assert image.mode == ("L" if grey else "RGB")
        assert image.n_frames == 1 and not image.is_animated  # type: ignore[attr-defined]
        assert np.array_equal(np.asarray(image), pixels)
        assert image.text.keys() == {"iicnet"}  # type: ignore[attr-defined]


def test_animation_as_pillow_sees_it(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    frames = [random_pixels(200, 200, seed=seed) for seed in range(3)]
    write(path, *frames, frame_delay=Fraction(5005, 30000), compress_level=1)
    with Image.open(path) as image:
        assert image.n_frames == 3 and image.is_animated  # type: ignore[attr-defined]
        seen = []
        for frame in ImageSequence.Iterator(image):
            assert frame.info["duration"] == pytest.approx(1000 * 5005 / 30000)
            seen.append(np.array(frame))
        assert image.info["loop"] == 0
    assert all(np.array_equal(a, b) for a, b in zip(seen, frames, strict=True))
    parts = chunks(path.read_bytes())
    numbers = [int.from_bytes(b[:4], "big") for k, b in parts if k in (b"fcTL", b"fdAT")]
    assert numbers == list(range(len(numbers)))
    assert [k for k, _ in parts[:4]] == [b"IHDR", b"sRGB", b"acTL", b"fcTL"]
    assert [k for k, _ in parts[-2:]] == [b"iTXt", b"IEND"]


@given(st.fractions(min_value=Fraction(1, 10**4), max_value=10**4))
def test_frame_delay_is_close(delay: Fraction) -> None:
    numerator, denominator = png._delay_fields(delay)
    assert 1 <= numerator <= 65535 and 1 <= denominator <= 65535
    assert abs(Fraction(numerator, denominator) - delay) <= delay / 1000 + Fraction(1, 65535)


def test_extreme_frame_delays() -> None:
    assert png._delay_fields(Fraction(10**9)) == (65535, 1)
    assert png._delay_fields(Fraction(1, 10**9)) == (1, 65535)
    with pytest.raises(ValueError):
        EmbeddingWriter(io.BytesIO(), frame_delay=Fraction(0))


def test_stripped_chunks_leave_the_mark(still: Path) -> None:
    kept = (b"IHDR", b"IDAT", b"IEND")
    data = png_file([(k, b) for k, b in chunks(still.read_bytes()) if k in kept])
    assert read_header(io.BytesIO(data)) is None
    with EmbeddingReader(io.BytesIO(data)) as reader:
        assert reader.header is None
        assert reader.mark == MARK
        assert reader.verify() is None
        assert np.array_equal(next(iter(reader)), write_mark(smooth_pixels(30, 40), MARK))


def test_changed_pixels_fail_the_hash(still: Path) -> None:
    parts = chunks(still.read_bytes())
    file = io.BytesIO()
    write(file, smooth_pixels(30, 40))
    other = dict(chunks(file.getvalue()))[b"IDAT"]
    data = png_file([(k, other if k == b"IDAT" else b) for k, b in parts])
    with EmbeddingReader(io.BytesIO(data)) as reader:
        assert reader.verify() is False


def resave(image: Image.Image, header: Header | None = None) -> io.BytesIO:
    file, info = io.BytesIO(), PngImagePlugin.PngInfo()
    if header is not None:
        info.add_itxt("iicnet", header.to_json(), zip=True)
    image.save(file, "PNG", pnginfo=info)
    return file


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_rgb_saved_again_by_other_tools(mode: str) -> None:
    colours = np.where(np.arange(20 * 16)[:, None] % 7, [10, 20, 30], [240, 100, 0])
    pixels = write_mark(colours.reshape(20, 16, 3).astype(np.uint8), MARK)
    header = write(io.BytesIO(), pixels)
    image = Image.fromarray(pixels)
    if mode == "P":
        image = image.quantize(256)
        assert np.array_equal(np.asarray(image.convert("RGB")), pixels)
    else:
        image = image.convert(mode)
    with EmbeddingReader(resave(image, header)) as reader:
        assert reader.mark == MARK
        assert reader.header == header
        assert np.array_equal(next(iter(reader)), pixels)
        assert reader.verify() is True


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_grey_saved_again_by_other_tools(mode: str) -> None:
    pixels = write_mark(random_pixels(20, 24, grey=True), MARK)
    header = write(io.BytesIO(), pixels)
    if mode == "I;16":
        image = Image.fromarray(pixels.astype(np.uint16) * 257)
        assert image.mode == "I;16"
    else:
        image = Image.fromarray(pixels).convert(mode)
    with EmbeddingReader(resave(image, header)) as reader:
        assert reader.mark == MARK
        assert np.array_equal(next(iter(reader)), pixels)
        assert reader.verify() is True


def test_sixteen_bit_rgb() -> None:
    pixels = write_mark(random_pixels(18, 22), MARK)
    wide = (pixels.astype(np.uint16) * 257).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in wide)
    ihdr = struct.pack(">IIBBBBB", 22, 18, 16, 2, 0, 0, 0)
    data = png_file([(b"IHDR", ihdr), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")])
    with EmbeddingReader(io.BytesIO(data)) as reader:
        assert reader.mark == MARK
        assert np.array_equal(next(iter(reader)), pixels)


def test_animation_saved_again_by_pillow() -> None:
    frames = [smooth_pixels(30, 40) for _ in range(3)]
    frames[1][4:9, 5:9] = 7
    frames[2][20:, 30:] = 9
    images = [Image.fromarray(pixels) for pixels in frames]
    file = io.BytesIO()
    images[0].save(file, "PNG", save_all=True, append_images=images[1:], blend=1)
    assert all(np.array_equal(a, b) for a, b in zip(read(file), frames, strict=True))


@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt", b"iTXt"])
def test_header_in_the_chunks_that_other_tools_make(still: Path, kind: bytes) -> None:
    header = some_header(sources=[Source(name="Été.png", width=1, height=1)])
    text = header.to_json().encode()
    body = {
        b"tEXt": b"iicnet\0" + text,
        b"zTXt": b"iicnet\0\0" + zlib.compress(text),
        b"iTXt": b"iicnet\0\1\0en\0word\0" + zlib.compress(text),
    }[kind]
    parts = chunks(still.read_bytes())
    parts = [(k, b) for k, b in parts if k != b"iTXt"]
    parts.insert(1, (kind, body))  # and before the pixels
    assert read_header(io.BytesIO(png_file(parts))) == header


def test_a_long_header_stays_readable_by_pillow(tmp_path: Path) -> None:
    header = some_header(timestamps=[i / 30 for i in range(150_000)])
    path = tmp_path / "a.png"
    with open(path, "w+b") as file:
        writer = EmbeddingWriter(file)
        writer.add(random_pixels(16, 16))
        header = writer.finish(header)
    assert len(header.to_json()) > 2**20
    with EmbeddingReader(path) as reader:
        assert reader.header == header
        assert reader.verify() is True


def test_zip_bomb_in_the_header(still: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(png, "MAX_HEADER_BYTES", 100_000)
    bomb = b"iicnet\0\1\0\0\0" + zlib.compress(b" " * 1_000_000 + b"{}")
    with pytest.raises(DamagedError, match="too large"):
        read_header(io.BytesIO(replace_text(still.read_bytes(), b"iTXt", bomb)))
    with pytest.raises(DamagedError, match="too large"):
        read_header(
            io.BytesIO(replace_text(still.read_bytes(), b"tEXt", b"iicnet\0" + bytes(100_000)))
        )
    writer = EmbeddingWriter(io.BytesIO())
    writer.add(random_pixels(16, 16))
    with pytest.raises(UsageError, match="header is too large"):
        writer.finish(some_header(software="x", options={"k": "x" * 100_000}))


def test_every_truncation_is_damage(still: Path) -> None:
    data = still.read_bytes()
    for size in [*range(8, 80), *range(80, len(data), 97), len(data) - 12, len(data) - 5]:
        with pytest.raises(DamagedError):
            read_header(io.BytesIO(data[:size]))
        with pytest.raises(DamagedError):
            EmbeddingReader(io.BytesIO(data[:size]))


@settings(deadline=None)
@given(st.data())
def test_flipped_bytes_raise_only_our_errors(data: st.DataObject) -> None:
    file = io.BytesIO()
    write(file, smooth_pixels(20, 20), smooth_pixels(20, 20)[::-1])
    spoiled = bytearray(file.getvalue())
    for _ in range(data.draw(st.integers(1, 3))):
        spoiled[data.draw(st.integers(0, len(spoiled) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        with EmbeddingReader(io.BytesIO(spoiled)) as reader:
            reader.verify()
    except ContainerError:
        pass


def test_flipped_byte_in_the_header_is_damage(still: Path) -> None:
    data = bytearray(still.read_bytes())
    data[data.index(b"stego-3")] ^= 1
    with pytest.raises(DamagedError, match="iTXt"):
        read_header(io.BytesIO(data))


@pytest.mark.parametrize(
    ("format", "name"),
    [("JPEG", "JPEG"), ("WEBP", "WebP"), ("GIF", "GIF"), ("BMP", "BMP"), ("TIFF", "TIFF")],
)
def test_another_format_named_png(tmp_path: Path, format: str, name: str) -> None:
    path = tmp_path / "photo.png"
    Image.fromarray(smooth_pixels(20, 20)).save(path, format)
    for function in (read_header, EmbeddingReader):
        with pytest.raises(NotAnEmbeddingError, match=name) as caught:
            function(path)
        assert "another format" in caught.value.hint
        assert "photo.png" in str(caught.value)


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
def test_no_picture_at_all(data: bytes, message: str) -> None:
    with pytest.raises(NotAnEmbeddingError, match=message):
        read_header(io.BytesIO(data))


def test_an_ordinary_png_has_nothing() -> None:
    with EmbeddingReader(resave(Image.fromarray(smooth_pixels(20, 20)))) as reader:
        assert reader.header is None and reader.mark is None and reader.verify() is None


def test_missing_input(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="No such file"):
        read_header(tmp_path / "none.png")


def test_reading_header_loads_no_pillow(still: Path) -> None:
    code = (
        "import sys; from iicnet_cli.container.png import read_header;"
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


def test_our_limit_on_pixels_not_pillows(still: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(read(still)) == 1
    assert Image.MAX_IMAGE_PIXELS == 100
    monkeypatch.setattr(png, "MAX_PIXELS", 1000)
    with pytest.raises(ContainerError, match="limit"):
        read_header(still)
    with pytest.raises(UsageError, match="limit"):
        write(io.BytesIO(), smooth_pixels(30, 40))


# ------------------------------------------------------------------- what can be written


@pytest.mark.parametrize("count", [1, 3])
def test_the_file_stays_the_callers(count: int) -> None:
    file = io.BytesIO()
    write(file, *[random_pixels(16, 16)] * count)
    assert not file.closed
    assert file.tell() == len(file.getvalue())


def test_a_frame_is_needed() -> None:
    with pytest.raises(ValueError, match="frame"):
        write(io.BytesIO())


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((16, 16, 3), np.float32),
        np.zeros((16, 16, 4), np.uint8),
        np.zeros((16, 16, 1), np.uint8),
        np.zeros((2, 16, 16, 3), np.uint8),
    ],
)
def test_only_eight_bit_rgb_or_grey(pixels: Any) -> None:
    with pytest.raises(ValueError, match="not 8-bit"):
        write(io.BytesIO(), pixels)


def test_frames_must_agree() -> None:
    for other in (random_pixels(16, 18), random_pixels(16, 16, grey=True)):
        with pytest.raises(ValueError, match="differs"):
            write(io.BytesIO(), random_pixels(16, 16), other)


@pytest.mark.parametrize("count", [1, 3])
def test_reading_from_a_pipe(count: int) -> None:
    frames = [random_pixels(60, 70, seed=seed) for seed in range(count)]
    written = io.BytesIO()
    write(written, *frames)
    read_end, write_end = os.pipe()

    def produce() -> None:
        with open(write_end, "wb") as file:
            file.write(written.getvalue())

    thread = threading.Thread(target=produce)
    thread.start()
    with open(read_end, "rb") as file:
        assert not file.seekable()
        with EmbeddingReader(file) as reader:
            assert reader.header is not None and reader.verify()
            assert all(np.array_equal(a, b) for a, b in zip(reader, frames, strict=True))
    thread.join()


def test_a_pipe_is_not_written_to() -> None:
    read_end, write_end = os.pipe()
    with open(read_end, "rb"), open(write_end, "wb") as file:
        with pytest.raises(ValueError, match="seek"):
            EmbeddingWriter(file)
