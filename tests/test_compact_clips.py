"""Clips in few bytes: codecs, sound, and joining."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from iicnet_cli.errors import MediaError
from iicnet_cli.media import ffmpeg
from iicnet_cli.media.audio import encode_audio
from iicnet_cli.media.compact_clips import (
    codec_for,
    codec_note,
    encode_clip,
    psnr_of_half_colours,
    usual_codec,
)
from iicnet_cli.media.video_reader import open_frames, probe
from iicnet_cli.pictures.metrics import psnr
from tests.helpers import frames_of
from tests.media_samples import noise
from tests.samples import moving

FPS = Fraction(30000, 1001)
SMOOTH = moving(6, 48, 64)
GREY = np.repeat(SMOOTH[0][..., :1], 3, axis=2)


def test_colours_are_kept_whole_where_halving_them_costs() -> None:
    assert codec_for(40, 50, 10**7).name == "AV1 4:2:0"
    assert codec_for(40, 50, 10**5).name == "AV1 4:4:4"
    assert codec_for(46, 50, 10**7).name == "AV1 4:4:4"
    assert psnr_of_half_colours(GREY) > 50
    assert psnr_of_half_colours(noise(48, 64)) < 15


def test_clip_is_encoded_at_its_rate(tmp_path: Path) -> None:
    codec = usual_codec()
    target = tmp_path / f"clip{codec.suffix}"
    encode_clip(SMOOTH, target, codec, 12, FPS)
    info = probe(target)
    assert (info.codec, info.fps, info.frames) == ("av1", FPS, 6)
    found = frames_of(target)
    assert min(psnr(a, b) for a, b in zip(found, SMOOTH, strict=True)) > 32


def test_a_higher_quantizer_takes_fewer_bytes(tmp_path: Path) -> None:
    codec = usual_codec()
    sizes = []
    for crf in (10, 30, 50):
        target = tmp_path / f"{crf}{codec.suffix}"
        encode_clip(SMOOTH, target, codec, crf, FPS)
        sizes.append(target.stat().st_size)
    assert sizes[0] > sizes[1] > sizes[2]


def test_whole_colours_are_encoded_to_a_rate(tmp_path: Path) -> None:
    codec = codec_for(60, 50, 1)
    sizes = []
    for frames in (SMOOTH, SMOOTH[:1]):
        for crf in (20, 30, 40):
            target = tmp_path / f"{len(frames)}-{crf}.webm"
            encode_clip(frames, target, codec, crf, FPS)
            sizes.append(target.stat().st_size)
        assert sizes[-3] > sizes[-2] > sizes[-1]
    found = frames_of(tmp_path / "6-20.webm")
    assert min(psnr(a, b) for a, b in zip(found, SMOOTH, strict=True)) > 45


def test_times_of_frames_are_kept(tmp_path: Path) -> None:
    codec = usual_codec()
    times = [0, 0.1, 0.5, 0.6, 1.2, 1.3]
    encode_clip(SMOOTH, tmp_path / "t.webm", codec, 30, FPS, times)
    with open_frames(tmp_path / "t.webm") as frames:
        assert len(list(frames)) == 6
        assert frames.timestamps == pytest.approx(times, abs=2e-3)


def test_there_may_be_no_sound(sample_clips: Path, tmp_path: Path) -> None:
    target = tmp_path / "sound.webm"
    assert not encode_audio(sample_clips / "plain.mp4", target, 100, 1, 24_000)
    assert not target.exists()


def test_without_av1_another_codec_is_taken_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ffmpeg, "has_encoder", lambda name: name == "libx264")
    codec = usual_codec()
    assert (codec.encoder, codec.suffix) == ("libx264", ".mp4")
    assert "no AV1" in codec_note(codec)[0]
    monkeypatch.setattr(ffmpeg, "has_encoder", lambda name: False)
    with pytest.raises(MediaError, match="neither AV1"):
        usual_codec()
