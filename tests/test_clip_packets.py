"""Cutting, joining and combining packet by packet."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from iicnet_cli.errors import MediaError
from iicnet_cli.media.audio import encode_audio
from iicnet_cli.media.clip_packets import (
    add_sound,
    cut_sound,
    join_clips,
    joining_bytes,
    packets_of,
)
from iicnet_cli.media.compact_clips import encode_clip, usual_codec
from iicnet_cli.media.video_reader import open_frames, probe
from tests.helpers import frames_of, write_clip
from tests.samples import moving

FRAMES = moving(6, 48, 64)
PACKET = Fraction(20, 1000)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.webm"
    encode_clip(FRAMES, path, usual_codec(), 40, Fraction(30000, 1001))
    return path


@pytest.fixture(scope="module")
def sound(sample_clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sound") / "sound.webm"
    assert encode_audio(sample_clips / "plain.mp4", path, 0, 0.9, 24_000)
    return path


def test_packets_of_pictures_and_sound(clip: Path, sound: Path) -> None:
    packets = packets_of(clip)
    assert len(packets) == 6
    assert 0 < sum(packet.size for packet in packets) < clip.stat().st_size
    durations = [packet.duration for packet in packets_of(sound, "audio")]
    assert {*durations[:-1]} == {PACKET}
    assert float(sum(durations)) == pytest.approx(0.9, abs=0.01)
    with pytest.raises(MediaError, match="has no audio stream"):
        packets_of(clip, "audio")


@pytest.mark.parametrize("suffix", [".webm", ".mp4"])
def test_joining_adds_no_more_bytes_than_is_said(
    sample_clips: Path, tmp_path: Path, suffix: str
) -> None:
    source = sample_clips / "plain.mp4"
    clip, joined = tmp_path / f"clip{suffix}", tmp_path / f"joined{suffix}"
    sound = tmp_path / ("sound.webm" if suffix == ".webm" else "sound.m4a")
    encode_audio(source, sound, 0, 0.9, 24_000)
    write_clip(clip, moving(24, 48, 64))
    add_sound(clip, sound, joined)
    parts = clip.stat().st_size + sound.stat().st_size
    assert joined.stat().st_size <= parts + joining_bytes(sound, 24)


def test_sound_in_parts_is_the_same_sound(clip: Path, sound: Path, tmp_path: Path) -> None:
    packets = packets_of(sound, "audio")
    places = [0, 11, 20, 31, len(packets)]
    parts = []
    for i in range(4):
        cut = tmp_path / f"cut-{i}.webm"
        cut_sound(sound, cut, places[i], places[i + 1])
        assert packets_of(cut, "audio") == packets[places[i] : places[i + 1]]
        parts.append(tmp_path / f"part-{i}.webm")
        add_sound(clip, cut, parts[-1])
        assert (frames_of(parts[-1]) == frames_of(clip)).all()
    joined = tmp_path / "joined.webm"
    join_clips(parts, [6 * 1001 / 30000] * 4, joined)
    assert packets_of(joined, "audio") == packets
    assert (frames_of(joined) == np.concatenate([frames_of(clip)] * 4)).all()
    with open_frames(joined) as frames:
        assert len(list(frames)) == 24
        times = [i * 1001 / 30000 for i in range(24)]
        assert frames.timestamps is None or frames.timestamps == pytest.approx(times, abs=2e-3)
    assert probe(joined).duration == pytest.approx(0.9, abs=0.11)


def test_clips_without_sound_are_joined(clip: Path, tmp_path: Path) -> None:
    joined = tmp_path / "joined.webm"
    join_clips([clip, clip], [0.2, 0.2], joined)
    assert not probe(joined).has_audio
    assert len(frames_of(joined)) == 12
