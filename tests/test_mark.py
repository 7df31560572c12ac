"""The mark as bytes."""

from __future__ import annotations

import binascii
import dataclasses
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iicnet_cli.errors import UnsupportedVersionError
from iicnet_cli.payload.mark import (
    FIXED_HEADER_BYTES,
    MAX_HEADERS_BYTES,
    TASKS,
    ClipPlace,
    Mark,
    PartsHeader,
    fps_code,
    fps_from_code,
    model_id,
)
from iicnet_cli.payload.payload_code import PayloadCode
from tests.png_files import WEIGHTS
from tests.random_arrays import random_static_region

MARK = Mark(task=TASKS.index("stego"), model=model_id(WEIGHTS), images=3, valid=3)
REGION = random_static_region(64, 64, 0).to_bytes()

marks = st.builds(
    lambda counts, **fields: Mark(images=max(counts), valid=min(counts), **fields),
    st.tuples(st.integers(1, 16), st.integers(1, 16)),
    task=st.integers(0, len(TASKS) - 1),
    model=st.integers(0, 2**24 - 1),
    padding=st.tuples(st.integers(0, 15), st.integers(0, 15)),
    fps=st.integers(0, 65535),
)


@settings(deadline=None)
@given(
    mark=marks,
    static_region=st.sampled_from([b"", REGION]),
    motion=st.binary(max_size=50),
    enhancement=st.binary(max_size=50),
    code=st.sampled_from(PayloadCode),
    first_sample=st.integers(0, 2**32 - 1),
    place=st.none() | st.builds(ClipPlace, st.integers(0, 2**31 - 1), st.booleans()),
    rest=st.binary(max_size=5),
)
def test_round_trip(
    mark: Mark,
    static_region: bytes,
    motion: bytes,
    enhancement: bytes,
    code: PayloadCode,
    first_sample: int,
    place: ClipPlace | None,
    rest: bytes,
) -> None:
    assert len(mark.to_bytes()) == FIXED_HEADER_BYTES
    assert Mark.from_bytes(mark.to_bytes() + rest) == mark
    if static_region or motion or enhancement or place:
        mark = dataclasses.replace(
            mark,
            static_region_bytes=static_region,
            motion=motion,
            enhancement=enhancement,
            code=code,
            first_sample=first_sample,
            place=place,
        )
    data = mark.to_bytes()
    assert Mark.from_bytes(data + rest) == mark
    header = PartsHeader.from_mark(data[:MAX_HEADERS_BYTES])
    assert header == mark.parts_header
    assert mark.has_payload == bool(mark.motion or mark.enhancement)
    if header is not None:
        assert header.sizes == (len(static_region), len(motion), len(enhancement))
        assert header.payload_start + header.payload_size == len(data)
        assert bool(header.payload_size) == mark.has_payload


def test_a_mark_of_a_newer_program() -> None:
    body = b"\x1c\xe7\x50" + bytes(7)
    with pytest.raises(UnsupportedVersionError):
        Mark.from_bytes(body + binascii.crc_hqx(body, 0).to_bytes(2, "big"))


def test_a_payload_code_of_a_newer_program() -> None:
    data = bytearray(dataclasses.replace(MARK, enhancement=bytes(9)).to_bytes())
    header = slice(12, 12 + 2 * 3 + 5)
    data[header.stop - 5] = 99
    data[header.stop : header.stop + 2] = binascii.crc_hqx(bytes(data[header]), 0).to_bytes(
        2, "big"
    )
    with pytest.raises(UnsupportedVersionError, match="99"):
        Mark.from_bytes(bytes(data))


def test_headers_that_are_cut_short_are_none_even_if_a_check_sum_fits() -> None:
    def checked(body: bytes) -> bytes:
        return body + binascii.crc_hqx(body, 0).to_bytes(2, "big")

    mark = dataclasses.replace(MARK, place=ClipPlace(1, True)).to_bytes()
    cut = mark[:FIXED_HEADER_BYTES] + checked(b"x")
    assert Mark.from_bytes(cut) is None and PartsHeader.from_mark(cut) is None
    cut = checked(mark[:4])
    assert Mark.from_bytes(cut) is None and PartsHeader.from_mark(cut) is None


@pytest.mark.parametrize("place", range(FIXED_HEADER_BYTES))
def test_a_changed_byte_in_the_fixed_header(place: int) -> None:
    data = bytearray(MARK.to_bytes())
    data[place] ^= 1
    assert Mark.from_bytes(bytes(data)) is None
    assert PartsHeader.from_mark(bytes(data)) is None


def test_a_mark_is_lost_with_its_static_region_or_motion() -> None:
    mark = dataclasses.replace(MARK, static_region_bytes=REGION, motion=b"moves")
    data = mark.to_bytes()
    assert Mark.from_bytes(data) == mark
    enhancement_crc, motion = 4, len(b"moves") + 4
    for last_byte in (enhancement_crc + 1, enhancement_crc + motion + 4):
        broken = bytearray(data)
        broken[-last_byte] ^= 1
        assert Mark.from_bytes(bytes(broken)) is None


def test_a_mark_does_without_a_damaged_enhancement_layer() -> None:
    mark = dataclasses.replace(MARK, motion=bytes(range(50)), enhancement=bytes(range(250)))
    without = dataclasses.replace(mark, enhancement=b"")
    data = bytearray(mark.to_bytes())
    data[-1] ^= 1
    assert Mark.from_bytes(bytes(data)) == without
    assert Mark.from_bytes(bytes(data[:-7])) == without


@pytest.mark.parametrize(
    "fields",
    [
        {"task": 8},
        {"images": 17},
        {"valid": 4},
        {"padding": (16, 0)},
        {"fps": -1},
        {"model": -1},
        {"first_sample": 2**32},
        {"place": ClipPlace(2**31, is_last=False)},
        {"motion": bytes(2**24)},
        {"static_region_bytes": b"nonsense"},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_values_out_of_range(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="out of range"):
        Mark(**({"task": 0, "model": 1, "images": 3, "valid": 3} | fields))


def test_task_names_and_model_ids() -> None:
    assert MARK.task_name == "stego"
    assert 0 <= model_id(WEIGHTS) < 2**24
    assert model_id(WEIGHTS) == model_id(WEIGHTS) != model_id("0" * 64)


@pytest.mark.parametrize("n", [24, 30, 60, 120])
def test_ntsc_rates_are_exact(n: int) -> None:
    rate = Fraction(n * 1000, 1001)
    assert fps_from_code(fps_code(rate)) == rate


def test_other_rates() -> None:
    assert fps_from_code(fps_code(Fraction(25))) == 25
    assert fps_from_code(fps_code(Fraction(25, 2))) == Fraction(25, 2)
    assert fps_code(None) == fps_code(Fraction(1, 1000)) == fps_code(Fraction(1000)) == 0
    assert fps_from_code(0) is None
