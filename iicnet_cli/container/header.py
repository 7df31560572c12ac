"""The header of an embedding PNG: versioned JSON that says how to restore it."""

from __future__ import annotations

import base64
import json
import os.path
import unicodedata
from collections.abc import Sequence
from fractions import Fraction
from typing import Annotated, Any

import pydantic_core
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from iicnet_cli.errors import DamagedError, UnsupportedVersionError, UsageError
from iicnet_cli.pictures.limits import MAX_FPS, MAX_SECONDS, max_pixels, max_pixels_text

FORMAT_VERSION = "1.0"
"""Headers are written in this version of the format, "major.minor"."""
MAX_HEADER_BYTES = 16 * 2**20
"""A header of more bytes of JSON is neither written nor read."""
MAX_SOURCES = 200_000
"""A header names at most so many files."""
MAX_GROUPS = 1_000_000
"""A header describes at most so many groups."""
MAX_FRAMES = 4_000_000
"""A header gives the times of at most so many frames."""
MAX_NAME_BYTES = 200
"""File names in a header are cut to this many bytes of UTF-8 (file systems stop at 255)."""

_BYTES_PER_SOURCE = len('{"name":,"width":1920,"height":1080},')
_BYTES_PER_TIME = len("0.03336666666666667,")
_BYTES_OF_THE_REST = 4096
"""Bytes of JSON that a source takes beside its name, the time of a frame, and all other fields."""

_WINDOWS_DEVICES = frozenset(
    ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"]
    + [port + digit for port in ("COM", "LPT") for digit in "0123456789¹²³"]
)


def _printable(text: str) -> str:
    """Drop control, format and surrogate characters, which could steer a terminal."""
    return "".join(
        c
        for c in text
        if unicodedata.category(c)[0] != "C" and unicodedata.category(c) not in ("Zl", "Zp")
    )


def safe_name(name: str) -> str:
    """Turn any string into a file name that is harmless on Linux, macOS and Windows.

    Directories, control characters, leading and trailing dots and spaces are removed, characters
    and device names that Windows forbids are replaced, and long names are cut before their suffix.
    The result has 1 to ``MAX_NAME_BYTES`` bytes of UTF-8; ``safe_name`` of it is itself.

    >>> safe_name("../../etc/passwd"), safe_name("C:\\\\x.png"), safe_name("NUL"), safe_name("..")
    ('passwd', 'x.png', '_NUL', 'unnamed')
    """
    name = _printable(name.replace("\\", "/").rsplit("/", 1)[-1])
    name = "".join("_" if c in '<>:"|?*' else c for c in name).strip(" .")
    if name.split(".", 1)[0].strip().upper() in _WINDOWS_DEVICES:
        name = "_" + name
    if len(name.encode()) > MAX_NAME_BYTES:
        stem, suffix = os.path.splitext(name)
        if len(suffix.encode()) > 20:
            stem, suffix = name, ""
        room = MAX_NAME_BYTES - len(suffix.encode())
        name = (stem.encode()[:room].decode(errors="ignore") + suffix).strip(" .")
    return name or "unnamed"


def _safe_name_if_text(value: Any) -> Any:
    return safe_name(value) if isinstance(value, str) else value


def _checkpoint_name(name: str) -> str:
    # The name leads to a folder of checkpoints; a header must not lead anywhere else.
    if any(part in ("", ".", "..") for part in name.split("/")):
        raise ValueError("a checkpoint name has no empty, '.' or '..' part")
    return name


def _base64(text: str) -> str:
    base64.b64decode(text, validate=True)
    return text


Text = Annotated[str, AfterValidator(_printable)]
"""Text that is safe to print: control characters are dropped."""
PixelCount = Annotated[int, Field(ge=1, le=2**31 - 1)]
"""The side of a picture in pixels, within what PNG can hold."""
Padding = Annotated[int, Field(ge=0, le=65535)]
"""Pixels added at one side of a picture."""
Base64Text = Annotated[str, AfterValidator(_base64)]
"""Bytes in base64."""
Seconds = Annotated[float, Field(ge=-MAX_SECONDS, le=MAX_SECONDS)]
"""A time in seconds."""
OfGroups = Annotated[list[Base64Text], Field(fail_fast=True, max_length=MAX_GROUPS)]
"""Bytes for each group. Of a list full of errors, the first one is enough."""


class Source(BaseModel):
    """An original picture: its file name (made safe by ``safe_name``) and its size in pixels."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    # Before, not after: names of broken encodings hold surrogates, which pydantic refuses.
    name: Annotated[str, BeforeValidator(_safe_name_if_text)]
    width: PixelCount
    height: PixelCount

    @model_validator(mode="after")
    def _is_no_bomb(self) -> Source:
        if self.width * self.height > max_pixels():
            raise ValueError(f"over {max_pixels_text()}")
        return self


class Header(BaseModel):
    """What the ``iicnet`` chunk of an embedding PNG says.

    A stranger may have written it. So names are made safe as file names, text is made safe to
    print, and numbers are bounded and finite. Unknown fields are ignored. An alias is the field's
    name in the JSON.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        allow_inf_nan=False,
        populate_by_name=True,
        protected_namespaces=(),
    )

    version: str = Field(FORMAT_VERSION, pattern=r"^[1-9][0-9]{0,3}\.[0-9]{1,4}$")
    """Format version, "major.minor"."""
    task: str = Field(pattern=r"^[a-z0-9-]{1,40}$")
    model: Annotated[str, AfterValidator(_checkpoint_name)] = Field(
        max_length=200, pattern=r"^[A-Za-z0-9._/-]+$"
    )
    """Name of the checkpoint, such as "video-5" or "paper/video-5"."""
    weights_sha256: str = Field(pattern=r"^[0-9a-f]{0,64}$")
    images: int = Field(ge=1, le=16)
    """Number of network inputs in a group; 1 for an engine without a fixed number."""
    engine: str | None = Field(None, pattern=r"^[a-z0-9-]{1,40}$")
    """Name of the engine that embedded the pictures; ``None`` for the network."""
    precision: str = Field("fp32", pattern=r"^[a-z0-9]{1,20}$")
    """Arithmetic with which the pictures were embedded: fp32, tf32 or bf16."""
    width: PixelCount
    """Width of the restored pictures in pixels, without padding."""
    height: PixelCount
    """Height of the restored pictures in pixels, without padding."""
    padding: tuple[Padding, Padding] = (0, 0)
    """Pixels that were added to the right and at the bottom before the network."""
    scale: int = Field(1, ge=1, le=2)
    """Pixels of the padded pictures to one pixel of the PNG, on each axis."""
    static_regions: OfGroups | None = Field(None, alias="common")
    """The static region of each group, as the mark stores it, in base64; empty for a group without.
    """
    motion: OfGroups | None = None
    """Clips and stereo: the motion field of each group, as the mark stores it, in base64; empty for
    a group without."""
    sources: Annotated[list[Source], Field(fail_fast=True, max_length=MAX_SOURCES)] = []
    """The original files in order, the reference first. For a clip of stills, all its frames."""
    frames: PixelCount | None = None
    """Clips: number of frames in all groups."""
    fps: str | None = Field(None, pattern=r"^[1-9][0-9]{0,9}(/[1-9][0-9]{0,9})?$")
    """Clips: frames per second as a fraction, such as "30000/1001"."""
    timestamps: Annotated[list[Seconds], Field(fail_fast=True, max_length=MAX_FRAMES)] | None = None
    """Clips of variable frame rate: the time of each frame in seconds."""
    options: dict[Text, Text | int | float | bool] = Field({}, max_length=100)
    """Settings of the task that restoring needs."""
    pixels_sha256: str = Field("", pattern=r"^([0-9a-f]{64})?$")
    """Hash of all frames (see ``hash_frame``), filled in by ``PngWriter``."""
    software: Text = Field("", max_length=200)
    """Name and version of the program that wrote the file."""

    @field_validator("fps")
    @classmethod
    def _rate_is_in_range(cls, fps: str | None) -> str | None:
        if fps is not None and not Fraction(1, MAX_FPS) <= Fraction(fps) <= MAX_FPS:
            raise ValueError("no frame rate that a clip can have")
        return fps

    @model_validator(mode="after")
    def _photos_are_no_bomb(self) -> Header:
        # Photos are all restored at once. A header with an engine does not give their sizes: their
        # description in the payload does, which has none.
        pixels = sum(source.width * source.height for source in self.sources)
        if self.engine is None and self.frames is None and pixels > max_pixels():
            raise ValueError(f"its pictures have over {max_pixels_text()} together")
        return self

    @classmethod
    def for_writing(cls, **fields: Any) -> Header:
        """A header that can be read again.

        Raises:
            UsageError: a field is out of its range; :func:`check_counts` refuses most before the
                work.
        """
        try:
            return cls(**fields)
        except pydantic_core.ValidationError as error:
            why = _first_reason(error)
            raise UsageError(f"the header of the PNG cannot say what is in it: {why}") from error

    @property
    def frame_rate(self) -> Fraction | None:
        """``fps`` as a fraction in frames per second."""
        return None if self.fps is None else Fraction(self.fps)

    def to_json(self) -> str:
        """The header as one line of ASCII JSON (other characters escaped)."""
        # ASCII, so that the text survives tools that turn iTXt into the Latin-1 chunk tEXt.
        fields = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        return json.dumps(fields, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | bytes) -> Header:
        """Read what ``to_json`` wrote, in this or another version with the same major number.

        Raises:
            UnsupportedVersionError: the major version is newer than this program's.
            DamagedError: the text is not JSON, or a field has no valid value.
        """
        try:
            data = pydantic_core.from_json(text)
            # Before the fields: a newer major may have changed any of them.
            major = int(str(data["version"]).split(".", 1)[0])
        except (ValueError, KeyError, TypeError) as error:
            raise DamagedError("the iicnet header is not valid JSON with a version") from error
        if major > int(FORMAT_VERSION.split(".", 1)[0]):
            raise UnsupportedVersionError(
                f"written in format {_printable(str(data['version']))[:20]}; "
                f"this program reads up to {FORMAT_VERSION.split('.', 1)[0]}.x",
                hint="upgrade iicnet",
            )
        try:
            return cls.model_validate(data, by_alias=True, by_name=False)
        except pydantic_core.ValidationError as error:
            why = _first_reason(error)
            raise DamagedError(f"the iicnet header is damaged: {why}") from error


def check_counts(names: Sequence[str], timed_frames: int = 0) -> None:
    """Refuse, before any work, what a header could not describe.

    Args:
        names: of the original files.
        timed_frames: frames of which it would give the time.

    Raises:
        UsageError: they are too many.
    """
    hint = "make several PNGs, each of a part"
    if len(names) > MAX_SOURCES:
        raise UsageError(
            f"{len(names)} files are more than one PNG can name, {MAX_SOURCES}", hint=hint
        )
    if timed_frames > MAX_FRAMES:
        raise UsageError(
            f"{timed_frames} frames are more than one PNG can give the times of, {MAX_FRAMES}",
            hint=hint,
        )
    size = _BYTES_OF_THE_REST + _BYTES_PER_TIME * timed_frames
    size += sum(_BYTES_PER_SOURCE + len(json.dumps(safe_name(name))) for name in names)
    if size > MAX_HEADER_BYTES:
        raise UsageError(
            "the names and times of so many frames do not fit into the header of one PNG", hint=hint
        )


def _first_reason(error: pydantic_core.ValidationError) -> str:
    """The first field that has no valid value, and why."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = _printable(".".join(map(str, first["loc"])))[:80]
    return ": ".join(filter(None, (where, first["msg"].removeprefix("Value error, "))))
