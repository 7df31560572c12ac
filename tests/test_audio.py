"""The sound of clips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from iicnet_cli.errors import MediaError, OutputExistsError, UsageError
from iicnet_cli.media import ffmpeg
from iicnet_cli.media.audio import extract_audio
from iicnet_cli.media.video_reader import probe
from tests.media_samples import H264, moving_pattern, noise, run_ffmpeg, tone


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
    path = run_ffmpeg(tmp_path / source, *moving_pattern(0.5), *sound, *H264)
    codec = coder.removeprefix("lib")
    for suffix in suffixes:
        assert extract_audio(path, tmp_path / f"a.{suffix}")
        log = ffmpeg.run(["-i", str(tmp_path / f"a.{suffix}")]).stderr.decode()
        assert f"Audio: {codec}" in log


def test_clips_without_sound_and_unusable_targets(sample_clips: Path, tmp_path: Path) -> None:
    assert extract_audio(sample_clips / "plain.mp4", tmp_path / "a.m4a") == "aac"
    with pytest.raises(MediaError, match="no video"):
        probe(tmp_path / "a.m4a")
    assert extract_audio(sample_clips / "ntsc.mp4", tmp_path / "b.m4a") is None
    with pytest.raises(MediaError) as caught:
        extract_audio(sample_clips / "plain.mp4", tmp_path / "c.xyz")
    assert "mka" in caught.value.hint
    with pytest.raises(UsageError, match="must come after"):
        extract_audio(sample_clips / "plain.mp4", tmp_path / "d.mka", start=1, end=0.5)
    assert [path.name for path in tmp_path.iterdir()] == ["a.m4a"]


def test_stills_and_animations_have_no_sound(tmp_path: Path) -> None:
    frames = [Image.fromarray(noise(4, 4, seed)) for seed in range(2)]
    frames[0].save(tmp_path / "x.gif", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "x.png")
    for name in ("x.gif", "x.png"):
        assert extract_audio(tmp_path / name, tmp_path / "a.mka") is None
    assert not (tmp_path / "a.mka").exists()


def test_a_sound_file_is_only_overwritten_when_asked_to(sample_clips: Path, tmp_path: Path) -> None:
    target = tmp_path / "a.mka"
    target.write_text("precious")
    with pytest.raises(OutputExistsError):
        extract_audio(sample_clips / "plain.mp4", target)
    assert target.read_text() == "precious"
    assert extract_audio(sample_clips / "plain.mp4", target, overwrite=True) == "aac"


@pytest.mark.parametrize(
    ("suffix", "codec"), [("wav", "pcm_s16le"), ("mp3", "mp3"), ("flac", "flac")]
)
def test_sound_that_does_not_fit_is_re_encoded(
    sample_clips: Path, tmp_path: Path, suffix: str, codec: str
) -> None:
    target = tmp_path / f"a.{suffix}"
    assert extract_audio(sample_clips / "plain.mp4", target) == "aac, re-encoded"
    assert f"Audio: {codec}" in ffmpeg.run(["-i", str(target)]).stderr.decode()


@pytest.fixture(scope="module")
def siren(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half a minute whose sound rises by 50 Hz a second from 200 Hz, so that it tells the time."""
    sound = ("-f", "lavfi", "-i", "aevalsrc='sin(2*PI*(200*t+25*t*t))':d=30:s=44100", "-c:a", "aac")
    path = tmp_path_factory.mktemp("siren") / "siren.mkv"
    return run_ffmpeg(path, *moving_pattern(30, "5"), *sound, *H264)


@pytest.mark.parametrize("suffix", ["mka", "wav", "m4a"])
@pytest.mark.parametrize("start", [0.5, 23.7])
def test_part_of_the_sound_begins_and_ends_in_time(
    siren: Path, tmp_path: Path, suffix: str, start: float
) -> None:
    target = tmp_path / f"a.{suffix}"
    assert extract_audio(siren, target, start=start, end=start + 2)
    options = ("-i", str(target), "-ac", "1", "-ar", "44100", "-f", "s16le", "-")
    samples = np.frombuffer(ffmpeg.run([*options]).stdout, np.int16)
    assert len(samples) / 44100 == pytest.approx(2, abs=0.06)
    window = samples[44100 : 44100 + 4410] * np.hanning(4410)
    pitch = np.abs(np.fft.rfft(window, 1 << 17)).argmax() * 44100 / (1 << 17)
    assert (pitch - 200) / 50 - 0.05 == pytest.approx(start + 1, abs=0.06)


def test_a_part_without_sound_writes_nothing(tmp_path: Path) -> None:
    sound = tone(0.5)
    path = run_ffmpeg(tmp_path / "x.mkv", *moving_pattern(2), *sound, *H264)
    for suffix in ("mka", "wav"):
        assert extract_audio(path, tmp_path / f"a.{suffix}", start=1) is None
        assert not (tmp_path / f"a.{suffix}").exists()
