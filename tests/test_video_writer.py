"""Writing clips to files and folders."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import IO

import numpy as np
import pytest

from iicnet_cli.errors import MediaError, OutputExistsError, UsageError
from iicnet_cli.media import ffmpeg
from iicnet_cli.media.stills import read_still
from iicnet_cli.media.video_reader import open_frames, probe
from iicnet_cli.media.video_writer import open_writer
from iicnet_cli.pictures.arrays import Pixels
from iicnet_cli.pictures.metrics import psnr
from tests.media_samples import noise, smooth

RATE = Fraction(30000, 1001)


def read_all(path: Path) -> tuple[list[Pixels], list[float]]:
    with open_frames(path) as source:
        return list(source), source.timestamps


@pytest.mark.parametrize("name", ["x.mkv", "x.avi", "x.webp", "x.png", "frames"])
@pytest.mark.parametrize("size", [(31, 45), (32, 48), (1, 1)])
def test_exact_formats_keep_every_pixel_of_every_frame(
    tmp_path: Path, name: str, size: tuple[int, int]
) -> None:
    # Equal frames too: encoders of animations like to merge them.
    frames = [noise(*size, seed) for seed in (0, 0, 1, 2, 2, 2, 3)]
    target = tmp_path / name
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
def test_lossy_formats_stay_close(tmp_path: Path, name: str, size: tuple[int, int]) -> None:
    target = tmp_path / name
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


def test_lossy_formats_keep_colours(tmp_path: Path) -> None:
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


def test_the_times_of_long_clips_are_kept(tmp_path: Path) -> None:
    times = [i * 0.04 + (i % 3) * 0.01 for i in range(1000)]
    with open_writer(tmp_path / "x.mkv", 8, 8, Fraction(25), timestamps=times) as writer:
        for i in range(1000):
            writer.add(np.full((8, 8), i % 251, np.uint8))
    back, stamps = read_all(tmp_path / "x.mkv")
    assert [int(frame[0, 0, 0]) for frame in back] == [i % 251 for i in range(1000)]
    assert stamps == pytest.approx(times, abs=0.002)


def test_formats_that_cannot_keep_times_say_so(tmp_path: Path) -> None:
    for name in ("x.avi", "frames"):
        with open_writer(tmp_path / name, 8, 8, Fraction(10), timestamps=[0.0, 0.1, 0.9]) as writer:
            for seed in range(3):
                writer.add(noise(8, 8, seed))
        assert writer.notes
        assert len(read_all(tmp_path / name)[0]) == 3


def test_a_gif_plays_at_most_50_frames_a_second(tmp_path: Path) -> None:
    with open_writer(tmp_path / "x.gif", 8, 8, Fraction(240)) as writer:
        for seed in range(3):
            writer.add(noise(8, 8, seed))
    assert writer.notes == ["GIF cannot play faster than 50 frames a second"]
    assert len(read_all(tmp_path / "x.gif")[0]) == 3


def test_senseless_or_failed_clips_leave_nothing_behind(tmp_path: Path) -> None:
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


def test_frames_in_a_folder_keep_their_names(tmp_path: Path) -> None:
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


def test_a_failure_without_a_reason_points_to_the_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(arguments: list[str], log: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", "raise SystemExit(1)"], stdin=-1)

    monkeypatch.setattr(ffmpeg, "start_writer", fail)
    with (
        pytest.raises(MediaError, match="cannot be written") as caught,
        open_writer(tmp_path / "a.mkv", 16, 16, Fraction(5)) as writer,
    ):
        writer.add(np.zeros((16, 16, 3), np.uint8))
    assert "is there room in" in caught.value.hint
