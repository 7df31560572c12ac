"""What fuzz.py runs on each mutated file; whatever is not answered properly is a FaultError."""

from __future__ import annotations

import os
import shutil
import traceback
from collections.abc import Callable
from pathlib import Path

from typer.testing import CliRunner

from iicnet_cli.cli import app
from iicnet_cli.container.embedding_file import EmbeddingFile
from iicnet_cli.container.header import Header
from iicnet_cli.errors import IICNetError
from iicnet_cli.foreign_messages import silence_libraries
from iicnet_cli.media.layered_files import read_layers
from iicnet_cli.media.stereo_formats import is_stereo, read_pair
from iicnet_cli.media.stills import has_alpha, read_still, read_still_with_alpha
from iicnet_cli.media.video_reader import is_video, open_frames
from iicnet_cli.payload.bundle import Bundle
from iicnet_cli.payload.mark import Mark
from iicnet_cli.zoo.registry import MODELS_VARIABLE

_TINY_MODELS = Path(__file__).parents[1] / "tests" / "tiny_models"
_MOST_FRAMES = 50

# Only what a file may cause: done, not readable, not an embedding or damaged, another model.
_EXIT_CODES = {"embed": {0, 1, 2}, "restore": {0, 3, 4}, "info": {0, 3}}

os.environ[MODELS_VARIABLE] = str(_TINY_MODELS)
os.environ["IICNET_JOBS"] = "1"
silence_libraries()


class FaultError(Exception):
    """What must not happen; ``kind`` is a column of the table."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


Harness = Callable[[bytes, str, Path], None]
"""Takes the content of a file, its suffix and an empty folder."""


def _reading(read: Callable[[Path], object]) -> Harness:
    """A harness for a function that may raise no errors but ours."""

    def run(data: bytes, suffix: str, scratch: Path) -> None:
        path = scratch / f"input{suffix}"
        path.write_bytes(data)
        _allow_own_errors(lambda: read(path))

    return run


def _parsing(parse: Callable[[bytes], object]) -> Harness:
    def run(data: bytes, suffix: str, scratch: Path) -> None:
        _allow_own_errors(lambda: parse(data))

    return run


def _allow_own_errors(work: Callable[[], object]) -> None:
    try:
        work()
    except IICNetError as error:
        if "\n" in str(error):
            raise FaultError("traceback", f"an error of several lines: {error!r}") from error
    except Exception as error:
        raise FaultError("traceback", traceback.format_exc()) from error


def _commanding(command: str, *options: str) -> Harness:
    """A harness for a command of the command line."""

    def run(data: bytes, suffix: str, scratch: Path) -> None:
        path, outputs = scratch / f"input{suffix.replace('.iicnet', '.png')}", scratch / "outputs"
        path.write_bytes(data)
        shutil.rmtree(outputs, ignore_errors=True)
        outputs.mkdir()
        arguments = [command, str(path), *(each.format(outputs) for each in options)]
        result = CliRunner().invoke(app, arguments)
        told = result.stderr
        if "Traceback" in told or "unexpected error" in told:
            raise FaultError("traceback", told)
        if result.exit_code not in _EXIT_CODES[command]:
            raise FaultError("exit status", f"{result.exit_code}: {told or result.exception!r}")
        left = [file.name for file in outputs.rglob("*") if "iicnet-" in file.name]
        if left or (result.exit_code in (1, 2, 4) and any(outputs.iterdir())):
            raise FaultError("leftover", f"{left or list(outputs.iterdir())}")

    return run


def _read_embedding_file(path: Path) -> None:
    with EmbeddingFile(path) as reader:
        reader.verify()
        for _, frame in zip(range(_MOST_FRAMES), reader, strict=False):
            frame.sum()


def _read_still(path: Path) -> None:
    is_video(path)
    has_alpha(path)
    read_still_with_alpha(path)
    read_still(path)


def _read_frames(path: Path) -> None:
    with open_frames(path, frames=_MOST_FRAMES) as frames:
        for frame in frames:
            frame.sum()


def _read_stereo(path: Path) -> None:
    is_stereo(path)
    read_pair(path)


HARNESSES: dict[str, Harness] = {
    "header": _parsing(Header.from_json),
    "mark": _parsing(Mark.from_bytes),
    "bundle": _parsing(Bundle.from_bytes),
    "png": _reading(_read_embedding_file),
    "still": _reading(_read_still),
    "animation": _reading(_read_frames),
    "layers": _reading(read_layers),
    "stereo": _reading(_read_stereo),
    "clip": _reading(_read_frames),
    "info": _commanding("info"),
    "restore": _commanding("restore", "--out-dir", "{}"),
    "embed": _commanding("embed", "--task", "video", "-o", "{}/out.png", "--effort", "0"),
}
