"""Codes of a payload and their numbers in the mark."""

from __future__ import annotations

import pytest

from iicnet_cli.payload.payload_code import PayloadCode
from iicnet_cli.quantize.trellis_codes import TRELLIS_CODES


def test_numbers_in_the_mark_never_change() -> None:
    assert [int(code) for code in PayloadCode] == [1, 2, 9, 10, 11, 12, 13, 14]


@pytest.mark.parametrize("bits", TRELLIS_CODES)
def test_trellis_codes_by_their_bits(bits: int) -> None:
    code = PayloadCode.trellis(bits)
    assert code == 8 + bits
    assert code.trellis_bits == bits
    assert code.trellis_code is TRELLIS_CODES[bits]


@pytest.mark.parametrize("code", [PayloadCode.LSB_1, PayloadCode.LSB_2])
def test_plain_low_bits_have_no_trellis(code: PayloadCode) -> None:
    assert code.trellis_bits == 0
    assert code.trellis_code is None


@pytest.mark.parametrize("bits", [-1, 0, 7])
def test_no_code_of_other_bits(bits: int) -> None:
    with pytest.raises(ValueError, match=str(bits)):
        PayloadCode.trellis(bits)
