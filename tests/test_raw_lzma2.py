"""Raw LZMA2 of untrusted data."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iicnet_cli.payload.raw_lzma2 import Options, compress, decompress

OPTIONS: Options = {"dict_size": 1 << 16, "lc": 0, "pb": 0}


@given(st.binary(max_size=500))
def test_round_trip(body: bytes) -> None:
    data = compress(body, OPTIONS)
    assert decompress(data, len(body), OPTIONS) == body


@pytest.mark.parametrize("size", [0, 4, 6, 5000])
def test_another_size_is_refused(size: int) -> None:
    assert decompress(compress(b"12345", OPTIONS), size, OPTIONS) is None


@given(st.binary(max_size=60), st.integers(0, 100))
def test_arbitrary_bytes_do_no_harm(data: bytes, size: int) -> None:
    body = decompress(data, size, OPTIONS)
    assert body is None or len(body) == size


def test_cut_off_data_is_refused() -> None:
    data = compress(bytes(range(200)), OPTIONS)
    for length in range(len(data)):
        assert decompress(data[:length], 200, OPTIONS) is None


def test_a_bomb_is_not_unpacked_beyond_its_size() -> None:
    assert decompress(compress(bytes(10_000_000), OPTIONS), 100, OPTIONS) is None
