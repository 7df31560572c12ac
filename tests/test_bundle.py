"""The bundle of files: bytes and back, and whatever a stranger may write."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iicnet_cli.container.header import Header
from iicnet_cli.errors import DamagedError, UnsupportedVersionError, UsageError
from iicnet_cli.payload import bundle_description
from iicnet_cli.payload.bundle import Bundle, BundledFile, Role, bundle_size
from iicnet_cli.payload.bundle_description import description_file, read_description

FILES = (
    BundledFile(Role.DESCRIPTION, "", b"{}"),
    BundledFile(Role.MEDIA, "clip.webm", b"\x1aE\xdf\xa3 and more"),
    BundledFile(Role.ORIGINAL, "blüte.jpg", b"", 1),
)


def resealed(data: bytes) -> bytes:
    """Bytes with the checksum that fits them."""
    return data[:-4] + zlib.crc32(data[:-4]).to_bytes(4, "big")


def test_files_come_back_in_order() -> None:
    assert Bundle.from_bytes(Bundle(FILES).to_bytes()).files == FILES


def test_bytes_are_as_documented() -> None:
    """The example of docs/format.md, section 14."""
    data = Bundle((BundledFile(Role.ATTACHMENT, "a.txt", b"hello"),)).to_bytes()
    assert data.hex(" ") == (
        "49 49 43 42 01 00 01 04 ff ff 05 00 00 00 05 61 2e 74 78 74 68 65 6c 6c 6f "
        + zlib.crc32(data[:-4]).to_bytes(4, "big").hex(" ")
    )


def test_size_is_known_beforehand() -> None:
    size = bundle_size((file.name, len(file.data)) for file in FILES)
    assert size == len(Bundle(FILES).to_bytes())


def test_files_are_found_by_role() -> None:
    assert Bundle(FILES).of_role(Role.ORIGINAL, Role.MEDIA) == list(FILES[1:])


@given(st.integers(0, len(Bundle(FILES).to_bytes()) - 1), st.integers(1, 255))
def test_every_altered_byte_is_noticed(position: int, change: int) -> None:
    data = bytearray(Bundle(FILES).to_bytes())
    data[position] ^= change
    with pytest.raises((DamagedError, UnsupportedVersionError)):
        Bundle.from_bytes(bytes(data))


@given(st.binary(max_size=60))
def test_nonsense_with_the_right_checksum_is_refused(nonsense: bytes) -> None:
    data = resealed(b"IICB\x01\x00\x02" + nonsense + b"\xff" * 8 + bytes(4))
    with pytest.raises(DamagedError):
        Bundle.from_bytes(data)


def test_names_lead_nowhere() -> None:
    data = Bundle((BundledFile(Role.ATTACHMENT, "etc.passwd", b""),)).to_bytes()
    evil = resealed(data.replace(b"etc.passwd", b"../../pass"))
    assert Bundle.from_bytes(evil).files[0].name == "pass"


def test_a_newer_version_is_named() -> None:
    data = bytearray(Bundle(FILES).to_bytes())
    data[4] = 2
    with pytest.raises(UnsupportedVersionError, match="version 2"):
        Bundle.from_bytes(bytes(data))


def test_too_many_files_are_refused() -> None:
    with pytest.raises(ValueError, match="5000 files"):
        Bundle(FILES[:1] * 5000).to_bytes()


def test_a_description_that_is_too_long_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    header = Header(task="stego", model="files", weights_sha256="", images=1, width=9, height=9)
    text = len(header.to_json())
    monkeypatch.setattr(bundle_description, "MAX_DESCRIPTION_BYTES", text)
    bundle = Bundle((description_file(header),))
    assert read_description(Bundle.from_bytes(bundle.to_bytes())) == header
    monkeypatch.setattr(bundle_description, "MAX_DESCRIPTION_BYTES", text - 1)
    with pytest.raises(UsageError, match="do not fit into one picture"):
        description_file(header)
