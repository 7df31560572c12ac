"""Training samples: random crops of photos and clips that are held in memory.

Every sampler gives (K, crop, crop, 3) uint8 arrays, the reference first, and depends on nothing
but the random generator that it is handed; so a run can be repeated and resumed exactly.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from collections.abc import Generator as Yields
from pathlib import Path
from queue import Empty, Full, Queue
from typing import Protocol

import numpy as np
from numpy.random import Generator

from iicnet_cli.errors import IICNetError, TrainingError
from iicnet_cli.media.stills import STILL_SUFFIXES, VIDEO_SUFFIXES, read_still
from iicnet_cli.media.video import open_frames
from iicnet_cli.tasks.base import Pixels, reference_first
from iicnet_cli.training.motion import moving_photos
from iicnet_cli.training.recipe import Recipe


class Sampler(Protocol):
    """Draws one sample."""

    def sample(self, rng: Generator, crop: int) -> Pixels:
        """Returns (K, crop, crop, 3), the reference first."""
        ...


class StegoSampler:
    """K different photos, cropped, flipped and turned independently."""

    def __init__(self, photos: Sequence[Pixels], images: int) -> None:
        if len(photos) < images:
            raise TrainingError(f"{images} photos are needed at least, {len(photos)} were found")
        self.photos = photos
        self.images = images

    def sample(self, rng: Generator, crop: int) -> Pixels:
        chosen = rng.choice(len(self.photos), self.images, replace=False)
        return np.stack([_turn(_crop(self.photos[i], crop, rng), rng) for i in chosen])


class VideoSampler:
    """K frames of a clip at a random stride, or moving photos; the middle frame first.

    Clips with more motion are drawn more often, because nearly still ones are learned at once.
    All frames share one crop, flip and direction of time, so that motion stays true.
    """

    def __init__(
        self,
        clips: Sequence[Pixels],
        photos: Sequence[Pixels],
        images: int,
        strides: Sequence[int],
        pans: float,
    ) -> None:
        self.clips = [clip for clip in clips if len(clip) >= images]
        if not self.clips:
            raise TrainingError(f"no clip of {images} frames or more was found")
        self.photos = photos
        self.images = images
        self.strides = strides
        self.pans = pans if photos else 0.0
        motion = np.array([_motion(clip) for clip in self.clips]).clip(2, 20)
        self.weights = motion / motion.sum()

    def sample(self, rng: Generator, crop: int) -> Pixels:
        if rng.random() < self.pans:
            frames = moving_photos(self.photos, self.images, crop, rng)
        else:
            frames = self._cut(rng, crop)
        if rng.random() < 0.5:
            frames = frames[::-1]
        if rng.random() < 0.5:
            frames = frames[:, :, ::-1]
        return frames[reference_first(self.images)]

    def _cut(self, rng: Generator, crop: int) -> Pixels:
        clip = self.clips[rng.choice(len(self.clips), p=self.weights)]
        stride = int(rng.choice(self.strides))
        stride = min(stride, (len(clip) - 1) // (self.images - 1)) if self.images > 1 else 1
        span = (self.images - 1) * stride + 1
        start = rng.integers(len(clip) - span + 1)
        y, x = _corner(clip[0], crop, rng)
        return clip[start : start + span : stride, y : y + crop, x : x + crop]


def load_photos(folders: Sequence[Path], *, smallest: int) -> list[tuple[str, Pixels]]:
    """All stills under ``folders`` whose sides are at least ``smallest`` pixels, sorted by name."""
    photos = []
    for path in _files(folders, STILL_SUFFIXES):
        try:
            pixels = read_still(path).pixels
        except IICNetError:
            continue
        if min(pixels.shape[:2]) >= smallest:
            photos.append((path.name, pixels))
    return photos


def load_clips(
    folders: Sequence[Path], *, smallest: int, frames: int = 45
) -> list[tuple[str, Pixels]]:
    """The first ``frames`` frames of all clips under ``folders``, each (T, H, W, 3)."""
    clips = []
    for path in _files(folders, VIDEO_SUFFIXES):
        try:
            with open_frames(path, frames=frames) as source:
                clip = np.stack(list(source))
        except IICNetError:
            continue
        if min(clip.shape[1:3]) >= smallest:
            clips.append((path.name, clip))
    return clips


def build_samplers(recipe: Recipe, folders: Sequence[Path]) -> tuple[Sampler, list[Pixels]]:
    """The training sampler, and fixed held-out samples (K, H, W, 3) that it never draws from.

    One file in ten is held out, spread over the names, and at least as many as one sample needs.

    Raises:
        TrainingError: the folders hold too few usable photos or clips.
    """
    images = recipe.network.images
    crop = max(stage.crop for stage in recipe.stages)
    rng = np.random.default_rng(0)
    held: Sampler
    if recipe.task == "stego":
        photos, out = _hold_out(load_photos(folders, smallest=crop), images)
        sampler: Sampler = StegoSampler(photos, images)
        held = StegoSampler(out, images)
    else:
        photos = []
        if recipe.pans:
            photos = [p for _, p in load_photos(folders, smallest=crop + 64)]
        clips, out = _hold_out(load_clips(folders, smallest=crop), 1)
        sampler = VideoSampler(clips, photos, images, recipe.strides, recipe.pans)
        held = VideoSampler(out, [], images, (1,), 0.0)
    return sampler, [held.sample(rng, crop) for _ in range(12)]


def batches(
    sampler: Sampler, recipe: Recipe, first_step: int, progress: Callable[[int], float]
) -> Yields[Pixels, None, None]:
    """Endless batches (B, K, crop, crop, 3), made in a thread of their own, two ahead.

    The batch of a step depends on the recipe's seed, the step and ``progress(step)``, the share
    of the run that decides its crop and batch size.
    """
    queue: Queue[Pixels | BaseException] = Queue(maxsize=2)
    stop = threading.Event()

    def produce() -> None:
        step = first_step
        while not stop.is_set():
            item: Pixels | BaseException
            try:
                stage = recipe.stage(progress(step))
                rng = np.random.default_rng([recipe.seed, step])
                item = np.stack([sampler.sample(rng, stage.crop) for _ in range(stage.batch)])
            except BaseException as error:
                item = error
            while not stop.is_set():
                try:
                    queue.put(item, timeout=0.2)
                    break
                except Full:
                    continue
            step += 1

    thread = threading.Thread(target=produce, daemon=True)
    thread.start()
    try:
        while True:
            try:
                item = queue.get(timeout=1)
            except Empty:
                continue
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stop.set()
        thread.join()


def _hold_out(
    files: list[tuple[str, Pixels]], fewest: int
) -> tuple[list[Pixels], list[Pixels]]:
    if len(files) < 2 * fewest:
        raise TrainingError(
            f"too little data: {len(files)} usable files, at least {2 * fewest} are needed",
            hint="smaller crops in the recipe admit smaller files",
        )
    every = min(10, len(files) // fewest)
    held = [pixels for i, (_, pixels) in enumerate(files) if i % every == every - 1]
    kept = [pixels for i, (_, pixels) in enumerate(files) if i % every != every - 1]
    return kept, held


def _files(folders: Sequence[Path], suffixes: frozenset[str]) -> list[Path]:
    found = []
    for folder in folders:
        if not folder.is_dir():
            raise TrainingError(f"no folder {folder}", hint="--data takes folders")
        found += [p for p in folder.rglob("*") if p.suffix.lower() in suffixes]
    return sorted(found, key=lambda p: p.name)


def _motion(clip: Pixels) -> float:
    """Mean difference of neighbouring frames, 0..255, on a coarse grid of pixels."""
    return float(np.abs(np.diff(clip[:, ::4, ::4].astype(np.float32), axis=0)).mean())


def _corner(image: Pixels, crop: int, rng: Generator) -> tuple[int, int]:
    height, width = image.shape[:2]
    return int(rng.integers(height - crop + 1)), int(rng.integers(width - crop + 1))


def _crop(image: Pixels, crop: int, rng: Generator) -> Pixels:
    y, x = _corner(image, crop, rng)
    return image[y : y + crop, x : x + crop]


def _turn(image: Pixels, rng: Generator) -> Pixels:
    if rng.random() < 0.5:
        image = image[:, ::-1]
    turned: Pixels = np.rot90(image, int(rng.integers(4)))
    return turned
