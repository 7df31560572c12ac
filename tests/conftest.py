"""Media that the tests use; all generated."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from typer.testing import CliRunner, Result

from iicnet_cli.cli import app
from iicnet_cli.container.png_reader import read_header
from iicnet_cli.media.video import open_frames

Pixels = NDArray[np.uint8]
Run = Callable[..., Result]


def natural(height: int, width: int, seed: int) -> Pixels:
    """A picture (height, width, 3) with the statistics of a photo: 1/f noise and some edges."""
    rng = np.random.default_rng(seed)
    fy = np.fft.fftfreq(height)[:, None]
    fx = np.fft.rfftfreq(width)[None]
    falloff = 1 / np.maximum(np.hypot(fy, fx), 1 / max(height, width)) ** 1.3
    channels = []
    shared = rng.standard_normal((height, width))
    for _ in range(3):
        noise = shared + 0.3 * rng.standard_normal((height, width))
        field = np.fft.irfft2(np.fft.rfft2(noise) * falloff, s=(height, width))
        channels.append((field - field.mean()) / field.std())
    picture = np.stack(channels, axis=-1) * 40 + 128
    y, x = rng.integers(0, height // 2), rng.integers(0, width // 2)
    picture[y : y + height // 3, x : x + width // 3] += rng.uniform(-50, 50, 3)
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def moving(frames: int, height: int, width: int, seed: int = 0) -> Pixels:
    """Frames (T, height, width, 3): a slow pan with an object that crosses it."""
    scene = natural(height + frames, width + 2 * frames, seed)
    clip = np.stack([scene[t // 2 : t // 2 + height, 2 * t : 2 * t + width] for t in range(frames)])
    for t in range(frames):
        x = 3 * t % max(1, width - 12)
        clip[t, height // 3 : height // 3 + 12, x : x + 12] = (200, 60, 40)
    return clip


def pan(frames: int, height: int, width: int, speed: int) -> Pixels:
    """(frames, height, width, 3): a camera that moves ``speed`` pixels a frame to the right."""
    scene = natural(height, width + speed * frames, 7)
    return np.stack([scene[:, speed * t : speed * t + width] for t in range(frames)])


def done(result: Result) -> Result:
    """``result`` of a command that is to succeed."""
    assert result.exit_code == 0, result.output + repr(result.exception)
    return result


def frames_of(path: Path) -> Pixels:
    """(T, height, width, 3), all frames of a clip or of a folder."""
    with open_frames(path) as frames:
        return np.stack(list(frames))


@pytest.fixture(autouse=True)
def _only_bundled_models(tmp_path_factory: pytest.TempPathFactory, monkeypatch: Any) -> None:
    """Models that the user of this machine imported are not those that are tested."""
    monkeypatch.setenv("IICNET_MODELS", str(tmp_path_factory.getbasetemp() / "no-models"))


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    """Four photos of 96x64: cover.jpg, then PNGs."""
    paths = []
    for i, name in enumerate(("cover.jpg", "one.png", "two.png", "three.png")):
        path = tmp_path / "photos" / name
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(natural(64, 96, seed=i)).save(path, quality=95)
        paths.append(path)
    return paths


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve frames of 96x64 at 30000/1001 a second, lossless H.264 with a tone."""
    import imageio_ffmpeg

    path = tmp_path_factory.mktemp("clip") / "clip.mkv"
    frames = moving(12, 64, 96)
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "rawvideo"]
    command += ["-pix_fmt", "rgb24", "-s", "96x64", "-r", "30000/1001", "-i", "-"]
    command += ["-f", "lavfi", "-i", "sine=duration=0.4"]
    command += ["-c:v", "libx264rgb", "-qp", "0", "-pix_fmt", "rgb24", "-c:a", "aac", str(path)]
    subprocess.run(command, input=frames.tobytes(), check=True)
    return path


@pytest.fixture
def run() -> Run:
    """Run the command line in this process: ``run("embed", path, "-o", out)``."""

    def call(*arguments: object, **options: object) -> Result:
        return CliRunner().invoke(app, [str(a) for a in arguments], **options)  # type: ignore

    return call


@pytest.fixture
def panning(tmp_path: Path) -> Path:
    """A folder of seven frames, 101x71, of a fast pan."""
    folder = tmp_path / "frames"
    folder.mkdir()
    for t, frame in enumerate(pan(7, 71, 101, 12)):
        Image.fromarray(frame).save(folder / f"{t}.png")
    return folder


def rewrite_header(path: Path, **changes: Any) -> None:
    """Give an embedding PNG another header, as a stranger might."""
    header = read_header(path)
    assert header is not None
    info = PngInfo()
    info.add_itxt("iicnet", header.model_copy(update=changes).to_json())
    with Image.open(path) as image:
        image.save(path, pnginfo=info)
