"""docs/format.md, sections 12 and 13: a reader written from them alone agrees with the program."""

from __future__ import annotations

import binascii
import hashlib
import lzma
import re
import unicodedata
import zlib
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from iicnet_cli.engines.lowbits import channel
from iicnet_cli.payload.sealing import unseal
from iicnet_cli.pictures.arrays import Pixels

SPECIFICATION = (Path(__file__).resolve().parents[1] / "docs" / "format.md").read_text("utf-8")
BYTES_SECTION = SPECIFICATION.partition("\n## 12. ")[2].partition("\n## 13. ")[0]
SEALED_SECTION = SPECIFICATION.partition("\n## 13. ")[2].partition("\n## 14. ")[0]

BLOCKS = {
    int(q): (int(k), int(b)) for q, k, b in re.findall(r"\b(\d+): +(\d+) +(\d+)", BYTES_SECTION)
}
"""Section 12.3: for each base, the digits and bits of a block."""


def hex_blocks(section: str) -> list[bytes]:
    found = re.findall(r"```hex\n(.*?)```", section, re.DOTALL)
    return [bytes.fromhex(re.sub(r"#.*", "", block)) for block in found]


def positions(samples: int, count: int) -> list[int]:
    """Section 4.1."""
    found = []
    for bit in range(count):
        stretch, turn = bit % 96, bit // 96
        start, stop = stretch * samples // 96, (stretch + 1) * samples // 96
        offset = (stop - start) * (stretch * 40503 % 65536) // 65536
        found.append(start + (offset + turn) % (stop - start))
    return found


def second_reader(pixels: Pixels) -> bytes:
    """Section 12, word for word."""
    flat = pixels.reshape(-1).tolist()

    def low_bits(size: int) -> bytes:
        return np.packbits([flat[p] & 1 for p in positions(len(flat), 8 * size)]).tobytes()

    header = low_bits(17)
    assert header[:3] == b"\x1c\xeb\x01"
    assert binascii.crc_hqx(header[:15], 0).to_bytes(2, "big") == header[15:]
    map_size, size, crc = (int.from_bytes(header[i : i + 4], "big") for i in (3, 7, 11))
    mark = low_bits(17 + map_size + 4)
    assert zlib.crc32(mark[17:-4]).to_bytes(4, "big") == mark[-4:]
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 20}]
    cells = lzma.decompress(mark[17:-4], lzma.FORMAT_RAW, filters=filters)
    taken = set(positions(len(flat), 8 * len(mark)))
    height, width, channels = (*pixels.shape, 1)[:3]
    columns = -(-width // 32)
    assert len(cells) == columns * -(-height // 32)
    assert max(cells) <= 64

    def base_of(sample: int) -> int:
        row, column = divmod(sample // channels, width)
        return 0 if sample in taken else cells[row // 32 * columns + column // 32]

    bits = ""
    for start in range(0, len(flat), 1 << 20):
        stretch = range(start, min(start + (1 << 20), len(flat)))
        carriers = [(flat[i], base) for i in stretch if (base := base_of(i))]
        bits += trellis_bits(carriers) + digit_bits(carriers)
    assert 8 * size <= len(bits)
    whitened = bytes(int(bits[i : i + 8], 2) for i in range(0, 8 * size, 8))
    data = bytes(
        byte ^ word(i // 4 + 1).to_bytes(4, "big")[i % 4] for i, byte in enumerate(whitened)
    )
    assert zlib.crc32(data) == crc
    return data


def trellis_bits(carriers: list[tuple[int, int]]) -> str:
    """Section 12.4."""
    bits, r = "", 0
    for i, (value, base) in enumerate(carriers):
        if i % 1024 == 0:
            r = 0
        level = value // base
        if level & 1:
            r ^= 333
        if level & 2:
            r ^= 242
        bits += str(r & 1)
        r >>= 1
    return bits


def digit_bits(carriers: list[tuple[int, int]]) -> str:
    """Section 12.3: the bits of the digits of a stretch."""
    bits = ""
    for base in range(2, 65):
        digits = [value % base for value, of_base in carriers if of_base == base]
        count, size = BLOCKS[base]
        for start in range(0, len(digits) - count + 1, count):
            number = sum(digit * base**i for i, digit in enumerate(digits[start : start + count]))
            bits += f"{number:0{size}b}"
    return bits


def word(n: int) -> int:
    """Section 12.3: the words that whiten the payload."""
    n ^= n >> 16
    n = n * 0x85EBCA6B % 2**32
    n ^= n >> 13
    n = n * 0xC2B2AE35 % 2**32
    return n ^ n >> 16


def test_the_table_of_blocks() -> None:
    assert list(BLOCKS) == list(range(2, 65))
    for base, (digits, bits) in BLOCKS.items():
        sizes = [(k, (base**k).bit_length() - 1) for k in range(1, 64)]
        best = max((b / k, -k) for k, b in sizes if b < 64)
        assert (bits / digits, -digits) == best


def test_example() -> None:
    picture, mark, start = *hex_blocks(BYTES_SECTION), b"Hidden in sixteen rows."
    pixels = np.frombuffer(picture, np.uint8).reshape(16, 18)
    assert second_reader(pixels) == start
    assert channel.read(pixels) == start
    low = np.packbits(pixels.reshape(-1)[positions(288, 8 * len(mark))] & 1).tobytes()
    assert low == mark


def test_example_is_what_the_program_writes() -> None:
    written = channel.write(np.full((16, 18), 128, np.uint8), b"Hidden in sixteen rows.")
    assert written.tobytes() == hex_blocks(BYTES_SECTION)[0]


@pytest.mark.parametrize("shape", [(70, 100, 3), (70, 100)])
@pytest.mark.parametrize("psnr", [30, 40, 50])
def test_second_reader_finds_what_the_program_writes(shape: tuple[int, ...], psnr: float) -> None:
    rng = np.random.default_rng(psnr)
    reference = rng.normal(128, 80, shape).clip(0, 255).astype(np.uint8)
    data = rng.bytes(channel.capacity(reference, psnr))
    assert len(data) > 500
    assert second_reader(channel.write(reference, data)) == data


def open_sealed(sealed: bytes, password: str) -> bytes:
    """Section 13."""
    assert sealed[:5] == b"SEAL\x01"
    log2_n, r, p = sealed[5:8]
    text = unicodedata.normalize("NFC", password).encode()
    key = hashlib.scrypt(text, salt=sealed[8:24], n=2**log2_n, r=r, p=p, maxmem=1 << 28, dklen=32)
    return AESGCM(key).decrypt(bytes(12), sealed[24:], sealed[:24])


def test_sealed_example() -> None:
    (sealed,) = hex_blocks(SEALED_SECTION)
    assert sealed[8:24] == bytes(range(16))
    assert open_sealed(sealed, "grün 1") == b"the quick brown fox"
    assert unseal(sealed, "grün 1") == b"the quick brown fox"
