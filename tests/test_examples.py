"""The examples and the benchmark, run as a person runs them, on tiny media and models."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from iicnet_cli.media.stills import read_still
from iicnet_cli.media.video_reader import open_frames
from iicnet_cli.media.video_writer import open_writer

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"
WIDTH, HEIGHT = 96, 64


def picture(seed: int, shift: float = 0) -> np.ndarray:
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    waves = [np.sin((x + shift) / (7 + seed + c) + y / (11 - c)) for c in range(3)]
    return np.rint(127.5 + 100 * np.stack(waves, axis=-1)).astype(np.uint8)


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "my photos"
    folder.mkdir()
    paths = [folder / f"photo {i}.png" for i in range(5)]
    for i, path in enumerate(paths):
        Image.fromarray(picture(i)).save(path)
    return paths


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    folder = tmp_path / "clips"
    folder.mkdir()
    with open_writer(folder / "my clip.mkv", WIDTH, HEIGHT, Fraction(25)) as writer:
        for i in range(12):
            writer.add(picture(1, shift=2 * i))
    return folder / "my clip.mkv"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Has a command ``iicnet`` that is this interpreter and this source, installed or not."""
    command = tmp_path / "bin" / "iicnet"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m iicnet_cli "$@"\n')
    command.chmod(0o755)
    return {
        **os.environ,
        "PATH": f"{command.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }


def run(environment: dict[str, str], *words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in words],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


posix = pytest.mark.skipif(os.name != "posix", reason="POSIX shell scripts")


@posix
@pytest.mark.slow
def test_stego_script_takes_photos_three_at_a_time(
    environment: dict[str, str], photos: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "new" / "out"
    result = run(environment, EXAMPLES / "stego.sh", out, *photos)
    assert result.returncode == 0, result.stderr
    for cover, size in ((photos[0], 3), (photos[3], 2)):
        assert read_still(out / f"{cover.stem}.png").pixels.shape == (HEIGHT, WIDTH, 3)
        restored = sorted((out / f"{cover.stem}-restored").iterdir())
        first = photos.index(cover)
        assert [p.name for p in restored] == [p.name for p in photos[first : first + size]]
    assert result.stderr.count(" dB") == 6  # embedding, restored and hidden of each PNG


@posix
@pytest.mark.slow
def test_stego_script_goes_on_after_a_bad_photo(
    environment: dict[str, str], photos: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    broken = tmp_path / "broken.jpg"
    broken.write_text("no photo")
    result = run(environment, EXAMPLES / "stego.sh", out, broken, *photos, photos[0])
    assert result.returncode == 1
    assert f"nothing is left to hide in {photos[0]}" in result.stderr
    assert not (out / "broken.png").exists()
    assert (out / f"{photos[2].stem}.png").exists()


@posix
@pytest.mark.slow
def test_video_script_goes_on_after_a_bad_clip(
    environment: dict[str, str], clip: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    result = run(environment, EXAMPLES / "video.sh", out, tmp_path / "missing.mp4", clip)
    assert result.returncode not in (0, 127)
    assert not (out / "missing.png").exists()
    with Image.open(out / "my clip.png") as image:
        assert image.n_frames == 3
    with open_frames(out / "my clip-restored.mkv") as frames:
        assert sum(1 for _ in frames) == 12


@pytest.fixture
def cutout(tmp_path: Path) -> Path:
    alpha = np.zeros((HEIGHT, WIDTH), np.uint8)
    alpha[16:48, 20:70] = 255
    path = tmp_path / "front.png"
    Image.fromarray(np.dstack([picture(3), alpha])).save(path)
    return path


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    path = tmp_path / "my pair.mpo"
    left, right = (Image.fromarray(picture(2, shift)) for shift in (0, 4))
    left.save(path, save_all=True, append_images=[right], quality=95)
    return path


@posix
@pytest.mark.slow
@pytest.mark.parametrize("script", ["grayscale.sh", "rescale.sh"])
def test_scripts_for_single_photos(
    environment: dict[str, str], photos: list[Path], tmp_path: Path, script: str
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_text("no photo")
    out = tmp_path / "out"
    result = run(environment, EXAMPLES / script, out, photos[0], broken, photos[1])
    assert result.returncode == 1, result.stderr
    names = [path.relative_to(out).as_posix() for path in sorted(out.rglob("*.png"))]
    embedded, restored = ("grey", "colour") if script == "grayscale.sh" else ("half", "full")
    assert sorted(names) == sorted(
        name
        for i in (0, 1)
        for name in (f"{embedded}/photo {i}.png", f"{restored}/photo {i}-restored.png")
    )
    assert read_still(out / restored / "photo 0-restored.png").pixels.shape == (HEIGHT, WIDTH, 3)


@posix
@pytest.mark.slow
def test_stereo_script(environment: dict[str, str], pair: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run(environment, EXAMPLES / "stereo.sh", out, pair)
    assert result.returncode == 0, result.stderr
    assert sorted(path.name for path in out.iterdir()) == [
        "my pair-anaglyph.png",
        "my pair-restored",
        "my pair.png",
    ]
    assert len(list((out / "my pair-restored").iterdir())) == 2


@posix
@pytest.mark.slow
def test_dual_script(environment: dict[str, str], photos: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run(environment, EXAMPLES / "dual.sh", out, 2, photos[0])
    assert result.returncode == 0, result.stderr
    assert sorted(path.name for path in (out / "photo 0-restored").iterdir()) == [
        "photo 0-normal.png",
        "photo 0-zoom2.png",
    ]


@posix
@pytest.mark.slow
def test_layers_script(
    environment: dict[str, str], cutout: Path, photos: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    small = tmp_path / "small.png"
    Image.fromarray(np.zeros((20, 20, 4), np.uint8)).save(small)
    result = run(environment, EXAMPLES / "layers.sh", out, photos[0], small, cutout)
    assert result.returncode == 2, result.stderr
    assert sorted(path.name for path in out.iterdir()) == ["front.ora", "front.png"]


@posix
@pytest.mark.parametrize("script", sorted(path.name for path in EXAMPLES.glob("*.sh")))
def test_scripts_say_how_they_are_used(environment: dict[str, str], script: str) -> None:
    result = run(environment, EXAMPLES / script)
    assert result.returncode == 2
    assert result.stderr.startswith("use: ")


def test_contact_sheet(environment: dict[str, str], photos: list[Path], tmp_path: Path) -> None:
    padded = np.pad(picture(0), ((0, 4), (0, 2), (0, 0)), mode="edge")
    Image.fromarray(padded).save(tmp_path / "embedding.png")
    Image.fromarray(picture(1) ^ 1).save(tmp_path / "near.png")
    sheet = tmp_path / "sheet.png"
    arguments = [
        *photos[:2],
        "--embedding",
        tmp_path / "embedding.png",
        "-o",
        sheet,
        "--restored",
        photos[0],
    ]
    script = EXAMPLES / "contact_sheet.py"
    result = run(environment, sys.executable, script, *arguments, tmp_path / "near.png")
    assert result.returncode == 0, result.stderr
    with Image.open(sheet) as image:
        assert image.width == 4 * WIDTH + 5 * 8
        pixels = np.asarray(image)
    row = HEIGHT + 24 + 8
    errors = pixels[8 + 24 :, 8 + 3 * (WIDTH + 8) :][:, :WIDTH]
    assert (errors[:HEIGHT] == 0).all()
    assert (errors[row : row + HEIGHT] == 10).all()

    few = run(environment, sys.executable, script, *arguments)
    assert few.returncode == 2
    assert "2 originals, but 1 restored" in few.stderr


def test_demo_media_are_there_and_documented() -> None:
    media = EXAMPLES / "media"
    readme = (media / "README.md").read_text(encoding="utf-8")
    files = [path for path in media.iterdir() if path.name != "README.md" and path.is_file()]
    assert len(files) == 9
    for path in files:
        assert f"`{path.name}`" in readme
        assert path.stat().st_size < 600_000


@pytest.mark.slow
def test_quality_benchmark(
    environment: dict[str, str], photos: list[Path], clip: Path, tmp_path: Path
) -> None:
    photos[4].unlink()
    result = run(
        environment,
        sys.executable,
        ROOT / "benchmarks" / "quality.py",
        "--photos",
        photos[0].parent,
        "--clips",
        clip.parent,
        "--json",
        tmp_path / "quality.json",
        "--model",
        "stego-3",
        "--model",
        "video-5",
    )
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[2].startswith("| stego-3 | my photos | 4 |")
    assert re.search(r"\| 37\.04 / 42\.88 \| \d of 4 \|$", lines[2])
    assert lines[3].startswith("| video-5 | clips | 1 |")
    assert len({line.count("|") for line in lines[:4]}) == 1
    assert "photo 0, photo 1, photo 2, photo 3" in result.stdout
    assert str(tmp_path) not in result.stdout
    record = json.loads((tmp_path / "quality.json").read_text())
    stego, video = record["models"]
    assert len(stego["rows"]) == 4
    assert stego["parameters"] * 2 == pytest.approx(stego["bytes"], abs=4000)  # and names
    assert video["rows"][0]["name"] == "my clip.mkv"
    assert str(tmp_path) not in json.dumps(record)
