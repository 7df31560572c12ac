"""Decoding by an ffmpeg process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from iicnet_cli.media.video_reader import open_frames
from tests.media_samples import H264, moving_pattern, noise, run_ffmpeg


def test_damage_in_the_middle_is_noted(sample_clips: Path, tmp_path: Path) -> None:
    data = bytearray((sample_clips / "plain.mkv").read_bytes())
    middle = slice(len(data) // 3, len(data) // 3 + 2000)
    data[middle] = noise(1, 2000).tobytes()[:2000]
    (tmp_path / "hurt.mkv").write_bytes(data)
    with open_frames(tmp_path / "hurt.mkv") as source:
        frames = list(source)
    assert len(frames) > 20
    assert any("damaged" in note for note in source.notes)


def test_closing_early_ends_ffmpeg(tmp_path: Path) -> None:
    path = run_ffmpeg(tmp_path / "long.mp4", *moving_pattern(5, "30", "320x240"), *H264)
    for _ in range(2):
        source = open_frames(path)
        next(source)
        source.close()
        with pytest.raises(StopIteration):
            next(source)


def test_python_may_exit_with_a_clip_open(sample_clips: Path) -> None:
    script = (
        "import sys\n"
        "from iicnet_cli.media.video_reader import open_frames\n"
        "frames = open_frames(sys.argv[1])\n"
        "print(next(frames).shape)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(sample_clips / "plain.mp4")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "(48, 64, 3)", "")
