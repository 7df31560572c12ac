"""Colours that a picture declares without an ICC profile: cICP, nclx, gAMA and cHRM.

::

    codes --transfer function--> light --primaries--> light of sRGB --tone mapping if HDR--> sRGB
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from iicnet_cli.pictures.arrays import Pixels

Chromaticities = tuple[float, float, float, float, float, float, float, float]
"""x and y of white, red, green and blue (CIE 1931), in the order of PNG's cHRM."""
Light = NDArray[np.floating[Any]]

SRGB_PRIMARIES: Chromaticities = (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)

# By their numbers in ITU-T H.273; 2 and those that are missing here mean: as sRGB.
_PRIMARIES: dict[int, tuple[str, Chromaticities]] = {
    4: ("BT.470 M", (0.31, 0.316, 0.67, 0.33, 0.21, 0.71, 0.14, 0.08)),
    5: ("BT.470 BG", (0.3127, 0.329, 0.64, 0.33, 0.29, 0.6, 0.15, 0.06)),
    6: ("SMPTE 170M", (0.3127, 0.329, 0.63, 0.34, 0.31, 0.595, 0.155, 0.07)),
    7: ("SMPTE 240M", (0.3127, 0.329, 0.63, 0.34, 0.31, 0.595, 0.155, 0.07)),
    9: ("BT.2020", (0.3127, 0.329, 0.708, 0.292, 0.17, 0.797, 0.131, 0.046)),
    11: ("DCI-P3", (0.314, 0.351, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06)),
    12: ("Display P3", (0.3127, 0.329, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06)),
}
_GAMMAS = {4: ("gamma 2.2", 2.2), 5: ("gamma 2.8", 2.8), 8: ("linear light", 1.0)}
"""Transfer functions that are powers: name and exponent."""
_PQ, _HLG = 16, 18
_HDR = {_PQ: ("PQ", 100.0), _HLG: ("HLG", 10.0)}
"""Transfer functions of HDR: name and brightest light; 1 is the white of the standard range, 100
cd/m2."""

_SAME_GAMMA, _SAME_CHROMATICITY = 0.01, 0.005
"""Values of gAMA and cHRM that differ from those of sRGB by up to so much mean sRGB."""
_STANDARD_PNG_GAMMA = 0.45455
"""The gAMA of sRGB."""
_ROWS = 256
"""Pictures are converted so many rows at a time, to save memory."""
_MAX_BOXES = 1000
"""At most so many chunks or boxes of a file are looked at."""


@dataclass(frozen=True)
class SignalledColour:
    """The colours of a picture.

    Attributes:
        primaries: chromaticities of white and of the primaries.
        transfer: number of the transfer function in H.273; 13 is that of sRGB.
        gamma: exponent from codes to light, instead of ``transfer``.
        name: for the note.
    """

    primaries: Chromaticities = SRGB_PRIMARIES
    transfer: int = 13
    gamma: float | None = None
    name: str = ""

    @property
    def is_hdr(self) -> bool:
        """Whether the transfer is PQ or HLG."""
        return self.transfer in _HDR

    @property
    def note(self) -> str:
        """What the conversion does, in words."""
        if self.is_hdr:
            return f"HDR ({self.name}) tone-mapped to the standard range"
        return f"colours converted from {self.name} to sRGB"

    def to_srgb(self, pixels: Pixels) -> Pixels:
        """Convert a picture, uint8 (H, W, 3) or (H, W), to sRGB, uint8 of the same shape."""
        curve = self._light(np.arange(256, dtype=np.float32) / 255)
        if pixels.ndim == 2:
            return _encode(self._tone_mapped(np.repeat(curve[:, None], 3, 1)))[:, 0][pixels]
        matrix = _rgb_to_xyz(SRGB_PRIMARIES)
        matrix = np.linalg.inv(matrix) @ _adaptation(self.primaries) @ _rgb_to_xyz(self.primaries)
        converted = np.empty_like(pixels)
        for top in range(0, len(pixels), _ROWS):
            rows = slice(top, top + _ROWS)
            light = curve[pixels[rows]] @ matrix.T.astype(np.float32)
            converted[rows] = _encode(self._tone_mapped(light))
        return converted

    def _light(self, codes: Light) -> Light:
        if self.gamma is not None:
            return np.asarray(codes**self.gamma, np.float32)
        if self.transfer == _PQ:
            power = codes ** (1 / 78.84375)
            light = np.maximum(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power)
            return np.asarray(100 * light ** (1 / 0.1593017578125), np.float32)
        if self.transfer == _HLG:
            scene = np.where(
                codes <= 0.5,
                codes**2 / 3,
                (np.exp((codes - 0.55991073) / 0.17883277) + 0.28466892) / 12,
            )
            return np.asarray(10 * scene**1.2, np.float32)
        low = codes <= 0.04045
        return np.asarray(
            np.where(low, codes / 12.92, ((codes + 0.055) / 1.055) ** 2.4), np.float32
        )

    def _tone_mapped(self, light: Light) -> Light:
        """Compress the range of HDR by Hable's curve, as clips are, without changing hues."""
        if not self.is_hdr:
            return light
        brightest = np.maximum(light.max(axis=-1, keepdims=True), 1e-6)
        return np.asarray(light * (_hable(brightest) / _hable(_HDR[self.transfer][1]) / brightest))


def colour_of_codes(primaries: int, transfer: int) -> SignalledColour | None:
    """The colours that two numbers of H.273 mean; ``None`` if they are those of sRGB."""
    name, chromaticities = _PRIMARIES.get(primaries, ("", SRGB_PRIMARIES))
    power, gamma = _GAMMAS.get(transfer, ("", None))
    hdr, _ = _HDR.get(transfer, ("", 0.0))
    full_name = ", ".join(filter(None, (name, power, hdr)))
    if not full_name:
        return None
    return SignalledColour(chromaticities, transfer if hdr else 13, gamma, full_name)


def colour_of_gamma(
    gamma: float | None, chromaticities: Chromaticities | None
) -> SignalledColour | None:
    """The colours that PNG's gAMA and cHRM mean; ``None`` if they are those of sRGB, or absurd."""
    exponent, name = None, []
    if gamma is not None and 0.05 < gamma < 20 and abs(gamma - _STANDARD_PNG_GAMMA) > _SAME_GAMMA:
        exponent = 1 / gamma
        name.append(f"gamma {exponent:.3g}")
    primaries = SRGB_PRIMARIES
    if chromaticities is not None and _are_usable(chromaticities):
        differences = np.abs(np.subtract(chromaticities, SRGB_PRIMARIES))
        if differences.max() > _SAME_CHROMATICITY:
            primaries = chromaticities
            name.append("its own primaries")
    return SignalledColour(primaries, 13, exponent, ", ".join(name)) if name else None


def read_colour_codes(file: BinaryIO) -> tuple[int, int] | None:
    """Read primaries and transfer from the cICP of a PNG or the nclx of an AVIF or HEIF file.

    The position of the file is kept.
    """
    position = file.tell()
    try:
        file.seek(0)
        start = file.read(12)
        if start.startswith(b"\x89PNG"):
            return _read_cicp(file)
        return _read_nclx(file) if start[4:8] == b"ftyp" else None
    except (struct.error, OSError, ValueError, OverflowError):
        return None
    finally:
        file.seek(position)


def _read_cicp(file: BinaryIO) -> tuple[int, int] | None:
    file.seek(8)
    for _ in range(_MAX_BOXES):
        length, kind = struct.unpack(">I4s", file.read(8))
        if kind == b"cICP" and length >= 4:
            primaries, transfer = file.read(2)
            return primaries, transfer
        if kind in (b"IDAT", b"IEND"):  # it must come before
            return None
        file.seek(length + 4, 1)
    return None


def _read_nclx(file: BinaryIO) -> tuple[int, int] | None:
    """Find colr in meta/iprp/ipco."""
    file.seek(0)
    for _ in range(_MAX_BOXES):
        at = file.tell()
        size, kind = struct.unpack(">I4s", file.read(8))
        if kind == b"meta":
            file.seek(4, 1)
        elif kind == b"colr" and file.read(4) == b"nclx":
            primaries, transfer = struct.unpack(">HH", file.read(4))
            return primaries, transfer
        elif kind not in (b"iprp", b"ipco"):
            if size < 8:  # to the end of the file, or 64 bits: no property has that
                return None
            file.seek(at + size)
    return None


def _are_usable(chromaticities: Chromaticities) -> bool:
    if not all(0 <= value <= 1 for value in chromaticities) or min(chromaticities[1::2]) < 0.01:
        return False
    return bool(abs(np.linalg.det(_rgb_to_xyz(chromaticities, scaled=False))) > 1e-3)


def _rgb_to_xyz(chromaticities: Chromaticities, *, scaled: bool = True) -> NDArray[np.float64]:
    """The matrix of some primaries; their columns unscaled if they are only to be compared."""
    points = np.array(chromaticities, np.float64).reshape(4, 2)
    xyz = np.column_stack(
        [points[:, 0] / points[:, 1], np.ones(4), (1 - points.sum(1)) / points[:, 1]]
    )
    white, primaries = xyz[0], xyz[1:].T
    return primaries * np.linalg.solve(primaries, white) if scaled else primaries


def _adaptation(chromaticities: Chromaticities) -> NDArray[np.float64]:
    """Bradford's adaptation of a white point to that of sRGB, in XYZ."""
    bradford = np.array(
        [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
    )
    source, target = (bradford @ _rgb_to_xyz(c).sum(1) for c in (chromaticities, SRGB_PRIMARIES))
    return np.asarray(np.linalg.inv(bradford) @ np.diag(target / source) @ bradford)


def _hable(light: NDArray[np.float32] | float) -> NDArray[np.float32]:
    numerator = light * (0.15 * light + 0.05) + 0.004
    return np.asarray(numerator / (light * (0.15 * light + 0.5) + 0.06) - 0.02 / 0.3, np.float32)


def _encode(light: Light) -> Pixels:
    value = np.clip(light, 0, 1)
    encoded = np.where(value <= 0.0031308, 12.92 * value, 1.055 * value ** (1 / 2.4) - 0.055)
    pixels: Pixels = np.rint(255 * encoded).astype(np.uint8)
    return pixels
