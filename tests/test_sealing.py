"""payload/sealing.py: sealing bytes with a password."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from iicnet_cli.errors import DamagedError, ExitCode, UnsupportedVersionError, UsageError
from iicnet_cli.payload.sealing import (
    SEAL_OVERHEAD,
    WrongPasswordError,
    is_sealed,
    seal,
    seal_with_salt,
    unseal,
)

SALT = bytes(range(16))
TEXT = b"the quick brown fox"
PASSWORD = "grün 1"


def sealed_with(log2_n: int) -> bytes:
    """The text, sealed without the program; a low n takes no time."""
    key = hashlib.scrypt(
        PASSWORD.encode(), salt=SALT, n=1 << log2_n, r=8, p=1, maxmem=1 << 28, dklen=32
    )
    header = b"SEAL\x01" + bytes((log2_n, 8, 1)) + SALT
    return header + AESGCM(key).encrypt(bytes(12), TEXT, header)


SEALED = sealed_with(4)


def test_vector() -> None:
    """These bytes never change."""
    sealed = seal_with_salt(TEXT, PASSWORD, SALT)
    assert sealed == sealed_with(17)
    assert sealed.hex() == (
        "5345414c01110801000102030405060708090a0b0c0d0e0fddd8f434de2dbd08"
        "c145632ec01c514eaf4d8ce262888cf04ecd354b69f8cb860123ab"
    )


def test_bytes_come_back() -> None:
    sealed = seal(b"", "x")
    assert is_sealed(sealed)
    assert len(sealed) == SEAL_OVERHEAD
    assert unseal(sealed, "x") == b""
    assert seal(b"", "x") != sealed
    assert unseal(SEALED, PASSWORD) == TEXT
    # The same word, typed with a combining diaeresis.
    assert unseal(SEALED, "gru\u0308n 1") == TEXT


def test_a_wrong_password_says_so() -> None:
    with pytest.raises(WrongPasswordError, match="password is wrong") as caught:
        unseal(SEALED, "grün 2")
    assert caught.value.exit_code == ExitCode.NOT_EMBEDDING
    assert "\n" not in str(caught.value)
    with pytest.raises(WrongPasswordError):
        unseal(SEALED, "")
    with pytest.raises(UsageError):
        seal(b"data", "")


@pytest.mark.parametrize("place", [8, 24, 30, -1])
def test_altered_bytes_do_not_open(place: int) -> None:
    altered = bytearray(SEALED)
    altered[place] ^= 1
    with pytest.raises(WrongPasswordError):
        unseal(bytes(altered), PASSWORD)


@pytest.mark.parametrize(
    "parameters",
    [
        (0, 8, 1),
        (31, 8, 1),
        (18, 16, 1),
        (20, 8, 1),
        (17, 255, 1),
        (17, 8, 5),
        (17, 8, 0),
        (5, 0, 1),
    ],
)
def test_parameters_that_would_take_much_memory_or_time_are_refused(
    parameters: tuple[int, int, int],
) -> None:
    altered = SEALED[:5] + bytes(parameters) + SEALED[8:]
    with pytest.raises(DamagedError, match="parameters"):
        unseal(altered, PASSWORD)


def test_other_bytes_are_refused() -> None:
    for data in (b"", b"SEAL", b"\x89PNG" + SEALED[4:], SEALED[: SEAL_OVERHEAD - 1]):
        with pytest.raises(DamagedError):
            unseal(data, "x")
    with pytest.raises(UnsupportedVersionError):
        unseal(SEALED[:4] + b"\x02" + SEALED[5:], "x")


def test_cryptography_is_loaded_when_it_is_needed() -> None:
    program = "import sys, iicnet_cli.payload.sealing; assert 'cryptography' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)
