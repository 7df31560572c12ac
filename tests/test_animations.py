"""Animated GIF, WebP, PNG and AVIF as clips."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from iicnet_cli.errors import MediaError
from iicnet_cli.media.animations import is_animation
from iicnet_cli.media.video_reader import is_video, open_frames, probe
from tests.media_samples import noise


@pytest.mark.parametrize(("suffix", "off"), [("gif", 0), ("webp", 0), ("png", 0), ("avifs", 1)])
def test_animations_keep_their_frames_and_times(tmp_path: Path, suffix: str, off: int) -> None:
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


def test_frames_without_a_duration_last_a_tenth_of_a_second(tmp_path: Path) -> None:
    pictures = [Image.fromarray(noise(4, 5, seed)) for seed in range(3)]
    pictures[0].save(tmp_path / "x.png", save_all=True, append_images=pictures[1:], duration=0)
    info = probe(tmp_path / "x.png")
    assert (info.fps, info.codec) == (Fraction(10), "apng")
    assert info.duration == pytest.approx(0.3)


def gif(*frames: bytes) -> bytes:
    """A GIF of 64x48 pixels with the colours black, red, blue and white."""
    colours = bytes([0, 0, 0, 200, 30, 30, 30, 30, 200, 255, 255, 255])
    return b"GIF89a" + struct.pack("<HHBBB", 64, 48, 0x91, 0, 0) + colours + b"".join(frames) + b";"


def gif_frame(box: tuple[int, int, int, int], colour: int, disposal: int, delay: int = 10) -> bytes:
    """A frame of one colour; its codes have 3 bits, with a code that clears before each pixel."""
    codes = [code for _ in range(box[2] * box[3]) for code in (4, colour)] + [5]
    bits = "".join(format(code, "03b") for code in reversed(codes))
    packed = int(bits, 2).to_bytes(-(-len(bits) // 8), "little")
    blocks = [packed[i : i + 255] for i in range(0, len(packed), 255)]
    data = b"".join(bytes([len(block)]) + block for block in blocks) + b"\0"
    control = b"\x21\xf9\x04" + struct.pack("<BHBB", disposal << 2, delay, 0, 0)
    return control + b"\x2c" + struct.pack("<HHHHB", *box, 0) + b"\x02" + data


BLACK, RED, BLUE, WHITE = range(4)
KEPT, CLEARED, RETURNED = 1, 2, 3


@pytest.mark.parametrize(
    ("disposal", "left_behind"),
    [(KEPT, (200, 30, 30)), (CLEARED, (0, 255, 0)), (RETURNED, (255, 255, 255))],
)
def test_what_a_frame_of_a_gif_leaves_behind(
    tmp_path: Path, disposal: int, left_behind: tuple[int, int, int]
) -> None:
    sprites = [gif_frame((20 * i, 10, 16, 16), RED, disposal) for i in range(3)]
    path = tmp_path / "a.gif"
    path.write_bytes(gif(gif_frame((0, 0, 64, 48), WHITE, KEPT), *sprites))
    with open_frames(path, background=(0, 255, 0)) as source:
        frames = list(source)
        notes = source.notes
    assert [tuple(frame[18, 8]) for frame in frames[:2]] == [(255, 255, 255), (200, 30, 30)]
    assert {tuple(frame[18, 8]) for frame in frames[2:]} == {left_behind}
    assert tuple(frames[3][18, 48]) == (200, 30, 30) and tuple(frames[3][0, 0]) == (255, 255, 255)
    assert notes == (["transparency composited on #00ff00"] if disposal == CLEARED else [])


def test_what_a_gif_has_beyond_its_canvas_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    beyond = [(40, 30, 64, 48), (100, 100, 5, 5)]
    frames = [gif_frame(box, RED, KEPT) for box in beyond]
    path.write_bytes(gif(gif_frame((0, 0, 64, 48), BLUE, KEPT), *frames))
    with open_frames(path) as source:
        pictures = list(source)
    assert [picture.shape for picture in pictures] == [(48, 64, 3)] * 3
    assert (pictures[1][30:, 40:] == (200, 30, 30)).all()
    assert (pictures[1][:30] == (30, 30, 200)).all()
    assert np.array_equal(pictures[1], pictures[2])


def test_zeros_between_the_frames_of_a_gif_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    frames = [gif_frame((0, 0, 64, 48), colour, KEPT) + bytes(3) for colour in (RED, BLUE)]
    path.write_bytes(gif(*frames).removesuffix(b";"))
    with open_frames(path) as source:
        assert [tuple(frame[0, 0]) for frame in source] == [(200, 30, 30), (30, 30, 200)]


def test_short_delays_of_a_gif_are_taken_as_browsers_do(tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    frames = [gif_frame((0, 0, 64, 48), BLUE, KEPT, delay) for delay in (0, 1, 2, 3)]
    path.write_bytes(gif(*frames))
    with open_frames(path) as source:
        list(source)
        assert source.timestamps == pytest.approx([0, 0.1, 0.2, 0.22])


def test_a_still_for_old_viewers_is_no_frame(tmp_path: Path) -> None:
    still, *frames = (Image.fromarray(np.full((16, 24, 3), 50 * i, np.uint8)) for i in range(4))
    options = {"save_all": True, "append_images": frames, "default_image": True, "duration": 100}
    still.save(tmp_path / "a.png", **options)
    with open_frames(tmp_path / "a.png", step=2) as source:
        assert source.info.frames == 3 and source.info.duration == pytest.approx(0.3)
        assert [int(frame[0, 0, 0]) for frame in source] == [50, 150]


@pytest.mark.parametrize("suffix", ["gif", "webp"])
def test_a_truncated_animation_is_an_error(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x.{suffix}"
    pictures = [Image.fromarray(noise(32, 32, seed)) for seed in range(4)]
    pictures[0].save(path, save_all=True, append_images=pictures[1:])
    assert is_animation(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(MediaError, match=r"x\.\w+: ") as caught:
        open_frames(path)
    assert "\n" not in str(caught.value)
