"""The payload of engines that carry files: a few named files with a role each, as one string of
bytes.

::

    magic, version, number of files | role, picture, name, size of each | bytes of each | CRC-32

A stranger may have written it. So all lengths are checked against the bytes that are there before
anything is copied, and names are made safe as file names. docs/format.md, section 12, has the
syntax.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum

from iicnet_cli.container.header import MAX_NAME_BYTES, safe_name
from iicnet_cli.errors import DamagedError, UnsupportedVersionError

MAGIC = b"IICB"
"""The first bytes of every bundle."""
BUNDLE_VERSION = 1
"""Bundles are written in this version."""
MAX_FILES = 4096
"""A bundle of more files is neither written nor read."""

_START = struct.Struct(">4sBH")
_FILE = struct.Struct(">BHBI")
_CHECKSUM = struct.Struct(">I")
NO_PICTURE = 0xFFFF
"""Stands for the number of the picture of a file that holds none, or several."""


class Role(IntEnum):
    """What a file of a bundle is for."""

    DESCRIPTION = 0
    """What the pictures are: JSON as in the header of the PNG, compressed by raw deflate."""
    MEDIA = 1
    """Pictures that were encoded for this bundle: a clip, or a still."""
    ORIGINAL = 2
    """An input, byte for byte."""
    REFERENCE = 3
    """The picture that the PNG shows, encoded for this bundle."""
    ATTACHMENT = 4
    """Any file that travels along, byte for byte."""


@dataclass(frozen=True)
class BundledFile:
    """One file.

    Attributes:
        role: what it is for.
        name: its file name; empty for the description.
        data: its bytes.
        picture: number of the only picture that it holds, counted from 0 as in the description;
            ``None`` if it holds none, several, or those that are next.
    """

    role: Role
    name: str
    data: bytes
    picture: int | None = None


@dataclass(frozen=True)
class Bundle:
    """The files of one embedding, in order."""

    files: tuple[BundledFile, ...]

    def of_role(self, *roles: Role) -> list[BundledFile]:
        """The files of these roles, in order."""
        return [file for file in self.files if file.role in roles]

    @staticmethod
    def recognises(data: bytes) -> bool:
        """Whether bytes begin like a bundle that is not encrypted."""
        return data[: len(MAGIC)] == MAGIC

    def to_bytes(self) -> bytes:
        """The bundle as it is hidden."""
        if len(self.files) > MAX_FILES:
            raise ValueError(f"{len(self.files)} files are more than {MAX_FILES}")
        table = b"".join(_row(file) for file in self.files)
        start = _START.pack(MAGIC, BUNDLE_VERSION, len(self.files))
        data = b"".join([start, table, *(file.data for file in self.files)])
        return data + _CHECKSUM.pack(zlib.crc32(data))

    @classmethod
    def from_bytes(cls, data: bytes) -> Bundle:
        """Read what :meth:`to_bytes` wrote.

        Raises:
            UnsupportedVersionError: a newer program wrote it.
            DamagedError: it is something else, or damaged.
        """
        if len(data) < _START.size + _CHECKSUM.size or not cls.recognises(data):
            raise DamagedError("the payload is no bundle of files")
        _, version, count = _START.unpack_from(data)
        if version > BUNDLE_VERSION:
            raise UnsupportedVersionError(
                f"the payload has version {version}; this program reads up to {BUNDLE_VERSION}",
                hint="upgrade iicnet",
            )
        body, checksum = data[: -_CHECKSUM.size], data[-_CHECKSUM.size :]
        if _CHECKSUM.unpack(checksum)[0] != zlib.crc32(body) or count > MAX_FILES:
            raise DamagedError("the payload is damaged")
        try:
            return cls(tuple(_read_files(body, count)))
        except (struct.error, ValueError) as error:
            raise DamagedError(f"the payload is damaged: {error}") from error


def bundle_size(names_and_sizes: Iterable[tuple[str, int]]) -> int:
    """Bytes of a bundle of files with these names and sizes."""
    rows = [_FILE.size + len(_stored_name(name)) + size for name, size in names_and_sizes]
    return _START.size + _CHECKSUM.size + sum(rows)


def _stored_name(name: str) -> bytes:
    return safe_name(name).encode() if name else b""


def _row(file: BundledFile) -> bytes:
    name = _stored_name(file.name)
    picture = NO_PICTURE if file.picture is None else file.picture
    return _FILE.pack(file.role, picture, len(name), len(file.data)) + name


def _read_files(body: bytes, count: int) -> Iterator[BundledFile]:
    rows = []
    position = _START.size
    for _ in range(count):
        role, picture, name_bytes, size = _FILE.unpack_from(body, position)
        position += _FILE.size
        if name_bytes > MAX_NAME_BYTES:
            raise ValueError("a name is too long")
        name = body[position : position + name_bytes].decode()
        position += name_bytes
        rows.append((Role(role), picture, name, size))
    if position + sum(size for *_, size in rows) != len(body):
        raise ValueError("its files do not fill it")
    for role, picture, name, size in rows:
        yield BundledFile(
            role,
            "" if role is Role.DESCRIPTION else safe_name(name),
            body[position : position + size],
            None if picture == NO_PICTURE else picture,
        )
        position += size
