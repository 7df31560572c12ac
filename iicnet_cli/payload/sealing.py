"""Sealing bytes with a password: scrypt (RFC 7914) and AES-256-GCM (NIST SP 800-38D).

It hides what the bytes say, not that they are there. Sealed bytes are::

    +------+---------+--------------+-----------+--------------------------+
    | SEAL | version | log2 n, r, p | salt (16) | ciphertext and tag (16)  |
    +------+---------+--------------+-----------+--------------------------+

Every call draws a new salt, from which, with the password, comes the key. So a key encrypts once,
and its nonce is twelve zeros. All that stands before the ciphertext is authenticated with it. A
password is taken as UTF-8 in the normal form NFC, so that it is the same on every keyboard.
"""

from __future__ import annotations

import os
import struct
import unicodedata

from iicnet_cli.errors import DamagedError, UnsupportedVersionError, UsageError

MAGIC = b"SEAL"
"""Sealed bytes begin with these."""

_VERSION = 1
_HEADER = struct.Struct(">4s4B16s")  # magic; version, log2 n, r, p; salt
_TAG_BYTES = 16
_KEY_BYTES = 32
_NONCE = bytes(12)
SEAL_OVERHEAD = _HEADER.size + _TAG_BYTES
"""Sealed bytes are this many more than the bytes themselves."""

_LOG2_N, _R, _P = 17, 8, 1
"""What scrypt is given here: it then takes 128 MiB, and some tenths of a second."""
_MOST_MEMORY = 1 << 28
"""Bytes that scrypt may take when a file asks for it: 128 n r, 256 MiB."""
_MOST_PASSES = 4
"""The highest p that a file may ask for: scrypt takes p times as long."""


class WrongPasswordError(DamagedError):
    """Sealed bytes do not open: the password is not theirs, or they were altered."""


def is_sealed(data: bytes) -> bool:
    """Whether bytes are sealed."""
    return data.startswith(MAGIC)


def seal(data: bytes, password: str) -> bytes:
    """Encrypt bytes so that only the password opens them.

    Args:
        data: below 2 GiB.
        password: any text but the empty one.

    Returns:
        ``SEAL_OVERHEAD`` bytes more, different ones with every call.

    Raises:
        UsageError: the password is empty.
    """
    return seal_with_salt(data, password, os.urandom(16))


def seal_with_salt(data: bytes, password: str, salt: bytes) -> bytes:
    """Do the same with a given salt of 16 bytes, which must never be used twice."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    if not password:
        raise UsageError("the password is empty")
    header = _HEADER.pack(MAGIC, _VERSION, _LOG2_N, _R, _P, salt)
    key = _derive_key(password, salt, _LOG2_N, _R, _P)
    return header + AESGCM(key).encrypt(_NONCE, data, header)


def unseal(sealed: bytes, password: str) -> bytes:
    """Inverse of :func:`seal`, safe with untrusted bytes.

    Raises:
        WrongPasswordError: the password is wrong, or the bytes were altered.
        DamagedError: they are not sealed bytes.
        UnsupportedVersionError: they were sealed in a way that is unknown here.
    """
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    if len(sealed) < SEAL_OVERHEAD or not is_sealed(sealed):
        raise DamagedError("these are no bytes that a password opens")
    header = sealed[: _HEADER.size]
    _, version, log2_n, r, p, salt = _HEADER.unpack(header)
    if version != _VERSION:
        raise UnsupportedVersionError(
            f"sealed in a way (version {version}) that is unknown here", hint="upgrade iicnet"
        )
    allowed = 1 <= log2_n < 32 and 1 <= p <= _MOST_PASSES and r >= 1
    if not allowed or 128 * r << log2_n > _MOST_MEMORY or log2_n >= 16 * r:
        raise DamagedError("sealed with parameters of scrypt that no writer uses")
    key = _derive_key(password, salt, log2_n, r, p)
    try:
        return AESGCM(key).decrypt(_NONCE, sealed[_HEADER.size :], header)
    except InvalidTag:
        raise WrongPasswordError(
            "the password is wrong, or the sealed bytes were altered",
            hint="passwords distinguish capital letters; try again with --password",
        ) from None


def _derive_key(password: str, salt: bytes, log2_n: int, r: int, p: int) -> bytes:
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    text = unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")
    return Scrypt(salt=salt, length=_KEY_BYTES, n=1 << log2_n, r=r, p=p).derive(text)
