"""PNG chunks as bytes."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iicnet_cli.container.chunks import PNG_SIGNATURE, read_chunk, walk_chunks, write_chunk
from iicnet_cli.errors import DamagedError
from tests.png_files import chunks_of


def file_of(*chunks: tuple[bytes, bytes]) -> io.BytesIO:
    file = io.BytesIO()
    file.write(PNG_SIGNATURE)
    for kind, data in chunks:
        write_chunk(file, kind, data)
    return file


def read_all(file: io.BytesIO) -> list[tuple[bytes, bytes]]:
    return [(kind, read_chunk(file, kind, length, "x")) for kind, length in walk_chunks(file, "x")]


@given(st.lists(st.binary(max_size=50), max_size=4))
def test_chunks_are_read_as_written(datas: list[bytes]) -> None:
    chunks = [(b"teSt", data) for data in datas] + [(b"IEND", b"")]
    file = file_of(*chunks)
    assert read_all(file) == chunks
    assert chunks_of(file.getvalue()) == chunks


def test_parts_make_one_chunk() -> None:
    file = io.BytesIO(PNG_SIGNATURE)
    file.seek(0, io.SEEK_END)
    write_chunk(file, b"teSt", b"ab", b"", b"c")
    assert chunks_of(file.getvalue()) == [(b"teSt", b"abc")]


def test_what_follows_the_end_is_ignored() -> None:
    file = file_of((b"IEND", b""), (b"teSt", b"abc"))
    assert read_all(file) == [(b"IEND", b"")]


@pytest.mark.parametrize("cut", range(1, 24))
def test_a_file_that_is_cut_off(cut: int) -> None:
    data = file_of((b"teSt", b"abc"), (b"IEND", b"")).getvalue()
    with pytest.raises(DamagedError):
        read_all(io.BytesIO(data[:-cut]))


@pytest.mark.parametrize("place", [8, 12, 16, 19])
def test_changed_lengths_kinds_data_and_sums_are_damage(place: int) -> None:
    data = bytearray(file_of((b"teSt", b"abc"), (b"IEND", b"")).getvalue())
    data[place] ^= 0x80
    with pytest.raises(DamagedError):
        read_all(io.BytesIO(data))
