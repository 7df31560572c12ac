"""Training data: files held in memory, and the batches that are drawn from them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from collections.abc import Generator as Yields
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iicnet_cli.errors import IICNetError, TrainingError
from iicnet_cli.media.stills import has_alpha, read_still, read_still_with_alpha
from iicnet_cli.media.suffixes import STILL_SUFFIXES, VIDEO_SUFFIXES
from iicnet_cli.media.video_reader import open_frames
from iicnet_cli.pictures.arrays import PixelArray, Pixels
from iicnet_cli.tasks.dual import ZOOMS
from iicnet_cli.training.distributed import Team
from iicnet_cli.training.recipe import Recipe, Stage
from iicnet_cli.training.samplers import (
    DualSampler,
    LayersSampler,
    Sampler,
    StegoSampler,
    StereoSampler,
    VideoSampler,
)
from iicnet_cli.training.scenes import compensated_scenes, drawn_scenes

CLIP_FRAMES = 45
"""Frames that are read of each clip, from its beginning."""
SYNTHETIC_MARGIN = 64
"""Pixels that photos to be moved must be larger than the crop."""


def load_photos(folders: Sequence[Path], *, smallest: int) -> list[tuple[str, Pixels]]:
    """All stills under ``folders`` whose sides are at least ``smallest`` pixels, sorted by name."""
    return _read_photos(find_files(folders, STILL_SUFFIXES), smallest=smallest)


def _read_photos(paths: Sequence[Path], *, smallest: int) -> list[tuple[str, Pixels]]:
    photos = []
    for path in paths:
        try:
            pixels = read_still(path).pixels
        except IICNetError:
            continue
        if min(pixels.shape[:2]) >= smallest:
            photos.append((path.name, pixels))
    return photos


def load_clips(folders: Sequence[Path], *, smallest: int) -> list[tuple[str, Pixels]]:
    """The first frames of all clips under ``folders``, each (T, H, W, 3)."""
    clips = []
    for path in find_files(folders, VIDEO_SUFFIXES):
        try:
            clip = read_clip(path)
        except IICNetError:
            continue
        if min(clip.shape[1:3]) >= smallest:
            clips.append((path.name, clip))
    return clips


def read_clip(path: Path) -> Pixels:
    """The first frames of a clip, (T, H, W, 3).

    Raises:
        MediaError: it cannot be read.
    """
    with open_frames(path, frames=CLIP_FRAMES) as source:
        return np.stack(list(source))


def load_pairs(folders: Sequence[Path], *, smallest: int) -> list[tuple[str, Pixels]]:
    """All pairs NAME_left, NAME_right of stills under ``folders``, each (2, H, W, 3)."""
    photos = {Path(name).stem: pixels for name, pixels in load_photos(folders, smallest=smallest)}
    pairs = []
    for stem, left in photos.items():
        right = photos.get(stem.removesuffix("_left") + "_right")
        if stem.endswith("_left") and right is not None and right.shape == left.shape:
            pairs.append((stem, np.stack([left, right])))
    return pairs


def load_cutouts(folders: Sequence[Path]) -> list[tuple[str, Pixels]]:
    """All stills with transparency under ``folders``, each (H, W, 4)."""
    return [
        (path.name, read_still_with_alpha(path).pixels)
        for path in find_files(folders, STILL_SUFFIXES)
        if has_alpha(path)
    ]


def build_samplers(recipe: Recipe, folders: Sequence[Path]) -> tuple[Sampler, list[PixelArray]]:
    """The training sampler, and fixed held-out samples (K, H, W, 3) that it never draws from.

    One file in ten is held out, spread over the names, and at least as many as one sample needs.
    Pictures that only help to make samples (for synthetic motion, or as backgrounds) are shared.
    The motion of a recipe's scenes is found here, about a second each, unless a packed file has it.

    Raises:
        TrainingError: the folders hold too few usable files.
    """
    images = recipe.network.images
    crop = max(stage.crop for stage in recipe.stages)
    sampler: Sampler
    held: Sampler
    if recipe.task == "video":
        photos = []
        if recipe.synthetic:
            photos = _pixels(load_photos(folders, smallest=crop + SYNTHETIC_MARGIN))
        sampler, names, held = video_samplers(recipe, folders, photos)
        if recipe.scenes:
            scenes = drawn_scenes(sampler, names, recipe.scenes)
            sampler.scenes = compensated_scenes(scenes, folders)
    elif recipe.task == "stereo":
        paired = load_pairs(folders, smallest=crop)
        of_pairs = {stem[: -len("_left")] for stem, _ in paired}
        photos = [
            pixels
            for name, pixels in load_photos(folders, smallest=crop + SYNTHETIC_MARGIN)
            if Path(name).stem.rpartition("_")[0] not in of_pairs
        ]
        kept, out = _hold_out(paired, 1)
        sampler = StereoSampler(_pixels(kept), photos, recipe.synthetic)
        held = StereoSampler(_pixels(out), [], 0.0)
    elif recipe.task == "layers":
        kept, out = _hold_out(load_cutouts(folders), 1)
        opaque = [p for p in find_files(folders, STILL_SUFFIXES) if not has_alpha(p)]
        photos = _pixels(_read_photos(opaque, smallest=crop))
        sampler = LayersSampler(_pixels(kept), photos, images)
        held = LayersSampler(_pixels(out), photos, images)
    elif recipe.task == "dual":
        kept, out = _hold_out(load_photos(folders, smallest=2 * crop), 1)
        sampler = DualSampler(_pixels(kept), ZOOMS, crop)
        held = DualSampler(_pixels(out), ZOOMS, crop)
    else:
        kept, out = _hold_out(load_photos(folders, smallest=crop), images)
        sampler = StegoSampler(_pixels(kept), images)
        held = StegoSampler(_pixels(out), images)
    rng = np.random.default_rng(0)
    return sampler, [held.sample(rng, crop) for _ in range(12)]


def video_samplers(
    recipe: Recipe, folders: Sequence[Path], photos: Sequence[Pixels] = ()
) -> tuple[VideoSampler, list[str], VideoSampler]:
    """The training sampler without scenes, the names of its clips, and the sampler held out.

    Raises:
        TrainingError: the folders hold too few clips.
    """
    images = recipe.network.images
    found = load_clips(folders, smallest=max(stage.crop for stage in recipe.stages))
    kept, out = _hold_out([(name, clip) for name, clip in found if len(clip) >= images], 1)
    sampler = VideoSampler(_pixels(kept), photos, images, recipe.strides, recipe.synthetic)
    held = VideoSampler(_pixels(out), [], images, (1,), 0.0)
    return sampler, [name for name, _ in kept], held


def _pixels(files: list[tuple[str, Pixels]]) -> list[Pixels]:
    return [pixels for _, pixels in files]


def batches(
    sampler: Sampler,
    recipe: Recipe,
    first_step: int,
    progress: Callable[[int], float],
    team: Team = Team(),
) -> Yields[PixelArray, None, None]:
    """Endless batches (B, K, crop, crop, 3), made in a thread of their own, two ahead.

    The batch of a step depends on the recipe's seed, the step and ``progress(step)``, the share
    of the run that decides its crop and batch size. A process of a team gets its rows of it.
    """

    def make(step: int, stage: Stage) -> PixelArray:
        rows = (np.random.default_rng([recipe.seed, step, row]) for row in team.rows(stage.batch))
        samples: list[NDArray[Any]] = [sampler.sample(rng, stage.crop) for rng in rows]
        return np.stack(samples)

    thread = ThreadPoolExecutor(1)
    ahead: deque[Future[PixelArray]] = deque()
    try:
        for step in count(first_step):
            ahead.append(thread.submit(make, step, recipe.stage(progress(step))))
            if len(ahead) > 2:
                yield ahead.popleft().result()
    finally:
        thread.shutdown(cancel_futures=True)


def _hold_out(
    files: list[tuple[str, Pixels]], fewest: int
) -> tuple[list[tuple[str, Pixels]], list[tuple[str, Pixels]]]:
    if len(files) < 2 * fewest:
        raise TrainingError(
            f"too little data: {len(files)} usable files, at least {2 * fewest} are needed",
            hint="smaller crops in the recipe admit smaller files",
        )
    every = min(10, len(files) // fewest)
    held = [file for i, file in enumerate(files) if i % every == every - 1]
    kept = [file for i, file in enumerate(files) if i % every != every - 1]
    return kept, held


def find_files(folders: Sequence[Path], suffixes: frozenset[str]) -> list[Path]:
    """All files with these suffixes under ``folders``, sorted by name.

    Raises:
        TrainingError: one of them is no folder.
    """
    found = []
    for folder in folders:
        if not folder.is_dir():
            raise TrainingError(f"no folder {folder}", hint="--data takes folders and packed files")
        found += [p for p in folder.rglob("*") if p.suffix.lower() in suffixes]
    return sorted(found, key=lambda p: p.name)
