"""docs/format.md: a reader written from the specification alone agrees with the program."""

from __future__ import annotations

import binascii
import hashlib
import io
import json
import lzma
import re
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from iicnet_cli.container.embedding_file import read_header
from iicnet_cli.container.header import Header
from iicnet_cli.container.png_writer import PngWriter
from iicnet_cli.motion.field import MotionField
from iicnet_cli.payload.mark import ClipPlace, Mark
from iicnet_cli.payload.mark_pixels import read_mark, write_mark
from iicnet_cli.payload.payload_code import PayloadCode
from iicnet_cli.payload.static_map import StaticRegion

Pixels = NDArray[np.uint8]

SPECIFICATION = (Path(__file__).resolve().parents[1] / "docs" / "format.md").read_text("utf-8")

COLUMNS: dict[int, list[tuple[int, tuple[int, ...], bool]]] = {
    9: [(0, (9,), False), (0, (15,), False), (0, (11,), True)],
    10: [(0, (7,), False), (0, (5,), True), (0, (7,), True)],
    11: [(0, (11, 4), True)] * 3,
    12: [(0, (11, 4), True)] * 2 + [(1, (11, 4), True)],
    13: [(0, (11, 4), True)] + [(1, (11, 4), True)] * 2,
    14: [(1, (11, 4), True)] * 3,
}
"""Section 6.3: plain bits, columns of the following bits, and whether a bit leaves the register."""


@dataclass(frozen=True)
class Found:
    """What a mark says, by the field names of section 5."""

    version: int
    task: int
    model: int
    images: int
    valid: int
    padding: tuple[int, int]
    fps: int
    static_region: bytes
    motion: bytes
    layer: bytes
    place: tuple[int, bool] | None = None


def positions(samples: int, count: int) -> list[int]:
    """Section 4.1: samples that carry the bits of the mark itself."""
    found = []
    for bit in range(count):
        stretch, turn = bit % 96, bit // 96
        start, stop = stretch * samples // 96, (stretch + 1) * samples // 96
        offset = (stop - start) * (stretch * 40503 % 65536) // 65536
        found.append(start + (offset + turn) % (stop - start))
    return found


def checked(data: bytes, size: int) -> bytes:
    """The data before a CRC-32, which must fit."""
    body, crc = data[:size], data[size : size + 4]
    assert zlib.crc32(body).to_bytes(4, "big") == crc
    return body


def region_cells(data: bytes) -> NDArray[np.bool_]:
    """Section 7."""
    rows, columns = struct.unpack(">HH", data[:4])
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 20}]
    bits = np.unpackbits(
        np.frombuffer(lzma.decompress(data[4:], lzma.FORMAT_RAW, filters=filters), np.uint8),
        count=rows * columns,
    ).reshape(rows, columns)
    return np.cumsum(bits, axis=0) % 2 == 1


def second_reader(pixels: Pixels) -> Found:
    """Sections 4 to 6, word for word."""
    flat = pixels.reshape(-1)
    height, width = pixels.shape[:2]

    def low_bits(count: int) -> bytes:
        return np.packbits([flat[p] & 1 for p in positions(flat.size, count)]).tobytes()

    fixed = low_bits(96)
    assert fixed[:2] == b"\x1c\xe7"
    assert binascii.crc_hqx(fixed[:10], 0) == int.from_bytes(fixed[10:12], "big")
    version, task = fixed[2] >> 4, fixed[2] & 15
    region = motion = layer = b""
    place = None
    if version > 1:
        sizes = min(version, 3)  # two lengths in version 2, three in versions 3 and 4
        place_bytes = 4 if version == 4 else 0
        stop = 12 + place_bytes + 3 * sizes + 7
        data = low_bits(8 * stop)
        parts_header = data[12:stop]
        assert binascii.crc_hqx(parts_header[:-2], 0) == int.from_bytes(parts_header[-2:], "big")
        if version == 4:
            number_and_last = int.from_bytes(parts_header[:4], "big")
            place = number_and_last >> 1, number_and_last & 1 == 1
            parts_header = parts_header[4:]
        lengths = [int.from_bytes(parts_header[3 * i : 3 * i + 3], "big") for i in range(sizes)]
        region_size, motion_size, layer_size = [0] * (3 - sizes) + lengths
        code_number, first = struct.unpack(">BI", parts_header[3 * sizes : 3 * sizes + 5])
        if region_size:
            before = stop + region_size + 4
            region = checked(low_bits(8 * before)[stop:], region_size)
            stop = before
        if motion_size + layer_size:
            taken = positions(flat.size, 8 * stop)
            closed = np.zeros((height, width), np.bool_)
            if region:
                cells = region_cells(region)
                closed = cells.repeat(8, axis=0).repeat(8, axis=1)[:height, :width]
            size = motion_size + layer_size + 8
            payload = read_payload(pixels, closed, taken, code_number, first, size)
            motion = checked(payload, motion_size)
            layer = checked(payload[motion_size + 4 :], layer_size)
    return Found(
        version,
        task,
        int.from_bytes(fixed[3:6], "big"),
        (fixed[6] >> 4) + 1,
        (fixed[6] & 15) + 1,
        (fixed[7] >> 4, fixed[7] & 15),
        int.from_bytes(fixed[8:10], "big"),
        region,
        motion,
        layer,
        place,
    )


def read_payload(
    pixels: Pixels,
    closed: NDArray[np.bool_],
    taken: list[int],
    code_number: int,
    first: int,
    size: int,
) -> bytes:
    """Section 6."""
    height, width, channels = (*pixels.shape, 1)[:3]
    samples = pixels.reshape(-1)
    in_region = closed.repeat(channels, axis=1).reshape(-1)
    if code_number <= 2:
        busy = set(taken)
        carriers = [p for p in range(samples.size) if p not in busy and not in_region[p]]
        group_bits, start = code_number, first
        symbols = {p: int(samples[p]) & ((1 << code_number) - 1) for p in carriers}
    else:
        busy = {p // channels for p in taken}
        flat = closed.reshape(-1)
        carriers = [p for p in range(height * width) if p not in busy and not flat[p]]
        code = COLUMNS[code_number][-channels:]
        group_bits = sum(plain + out for plain, _, out in code)
        start = first // channels
    skipped = sum(p < start for p in carriers)
    count = -(-8 * size // group_bits)
    places = [
        carriers[(i * len(carriers) // count + skipped) % len(carriers)] for i in range(count)
    ]
    if code_number > 2:
        symbols = syndromes(samples, sorted(places), width, code)
    text = "".join(f"{symbols[place]:0{group_bits}b}" for place in places)
    return bytes(int(text[i : i + 8], 2) for i in range(0, len(text) // 8 * 8, 8))


def syndromes(
    samples: Pixels, places: list[int], width: int, code: list[tuple[int, tuple[int, ...], bool]]
) -> dict[int, int]:
    """Section 6.3: the group of each of these pixels, which are in order."""
    symbols = {}
    row, register = -1, 0
    for place in places:
        if place // width != row:
            row, register = place // width, 0
        symbol = 0
        for channel, (plain, columns, out) in enumerate(code):
            value = int(samples[place * len(code) + channel])
            for i, column in enumerate(columns):
                register ^= column * (value >> (plain + i) & 1)
            if plain:
                symbol = symbol << 1 | value & 1
            if out:
                symbol = symbol << 1 | register & 1
                register >>= 1
        symbols[place] = symbol
    return symbols


def hex_block(title: str) -> bytes:
    """The bytes of the code block that follows this line of the specification."""
    _, _, rest = SPECIFICATION.partition(f"\n{title}\n")
    block = re.search(r"```hex\n(.*?)```", rest, re.DOTALL)
    assert block is not None, title
    return bytes.fromhex(re.sub(r"#.*", "", block[1]))


EXAMPLE = hex_block("### The file")
LOW_BITS = hex_block("### The low bits of a mark with a payload")


def example_pixels() -> Pixels:
    with Image.open(io.BytesIO(EXAMPLE)) as image:
        return np.asarray(image)


def written_example() -> tuple[bytes, Pixels]:
    """The same file, written by this program; and its pixels."""
    header = read_header(io.BytesIO(EXAMPLE))
    assert header is not None
    flat = np.full((16, 16, 3), (200, 120, 40), np.uint8)
    pixels = write_mark(flat, Mark(task=5, model=0xAF7257, images=2, valid=2))
    file = io.BytesIO()
    writer = PngWriter(file)
    writer.add(pixels)
    writer.finish(header.model_copy(update={"pixels_sha256": ""}))
    return file.getvalue(), pixels


def chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    found, place = [], 8
    while place < len(data):
        size, kind = struct.unpack(">I4s", data[place : place + 8])
        found.append((kind, data[place + 8 : place + 12 + size]))
        place += 12 + size
    return found


def test_example_file_is_what_the_program_reads() -> None:
    header, pixels = read_header(io.BytesIO(EXAMPLE)), example_pixels()
    assert header is not None
    assert [source.name for source in header.sources] == ["cover.png", "secret.png"]
    hashed = hashlib.sha256(struct.pack(">III", 16, 16, 3) + pixels.tobytes())
    assert header.pixels_sha256 == hashed.hexdigest()
    mark = read_mark(pixels)
    assert mark is not None
    assert mark.to_bytes() == hex_block("### The twelve bytes of its mark")
    found = second_reader(pixels)
    assert found == Found(1, 5, 0xAF7257, 2, 2, (0, 0), 0, b"", b"", b"")
    model = hashlib.sha256(header.weights_sha256.encode("ascii")).digest()
    assert found.model == int.from_bytes(model[:3], "big")


def test_example_file_is_what_the_program_writes() -> None:
    """Byte for byte, but for the compressed pixels, which depend on the version of zlib."""
    data, pixels = written_example()
    assert data[:8] == EXAMPLE[:8]
    pairs = list(zip(chunks(data), chunks(EXAMPLE), strict=True))
    for (kind, body), (wanted_kind, wanted_body) in pairs:
        assert kind == wanted_kind
        assert kind == b"IDAT" or body == wanted_body
    assert np.array_equal(example_pixels(), pixels)


def test_example_header_is_the_documented_json() -> None:
    block = re.search(r"```json\n(.*?)```", SPECIFICATION, re.DOTALL)
    assert block is not None
    header = read_header(io.BytesIO(EXAMPLE))
    assert header is not None
    assert json.loads(header.to_json()) == json.loads(block[1])


def test_example_payload() -> None:
    """The low bits of the document, in any picture of that size, carry the documented layer."""
    bits = np.unpackbits(np.frombuffer(LOW_BITS, np.uint8)).reshape(16, 16, 3)
    for base in (0, 90, 254):
        pixels = (base + bits).astype(np.uint8)
        found = second_reader(pixels)
        assert (found.version, found.layer) == (2, bytes.fromhex("00030100"))
        mark = read_mark(pixels)
        assert mark is not None
        assert mark.to_bytes() == hex_block("### The bytes of that mark")


@pytest.mark.parametrize("place", [None, ClipPlace(300, is_last=False), ClipPlace(1, is_last=True)])
@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("with_region", [False, True])
@pytest.mark.parametrize("code", PayloadCode)
def test_second_reader_finds_what_the_program_writes(
    code: PayloadCode, with_region: bool, grey: bool, place: ClipPlace | None
) -> None:
    rng = np.random.default_rng(code)
    shape = (59, 70) if grey else (59, 70, 3)
    pixels = rng.integers(0, 256, shape, dtype=np.uint8)
    cells = np.zeros((8, 9), np.bool_)
    cells[2:5, 3:8] = True
    cells[7] = True
    region = StaticRegion(cells).to_bytes() if with_region else b""
    mark = Mark(
        task=0,
        model=0x123456,
        images=5,
        valid=3,
        padding=(2, 1),
        fps=2398,
        static_region_bytes=region,
        motion=rng.bytes(31),
        enhancement=rng.bytes(60),
        code=code,
        first_sample=59 * 70,
        place=place,
    )
    found = second_reader(write_mark(pixels, mark))
    assert found == Found(
        4 if place else 3 if with_region else 2,
        0,
        0x123456,
        5,
        3,
        (2, 1),
        2398,
        region,
        mark.motion,
        mark.enhancement,
        place and (place.number, place.is_last),
    )


def test_header_fields_are_all_documented() -> None:
    section = SPECIFICATION.partition("## 3. ")[2].partition("\n## 4. ")[0]
    documented = set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))
    keys = {field.serialization_alias or name for name, field in Header.model_fields.items()}
    assert keys <= documented


def test_motion_field_bytes() -> None:
    """Section 8.1, number by number."""
    rng = np.random.default_rng(0)
    vectors = rng.integers(-32000, 32001, (4, 2, 3, 5, 2)).astype(np.int16)
    blend_weights = rng.integers(0, 3, (4, 3, 5)).astype(np.uint8)
    data = MotionField(vectors, blend_weights).to_bytes()
    assert struct.unpack(">BHH", data[:5]) == (4, 3, 5)
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 22}]
    body = lzma.decompress(data[5:], lzma.FORMAT_RAW, filters=filters)
    count = 4 * 2 * 2 * 3 * 5
    assert len(body) == 2 * count + 4 * 3 * 5
    assert body[2 * count :] == blend_weights.tobytes()
    numbers = iter(low | high << 8 for low, high in zip(body, body[count:], strict=False))
    for picture in range(4):
        for source in range(2):
            for component in range(2):
                for row in range(3):
                    value = 0
                    for column in range(5):
                        folded = next(numbers)
                        value += folded // 2 if folded % 2 == 0 else -(folded + 1) // 2
                        wrapped = (value + 32768) % 65536 - 32768
                        assert wrapped == vectors[picture, source, row, column, component]
