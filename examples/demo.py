"""Embed and restore the sample photos and the sample clip with the command line (make demo)."""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from itertools import islice
from pathlib import Path

import numpy as np
from contact_sheet import contact_sheet

from iicnet_cli.media.stills import read_still
from iicnet_cli.media.video_reader import open_frames
from iicnet_cli.payload.embedding_reader import EmbeddingReader

ROOT = Path(__file__).resolve().parents[1]
MEDIA = ROOT / "examples" / "media"
PHOTOS = [MEDIA / name for name in ("china.jpg", "coffee.png", "flower.jpg")]
CLIP = MEDIA / "city.mp4"
SHOWN_GROUP = 4
"""Index of the group of frames on the contact sheet: one from the middle of the clip."""


def iicnet(*arguments: object) -> None:
    """Run ``iicnet`` with this interpreter; if it fails, exit with its status."""
    words = [str(argument) for argument in arguments]
    print("$", shlex.join(["iicnet", *words]), flush=True)
    status = subprocess.run([sys.executable, "-m", "iicnet_cli", *words], check=False).returncode
    if status:
        raise SystemExit(status)


def photos(folder: Path) -> Path:
    """Hide two photos in a third, and restore them; returns the contact sheet."""
    png, restored, sheet = folder / "photos.png", folder / "photos", folder / "contact-stego.png"
    iicnet("embed", *map(_shorten, PHOTOS), "--model", "stego-3", "-o", _shorten(png), "-y")
    iicnet("restore", _shorten(png), "-o", _shorten(restored), "-y")
    contact_sheet(
        [read_still(path).pixels for path in PHOTOS],
        read_still(png).pixels,
        [read_still(restored / f"{path.stem}.png").pixels for path in PHOTOS],
        names=[PHOTOS[0].name + " (cover)", *(path.name + " (hidden)" for path in PHOTOS[1:])],
    ).save(sheet)
    return sheet


def clip(folder: Path) -> Path:
    """Put a clip into an animated PNG of a fifth of its frames; returns the contact sheet."""
    png, restored, sheet = folder / "clip.png", folder / "clip.mkv", folder / "contact-video.png"
    iicnet("embed", _shorten(CLIP), "--model", "video-5", "-o", _shorten(png), "-y")
    iicnet("restore", _shorten(png), "-o", _shorten(restored), "-y")
    with EmbeddingReader(png) as reader:
        assert reader.header is not None
        images = reader.header.images
        embedding = np.array(next(islice(reader, SHOWN_GROUP, None)))
    first = SHOWN_GROUP * images
    with open_frames(CLIP) as before, open_frames(restored) as after:
        pairs = list(islice(zip(before, after, strict=True), first, first + images))
    reference = (images - 1) // 2
    contact_sheet(
        [original for original, _ in pairs],
        embedding,
        [copy for _, copy in pairs],
        reference=reference,
        names=[
            f"frame {first + i + 1}" + (" (reference)" if i == reference else "")
            for i in range(len(pairs))
        ],
    ).save(sheet)
    return sheet


def _shorten(path: Path) -> Path:
    """The path relative to the working folder, if it is inside."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def main() -> None:
    """Run the demo."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / "demo", metavar="FOLDER")
    folder: Path = parser.parse_args().output.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    sheets = [photos(folder), clip(folder)]
    print()
    print(f"Look at {' and '.join(str(_shorten(sheet)) for sheet in sheets)}:")
    print("originals, what the PNG shows, what was restored from it, and the errors.")
    print(
        f"{_shorten(folder / 'clip.png')} plays in any browser; {_shorten(folder / 'clip.mkv')} is"
    )
    print("the clip restored from it.")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
