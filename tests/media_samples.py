"""Pictures and clips that the tests of ``iicnet_cli.media`` share; all are generated."""

from __future__ import annotations

import io
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

from iicnet_cli.media import ffmpeg
from iicnet_cli.media.layered_image import Layer
from iicnet_cli.pictures.arrays import Pixels

H264 = ("-c:v", "libx264", "-pix_fmt", "yuv420p", "-g", "20", "-preset", "ultrafast")
"""Options of a fast H.264 encoder with a keyframe every 20 frames."""


def run_ffmpeg(target: Path, *arguments: str) -> Path:
    """Write ``target`` by ffmpeg and return it."""
    command = [ffmpeg.executable(), "-v", "error", "-y", *arguments, str(target)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return target


_ST3D = {"mono": 0, "top_bottom": 1, "left_right": 2}


def declare_stereo(target: Path, mode: str, *arguments: str) -> Path:
    """Write a clip by ffmpeg that declares a stereo mode, named as in Matroska; return its path.

    An MP4 gets a box ``st3d``; its ``stsd`` must hold one H.264 stream.
    """
    if target.suffix == ".mkv":
        return run_ffmpeg(target, *arguments, "-metadata:s:v", f"stereo_mode={mode}")
    run_ffmpeg(target, *arguments)
    data = bytearray(target.read_bytes())
    box = mp4_box(b"st3d", bytes([0, 0, 0, 0, _ST3D[mode]]))
    at = data.index(b"avcC") - 4
    data[at:at] = box
    for kind in (b"avc1", b"stsd", b"stbl", b"minf", b"mdia", b"trak", b"moov"):
        place = data.rindex(kind, 0, at) - 4
        size = int.from_bytes(data[place : place + 4], "big")
        data[place : place + 4] = (size + len(box)).to_bytes(4, "big")
    target.write_bytes(data)
    return target


def moving_pattern(seconds: float, rate: str = "24", size: str = "64x48") -> tuple[str, ...]:
    """Return ffmpeg's options for a test pattern in motion."""
    return ("-f", "lavfi", "-i", f"testsrc2=s={size}:r={rate}:d={seconds}")


def tone(seconds: float) -> tuple[str, ...]:
    """Return ffmpeg's options for a sine tone."""
    return ("-f", "lavfi", "-i", f"sine=d={seconds}")


def noise(height: int, width: int, seed: int = 0) -> Pixels:
    """Return a picture (height, width, 3) of independent random values."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def smooth(height: int, width: int) -> Pixels:
    """Return a picture (height, width, 3) of smooth gradients."""
    y, x = np.mgrid[0:height, 0:width]
    ramp = np.stack([x * 255 / width, y * 255 / height, (x + y) * 255 / (width + height)], 2)
    return ramp.astype(np.uint8)


def jpeg(height: int, width: int) -> bytes:
    """Return a JPEG file of smooth gradients."""
    file = io.BytesIO()
    Image.fromarray(smooth(height, width)).save(file, "JPEG")
    return file.getvalue()


def mp4_box(kind: bytes, data: bytes) -> bytes:
    """Return a box as MP4 and HEIC files consist of."""
    return struct.pack(">I", 8 + len(data)) + kind + data


def mpo(path: Path, *pictures: Pixels, types: tuple[int, ...] = ()) -> Path:
    """Write an MPO by Pillow, set the MP types of its first pictures, and return its path."""
    first, *others = map(Image.fromarray, pictures)
    first.save(path, "MPO", save_all=True, append_images=others, quality=95)
    data = bytearray(path.read_bytes())
    with Image.open(path) as image:
        sizes = [entry["Size"] for entry in image.mpinfo[0xB002]]  # type: ignore[attr-defined]
    for kind, size in zip(types, sizes, strict=False):
        at = data.index(struct.pack("<L", size)) - 4  # an entry starts with type and size
        data[at : at + 4] = struct.pack("<L", kind)
    path.write_bytes(data)
    return path


def swapped_profile() -> bytes:
    """Return an sRGB profile with red and blue swapped and another name."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, blue = profile.index(b"rXYZ"), profile.index(b"bXYZ")
    profile[red : red + 4], profile[blue : blue + 4] = b"bXYZ", b"rXYZ"
    for at in (i for i in range(len(profile) - 4) if profile[i : i + 4] == b"sRGB"):
        profile[at : at + 4] = b"swap"
    return bytes(profile).replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be"))


def display_p3_profile() -> bytes:
    """Return a minimal matrix profile with the primaries of Display P3 and a gamma of 2.2."""
    columns = (0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407)
    return matrix_profile("Display P3", 2.2, columns)


def linear_srgb_profile(title: str) -> bytes:
    """Return a minimal profile with the primaries of sRGB for codes that stand for light."""
    columns = (0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.7141)
    return matrix_profile(title, 1.0, columns)


def matrix_profile(title: str, gamma: float, primaries: Sequence[tuple[float, ...]]) -> bytes:
    """Return a minimal profile of a gamma and three primaries in XYZ for D50."""
    columns = dict(zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries, strict=True))
    columns[b"wtpt"] = (0.96420, 1.0, 0.82491)
    tags = {
        key: b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(v * 65536) for v in value))
        for key, value in columns.items()
    }
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    name = title.encode() + b"\0"
    text = b"desc\0\0\0\0" + struct.pack(">I", len(name)) + name + b"\0" * 79
    tags[b"desc"] = text + b"\0" * (-len(text) % 4)
    tags[b"cprt"] = b"text\0\0\0\0none\0\0\0\0"
    offset, table, data = 128 + 4 + 12 * len(tags), b"", b""
    for key, value in tags.items():
        table += key + struct.pack(">II", offset + len(data), len(value))
        data += value
    body = struct.pack(">I", len(tags)) + table + data
    header = struct.pack(">I4sI4s4s4s", 128 + len(body), b"lcms", 0x02400000, b"mntr", b"RGB ",
                         b"XYZ ").ljust(36, b"\0") + b"acsp"  # fmt: skip
    header = header.ljust(68, b"\0") + struct.pack(">3i", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + body


def noise_layer(name: str = "", alpha: int = 255, size: tuple[int, int] = (6, 8)) -> Layer:
    """Return a layer of random colours, of one alpha, and of a height and width."""
    pixels = np.random.default_rng(alpha).integers(0, 256, (*size, 4), dtype=np.uint8)
    pixels[..., 3] = alpha
    return Layer(name, pixels)


def window_layer(name: str, seed: int, alpha: int = 255) -> Layer:
    """Return an opaque layer of 20x30 with a window, rows 5 to 14 and columns 8 to 19."""
    pixels = np.dstack([noise(20, 30, seed), np.full((20, 30), 255, np.uint8)])
    pixels[5:15, 8:20, 3] = alpha
    return Layer(name, pixels)
