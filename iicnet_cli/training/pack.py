"""Training data in one file: a plain zip of stills and short clips, encoded anew and smaller.

It holds the files that a recipe reads, under the same names. A run unpacks it and reads it like any
folder, so it holds out the same files as a run with the original folders.
"""

from __future__ import annotations

import io
import subprocess
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
from iicnet_cli.media.kept_files import keeping
from iicnet_cli.media.stills import has_alpha, read_still, read_still_with_alpha, resize
from iicnet_cli.media.suffixes import STILL_SUFFIXES, VIDEO_SUFFIXES
from iicnet_cli.media.temporary import scratch_folder
from iicnet_cli.pictures.arrays import Pixels
from iicnet_cli.training.data import (
    SYNTHETIC_MARGIN,
    find_files,
    load_video_samplers,
    read_clip,
)
from iicnet_cli.training.recipe import Recipe
from iicnet_cli.training.scenes import MOTION_SUFFIX, draw_scenes, encode_motion

LOSSLESS = 100
"""Quality at which pictures are stored without loss."""
UNLIMITED = 1_000_000
"""Number of pixels that the side of no picture reaches."""
SIZE_MARGIN = 64
"""The shorter side of a packed picture stays this many pixels larger than the recipe needs."""

_FILES_PER_ESTIMATE = 12
"""The size of a packed file is estimated from about this many files of each kind."""
_ZIP_ENTRY_BYTES = 76
"""Bytes of a zip for each file, besides its data and twice its name."""
_ZIP_END_BYTES = 22
"""Bytes of a zip at its end."""
_SCENE_FOLDER = Path("scenes")
_RESERVED_MOTION_BYTES = 3000
"""Bytes reserved for the motion of each frame of a scene but the first (usual: 750 to 1,250)."""


@dataclass(frozen=True)
class Packing:
    """How pictures are stored, and how many.

    Attributes:
        quality: quality of JPEG (4:4:4) and WebP for stills and of AVIF (4:4:4) for clips, 1 to
            100. At 100 they are lossless, PNG and FFV1.
        side: maximum of the longer side, in pixels. The shorter side keeps what the recipe needs.
        share: share of the files that is taken, 0 to 1, spread evenly over their names.
    """

    quality: int = 90
    side: int = UNLIMITED
    share: float = 1.0

    def describe(self) -> str:
        """Return a description: ``quality 80, sides up to 512 pixels, 50% of the files``."""
        parts = ["lossless" if self.quality == LOSSLESS else f"quality {self.quality}"]
        if self.side < UNLIMITED:
            parts.append(f"sides up to {self.side} pixels")
        if self.share < 1:
            parts.append(f"{self.share:.0%} of the files")
        return ", ".join(parts)


FALLBACK_PACKINGS = (
    *(Packing(90, side) for side in (1536, 1152, 896)),
    *(Packing(85, side) for side in (896, 640)),
    *(Packing(80, 512, share) for share in (1.0, 0.7, 0.5, 0.35, 0.25, 0.15, 0.1)),
)
"""These are tried in turn until the file is small enough."""


@dataclass(frozen=True)
class PackSummary:
    """The content of a packed file.

    Attributes:
        size: bytes of the file.
        stills: number of stills in it, cut-outs included.
        clips: number of clips in it.
        found: number of files that were found for the recipe.
        packing: how the pictures are stored.
        scenes: number of scenes whose motion it holds.
    """

    size: int
    stills: int
    clips: int
    found: int
    packing: Packing
    scenes: int = 0


class _Source(NamedTuple):
    """A file that the recipe reads.

    Attributes:
        path: where it is.
        name: its name in the zip, with the suffix of the original.
        kind: what it holds.
        smallest: minimum length of its shorter side for the recipe, in pixels.
    """

    path: Path
    name: Path
    kind: Literal["still", "cutout", "clip"]
    smallest: int


class _Member(NamedTuple):
    """A file in the zip."""

    name: Path
    data: bytes

    @property
    def size(self) -> int:
        """Bytes that it adds to the zip."""
        return _ZIP_ENTRY_BYTES + 2 * len(self.name.as_posix().encode()) + len(self.data)


def pack(
    recipe: Recipe,
    data: Sequence[Path],
    target: Path,
    *,
    packing: Packing = Packing(),
    limit: int | None = None,
    overwrite: bool = False,
    progress: Callable[[float], None] = lambda share: None,
) -> PackSummary:
    """Write all files that a recipe reads into one file.

    A file that would keep its size in pixels and not become smaller is copied as it is.

    Args:
        recipe: decides which files are read, and how small they may become.
        data: folders, or packed files.
        target: the file to write, a zip whatever its suffix.
        packing: how to store the pictures.
        limit: maximum size of the file, in bytes. If the file is larger, the
            :data:`FALLBACK_PACKINGS` are tried.
        overwrite: replace an existing file.
        progress: called with the finished share, 0 to 1, of the present attempt.

    Raises:
        TrainingError: there is nothing to pack, or no packing stays within the limit.
        UsageError: ``target`` is part of the data.
        OutputExistsError, MediaError: ``target`` cannot be written.
    """
    scenes = recipe.scenes if recipe.task == "video" else 0
    picture_limit = None
    if limit is not None:
        picture_limit = limit - _RESERVED_MOTION_BYTES * scenes * (recipe.network.images - 1)
    with (
        keeping(data),
        unpacked(data) as folders,
        replacing(target, overwrite=overwrite) as temporary,
    ):
        sources = _find_sources(recipe, folders)
        for attempt in _attempts(packing, limit):
            chosen = _choose_evenly(sources, attempt.share)
            if picture_limit is not None and _estimate_size(chosen, attempt) > picture_limit:
                continue
            summary = _write_pictures(
                temporary, chosen, attempt, picture_limit, len(sources), progress
            )
            if summary is None:
                continue
            if not scenes:
                return summary
            added = _add_scenes(temporary, recipe, limit, progress)
            return replace(summary, size=temporary.stat().st_size, scenes=added)
        raise TrainingError(
            f"the data do not fit into {limit} bytes", hint="allow more, or give fewer files"
        )


def _attempts(packing: Packing, limit: int | None) -> list[Packing]:
    """List the packings to try: the one that was asked for, then the fallbacks, none above it."""
    attempts = [packing]
    if limit is not None:
        attempts += [
            Packing(
                min(packing.quality, fallback.quality),
                min(packing.side, fallback.side),
                fallback.share,
            )
            for fallback in FALLBACK_PACKINGS
        ]
    return list(dict.fromkeys(attempts))


@contextmanager
def unpacked(data: Sequence[Path]) -> Iterator[list[Path]]:
    """Unpack the packed files among ``data`` to temporary folders while the context is open.

    Yields:
        One folder for each element of ``data``. Elements that are not files are returned as they
        are.

    Raises:
        TrainingError: a file is not a packed file.
    """
    with scratch_folder() as scratch:
        folders = []
        for i, path in enumerate(data):
            if not path.is_file():
                folders.append(path)
                continue
            folder = scratch / str(i)
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


def _find_sources(recipe: Recipe, folders: Sequence[Path]) -> list[_Source]:
    """Find the files that the recipe reads, sorted by name."""
    crop = recipe.largest_crop
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


def _choose_evenly(sources: list[_Source], share: float) -> list[_Source]:
    """Choose a share of the files, spread evenly; both pictures of a stereo pair or neither."""

    def pair_name(source: _Source) -> str:
        return source.name.stem.removesuffix("_left").removesuffix("_right")

    groups = [list(group) for _, group in groupby(sources, key=pair_name)]
    return [
        source
        for i, group in enumerate(groups)
        if ceil((i + 1) * share) > ceil(i * share)
        for source in group
    ]


def _estimate_size(sources: list[_Source], packing: Packing) -> float:
    """Estimate the bytes of the zip from a few files of each kind."""
    total = float(_ZIP_END_BYTES)
    for kind in ("still", "cutout", "clip"):
        of_kind = [source for source in sources if source.kind == kind]
        sample = of_kind[:: max(1, len(of_kind) // _FILES_PER_ESTIMATE)]
        sizes = [member.size for source in sample if (member := _encode(source, packing))]
        total += sum(sizes) * len(of_kind) / max(1, len(sample))
    return total


def _write_pictures(
    target: Path,
    sources: list[_Source],
    packing: Packing,
    limit: int | None,
    found: int,
    progress: Callable[[float], None],
) -> PackSummary | None:
    """Write the zip; return ``None`` as soon as it exceeds the limit in bytes."""
    counts = {"still": 0, "cutout": 0, "clip": 0}
    written = _ZIP_END_BYTES
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
            # The entries have no date, so that the same data give the same file.
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
    return PackSummary(target.stat().st_size, stills, counts["clip"], found, packing)


def _add_scenes(
    target: Path, recipe: Recipe, limit: int | None, progress: Callable[[float], None]
) -> int:
    """Find the motion of the recipe's scenes in the packed clips, add it, return their number."""
    with unpacked([target]) as folders:
        sampler, names, _ = load_video_samplers(recipe, folders)
        scenes = list(draw_scenes(sampler, names, recipe.scenes))
        with zipfile.ZipFile(target, "a", zipfile.ZIP_STORED) as archive:
            for i, scene in enumerate(scenes):
                progress(i / len(scenes))
                name = (_SCENE_FOLDER / scene.name).as_posix() + MOTION_SUFFIX
                archive.writestr(zipfile.ZipInfo(name), encode_motion(scene))
    if limit is not None and target.stat().st_size > limit:
        raise TrainingError(
            f"with the motion of {len(scenes)} scenes the data do not fit into {limit} bytes",
            hint="allow more, or give the recipe fewer scenes",
        )
    return len(scenes)


def _encode(source: _Source, packing: Packing) -> _Member | None:
    """Encode a file, scaled down if it is too large; ``None`` if the recipe would not read it."""
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
    scale = max(
        packing.side / max(height, width), (source.smallest + SIZE_MARGIN) / min(height, width)
    )
    if scale < 1:
        size = (round(width * scale), round(height * scale))
        frames = np.stack([resize(frame, *size) for frame in frames])
    if source.kind == "clip":
        data, suffix = _encode_clip(frames, packing.quality)
    else:
        data, suffix = _encode_still(frames[0], packing.quality)
    if scale >= 1 and source.path.stat().st_size <= len(data):
        data, suffix = source.path.read_bytes(), source.path.suffix
    return _Member(source.name.with_suffix(suffix), data)


def _encode_still(pixels: Pixels, quality: int) -> tuple[bytes, str]:
    """Return the bytes of the file, and its suffix."""
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


def _encode_clip(frames: Pixels, quality: int) -> tuple[bytes, str]:
    """Return the bytes of the file, and its suffix."""
    if quality == LOSSLESS:
        return _encode_ffv1(frames), ".mkv"
    first, *others = (Image.fromarray(frame) for frame in frames)
    file = io.BytesIO()
    # AVIF, because Pillow reads it as well; rented machines often have no ffmpeg.
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


def _encode_ffv1(frames: Pixels) -> bytes:
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
