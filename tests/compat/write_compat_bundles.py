"""Write the small pictures of ``tests/compat/files-N`` with the iicnet that is installed.

Usage::

    python tests/compat/write_compat_bundles.py FOLDER [CASE...]

Each case gets a folder with ``embedding.png`` or ``embedding.jpg``, and ``restored.json``: the
SHA-256 of what ``restore`` writes, by its name: of the bytes of files, of the pixels of clips in
.mkv.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from iicnet_cli import Converter, EmbedOptions, RestoreOptions
from iicnet_cli.media import ffmpeg

MEDIA = Path(__file__).resolve().parents[2] / "examples" / "media"
PASSWORD = "gr\u00fcn 1"


@dataclass(frozen=True)
class BundleCase:
    """One PNG.

    Attributes:
        inputs: writes the input files into a folder, and returns them.
        options: of ``embed``.
        target: name of the file or folder that ``restore`` writes.
        embedding: name of the file that ``embed`` writes.
    """

    inputs: Callable[[Path], list[Path]]
    options: EmbedOptions
    target: str
    embedding: str = "embedding.png"


def photos(folder: Path) -> list[Path]:
    """A cover and a small photo."""
    with Image.open(MEDIA / "coffee.png") as image:
        image.crop((180, 100, 292, 192)).save(folder / "cover.png")
    with Image.open(MEDIA / "chelsea.png") as image:
        image.crop((120, 60, 148, 82)).save(folder / "small.png")
    return [folder / "cover.png", folder / "small.png"]


def photos_for_jpeg(folder: Path) -> list[Path]:
    """A larger cover, and the small photo."""
    _, small = photos(folder)
    with Image.open(MEDIA / "coffee.png") as image:
        image.crop((100, 50, 420, 338)).save(folder / "cover.png")
    return [folder / "cover.png", small]


def photos_for_small_version(folder: Path) -> list[Path]:
    """A cover that is large enough for a small version, and the small photo."""
    _, small = photos(folder)
    with Image.open(MEDIA / "coffee.png") as image:
        image.crop((80, 0, 560, 400)).save(folder / "cover.png")
    return [folder / "cover.png", small]


def frames(count: int) -> Callable[[Path], list[Path]]:
    """A folder of frames of a camera that moves over a photo."""

    def write(folder: Path) -> list[Path]:
        clip = folder / "frames"
        clip.mkdir()
        with Image.open(MEDIA / "coffee.png") as image:
            for t in range(count):
                image.crop((160 + 6 * t, 120, 256 + 6 * t, 184)).save(clip / f"{t}.png")
        return [clip]

    return write


def clip_with_sound(folder: Path) -> list[Path]:
    """A clip of 12 frames with a tone."""
    pictures = frames(12)(folder)[0]
    path = folder / "tone.mkv"
    command = [ffmpeg.executable(), "-v", "error", "-r", "25", "-i", f"{pictures}/%d.png"]
    command += ["-f", "lavfi", "-i", "sine=440:d=0.48", "-c:v", "ffv1", "-c:a", "flac"]
    subprocess.run([*command, str(path)], check=True)
    return [path]


CASES = {
    "animation": BundleCase(
        clip_with_sound, EmbedOptions(engine="lowbits", min_psnr=42), "clip.webm"
    ),
    "clip": BundleCase(frames(5), EmbedOptions(engine="lowbits", min_psnr=20), "clip.mkv"),
    "clip-with-sound": BundleCase(
        clip_with_sound, EmbedOptions(engine="lowbits", min_psnr=15), "clip.webm"
    ),
    "exact": BundleCase(
        photos,
        EmbedOptions(engine="lowbits", exact=True, attachments=(MEDIA / "README.md",)),
        "photos",
    ),
    "jpeg-70-small-version": BundleCase(
        photos_for_small_version,
        EmbedOptions(engine="jpegproof", destination="jpeg:70"),
        "photos",
        "embedding.jpg",
    ),
    "jpeg-75-png": BundleCase(
        photos_for_jpeg, EmbedOptions(engine="jpegproof", destination="jpeg:75"), "photos"
    ),
    "jpeg-85-jpg": BundleCase(
        photos_for_jpeg,
        EmbedOptions(engine="jpegproof", destination="jpeg:85"),
        "photos",
        "embedding.jpg",
    ),
    "password": BundleCase(photos, EmbedOptions(engine="lowbits", password=PASSWORD), "photos"),
}


def restored_hashes(png: Path, case: BundleCase) -> dict[str, str]:
    """Restore a PNG; the SHA-256 of what came, by name."""
    from iicnet_cli.media.video_reader import open_frames

    found = {}
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch) / case.target
        options = RestoreOptions(password=case.options.password)
        outputs = Converter().restore(png, target, options=options).outputs
        for path in outputs:
            data = path.read_bytes()
            if path.suffix == ".mkv":
                with open_frames(path) as pictures:
                    data = np.stack(list(pictures)).tobytes()
            found[path.name] = hashlib.sha256(data).hexdigest()
    return found


def main(arguments: Sequence[str]) -> None:
    """Write all cases, or those that are named, into a folder."""
    root = Path(arguments[0])
    for name in arguments[1:] or CASES:
        case = CASES[name]
        folder = root / name
        if folder.exists():
            continue
        folder.mkdir(parents=True)
        png = folder / case.embedding
        with tempfile.TemporaryDirectory() as scratch:
            report = Converter().embed(case.inputs(Path(scratch)), png, options=case.options)
        hashes = restored_hashes(png, case)
        (folder / "restored.json").write_text(json.dumps(hashes, indent=1) + "\n")
        print(name, report.embeddings, report.embed_psnr, report.notes, png.stat().st_size, hashes)


if __name__ == "__main__":
    main(sys.argv[1:])
