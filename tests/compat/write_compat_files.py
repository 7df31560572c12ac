"""Write the small PNGs of ``tests/compat`` with the iicnet that is installed.

Usage::

    python tests/compat/write_compat_files.py FOLDER [CASE ...]

Each case gets a folder with ``embedding.png`` and, in ``restored/``, the pictures that this
version restores from it. The script uses nothing but the command line, so that it runs with any
version. The inputs are cut from the PNGs of ``examples/media``; nothing is random.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageSequence
from PIL.PngImagePlugin import PngInfo
from typer.testing import CliRunner

from iicnet_cli.cli import app

MEDIA = Path(__file__).resolve().parents[2] / "examples" / "media"
Inputs = Callable[[Path], list[Path]]
"""Writes the input files of a case into a folder and returns their paths."""


@dataclass(frozen=True)
class Case:
    """One PNG: its inputs and the options of ``embed``.

    Attributes:
        inputs: writes the input files.
        options: of ``embed``.
        target: where ``restore`` writes: a folder of pictures, or one file.
        stripped: remove the header chunk, so that only the mark in the pixels is left.
    """

    inputs: Inputs
    options: Sequence[str] = ()
    target: str = "pictures"
    stripped: bool = False


def cut(name: str, x: int, y: int, width: int, height: int, shrink: int = 2) -> Image.Image:
    """A part of a sample picture, at ``(x, y)`` of the picture shrunk ``shrink`` times."""
    with Image.open(MEDIA / name) as image:
        return image.reduce(shrink).crop((x, y, x + width, y + height))


def photos(count: int, width: int, height: int) -> Inputs:
    """``count`` different photos of one size."""
    places = [
        ("coffee.png", 90, 50),
        ("chelsea.png", 60, 20),
        ("coffee.png", 150, 110),
        ("chelsea.png", 110, 60),
        ("coffee.png", 30, 80),
    ]

    def write(folder: Path) -> list[Path]:
        paths = [folder / f"photo-{i}.png" for i in range(count)]
        for path, place in zip(paths, places, strict=False):
            cut(*place, width, height).save(path)
        return paths

    return write


def pan(count: int, width: int, height: int, speed: int) -> list[Image.Image]:
    """Frames of a camera that moves over a photo, ``speed`` half pixels a frame."""
    with Image.open(MEDIA / "coffee.png") as image:
        places = [(160 + speed * t, 120) for t in range(count)]
        return [image.crop((x, y, x + 2 * width, y + 2 * height)).reduce(2) for x, y in places]


def frames(count: int, width: int, height: int, speed: int = 11) -> Inputs:
    """A folder of the frames of a pan."""

    def write(folder: Path) -> list[Path]:
        clip = folder / "frames"
        clip.mkdir()
        for t, frame in enumerate(pan(count, width, height, speed)):
            frame.save(clip / f"{t}.png")
        return [clip]

    return write


def animation(milliseconds: Sequence[int], width: int, height: int, speed: int = 11) -> Inputs:
    """An animated PNG of a pan whose frames are shown for these times."""

    def write(folder: Path) -> list[Path]:
        path = folder / "animation.png"
        first, *others = pan(len(milliseconds), width, height, speed)
        first.save(path, save_all=True, append_images=others, duration=list(milliseconds))
        return [path]

    return write


def views(folder: Path) -> list[Path]:
    """The two views of a stereo pair."""
    paths = [folder / "left.png", folder / "right.png"]
    for path, view in zip(paths, pan(2, 80, 64, 13), strict=True):
        view.save(path)
    return paths


def stereo_clip(folder: Path) -> list[Path]:
    """Two moments of a stereo clip, the views side by side."""
    path = folder / "clip.png"
    moments = []
    views = pan(4, 64, 64, 11)
    for left, right in (views[:2], views[2:]):
        moments.append(Image.new("RGB", (128, 64)))
        moments[-1].paste(left, (0, 0))
        moments[-1].paste(right, (64, 0))
    moments[0].save(path, save_all=True, append_images=moments[1:], duration=40)
    return [path]


def wide_photo(folder: Path) -> list[Path]:
    """One photo that a dual view with zoom 2 is made of."""
    path = folder / "photo.png"
    cut("chelsea.png", 40, 10, 160, 128).save(path)
    return [path]


def layers(folder: Path) -> list[Path]:
    """A cut-out, and a background whose left part is white as what the cut-out stands on."""
    paths = [folder / "front.png", folder / "back.png"]
    front = cut("cup.png", 58, 36, 80, 64, shrink=3)
    back = cut("chelsea.png", 40, 10, 80, 64)
    alpha = np.array(front)
    alpha[:, :24, 3] = 0
    Image.fromarray(alpha).save(paths[0])
    back.paste((255, 255, 255), (0, 0, 24, 64))
    back.save(paths[1])
    return paths


CASES = {
    "video-5": Case(frames(5, 80, 64)),
    "video-5-no-align": Case(frames(5, 64, 64), ["--no-align"]),
    "video-5-animated": Case(animation([40, 80, 40, 120, 40, 40, 80, 60], 64, 64)),
    "video-5-animated-stripped": Case(animation([40] * 8, 64, 64), stripped=True),
    "video-3-half": Case(frames(3, 96, 80), ["--half"]),
    "stereo": Case(views, ["--task", "stereo"]),
    "stereo-clip": Case(stereo_clip, ["--layout", "side-by-side"], target="clip.png"),
    "dual": Case(wide_photo, ["--zoom", "2"]),
    "layers-2": Case(photos(2, 64, 56), ["--task", "layers"]),
    "layers-3-static": Case(layers, ["--task", "layers"]),
    "stego-2": Case(photos(2, 80, 64)),
    "stego-3": Case(photos(3, 64, 56)),
    "stego-4": Case(photos(4, 64, 56)),
    "stego-5": Case(photos(5, 64, 56)),
    "stego-2-effort-0": Case(photos(2, 64, 56), ["--effort", "0"]),
    "stego-2-effort-2": Case(photos(2, 64, 56), ["--effort", "2"]),
    "stego-2-no-enhance": Case(photos(2, 48, 40), ["--no-enhance"]),
    "stego-3-stripped": Case(photos(3, 64, 56), stripped=True),
    "stego-2-odd": Case(photos(2, 51, 43)),
    "grayscale": Case(photos(1, 64, 56), ["--task", "grayscale"], target="photo.png"),
    "rescale": Case(photos(1, 96, 80), ["--task", "rescale"], target="photo.png"),
}


def iicnet(*arguments: object) -> str:
    """Run the command line in this process and return its standard output."""
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if result.exit_code:
        raise SystemExit(f"iicnet {' '.join(map(str, arguments))}: {result.output}")
    return result.stdout


def embed(name: str, output: Path) -> None:
    """Make the PNG of a case."""
    case = CASES[name]
    with tempfile.TemporaryDirectory() as scratch:
        inputs = case.inputs(Path(scratch))
        iicnet("embed", *inputs, "-o", output, "-q", "-y", "--device", "cpu", *case.options)
    if case.stripped:
        with Image.open(output) as image:
            frames = [frame.copy() for frame in ImageSequence.Iterator(image)]
        others = {"save_all": True, "append_images": frames[1:]} if frames[1:] else {}
        frames[0].save(output, pnginfo=PngInfo(), **others)


def restore(name: str, embedding: Path, folder: Path) -> None:
    """Write what is restored from the PNG of a case as one PNG a picture."""
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch) / CASES[name].target
        iicnet("restore", embedding, "-o", target, "-q", "--device", "cpu")
        folder.mkdir(parents=True)
        for path in sorted(target.iterdir()) if target.is_dir() else [target]:
            with Image.open(path) as image:
                pictures = [frame.convert("RGB") for frame in ImageSequence.Iterator(image)]
            for i, picture in enumerate(pictures):
                number = f"-{i}" if len(pictures) > 1 else ""
                picture.save(folder / f"{path.stem}{number}.png", optimize=True)


def main(arguments: Sequence[str]) -> None:
    """Write the cases that are named, or all, into a folder."""
    root, names = Path(arguments[0]), arguments[1:] or list(CASES)
    for name in names:
        folder = root / name
        folder.mkdir(parents=True)
        embed(name, folder / "embedding.png")
        restore(name, folder / "embedding.png", folder / "restored")
        facts = json.loads(iicnet("info", folder / "embedding.png", "--json"))
        shown = ("found_by", "model", "images", "embedding_size", "enhancement_layer")
        print(name, {key: facts.get(key) for key in shown}, sorted({"motion", "common"} & {*facts}))


if __name__ == "__main__":
    main(sys.argv[1:])
