"""Animated GIF, WebP, PNG and AVIF as clips."""

from __future__ import annotations

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
