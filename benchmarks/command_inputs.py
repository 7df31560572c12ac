"""The files that whole commands are measured on: evaluation data, fitted to one size."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
from evaluation_data import first_groups
from PIL import Image, ImageOps

from iicnet_cli.errors import UsageError
from iicnet_cli.evaluation import items_of
from iicnet_cli.pictures.arrays import Pixels
from iicnet_cli.tasks import task_named
from iicnet_cli.tasks.task import in_time
from iicnet_cli.zoo import Checkpoint, find

PHOTO_MODELS = {"stego-3": "photos", "stereo": "stereo", "dual": "photos"}
"""Models of one group of pictures, and the folder that each is measured on."""
CLIP_MODEL = "video-5"
"""The model of clips."""
GROUPS = 4
"""Groups of frames in the clip that is measured."""
TINY_SIDE = 32
"""Width and height of pictures that cost next to nothing, in pixels."""


@dataclass(frozen=True)
class CommandInputs:
    """What one model is given.

    Attributes:
        name: of the evaluation data, for tables.
        whole: the inputs of a command, at the size that is measured.
        quarter: those of a command that has a quarter of the work: the first group of a clip, or
            pictures of half the width and height.
        tiny: one group of pictures of ``TINY_SIDE`` pixels to each side.
    """

    name: str
    whole: tuple[Path, ...]
    quarter: tuple[Path, ...]
    tiny: tuple[Path, ...]


def make_inputs(
    model: str, folders: Mapping[str, Path], size: tuple[int, int], scratch: Path
) -> CommandInputs:
    """Write the inputs of a model as PNGs.

    Args:
        model: ``CLIP_MODEL`` or one of ``PHOTO_MODELS``.
        folders: evaluation data: ``photos``, ``clips`` and ``stereo``.
        size: width and height in pixels, which pictures are scaled and cut to.
        scratch: folder for the files.

    Raises:
        UsageError: the folder holds nothing that fits.
    """
    checkpoint = find(model)
    tiny = (TINY_SIDE, TINY_SIDE)
    if model == CLIP_MODEL:
        count = checkpoint.config.network.images
        name, frames = _clip_frames(checkpoint, folders["clips"], GROUPS * count)
        clip = scratch / f"{GROUPS} groups", scratch / "1 group", scratch / "tiny clip"
        _write(frames, size, clip[0])
        _write(frames[:count], size, clip[1])
        _write(frames[:count], tiny, clip[2])
        return CommandInputs(name, (clip[0],), (clip[1],), (clip[2],))
    first = next(first_groups(checkpoint, folders[PHOTO_MODELS[model]], 1))
    whole = _write(first.group.images, size, scratch / model)
    half = size[0] // 2, size[1] // 2
    quarter = _write(first.group.images, half, scratch / f"quarter {model}")
    small = _write(first.group.images, tiny, scratch / f"tiny {model}")
    return CommandInputs(first.name, whole, quarter, small)


def _clip_frames(checkpoint: Checkpoint, folder: Path, count: int) -> tuple[str, list[Pixels]]:
    """The name and the first frames of the first clip that has enough of them."""
    images = checkpoint.config.network.images
    task = task_named(checkpoint.config.task)
    with items_of(checkpoint, folder) as items:
        for item in items:
            if (item.options.frames or 0) < count:
                continue
            options = replace(item.options, frames=count)
            with closing(task.open(item.inputs, images, options).groups()) as groups:
                order = in_time(images)
                frames = [group.images[i] for group in groups for i in order]
                return item.name, list(islice(frames, count))
    raise UsageError(f"{folder} holds no clip of {count} frames")


def _write(pictures: Iterable[Pixels], size: tuple[int, int], folder: Path) -> tuple[Path, ...]:
    folder.mkdir()
    written = []
    for i, pixels in enumerate(pictures):
        path = folder / f"{i:04}.png"
        ImageOps.fit(Image.fromarray(np.ascontiguousarray(pixels)), size).save(path)
        written.append(path)
    return tuple(written)
