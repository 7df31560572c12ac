"""Training data in one file: a plain zip of stills and short clips, encoded anew and smaller.

It holds what a recipe would read, under the same names, and is unpacked to be read by the same
readers. So a run with the packed file holds out the same files as one with the folders.
"""

from __future__ import annotations

import io
import subprocess
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import groupby
from math import ceil
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image

from iicnet_cli.errors import IICNetError, MediaError, TrainingError
from iicnet_cli.media import ffmpeg
from iicnet_cli.media.files import replacing
from iicnet_cli.media.stills import has_alpha, read_still, read_still_with_alpha, resize
from iicnet_cli.media.suffixes import STILL_SUFFIXES, VIDEO_SUFFIXES
from iicnet_cli.pictures.arrays import Pixels
from iicnet_cli.training.data import SYNTHETIC_MARGIN, find_files, read_clip, video_samplers
from iicnet_cli.training.recipe import Recipe
from iicnet_cli.training.scenes import SUFFIX, drawn_scenes, motion_bytes

LOSSLESS = 100
UNLIMITED = 1_000_000
ROOM = 64
"""Pixels that the short side keeps beyond the recipe's crop, however small the rest must be."""

_SAMPLE = 12
_ENTRY = 76  # bytes of a zip for a file, besides its name, twice, and its data
_END = 22
_SCENES = Path("scenes")
_BYTES_OF_MOTION = 3000
"""Room that is left for each frame of a scene but the first; 750 to 1,250 were needed."""


@dataclass(frozen=True)
class Packing:
    """How pictures are stored.

    Attributes:
        quality: 1 to 100: of JPEG (4:4:4), WebP, and AVIF (4:4:4) for clips. 100 is lossless: PNG
            and FFV1.
        side: pixels of the longer side at most; the short side keeps what the recipe needs.
        share: of the files, spread evenly over their names.
    """

    quality: int = 90
    side: int = UNLIMITED
    share: float = 1.0

    def describe(self) -> str:
        """In words: ``quality 80, sides up to 512 pixels, 50% of the files``."""
        parts = ["lossless" if self.quality == LOSSLESS else f"quality {self.quality}"]
        if self.side < UNLIMITED:
            parts.append(f"sides up to {self.side} pixels")
        if self.share < 1:
            parts.append(f"{self.share:.0%} of the files")
        return ", ".join(parts)


SMALLER = (
    *(Packing(90, side) for side in (1536, 1152, 896)),
    *(Packing(85, side) for side in (896, 640)),
    *(Packing(80, 512, share) for share in (1.0, 0.7, 0.5, 0.35, 0.25, 0.15, 0.1)),
)
"""What is tried in turn until the file is small enough."""


@dataclass(frozen=True)
class Packed:
    """What a packed file holds: size in bytes, files, and scenes whose motion was found."""

    size: int
    stills: int
    clips: int
    found: int
    packing: Packing
    scenes: int = 0


class _Source(NamedTuple):
    """A file that the recipe reads, and its name in the pack."""

    path: Path
    name: Path
    kind: Literal["still", "cutout", "clip"]
    smallest: int


class _Member(NamedTuple):
    """A file in the pack."""

    name: Path
    data: bytes

    @property
    def size(self) -> int:
        """Bytes that it adds to the zip."""
        return _ENTRY + 2 * len(self.name.as_posix().encode()) + len(self.data)


def pack(
    recipe: Recipe,
    data: Sequence[Path],
    target: Path,
    *,
    packing: Packing = Packing(),
    limit: int | None = None,
    overwrite: bool = False,
    progress: Callable[[float], None] = lambda share: None,
) -> Packed:
    """Write all that a recipe reads into one file.

    A file that would not become smaller, and keeps its size in pixels, is taken as it is.

    Args:
        recipe: decides which files are read, and how small they may become.
        data: folders, or packed files.
        target: a zip, whatever its suffix.
        packing: how to store the pictures.
        limit: bytes that the file must stay under; :data:`SMALLER` packings are tried for it.
        overwrite: replace an existing file.
        progress: called with the share 0..1 of the present attempt.

    Raises:
        TrainingError: nothing to pack, or the limit cannot be kept.
        OutputExistsError, MediaError: ``target`` cannot be written.
    """
    attempts = [packing]
    if limit is not None:
        attempts += [
            Packing(min(packing.quality, p.quality), min(packing.side, p.side), p.share)
            for p in SMALLER
        ]
    wanted = recipe.scenes if recipe.task == "video" else 0
    room = None
    if limit is not None:
        room = limit - _BYTES_OF_MOTION * wanted * (recipe.network.images - 1)
    with unpacked(data) as folders, replacing(target, overwrite=overwrite) as temporary:
        sources = _sources(recipe, folders)
        for attempt in dict.fromkeys(attempts):
            chosen = _spread(sources, attempt.share)
            if room is not None and _estimate(chosen, attempt) > room:
                continue
            packed = _write(temporary, chosen, attempt, room, len(sources), progress)
            if packed is None:
                continue
            if not wanted:
                return packed
            scenes = _add_scenes(temporary, recipe, limit, progress)
            return replace(packed, size=temporary.stat().st_size, scenes=scenes)
        raise TrainingError(
            f"the data do not fit into {limit} bytes", hint="allow more, or give fewer files"
        )


@contextmanager
def unpacked(data: Sequence[Path]) -> Iterator[list[Path]]:
    """Folders for ``data``: packed files are unpacked for as long as the context is open.

    Raises:
        TrainingError: neither a folder nor a packed file.
    """
    with tempfile.TemporaryDirectory(prefix="iicnet-") as scratch:
        folders = []
        for i, path in enumerate(data):
            if not path.is_file():
                folders.append(path)
                continue
            folder = Path(scratch) / str(i)
            try:
                with zipfile.ZipFile(path) as archive:
                    archive.extractall(folder)
            except zipfile.BadZipFile as error:
                raise TrainingError(
                    f"{path} is neither a folder nor a packed file",
                    hint="--data takes folders, and what --pack has written",
                ) from error
            folders.append(folder)
        yield folders


def _sources(recipe: Recipe, folders: Sequence[Path]) -> list[_Source]:
    crop = max(stage.crop for stage in recipe.stages)
    smallest = {"video": crop + SYNTHETIC_MARGIN, "dual": 2 * crop}.get(recipe.task, crop)
    sources = []
    for i, folder in enumerate(folders):
        stills = find_files([folder], STILL_SUFFIXES)
        clips = find_files([folder], VIDEO_SUFFIXES) if recipe.task == "video" else []
        if recipe.task == "video" and not recipe.synthetic:
            stills = []
        for path in stills:
            name = Path(str(i)) / path.relative_to(folder)
            if recipe.task == "layers" and has_alpha(path):
                sources.append(_Source(path, name, "cutout", 1))
            else:
                sources.append(_Source(path, name, "still", smallest))
        for path in clips:
            name = Path(str(i)) / path.relative_to(folder)
            sources.append(_Source(path, name, "clip", crop))
    return sorted(sources, key=lambda source: source.path.name)


def _spread(sources: list[_Source], share: float) -> list[_Source]:
    """An even choice; the two pictures of a pair stay together."""

    def pair(source: _Source) -> str:
        return source.name.stem.removesuffix("_left").removesuffix("_right")

    groups = [list(group) for _, group in groupby(sources, key=pair)]
    return [
        source
        for i, group in enumerate(groups)
        if ceil((i + 1) * share) > ceil(i * share)
        for source in group
    ]


def _estimate(sources: list[_Source], packing: Packing) -> float:
    """Bytes of the pack, from a few files of each kind."""
    total = float(_END)
    for kind in ("still", "cutout", "clip"):
        of_kind = [source for source in sources if source.kind == kind]
        sample = of_kind[:: max(1, len(of_kind) // _SAMPLE)]
        sizes = [m.size for s in sample if (m := _encode(s, packing))]
        total += sum(sizes) * len(of_kind) / max(1, len(sample))
    return total


def _write(
    target: Path,
    sources: list[_Source],
    packing: Packing,
    limit: int | None,
    found: int,
    progress: Callable[[float], None],
) -> Packed | None:
    """``None`` as soon as the limit is passed."""
    counts = {"still": 0, "cutout": 0, "clip": 0}
    written = _END
    names: set[str] = set()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for i, source in enumerate(sources):
            progress(i / len(sources))
            member = _encode(source, packing)
            if member is None:
                continue
            name = member.name
            while name.as_posix() in names:
                name = name.with_stem(name.stem + "~")
            names.add(name.as_posix())
            # Without a date, so that the same data give the same file.
            archive.writestr(zipfile.ZipInfo(name.as_posix()), member.data)
            counts[source.kind] += 1
            written += member.size
            if limit is not None and written > limit:
                return None
    if not any(counts.values()):
        raise TrainingError(
            "no usable file to pack", hint="smaller crops in the recipe admit smaller files"
        )
    stills = counts["still"] + counts["cutout"]
    return Packed(target.stat().st_size, stills, counts["clip"], found, packing)


def _add_scenes(
    target: Path, recipe: Recipe, limit: int | None, progress: Callable[[float], None]
) -> int:
    """Add the motion of the scenes that the recipe wants, as found in the packed clips."""
    with unpacked([target]) as folders:
        sampler, names, _ = video_samplers(recipe, folders)
        scenes = list(drawn_scenes(sampler, names, recipe.scenes))
        with zipfile.ZipFile(target, "a", zipfile.ZIP_STORED) as archive:
            for i, scene in enumerate(scenes):
                progress(i / len(scenes))
                name = (_SCENES / scene.name).as_posix() + SUFFIX
                archive.writestr(zipfile.ZipInfo(name), motion_bytes(scene))
    if limit is not None and target.stat().st_size > limit:
        raise TrainingError(
            f"with the motion of {len(scenes)} scenes the data do not fit into {limit} bytes",
            hint="allow more, or give the recipe fewer scenes",
        )
    return len(scenes)


def _encode(source: _Source, packing: Packing) -> _Member | None:
    """The file in its smaller form; ``None`` for one that the recipe would not read either."""
    try:
        if source.kind == "clip":
            frames = read_clip(source.path)
        elif source.kind == "cutout":
            frames = read_still_with_alpha(source.path).pixels[None]
        else:
            frames = read_still(source.path).pixels[None]
    except IICNetError:
        return None
    height, width = frames.shape[1:3]
    if min(height, width) < source.smallest:
        return None
    scale = max(packing.side / max(height, width), (source.smallest + ROOM) / min(height, width))
    if scale < 1:
        size = (round(width * scale), round(height * scale))
        frames = np.stack([resize(frame, *size) for frame in frames])
    if source.kind == "clip":
        data, suffix = _clip_file(frames, packing.quality)
    else:
        data, suffix = _still_file(frames[0], packing.quality)
    if scale >= 1 and source.path.stat().st_size <= len(data):
        data, suffix = source.path.read_bytes(), source.path.suffix
    return _Member(source.name.with_suffix(suffix), data)


def _still_file(pixels: Pixels, quality: int) -> tuple[bytes, str]:
    """The file and its suffix."""
    file = io.BytesIO()
    image = Image.fromarray(pixels)
    if quality == LOSSLESS:
        image.save(file, "PNG", optimize=True)
        return file.getvalue(), ".png"
    if pixels.shape[2] == 4:
        image.save(file, "WEBP", quality=quality, alpha_quality=100, method=6)
        return file.getvalue(), ".webp"
    image.save(file, "JPEG", quality=quality, subsampling="4:4:4", optimize=True)
    return file.getvalue(), ".jpg"


def _clip_file(frames: Pixels, quality: int) -> tuple[bytes, str]:
    """The file and its suffix."""
    if quality == LOSSLESS:
        return _ffv1(frames), ".mkv"
    first, *others = (Image.fromarray(frame) for frame in frames)
    file = io.BytesIO()
    # Pillow reads it, too: rented machines often have no ffmpeg.
    first.save(
        file,
        "AVIF",
        save_all=True,
        append_images=others,
        duration=40,
        quality=quality,
        subsampling="4:4:4",
        speed=8,
    )
    return file.getvalue(), ".avifs"


def _ffv1(frames: Pixels) -> bytes:
    height, width = frames.shape[1:3]
    result = subprocess.run(
        [
            *(ffmpeg.executable(), "-hide_banner", "-loglevel", "error"),
            *("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", "25"),
            *("-i", "pipe:0", "-vf", "format=bgr0", "-c:v", "ffv1", "-level", "3", "-g", "1"),
            *("-f", "matroska", "pipe:1"),
        ],
        input=frames.tobytes(),
        capture_output=True,
        check=False,
    )
    if result.returncode:
        log = result.stderr.decode("utf-8", "replace")
        raise MediaError(f"a clip cannot be packed ({ffmpeg.reason(log)})")
    return result.stdout
