"""What clips of every task share: times, sound, transparency."""

from __future__ import annotations

import subprocess
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from iicnet_cli.media import ffmpeg
from iicnet_cli.media.video_reader import open_frames, probe
from iicnet_cli.media.video_writer import open_writer
from tests.helpers import QUICK, Run, done, frames_of, strip, write_clip
from tests.samples import moving


def test_stripped_clip_keeps_count_and_rate(run: Run, clip: Path, tmp_path: Path) -> None:
    run("embed", clip, *QUICK, "-o", tmp_path / "p.png", "--frames", 4)
    strip(tmp_path / "p.png", tmp_path / "s.png")
    result = run("restore", tmp_path / "s.png", "-o", tmp_path / "s.mkv")
    assert result.exit_code == 0, result.output
    assert len(frames_of(tmp_path / "s.mkv")) == 4
    assert probe(tmp_path / "s.mkv").fps == Fraction(30000, 1001)


def test_variable_frame_rate_comes_back(run: Run, tmp_path: Path) -> None:
    times = [0.0, 0.04, 0.12, 0.16, 0.30, 0.34]
    with open_writer(tmp_path / "v.mkv", 64, 48, Fraction(25), timestamps=times) as writer:
        for frame in moving(6, 48, 64):
            writer.add(frame)
    result = run("embed", tmp_path / "v.mkv", *QUICK, "-o", tmp_path / "v.png")
    assert result.exit_code == 0, result.output
    run("restore", tmp_path / "v.png", "-o", tmp_path / "back.mkv")
    with open_frames(tmp_path / "back.mkv") as frames:
        assert len(list(frames)) == 6
        assert frames.timestamps == pytest.approx(times, abs=2e-3)


@pytest.mark.parametrize("kind", ["gif", "folder", "stereo"])
def test_transparent_clips_get_the_background(run: Run, tmp_path: Path, kind: str) -> None:
    alpha = np.zeros((32, 32), np.uint8)
    alpha[8:24, 8:24] = 255
    images = [Image.fromarray(np.dstack([frame, alpha])) for frame in moving(5, 32, 32)]
    source = tmp_path / "clip"
    source.mkdir()
    for i, image in enumerate(images):
        image.save(source / f"{i}.png")
    if kind == "gif":
        source = tmp_path / "clip.gif"
        images[0].save(source, save_all=True, append_images=images[1:], disposal=2)
    arguments = (source, source, "--task", "stereo") if kind == "stereo" else (source,)
    out = tmp_path / "out.png"
    result = done(run("embed", *arguments, *QUICK, "-o", out, "--background", "black"))
    assert "composited on #000000" in result.stderr
    done(run("restore", out, "-o", tmp_path / "back.mkv", "-y"))
    for path in (out, tmp_path / "back.mkv"):
        frames = frames_of(path)
        assert frames[:, :4].mean() < 30, path
        assert frames[:, 12:20, 12:20].mean() > 60, path


def test_sound_is_kept_beside(run: Run, clip: Path, tmp_path: Path) -> None:
    out, sound = tmp_path / "out.png", tmp_path / "sound.mka"
    result = done(run("embed", clip, *QUICK, "-o", out, "--keep-audio", sound))
    assert result.stderr.count("sound is not carried") == 1
    listed = subprocess.run(
        [ffmpeg.executable(), "-hide_banner", "-i", str(sound)], capture_output=True, text=True
    ).stderr
    assert "Audio: aac" in listed and "Video" not in listed

    assert run("embed", clip, "-o", tmp_path / "2.png", "--keep-audio", sound).exit_code == 1
    assert not (tmp_path / "2.png").exists()
    silent = write_clip(tmp_path / "silent.mkv", moving(5, 32, 32))
    none = tmp_path / "none.mka"
    result = done(run("embed", silent, *QUICK, "-o", tmp_path / "3.png", "--keep-audio", none))
    assert "no sound" in result.stderr
    assert not none.exists()
    assert run("embed", clip, "--out-dir", tmp_path, "--keep-audio", sound).exit_code == 2


def test_sound_is_re_encoded_for_a_wav(run: Run, clip: Path, tmp_path: Path) -> None:
    out, sound = tmp_path / "out.png", tmp_path / "sound.wav"
    done(run("embed", clip, *QUICK, "-o", out, "--frames", "5", "--keep-audio", sound))
    assert out.exists() and sound.exists()
