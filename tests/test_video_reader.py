"""Which files are clips, and what all clips have in common."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from iicnet_cli.errors import MediaError
from iicnet_cli.media.animations import Animation
from iicnet_cli.media.still_sequence import StillSequence
from iicnet_cli.media.stills import write_still
from iicnet_cli.media.video_file import VideoFile
from iicnet_cli.media.video_reader import find_clip, is_video, open_frames
from tests.media_samples import jpeg, mp4_box, noise


def test_each_source_is_read_as_its_kind_of_clip(sample_clips: Path, tmp_path: Path) -> None:
    write_still(tmp_path / "a.png", noise(4, 4))
    frames = [Image.fromarray(noise(4, 4, seed)) for seed in range(2)]
    frames[0].save(tmp_path / "b.png", save_all=True, append_images=frames[1:])
    (tmp_path / "c.jpg").write_bytes(jpeg(8, 8) + (sample_clips / "one.mp4").read_bytes())
    kinds = {
        sample_clips / "plain.mp4": VideoFile,
        tmp_path / "a.png": StillSequence,
        tmp_path / "b.png": Animation,
        tmp_path / "c.jpg": VideoFile,
        tmp_path: StillSequence,
        tmp_path / "*.png": StillSequence,
    }
    for source, kind in kinds.items():
        assert type(find_clip(source)) is kind
    assert isinstance(find_clip([tmp_path / "a.png"]), StillSequence)
    with pytest.raises(MediaError, match="no such file"):
        find_clip(tmp_path / "missing.mp4")


def test_transparent_frames_are_composited_on_the_background(tmp_path: Path) -> None:
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


def test_clips_are_recognised_by_suffix_or_first_bytes(sample_clips: Path, tmp_path: Path) -> None:
    assert is_video(sample_clips / "plain.mp4")
    write_still(tmp_path / "x.png", noise(4, 4))
    assert not is_video(tmp_path / "x.png")
    for suffix in ("mp4", "mkv"):
        (tmp_path / "pipe").write_bytes((sample_clips / f"plain.{suffix}").read_bytes())
        assert is_video(tmp_path / "pipe")
    for brand in (b"heic", b"avif", b"crx "):
        (tmp_path / "pipe").write_bytes(mp4_box(b"ftyp", brand + b"\0" * 8))
        assert not is_video(tmp_path / "pipe")
    (tmp_path / "pipe").write_bytes(b"")
    assert not is_video(tmp_path / "pipe")
    assert not is_video(tmp_path)
    assert not is_video(tmp_path / "missing.mp4")
