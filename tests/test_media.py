"""Stills and clips as real tools write them: the bundled ffmpeg, and Pillow."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps

from iicnet_cli.errors import MediaError, OutputExistsError, UsageError
from iicnet_cli.media import ffmpeg
from iicnet_cli.media.audio import extract_audio
from iicnet_cli.media.frame_times import parse_time
from iicnet_cli.media.motion_photo import is_motion_photo
from iicnet_cli.media.stills import read_still, resize, still_size, write_still
from iicnet_cli.media.video_reader import is_video, open_frames, probe
from iicnet_cli.media.video_writer import is_exact, open_writer
from tests.conftest import natural

Pixels = NDArray[np.uint8]


def make(target: Path, *arguments: str) -> Path:
    command = [ffmpeg.executable(), "-v", "error", "-y", *arguments, str(target)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return target


def pattern(seconds: float, rate: str = "24", size: str = "64x48") -> tuple[str, ...]:
    return ("-f", "lavfi", "-i", f"testsrc2=s={size}:r={rate}:d={seconds}")


H264 = ("-c:v", "libx264", "-pix_fmt", "yuv420p", "-g", "20", "-preset", "ultrafast")
# Ten frames at 30 a second, then every third.
UNEVEN = ("-vf", "select='lt(n,10)+not(mod(n,3))'", "-fps_mode", "vfr")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    sound = ("-f", "lavfi", "-i", "sine=d=3", "-shortest")
    make(folder / "plain.mp4", *pattern(3), *sound, *H264)
    for suffix in ("mkv", "ts"):
        make(folder / f"plain.{suffix}", "-i", str(folder / "plain.mp4"), "-c", "copy")
    make(
        folder / "turned.mp4",
        *("-display_rotation", "90", "-i", str(folder / "plain.mp4"), "-c", "copy"),
    )
    make(folder / "ntsc.mp4", *pattern(1, "30000/1001"), *H264)
    make(folder / "uneven.mp4", *pattern(1, "30"), *UNEVEN, *H264)
    make(folder / "one.mp4", *pattern(1), "-frames:v", "1", *H264)
    return folder


def noise(height: int, width: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def smooth(height: int, width: int) -> Pixels:
    y, x = np.mgrid[0:height, 0:width]
    ramp = np.stack([x * 255 / width, y * 255 / height, (x + y) * 255 / (width + height)], 2)
    return ramp.astype(np.uint8)


def psnr(first: Pixels, second: Pixels) -> float:
    error = np.mean((first.astype(float) - second.astype(float)) ** 2)
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


# --- stills --------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["png", "webp", "tif", "bmp"])
@pytest.mark.parametrize("shape", [(31, 45, 3), (31, 45)])
def test_exact_formats_give_the_pixels_back(
    tmp_path: Path, suffix: str, shape: tuple[int, ...]
) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    target = tmp_path / f"x.{suffix}"
    write_still(target, pixels)
    still = read_still(target)
    expected = pixels if pixels.ndim == 3 else np.repeat(pixels[:, :, None], 3, 2)
    assert np.array_equal(still.pixels, expected)
    assert (still.name, still.notes) == (target.name, ())
    assert list(tmp_path.iterdir()) == [target]
    assert still_size(target) == (45, 31)


@pytest.mark.parametrize("suffix", ["jpg", "avif"])
def test_lossy_formats_stay_close(tmp_path: Path, suffix: str) -> None:
    target = tmp_path / f"x.{suffix}"
    write_still(target, smooth(60, 80))
    assert psnr(read_still(target).pixels, smooth(60, 80)) > 40


def test_streams_and_named_formats(tmp_path: Path) -> None:
    stream = io.BytesIO()
    write_still(stream, noise(5, 7))
    stream.seek(0)
    still = read_still(stream)
    assert still.name == "stream"
    assert np.array_equal(still.pixels, noise(5, 7))
    write_still(tmp_path / "odd.name", noise(5, 7), format="PNG")
    assert np.array_equal(read_still(tmp_path / "odd.name").pixels, noise(5, 7))
    with pytest.raises(UsageError, match="cannot write"):
        write_still(tmp_path / "x.xyz", noise(5, 7))


def test_a_device_is_written_to_not_replaced() -> None:
    if os.name == "posix":
        write_still(Path("/dev/null"), noise(5, 7), format="png", overwrite=True)
        assert not Path("/dev/null").is_file()


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path, suffix: str) -> None:
    ramp = np.tile(np.linspace(0, 65535, 256).astype(np.uint16), (4, 1))
    Image.fromarray(ramp).save(tmp_path / f"deep.{suffix}")
    still = read_still(tmp_path / f"deep.{suffix}")
    assert np.array_equal(still.pixels[0, :, 0], np.arange(256))
    assert still.notes == ("16-bit values scaled to 8 bits",)


def test_sixteen_bit_colour(tmp_path: Path) -> None:
    make(tmp_path / "deep.png", *pattern(1), "-frames:v", "1", "-pix_fmt", "rgb48be")
    make(tmp_path / "flat.png", *pattern(1), "-frames:v", "1", "-pix_fmt", "rgb24")
    deep, flat = (read_still(tmp_path / f"{n}.png") for n in ("deep", "flat"))
    assert np.abs(deep.pixels.astype(int) - flat.pixels).max() <= 2
    assert deep.notes == ("16-bit values scaled to 8 bits",)
    assert flat.notes == ()


def test_float_tiff(tmp_path: Path) -> None:
    Image.fromarray(np.linspace(0, 1, 256, dtype=np.float32)[None]).save(tmp_path / "f.tif")
    assert np.array_equal(read_still(tmp_path / "f.tif").pixels[0, :, 1], np.arange(256))


def test_palette_with_transparency_is_composited(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "p.png", transparency=1)
    still = read_still(tmp_path / "p.png", background=(10, 20, 30))
    assert still.pixels.tolist() == [[[255, 0, 0], [10, 20, 30]]]
    assert still.notes == ("transparency composited on #0a141e",)


def test_alpha_is_composited_and_full_alpha_is_silent(tmp_path: Path) -> None:
    Image.new("RGBA", (3, 2), (0, 0, 0, 51)).save(tmp_path / "a.png")
    still = read_still(tmp_path / "a.png")
    assert np.all(still.pixels == 204)
    assert len(still.notes) == 1
    Image.new("RGBA", (3, 2), (9, 8, 7, 255)).save(tmp_path / "b.png")
    assert read_still(tmp_path / "b.png").notes == ()
    Image.new("LA", (3, 2), (0, 0)).save(tmp_path / "c.png")
    assert np.all(read_still(tmp_path / "c.png").pixels == 255)


def test_cmyk_jpeg(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "c.jpg", quality=100)
    still = read_still(tmp_path / "c.jpg")
    assert psnr(still.pixels, np.full((8, 8, 3), (255, 0, 0), np.uint8)) > 35
    assert "CMYK" in still.notes[0]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "tif", "png", "webp"])
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int, suffix: str) -> None:
    image = Image.new("RGB", (32, 16))
    image.paste((255, 255, 255), (0, 0, 16, 8))  # the top left quarter is white
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(tmp_path / f"o.{suffix}", exif=exif)
    still = read_still(tmp_path / f"o.{suffix}")
    tall = orientation >= 5
    assert still.pixels.shape == ((32, 16, 3) if tall else (16, 32, 3))
    assert still_size(tmp_path / f"o.{suffix}") == ((16, 32) if tall else (32, 16))
    height, width = still.pixels.shape[:2]
    corner = {1: (0, 0), 2: (0, 1), 3: (1, 1), 4: (1, 0), 5: (0, 0), 6: (0, 1), 7: (1, 1)}
    down, right = corner.get(orientation, (1, 0))
    assert still.pixels[height // 4 + down * height // 2, width // 4 + right * width // 2, 0] > 200
    assert bool(still.notes) == (orientation != 1)


def display_p3() -> bytes:
    """A minimal matrix profile with the primaries of Display P3 and a gamma of 2.2."""
    columns = {
        b"rXYZ": (0.51512, 0.24120, -0.00105),
        b"gXYZ": (0.29198, 0.69225, 0.04189),
        b"bXYZ": (0.15710, 0.06657, 0.78407),
        b"wtpt": (0.96420, 1.0, 0.82491),
    }
    tags = {
        key: b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(v * 65536) for v in value))
        for key, value in columns.items()
    }
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(2.2 * 256)) + b"\0\0"
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    name = b"Display P3\0"
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


def test_wide_gamut_profile_is_converted(tmp_path: Path) -> None:
    image = Image.new("RGB", (4, 4), (200, 100, 100))
    image.save(tmp_path / "p3.png", icc_profile=display_p3())
    still = read_still(tmp_path / "p3.png")
    red, green, _ = (int(v) for v in still.pixels[0, 0])
    assert red > 205  # P3 colours have more saturated numbers in sRGB
    assert green < 95
    assert still.notes == ("colours converted from profile 'Display P3' to sRGB",)


def test_srgb_profile_changes_nothing_and_a_bad_one_is_said(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(noise(9, 9)).save(tmp_path / "s.png", icc_profile=profile)
    still = read_still(tmp_path / "s.png")
    assert np.array_equal(still.pixels, noise(9, 9))
    assert still.notes == ()
    Image.fromarray(noise(9, 9)).save(tmp_path / "b.png", icc_profile=b"nonsense")
    still = read_still(tmp_path / "b.png")
    assert np.array_equal(still.pixels, noise(9, 9))
    assert "profile ignored" in still.notes[0]


def test_grey_picture_with_an_rgb_profile(tmp_path: Path) -> None:
    Image.new("L", (4, 4), 99).save(tmp_path / "g.png", icc_profile=display_p3())
    pixels = read_still(tmp_path / "g.png").pixels
    assert np.abs(pixels.astype(int) - 99).max() <= 3


def test_other_modes(tmp_path: Path) -> None:
    Image.new("1", (4, 4), 1).save(tmp_path / "one.png")
    assert np.all(read_still(tmp_path / "one.png").pixels == 255)
    Image.new("LAB", (4, 4), (255, 128, 128)).save(tmp_path / "lab.tif")
    assert read_still(tmp_path / "lab.tif").pixels.min() > 250


def test_first_picture_of_several(tmp_path: Path) -> None:
    frames = [Image.fromarray(noise(8, 8, i)) for i in range(3)]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    still = read_still(tmp_path / "a.png")
    assert np.array_equal(still.pixels, noise(8, 8, 0))
    assert still.notes == ("only the first frame of 3 is used",)
    frames[0].save(tmp_path / "a.mpo", save_all=True, append_images=frames[1:2])
    assert read_still(tmp_path / "a.mpo").notes == ("only the first picture of 2 is used",)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif", "avif", "bmp", "gif"])
def test_truncated_pictures(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"t.{suffix}"
    Image.fromarray(noise(64, 64)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(MediaError, match=r"t\.\w+: ") as caught:
        read_still(path)
    assert "\n" not in str(caught.value)


def test_unreadable_pictures_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="no such file"):
        read_still(tmp_path / "missing.png")
    with pytest.raises(MediaError, match="is a folder"):
        read_still(tmp_path)
    (tmp_path / "empty.png").touch()
    for name, hint in {
        "text.png": "PNG, JPEG",
        "x.heic": "pillow-heif",
        "x.svg": "export",
        "x.nef": "develop",
        "x.mp4": "clip",
        "empty.png": "PNG, JPEG",
    }.items():
        (tmp_path / name).write_bytes(b"" if name == "empty.png" else b"no picture at all")
        with pytest.raises(MediaError) as caught:
            read_still(tmp_path / name)
        assert hint in caught.value.hint, name


def test_decompression_bomb_is_refused_but_large_pictures_are_not(tmp_path: Path) -> None:
    def bmp(name: str, side: int) -> Path:
        header = b"BM" + struct.pack("<IHHI", 0, 0, 0, 54)
        header += struct.pack("<IiiHHIIiiII", 40, side, side, 1, 1, 0, 0, 0, 0, 0, 0)
        (tmp_path / name).write_bytes(header)
        return tmp_path / name

    with pytest.raises(MediaError, match="megapixels"):
        read_still(bmp("bomb.bmp", 30_000))
    assert still_size(bmp("large.bmp", 20_000)) == (20_000, 20_000)
    assert Image.MAX_IMAGE_PIXELS is not None


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    target = tmp_path / "x.png"
    write_still(target, noise(4, 4))
    with pytest.raises(OutputExistsError) as caught:
        write_still(target, noise(5, 5))
    assert caught.value.hint == "add -y to overwrite"
    assert read_still(target).pixels.shape == (4, 4, 3)
    write_still(target, noise(5, 5), overwrite=True)
    assert read_still(target).pixels.shape == (5, 5, 3)
    with pytest.raises(MediaError, match="folder does not exist"):
        write_still(tmp_path / "no" / "x.png", noise(4, 4))
    with pytest.raises(ValueError, match="uint8"):
        write_still(tmp_path / "y.png", noise(4, 4).astype(np.float32))
    assert list(tmp_path.iterdir()) == [target]


def test_resize() -> None:
    pixels = smooth(90, 120)
    assert resize(pixels, 120, 90) is pixels
    small = resize(pixels, 60, 45)
    assert small.shape == (45, 60, 3)
    assert resize(pixels[:, :, 0], 17, 5).shape == (5, 17)
    assert psnr(resize(small, 120, 90), pixels) > 38
    with pytest.raises(UsageError):
        resize(pixels, 0, 5)


# --- reading clips -------------------------------------------------------------------------


def test_probe_and_count(clips: Path) -> None:
    info = probe(clips / "plain.mp4")
    assert (info.width, info.height, info.fps, info.frames) == (64, 48, Fraction(24), 72)
    assert info.has_audio
    assert not info.hdr
    assert not info.variable_rate
    assert info.codec == "h264"
    assert info.duration == pytest.approx(3.0)
    with open_frames(clips / "plain.mp4") as source:
        assert sum(frame.shape == (48, 64, 3) for frame in source) == 72
        assert source.timestamps[:3] == pytest.approx([0, 1 / 24, 2 / 24])
        assert source.notes == []


def test_ntsc_rate_is_exact(clips: Path, tmp_path: Path) -> None:
    assert probe(clips / "ntsc.mp4").fps == Fraction(30000, 1001)
    make(tmp_path / "n.mkv", "-i", str(clips / "ntsc.mp4"), "-c", "copy")
    info = probe(tmp_path / "n.mkv")
    assert (info.fps, info.frames, info.variable_rate) == (Fraction(30000, 1001), 30, False)


def test_rotation_is_applied(clips: Path) -> None:
    info = probe(clips / "turned.mp4")
    assert (info.width, info.height, info.rotation) == (48, 64, 90)
    with open_frames(clips / "plain.mp4") as plain, open_frames(clips / "turned.mp4") as turned:
        assert (turned.info.width, turned.info.height) == (48, 64)
        assert psnr(next(turned), np.rot90(next(plain))) > 40
        assert "turned upright" in turned.notes[0]


def test_variable_rate_keeps_every_frame_once(clips: Path) -> None:
    info = probe(clips / "uneven.mp4")
    assert info.variable_rate
    with open_frames(clips / "uneven.mp4") as source:
        frames = list(source)
    expected = [i / 30 for i in range(30) if i < 10 or i % 3 == 0]
    assert len(frames) == info.frames == len(expected)
    assert source.timestamps == pytest.approx(expected, abs=1e-4)


def test_one_frame_and_odd_sizes(clips: Path, tmp_path: Path) -> None:
    with open_frames(clips / "one.mp4") as source:
        assert len(list(source)) == 1
    assert probe(clips / "one.mp4").frames == 1
    odd = make(
        tmp_path / "odd.mkv",
        *("-f", "lavfi", "-i", "testsrc=s=65x47:r=10:d=0.5", "-c:v", "ffv1", "-pix_fmt", "bgr0"),
    )
    with open_frames(odd) as source:
        assert {frame.shape for frame in source} == {(47, 65, 3)}


@pytest.mark.parametrize("name", ["plain.mp4", "plain.mkv", "plain.ts"])
@pytest.mark.parametrize(
    ("options", "chosen"),
    [
        ({"start": 0.51, "end": 1.0}, range(13, 24)),
        ({"start": 0.5, "end": 1.0}, range(12, 24)),
        ({"start": 1 / 24, "end": 5 / 24}, range(1, 5)),
        ({"start": 1.0, "step": 7}, range(24, 72, 7)),
        ({"start": 1.0, "step": 7, "frames": 3}, (24, 31, 38)),
        ({"end": 0.25}, range(6)),
        ({"frames": 5}, range(5)),
    ],
)
def test_parts_of_a_clip(
    clips: Path, name: str, options: dict[str, float], chosen: tuple[int, ...]
) -> None:
    with open_frames(clips / name) as source:
        every = list(source)
    with open_frames(clips / name, **options) as source:  # type: ignore[arg-type]
        part = list(source)
    assert len(part) == len(chosen)
    assert all(np.array_equal(frame, every[i]) for frame, i in zip(part, chosen, strict=True))
    assert source.timestamps[0] == 0
    assert source.timestamps[-1] == pytest.approx((chosen[-1] - chosen[0]) / 24, abs=2e-3)


def test_a_part_far_into_a_clip(tmp_path: Path) -> None:
    path = make(tmp_path / "long.mp4", *pattern(25, "10", "32x32"), *H264)
    with open_frames(path) as source:
        every = list(source)
    with open_frames(path, start=20.3, end=20.6) as source:
        part = list(source)
    assert [np.array_equal(a, b) for a, b in zip(part, every[203:206], strict=True)] == [True] * 3


def test_senseless_parts(clips: Path) -> None:
    with pytest.raises(UsageError, match=r"lasts 3\.000 s"):
        open_frames(clips / "plain.mp4", start=3.5)
    for options in ({"start": 2.0, "end": 1.0}, {"step": 0}, {"frames": 0}, {"start": -1.0}):
        with pytest.raises(UsageError):
            open_frames(clips / "plain.mp4", **options)
    with pytest.raises(MediaError, match="no frame"):
        open_frames(clips / "plain.mp4", start=2.99)


def test_closing_early_ends_ffmpeg(tmp_path: Path) -> None:
    path = make(tmp_path / "long.mp4", *pattern(5, "30", "320x240"), *H264)
    for _ in range(2):
        source = open_frames(path)
        next(source)
        source.close()
        with pytest.raises(StopIteration):
            next(source)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("83.5", 83.5), ("1:23.5", 83.5), ("0:01:23.5", 83.5), (".5", 0.5), ("2:00:00", 7200.0)],
)
def test_times(text: str, seconds: float) -> None:
    assert parse_time(text) == seconds


@pytest.mark.parametrize("text", ["", "-1", "nan", "inf", "1:60", "1:2:3:4", "1e3", "x", "1:", "٣"])
def test_nonsense_is_no_time(text: str) -> None:
    with pytest.raises(UsageError, match="not a time"):
        parse_time(text)


@given(st.integers(0, 99), st.integers(0, 59), st.integers(0, 59999))
@settings(max_examples=50)
def test_times_add_up(hours: int, minutes: int, milliseconds: int) -> None:
    text = f"{hours}:{minutes:02}:{milliseconds // 1000:02}.{milliseconds % 1000:03}"
    assert parse_time(text) == pytest.approx(hours * 3600 + minutes * 60 + milliseconds / 1000)


@pytest.mark.parametrize("transfer", ["smpte2084", "arib-std-b67"])
def test_hdr_is_tone_mapped_and_said(tmp_path: Path, transfer: str) -> None:
    tags = f"color_primaries=bt2020:color_trc={transfer}:colorspace=bt2020nc:range=tv"
    path = make(
        tmp_path / "hdr.mkv",
        *("-f", "lavfi", "-i", "color=c=gray:s=64x48:r=24:d=0.2"),
        *("-vf", f"format=yuv420p10le,setparams={tags}", "-c:v", "ffv1", "-pix_fmt", "yuv420p10le"),
    )
    assert probe(path).hdr
    with open_frames(path) as source:
        frames = list(source)
        assert any("HDR" in note for note in source.notes)
    assert len(frames) == 5
    assert 40 < frames[0].mean() < 220
    assert frames[0].std() < 3


def test_wide_gamut_standard_range_is_converted(tmp_path: Path) -> None:
    tags = "color_primaries=bt2020:color_trc=bt2020-10:colorspace=bt2020nc:range=tv"
    path = make(
        tmp_path / "wide.mkv",
        *("-f", "lavfi", "-i", "color=c=0xC08080:s=64x48:r=24:d=0.1", "-vf"),
        f"scale=out_color_matrix=bt2020:out_range=tv,format=yuv420p10le,setparams={tags}",
        *("-c:v", "ffv1", "-pix_fmt", "yuv420p10le"),
    )
    assert not probe(path).hdr
    with open_frames(path) as source:
        red, green, _ = (int(v) for v in next(source)[24, 32])
        assert source.notes == ["BT.2020 colours converted to BT.709"]
    assert red > 0xC4  # BT.2020 colours have more saturated numbers in BT.709
    assert green < 0x80


@pytest.mark.parametrize("matrix", ["bt709", "smpte170m"])
@pytest.mark.parametrize("full", ["tv", "pc"])
def test_colour_matrix_and_range_are_respected(tmp_path: Path, matrix: str, full: str) -> None:
    tags = f"colorspace={matrix}:range={full}"
    path = make(
        tmp_path / "c.mkv",
        *("-f", "lavfi", "-i", "color=c=0xC04020:s=64x48:r=24:d=0.1"),
        "-vf",
        f"scale=out_color_matrix={matrix}:out_range={full},format=yuv444p,setparams={tags}",
        *("-c:v", "ffv1", "-pix_fmt", "yuv444p"),
    )
    with open_frames(path) as source:
        colour = next(source)[24, 32].astype(int)
    assert np.abs(colour - (0xC0, 0x40, 0x20)).max() <= 2


def test_broken_clips(clips: Path, tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no clip")
    data = (clips / "plain.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[:3000])
    for name in ("text.mp4", "cut.mp4"):
        with pytest.raises(MediaError, match=name) as caught:
            open_frames(tmp_path / name)
        assert "\n" not in str(caught.value)
        assert "moov" in str(caught.value)
    with pytest.raises(MediaError, match="no such file"):
        probe(tmp_path / "missing.mp4")
    sound = make(tmp_path / "sound.wav", "-f", "lavfi", "-i", "sine=d=0.2")
    with pytest.raises(MediaError, match="no video"):
        probe(sound)


def test_damage_inside_is_noted(clips: Path, tmp_path: Path) -> None:
    data = bytearray((clips / "plain.mkv").read_bytes())
    middle = slice(len(data) // 3, len(data) // 3 + 2000)
    data[middle] = noise(1, 2000).tobytes()[:2000]
    (tmp_path / "hurt.mkv").write_bytes(data)
    with open_frames(tmp_path / "hurt.mkv") as source:
        frames = list(source)
    assert len(frames) > 20
    assert any("damaged" in note for note in source.notes)


def test_odd_file_names(clips: Path, tmp_path: Path) -> None:
    for name in ("-i.mp4", "a:b.mp4", "x %03d 'y'.mp4", "concat:z.mp4"):
        path = tmp_path / name
        path.write_bytes((clips / "one.mp4").read_bytes())
        with open_frames(path) as source:
            assert len(list(source)) == 1


@pytest.mark.parametrize(("suffix", "off"), [("gif", 0), ("webp", 0), ("png", 0), ("avifs", 1)])
def test_animations_written_by_pillow(tmp_path: Path, suffix: str, off: int) -> None:
    pictures = [Image.fromarray(np.full((16, 24, 3), 20 * i, np.uint8)) for i in range(6)]
    path = tmp_path / f"even.{suffix}"
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=40, lossless=True)
    info = probe(path)
    assert (info.frames, info.fps, info.variable_rate) == (6, Fraction(25), False)
    assert (info.width, info.height) == (24, 16)
    assert is_video(path)
    with open_frames(path, start=0.08, step=2) as source:
        levels = [int(frame[0, 0, 0]) for frame in source]
        assert np.abs(np.subtract(levels, [40, 80])).max() <= off
        assert source.timestamps == pytest.approx([0, 0.08])
    path = tmp_path / f"uneven.{suffix}"
    spans = [40, 40, 200, 40, 400, 40]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=spans)
    assert probe(path).variable_rate
    with open_frames(path) as source:
        assert len(list(source)) == 6
        assert source.timestamps == pytest.approx([0, 0.04, 0.08, 0.28, 0.32, 0.72])


def test_background_of_clips(tmp_path: Path) -> None:
    clear = Image.fromarray(np.full((16, 24, 4), (9, 9, 9, 0), np.uint8))
    half = Image.fromarray(np.full((16, 24, 4), (200, 100, 0, 51), np.uint8))
    clear.save(tmp_path / "x.webp", save_all=True, append_images=[half], lossless=True)
    (tmp_path / "x").mkdir()
    for i, image in enumerate((clear, half)):
        image.save(tmp_path / "x" / f"{i}.png")
    for source_of in (tmp_path / "x.webp", tmp_path / "x"):
        with open_frames(source_of, background=(0, 0, 100)) as source:
            frames = [tuple(frame[8, 8].tolist()) for frame in source]
            assert frames == [(0, 0, 100), (40, 20, 80)]
            assert source.notes[-1] == "transparency composited on #000064"
        with open_frames(source_of) as source:
            assert next(source).min() == 255


def test_folders_globs_and_lists(tmp_path: Path) -> None:
    for number in (10, 2, 1):
        write_still(tmp_path / f"f{number}.png", np.full((6, 8, 3), number, np.uint8))
    (tmp_path / "notes.txt").write_text("not a still")
    (tmp_path / ".hidden.png").write_text("not a still")
    for source_of in (tmp_path, str(tmp_path / "f*.png"), tmp_path / "f[0-9]*.png"):
        with open_frames(source_of) as source:
            assert [int(frame[0, 0, 0]) for frame in source] == [1, 2, 10]
            assert source.names == ("f1.png", "f2.png", "f10.png")
            assert source.info.frames == 3
    files = [tmp_path / "f10.png", tmp_path / "f1.png"]
    with open_frames(files, frames=1) as source:
        assert [int(frame[0, 0, 0]) for frame in source] == [10]
        assert source.names == ("f10.png",)
    write_still(tmp_path / "f3.png", noise(9, 9))
    with pytest.raises(MediaError, match=r"f3\.png: 9x9.*8x6"):
        open_frames(tmp_path)
    (tmp_path / "empty").mkdir()
    nowhere: list[Path | str | list[Path]] = [tmp_path / "empty", str(tmp_path / "q*.png"), []]
    for nothing in nowhere:
        with pytest.raises(MediaError):
            open_frames(nothing)


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif"])
def test_one_still_is_a_clip_of_one_frame(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x.{suffix}"
    Image.fromarray(smooth(6, 8)).save(path)
    with open_frames(path) as source:
        assert np.array_equal(next(source), read_still(path).pixels)
        assert list(source) == []
        assert (source.info.frames, source.names, source.notes) == (1, (path.name,), [])


JPEG = io.BytesIO()
Image.fromarray(smooth(30, 40)).save(JPEG, "JPEG")


def box(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", 8 + len(data)) + kind + data


def samsung(clip: bytes) -> bytes:
    """Samsung's trailer: blocks of data, then a table of them."""
    block = b"\0\0\x30\x0a" + struct.pack("<I", 16) + b"MotionPhoto_Data" + clip
    late = b"\0\0\x01\x0a" + struct.pack("<I", 14) + b"Image_UTC_Data" + b"1609459200000"
    table = b"SEFH" + struct.pack("<II", 106, 2)
    table += b"\0\0\x30\x0a" + struct.pack("<II", len(block) + len(late), len(block))
    table += b"\0\0\x01\x0a" + struct.pack("<II", len(late), len(late))
    return block + late + table + struct.pack("<I", len(table)) + b"SEFT"


def heic(clip: bytes) -> bytes:
    head = box(b"ftyp", b"heic\0\0\0\0mif1heic") + box(b"meta", b"\0" * 40)
    return head + box(b"mdat", b"picture") + box(b"mpvd", clip) + box(b"sefd", b"\0" * 20)


@pytest.mark.parametrize("kind", ["google", "gain map", "samsung", "heic"])
def test_motion_photos(clips: Path, tmp_path: Path, kind: str) -> None:
    still, clip = JPEG.getvalue(), (clips / "plain.mp4").read_bytes()
    data = {
        "google": still + clip,
        "gain map": still + still + clip,
        "samsung": still + samsung(clip),
        "heic": heic(clip),
    }[kind]
    path = tmp_path / "a,b: 'x' %03d,,:file:.MP.jpg"
    path.write_bytes(data)
    assert is_motion_photo(path)
    assert not is_video(path)
    info = probe(path)
    assert (info.width, info.height, info.frames, info.fps) == (64, 48, 72, Fraction(24))
    assert info.notes == ("motion photo: its clip is used, not its still",)
    with open_frames(clips / "plain.mp4", start=1.0, step=7) as source:
        expected = list(source)
    with open_frames(path, start=1.0, step=7) as source:
        frames = list(source)
        assert source.notes == list(info.notes)
    assert len(frames) == 7
    assert all(np.array_equal(a, b) for a, b in zip(frames, expected, strict=True))
    assert info.has_audio
    assert extract_audio(path, tmp_path / "a.m4a")
    if kind != "heic":
        assert read_still(path).pixels.shape == (30, 40, 3)
        with open_frames([path]) as source:  # a list is of stills
            assert [frame.shape for frame in source] == [(30, 40, 3)]


def test_what_is_no_motion_photo(clips: Path, tmp_path: Path) -> None:
    still, clip = JPEG.getvalue(), (clips / "plain.mp4").read_bytes()
    head = box(b"ftyp", b"mp42" + b"\0" * 12)
    files = {
        "plain": still,
        "gain map": still + still,
        "garbage": still + noise(30, 40).tobytes() + b"ftyp moov mdat",
        "header only": still + head,
        "cut": still + clip[:-1],
        "another picture": still + box(b"ftyp", b"avif" + b"\0" * 8) + box(b"mdat", b"\0" * 9),
        "note": still[:2] + b"\xff\xfe\0\x1aMotionPhoto_Data ftypmp42" + still[2:],
        "clip": clip,
        "clip in a clip": head + box(b"mdat", clip),
        "png": b"\x89PNG\r\n\x1a\n" + clip,
        "empty": b"",
    }
    for name, data in files.items():
        (tmp_path / "x.jpg").write_bytes(data)
        assert not is_motion_photo(tmp_path / "x.jpg"), name
    pictures = [Image.fromarray(smooth(30, 40))] * 2
    pictures[0].save(tmp_path / "x.mpo", save_all=True, append_images=pictures[1:])
    for path in (tmp_path / "x.mpo", tmp_path, tmp_path / "missing.jpg", Path(os.devnull)):
        assert not is_motion_photo(path)


def test_is_video(clips: Path, tmp_path: Path) -> None:
    assert is_video(clips / "plain.mp4")
    write_still(tmp_path / "x.png", noise(4, 4))
    assert not is_video(tmp_path / "x.png")
    for suffix in ("mp4", "mkv"):
        (tmp_path / "pipe").write_bytes((clips / f"plain.{suffix}").read_bytes())
        assert is_video(tmp_path / "pipe")
    for brand in (b"heic", b"avif", b"crx "):
        (tmp_path / "pipe").write_bytes(box(b"ftyp", brand + b"\0" * 8))
        assert not is_video(tmp_path / "pipe")
    (tmp_path / "pipe").write_bytes(b"")
    assert not is_video(tmp_path / "pipe")
    assert not is_video(tmp_path)
    assert not is_video(tmp_path / "missing.mp4")


# --- writing clips -------------------------------------------------------------------------


def read_all(path: Path) -> tuple[list[Pixels], list[float]]:
    with open_frames(path) as source:
        return list(source), source.timestamps


EXACT = ["x.mkv", "x.avi", "x.webp", "x.png", "frames"]
RATE = Fraction(30000, 1001)


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("size", [(31, 45), (32, 48), (1, 1)])
def test_exact_clips(tmp_path: Path, name: str, size: tuple[int, int]) -> None:
    # Equal frames too: encoders of animations like to merge them.
    frames = [noise(*size, seed) for seed in (0, 0, 1, 2, 2, 2, 3)]
    target = tmp_path / name
    assert is_exact(target)
    with open_writer(target, size[1], size[0], RATE) as writer:
        for frame in frames:
            writer.add(frame)
    assert writer.count == 7
    assert [path.name for path in tmp_path.iterdir()] == [name]
    back, _ = read_all(target)
    assert len(back) == len(frames)
    assert all(np.array_equal(a, b) for a, b in zip(back, frames, strict=True))
    if name != "frames":
        # WebP counts milliseconds: seven frames cannot tell 30 from 30000/1001.
        assert probe(target).fps == RATE or name == "x.webp"
        assert abs(probe(target).fps - RATE) < Fraction(1, 20)
        assert not probe(target).variable_rate


@pytest.mark.parametrize("name", ["x.mp4", "x.mov", "x.webm", "x.gif"])
@pytest.mark.parametrize("size", [(63, 85), (64, 96)])
def test_lossy_clips(tmp_path: Path, name: str, size: tuple[int, int]) -> None:
    target = tmp_path / name
    assert not is_exact(target)
    frames = [np.roll(smooth(*size), shift, 1) for shift in range(6)]
    with open_writer(target, size[1], size[0], RATE) as writer:
        for frame in frames:
            writer.add(frame)
    back, _ = read_all(target)
    assert len(back) == 6
    assert min(psnr(a, b) for a, b in zip(back, frames, strict=True)) > 27
    info = probe(target)
    assert (info.width, info.height) == (size[1], size[0])
    assert info.fps == RATE or name == "x.gif"


def test_lossy_clip_keeps_colours(tmp_path: Path) -> None:
    colour = np.full((64, 96, 3), (0xC0, 0x40, 0x20), np.uint8)
    for name in ("x.mp4", "x.webm"):
        with open_writer(tmp_path / name, 96, 64, Fraction(25)) as writer:
            writer.add(colour)
            writer.add(colour)
        assert np.abs(read_all(tmp_path / name)[0][0].astype(int) - colour).max() <= 4


@pytest.mark.parametrize("name", ["x.mkv", "x.webp", "x.png", "x.gif", "x.mp4", "x.webm"])
def test_uneven_times_are_kept(tmp_path: Path, name: str) -> None:
    times = [0.0, 0.04, 0.08, 0.2, 0.24, 0.5, 0.56]
    frames = [np.full((32, 32, 3), 30 * i, np.uint8) for i in range(7)]
    with open_writer(tmp_path / name, 32, 32, Fraction(25), timestamps=times) as writer:
        for frame in frames:
            writer.add(frame)
        with pytest.raises(ValueError, match="more frames"):
            writer.add(frames[0])
    back, stamps = read_all(tmp_path / name)
    assert len(back) == 7
    assert stamps == pytest.approx(times, abs=0.002)
    assert probe(tmp_path / name).variable_rate


def test_long_schedules(tmp_path: Path) -> None:
    times = [i * 0.04 + (i % 3) * 0.01 for i in range(3000)]
    with open_writer(tmp_path / "x.mkv", 8, 8, Fraction(25), timestamps=times) as writer:
        for i in range(3000):
            writer.add(np.full((8, 8), i % 251, np.uint8))
    back, stamps = read_all(tmp_path / "x.mkv")
    assert [int(frame[0, 0, 0]) for frame in back] == [i % 251 for i in range(3000)]
    assert stamps == pytest.approx(times, abs=0.002)


def test_formats_that_cannot_keep_times_say_so(tmp_path: Path) -> None:
    for name in ("x.avi", "frames"):
        with open_writer(tmp_path / name, 8, 8, Fraction(10), timestamps=[0.0, 0.1, 0.9]) as writer:
            for seed in range(3):
                writer.add(noise(8, 8, seed))
        assert writer.notes
        assert len(read_all(tmp_path / name)[0]) == 3


def test_writer_refuses(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot write"):
        open_writer(tmp_path / "x.xyz", 8, 8, Fraction(25))
    with pytest.raises(UsageError, match="increase"):
        open_writer(tmp_path / "x.mkv", 8, 8, Fraction(25), timestamps=[0, 1, 1])
    (tmp_path / "x.mkv").write_text("precious")
    with pytest.raises(OutputExistsError):
        open_writer(tmp_path / "x.mkv", 8, 8, Fraction(25))
    with pytest.raises(MediaError, match="folder does not exist"):
        open_writer(tmp_path / "no" / "x.mkv", 8, 8, Fraction(25))
    with (
        pytest.raises(MediaError, match="no frame"),
        open_writer(tmp_path / "x.mkv", 8, 8, Fraction(25), overwrite=True),
    ):
        pass
    with (
        pytest.raises(ValueError, match="not uint8"),
        open_writer(tmp_path / "x.mkv", 8, 8, Fraction(25), overwrite=True) as writer,
    ):
        writer.add(noise(9, 8))
    assert (tmp_path / "x.mkv").read_text() == "precious"

    def write_too_wide() -> None:  # WebP ends at 16383 pixels
        with open_writer(tmp_path / "x.webp", 17_000, 2, Fraction(25)) as writer:
            for seed in range(40):
                writer.add(noise(2, 17_000, seed))

    with pytest.raises(MediaError, match=r"x\.webp: cannot be written"):
        write_too_wide()
    assert [path.name for path in tmp_path.iterdir()] == ["x.mkv"]


def test_folders_lose_only_their_old_frames(tmp_path: Path) -> None:
    folder = tmp_path / "out"

    def write(count: int, overwrite: bool = False) -> None:
        with open_writer(f"{folder}/", 8, 8, Fraction(25), overwrite=overwrite) as writer:
            for seed in range(count):
                writer.add(noise(8, 8, seed))

    write(3)
    (folder / "keep.txt").write_text("mine")
    with pytest.raises(OutputExistsError):
        write(2)
    write(2, overwrite=True)
    assert sorted(path.name for path in folder.iterdir()) == ["00000.png", "00001.png", "keep.txt"]
    with (
        pytest.raises(ValueError, match="not uint8"),
        open_writer(tmp_path / "other", 8, 8, Fraction(25)) as writer,
    ):
        writer.add(noise(9, 9))
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_names_of_frames(tmp_path: Path) -> None:
    names = ["b.jpg", "B.png", "b.tif", "b-2.png", "../../out.png", "C:\\x\\..", "", "00008.jpg"]

    def write(*names: str, count: int, overwrite: bool = False) -> None:
        with open_writer(
            tmp_path / "in", 8, 8, Fraction(25), names=names, overwrite=overwrite
        ) as writer:
            for seed in range(count):
                writer.add(noise(8, 8, seed))

    write(*names, count=9)
    stems = ["b", "B-2", "b-3", "b-2-2", "out", "..", "00006", "00008", "00008-2"]
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    found = {path.name: read_still(path).pixels for path in (tmp_path / "in").iterdir()}
    assert set(found) == {f"{stem}.png" for stem in stems}
    for seed, stem in enumerate(stems):
        assert np.array_equal(found[f"{stem}.png"], noise(8, 8, seed))
    with pytest.raises(OutputExistsError):
        write("new.png", count=1)
    write("x.jpg", "out.png", count=2, overwrite=True)
    found["x.png"], found["out.png"] = noise(8, 8, 0), noise(8, 8, 1)
    for path in (tmp_path / "in").iterdir():
        assert np.array_equal(read_still(path).pixels, found.pop(path.name))
    assert not found
    with open_writer(tmp_path / "x.mkv", 8, 8, Fraction(25), names=["a.png"]) as writer:
        writer.add(noise(8, 8))


@pytest.mark.parametrize(
    ("source", "coder", "suffixes"),
    [
        ("x.mp4", "aac", ("m4a", "mka")),
        ("x.mkv", "libopus", ("ogg", "mka", "opus")),
        ("x.mkv", "libvorbis", ("ogg", "mka")),
        ("x.mkv", "pcm_s16le", ("wav", "mka")),
    ],
)
def test_sound_is_copied(
    tmp_path: Path, source: str, coder: str, suffixes: tuple[str, ...]
) -> None:
    sound = ("-f", "lavfi", "-i", "sine=d=0.5", "-c:a", coder)
    path = make(tmp_path / source, *pattern(0.5), *sound, *H264)
    codec = coder.removeprefix("lib")
    for suffix in suffixes:
        assert extract_audio(path, tmp_path / f"a.{suffix}")
        log = ffmpeg.run(["-i", str(tmp_path / f"a.{suffix}")]).stderr.decode()
        assert f"Audio: {codec}" in log


def test_audio(clips: Path, tmp_path: Path) -> None:
    assert extract_audio(clips / "plain.mp4", tmp_path / "a.m4a") == "aac"
    with pytest.raises(MediaError, match="no video"):
        probe(tmp_path / "a.m4a")
    assert extract_audio(clips / "ntsc.mp4", tmp_path / "b.m4a") is None
    with pytest.raises(MediaError) as caught:
        extract_audio(clips / "plain.mp4", tmp_path / "c.xyz")
    assert "mka" in caught.value.hint
    with pytest.raises(UsageError, match="must come after"):
        extract_audio(clips / "plain.mp4", tmp_path / "d.mka", start=1, end=0.5)
    assert [path.name for path in tmp_path.iterdir()] == ["a.m4a"]


@pytest.mark.parametrize(
    ("suffix", "codec"), [("wav", "pcm_s16le"), ("mp3", "mp3"), ("flac", "flac")]
)
def test_sound_that_does_not_fit_is_re_encoded(
    clips: Path, tmp_path: Path, suffix: str, codec: str
) -> None:
    target = tmp_path / f"a.{suffix}"
    assert extract_audio(clips / "plain.mp4", target) == "aac, re-encoded"
    assert f"Audio: {codec}" in ffmpeg.run(["-i", str(target)]).stderr.decode()


@pytest.fixture(scope="module")
def siren(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half a minute whose sound rises by 50 Hz a second from 200 Hz, so that it tells the time."""
    sound = ("-f", "lavfi", "-i", "aevalsrc='sin(2*PI*(200*t+25*t*t))':d=30:s=44100", "-c:a", "aac")
    path = tmp_path_factory.mktemp("siren") / "siren.mkv"
    return make(path, *pattern(30, "5"), *sound, *H264)


@pytest.mark.parametrize("suffix", ["mka", "wav", "m4a"])
@pytest.mark.parametrize("start", [0.5, 23.7])
def test_part_of_the_sound(siren: Path, tmp_path: Path, suffix: str, start: float) -> None:
    target = tmp_path / f"a.{suffix}"
    assert extract_audio(siren, target, start=start, end=start + 2)
    options = ("-i", str(target), "-ac", "1", "-ar", "44100", "-f", "s16le", "-")
    samples = np.frombuffer(ffmpeg.run([*options]).stdout, np.int16)
    assert len(samples) / 44100 == pytest.approx(2, abs=0.06)
    window = samples[44100 : 44100 + 4410] * np.hanning(4410)
    pitch = np.abs(np.fft.rfft(window, 1 << 17)).argmax() * 44100 / (1 << 17)
    assert (pitch - 200) / 50 - 0.05 == pytest.approx(start + 1, abs=0.06)


def test_a_part_without_sound(tmp_path: Path) -> None:
    sound = ("-f", "lavfi", "-i", "sine=d=0.5")
    path = make(tmp_path / "x.mkv", *pattern(2), *sound, *H264)
    for suffix in ("mka", "wav"):
        assert extract_audio(path, tmp_path / f"a.{suffix}", start=1) is None
        assert not (tmp_path / f"a.{suffix}").exists()


@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK"])
@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_turned_tiffs_read_by_path_are_those_read_from_a_stream(
    tmp_path: Path, mode: str, orientation: int
) -> None:
    path = tmp_path / "turned.tif"
    Image.fromarray(natural(20, 33, 1)).convert(mode).save(path, tiffinfo={274: orientation})
    by_path = read_still(path).pixels
    assert by_path.shape == (33, 20, 3)
    with path.open("rb") as stream:
        assert np.array_equal(read_still(stream).pixels, by_path)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(path.read_bytes())))
    assert np.array_equal(np.asarray(upright.convert("RGB")), by_path) or mode == "CMYK"


def test_python_may_exit_with_a_clip_open(clips: Path) -> None:
    script = (
        "import sys\n"
        "from iicnet_cli.media.video_reader import open_frames\n"
        "frames = open_frames(sys.argv[1])\n"
        "print(next(frames).shape)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(clips / "plain.mp4")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "(48, 64, 3)", "")
