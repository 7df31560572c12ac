"""Fixtures of all tests: tiny models instead of the bundled ones, the command line, media."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from typer.testing import CliRunner, Result

from iicnet_cli.cli import app
from iicnet_cli.container.embedding_file import read_header
from iicnet_cli.zoo.registry import MODELS_VARIABLE
from tests.helpers import Run, done, frames_of
from tests.media_samples import H264, moving_pattern, run_ffmpeg, tone
from tests.samples import Pixels, moving, natural, pan

__all__ = ["Pixels", "Run", "done", "frames_of", "moving", "natural", "pan", "rewrite_header"]

TINY_MODELS = Path(__file__).parent / "tiny_models"


@pytest.fixture(scope="session", autouse=True)
def _tiny_models() -> Iterator[None]:
    """Let the tiny models stand for the bundled ones of the same names, in subprocesses too."""
    before = os.environ.get(MODELS_VARIABLE)
    os.environ[MODELS_VARIABLE] = str(TINY_MODELS)
    yield
    os.environ.pop(MODELS_VARIABLE)
    if before is not None:
        os.environ[MODELS_VARIABLE] = before


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c_reaches_commands() -> None:
    """What a shell runs in the background ignores Ctrl-C, and so would all that it starts."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _one_job() -> Iterator[None]:
    """Work on many inputs in this process, unless a test says otherwise: a worker has to start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IICNET_JOBS", "1")
        yield


@pytest.fixture
def bundled_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the bundled models; for tests of these models only, for they are slow."""
    monkeypatch.setenv(MODELS_VARIABLE, str(tmp_path / "no-models"))


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
    path = tmp_path_factory.mktemp("clip") / "clip.mkv"
    frames = moving(12, 64, 96)
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "rawvideo"]
    command += ["-pix_fmt", "rgb24", "-s", "96x64", "-r", "30000/1001", "-i", "-"]
    command += ["-f", "lavfi", "-i", "sine=duration=0.4"]
    command += ["-c:v", "libx264rgb", "-qp", "0", "-pix_fmt", "rgb24", "-c:a", "aac", str(path)]
    subprocess.run(command, input=frames.tobytes(), check=True)
    return path


@pytest.fixture(scope="session")
def sample_clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of short clips of 64x48 by ffmpeg: H.264, most of them without sound.

    plain.mp4 (three seconds at 24 frames a second, with a tone), the same as .mkv and .ts,
    turned.mp4 (rotated by its metadata), ntsc.mp4 (30000/1001), uneven.mp4 (ten frames at 30 a
    second, then every third) and one.mp4 (one frame).
    """
    folder = tmp_path_factory.mktemp("sample-clips")
    plain = folder / "plain.mp4"
    run_ffmpeg(plain, *moving_pattern(3), *tone(3), "-shortest", *H264)
    for suffix in ("mkv", "ts"):
        run_ffmpeg(folder / f"plain.{suffix}", "-i", str(plain), "-c", "copy")
    turned = ("-display_rotation", "90", "-i", str(plain), "-c", "copy")
    run_ffmpeg(folder / "turned.mp4", *turned)
    run_ffmpeg(folder / "ntsc.mp4", *moving_pattern(1, "30000/1001"), *H264)
    thinned = ("-vf", "select='lt(n,10)+not(mod(n,3))'", "-fps_mode", "vfr")
    run_ffmpeg(folder / "uneven.mp4", *moving_pattern(1, "30"), *thinned, *H264)
    run_ffmpeg(folder / "one.mp4", *moving_pattern(1), "-frames:v", "1", *H264)
    return folder


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
    """Give an embedding PNG another valid header, in place."""
    header = read_header(path)
    assert header is not None
    info = PngInfo()
    info.add_itxt("iicnet", header.model_copy(update=changes).to_json())
    with Image.open(path) as image:
        image.save(path, pnginfo=info)
