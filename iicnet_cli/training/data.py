"""Training data: files held in memory, and the batches that are drawn from them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

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
from iicnet_cli.training.scenes import compensate_scenes, draw_scenes

CLIP_FRAMES = 45
"""Only this many frames of each clip are read, from its beginning."""
SYNTHETIC_MARGIN = 64
"""Photos for synthetic motion must be this many pixels larger than the crop."""
_HELD_OUT_SAMPLES = 12
_BATCHES_AHEAD = 2

NamedPixels = tuple[str, Pixels]
"""The name of a file, and its pixels."""


class TrainingData(NamedTuple):
    """What a run draws its samples from.

    Attributes:
        sampler: draws the training samples.
        held_out: fixed samples (K, H, W, 3) from files that the sampler never uses.
    """

    sampler: Sampler
    held_out: list[PixelArray]


class VideoSamplers(NamedTuple):
    """The samplers of a video recipe, without scenes.

    Attributes:
        training: draws the training samples.
        names: file names of its clips.
        held_out: draws from the clips that are held out.
    """

    training: VideoSampler
    names: list[str]
    held_out: VideoSampler


def load_photos(folders: Sequence[Path], *, smallest: int) -> list[NamedPixels]:
    """Read all stills under the folders whose sides are at least ``smallest`` pixels.

    Files that cannot be read are left out.

    Returns:
        The stills (H, W, 3), sorted by file name.
    """
    return _read_photos(find_files(folders, STILL_SUFFIXES), smallest)


def _read_photos(paths: Sequence[Path], smallest: int) -> list[NamedPixels]:
    photos = []
    for path in paths:
        try:
            pixels = read_still(path).pixels
        except IICNetError:
            continue
        if min(pixels.shape[:2]) >= smallest:
            photos.append((path.name, pixels))
    return photos


def load_clips(folders: Sequence[Path], *, smallest: int) -> list[NamedPixels]:
    """Read all clips under the folders whose sides are at least ``smallest`` pixels.

    Files that cannot be read are left out.

    Returns:
        The first frames of each clip, as of :func:`read_clip`, sorted by file name.
    """
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
    """Read the first :data:`CLIP_FRAMES` frames of a clip, (T, H, W, 3).

    Raises:
        MediaError: the clip cannot be read.
    """
    with open_frames(path, frames=CLIP_FRAMES) as source:
        return np.stack(list(source))


def load_pairs(folders: Sequence[Path], *, smallest: int) -> list[NamedPixels]:
    """Read all pairs of stills NAME_left, NAME_right under the folders, each (2, H, W, 3).

    Pairs whose sides are below ``smallest`` pixels are left out.
    """
    photos = {Path(name).stem: pixels for name, pixels in load_photos(folders, smallest=smallest)}
    pairs = []
    for stem, left in photos.items():
        right = photos.get(stem.removesuffix("_left") + "_right")
        if stem.endswith("_left") and right is not None and right.shape == left.shape:
            pairs.append((stem, np.stack([left, right])))
    return pairs


def load_cutouts(folders: Sequence[Path]) -> list[NamedPixels]:
    """Read all stills with transparency under the folders, each (H, W, 4)."""
    return [
        (path.name, read_still_with_alpha(path).pixels)
        for path in find_files(folders, STILL_SUFFIXES)
        if has_alpha(path)
    ]


def load_data(recipe: Recipe, folders: Sequence[Path]) -> TrainingData:
    """Read the files that the recipe needs, and split them into training and held-out data.

    One file in ten is held out, spread evenly over the names, and at least as many as one sample
    needs. Pictures that only help to make samples (backgrounds, photos for synthetic motion) serve
    both. The motion of a recipe's scenes is found here, in about a second each, unless the folders
    have it from a packed file.

    Raises:
        TrainingError: the folders hold too few usable files.
    """
    load = {
        "video": _load_video,
        "stereo": _load_stereo,
        "layers": _load_layers,
        "dual": _load_dual,
    }.get(recipe.task, _load_stego)
    training, held_out = load(recipe, folders)
    rng = np.random.default_rng(0)
    samples = [held_out.sample(rng, recipe.largest_crop) for _ in range(_HELD_OUT_SAMPLES)]
    return TrainingData(training, samples)


def _load_video(recipe: Recipe, folders: Sequence[Path]) -> tuple[Sampler, Sampler]:
    photos = []
    if recipe.synthetic:
        smallest = recipe.largest_crop + SYNTHETIC_MARGIN
        photos = _pixels(load_photos(folders, smallest=smallest))
    sampler, names, held_out = load_video_samplers(recipe, folders, photos)
    if recipe.scenes:
        scenes = draw_scenes(sampler, names, recipe.scenes)
        sampler.scenes = compensate_scenes(scenes, folders)
    return sampler, held_out


def load_video_samplers(
    recipe: Recipe, folders: Sequence[Path], photos: Sequence[Pixels] = ()
) -> VideoSamplers:
    """Read the clips of a video recipe, and build its samplers.

    Args:
        recipe: a recipe of the task video.
        folders: folders with clips.
        photos: photos for synthetic clips.

    Raises:
        TrainingError: the folders hold too few clips.
    """
    images = recipe.network.images
    clips = load_clips(folders, smallest=recipe.largest_crop)
    kept, held = _hold_out([(name, clip) for name, clip in clips if len(clip) >= images], 1)
    return VideoSamplers(
        VideoSampler(_pixels(kept), photos, images, recipe.strides, recipe.synthetic),
        [name for name, _ in kept],
        VideoSampler(_pixels(held), [], images, (1,), 0.0),
    )


def _load_stereo(recipe: Recipe, folders: Sequence[Path]) -> tuple[Sampler, Sampler]:
    crop = recipe.largest_crop
    pairs = load_pairs(folders, smallest=crop)
    paired_names = {stem.removesuffix("_left") for stem, _ in pairs}
    photos = [
        pixels
        for name, pixels in load_photos(folders, smallest=crop + SYNTHETIC_MARGIN)
        if Path(name).stem.rpartition("_")[0] not in paired_names
    ]
    kept, held = _hold_out(pairs, 1)
    return (
        StereoSampler(_pixels(kept), photos, recipe.synthetic),
        StereoSampler(_pixels(held), [], 0.0),
    )


def _load_layers(recipe: Recipe, folders: Sequence[Path]) -> tuple[Sampler, Sampler]:
    images = recipe.network.images
    kept, held = _hold_out(load_cutouts(folders), 1)
    opaque = [path for path in find_files(folders, STILL_SUFFIXES) if not has_alpha(path)]
    photos = _pixels(_read_photos(opaque, recipe.largest_crop))
    return (
        LayersSampler(_pixels(kept), photos, images),
        LayersSampler(_pixels(held), photos, images),
    )


def _load_dual(recipe: Recipe, folders: Sequence[Path]) -> tuple[Sampler, Sampler]:
    crop = recipe.largest_crop
    kept, held = _hold_out(load_photos(folders, smallest=min(ZOOMS) * crop), 1)
    return DualSampler(_pixels(kept), ZOOMS, crop), DualSampler(_pixels(held), ZOOMS, crop)


def _load_stego(recipe: Recipe, folders: Sequence[Path]) -> tuple[Sampler, Sampler]:
    images = recipe.network.images
    kept, held = _hold_out(load_photos(folders, smallest=recipe.largest_crop), images)
    return StegoSampler(_pixels(kept), images), StegoSampler(_pixels(held), images)


def _pixels(files: list[NamedPixels]) -> list[Pixels]:
    return [pixels for _, pixels in files]


def _hold_out(files: list[NamedPixels], fewest: int) -> tuple[list[NamedPixels], list[NamedPixels]]:
    """Split files into those to train with, and those to hold out, ``fewest`` at least."""
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
    """Find all files with these suffixes under the folders, sorted by name.

    Raises:
        TrainingError: one of the folders does not exist.
    """
    found = []
    for folder in folders:
        if not folder.is_dir():
            raise TrainingError(f"no folder {folder}", hint="--data takes folders and packed files")
        found += [path for path in folder.rglob("*") if path.suffix.lower() in suffixes]
    return sorted(found, key=lambda path: path.name)


def batches(
    sampler: Sampler,
    recipe: Recipe,
    first_step: int,
    progress: Callable[[int], float],
    team: Team = Team(),
) -> Generator[PixelArray, None, None]:
    """Draw the batches of all steps in a thread of their own, two ahead, without end.

    The batch of a step depends on nothing but the recipe, the step and the progress at that step.

    Args:
        sampler: draws the samples.
        recipe: decides the seed, and the size of crops and batches.
        first_step: step of the first batch.
        progress: returns the share of the run, 0 to 1, that is done at a step.
        team: the processes that share each batch.

    Yields:
        This process's rows of the batch, (B, K, crop, crop, 3).
    """

    def draw(step: int, stage: Stage) -> PixelArray:
        rows = (np.random.default_rng([recipe.seed, step, row]) for row in team.rows(stage.batch))
        samples: list[NDArray[Any]] = [sampler.sample(rng, stage.crop) for rng in rows]
        return np.stack(samples)

    thread = ThreadPoolExecutor(1)
    ahead: deque[Future[PixelArray]] = deque()
    try:
        for step in count(first_step):
            ahead.append(thread.submit(draw, step, recipe.stage(progress(step))))
            if len(ahead) > _BATCHES_AHEAD:
                yield ahead.popleft().result()
    finally:
        thread.shutdown(cancel_futures=True)
