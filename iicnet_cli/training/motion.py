"""Clips made from photos: a camera that moves over one, another photo that moves before it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import Generator
from numpy.typing import NDArray

from iicnet_cli.tasks.base import Pixels

Floats = NDArray[np.floating[Any]]


def moving_photos(
    photos: Sequence[Pixels], frames: int, crop: int, rng: Generator, *, speed: float = 5.0
) -> Pixels:
    """A clip of steady motion: shift, zoom and rotation of a photo, with an occluder half the time.

    The occluder is a patch of another photo with an outline of its own, moving on its own. So
    every frame but the first shows something that no other frame does.

    Args:
        photos: (H, W, 3) each, of any sizes.
        frames: how many.
        crop: height and width of the clip, pixels.
        rng: source of everything random.
        speed: standard deviation of the shift between two frames, pixels on each axis.

    Returns:
        (frames, crop, crop, 3), uint8, in the order of time.
    """
    time = np.arange(frames) - (frames - 1) / 2
    photo = photos[int(rng.integers(len(photos)))]
    picture = _render(photo, _paths(time, crop, speed, rng), rng)
    if rng.random() < 0.5:
        photo = photos[int(rng.integers(len(photos)))]
        paths = _paths(time, crop, 1.5 * speed, rng)
        mask = _outline(paths, crop, rng)[:, None]
        picture = picture + mask * (_render(photo, paths, rng) - picture)
    return np.rint(picture).clip(0, 255).astype(np.uint8).transpose(0, 2, 3, 1)


def _paths(time: Floats, crop: int, speed: float, rng: Generator) -> Floats:
    """Where each pixel looks: offsets (frames, crop, crop, 2) from the middle, as (y, x)."""
    zoom = np.exp(rng.normal(0, 0.006) * time)
    angle = rng.normal(0, 0.006) * time
    shift = rng.normal(0, speed, 2) * time[:, None]
    axis = np.arange(crop) - (crop - 1) / 2
    y, x = np.meshgrid(axis, axis, indexing="ij")
    cos, sin = ((zoom * f(angle))[:, None, None] for f in (np.cos, np.sin))
    turned = np.stack([cos * y - sin * x, sin * y + cos * x], axis=-1)
    moved: Floats = turned + shift[:, None, None, :]
    return moved


def _render(photo: Pixels, paths: Floats, rng: Generator) -> Floats:
    """The photo along ``paths`` from a random place, mirrored at its borders; (frames, 3, h, w)."""
    size = np.array(photo.shape[:2])
    reach = np.ceil(np.abs(paths).max(axis=(0, 1, 2)))
    free = np.maximum(size - 1 - 2 * reach, 0)
    middle = (size - 1 - free) / 2 + rng.uniform(0, 1, 2) * free
    low = np.maximum(middle - reach - 2, 0).astype(int)
    high = np.minimum(middle + reach + 3, size).astype(int)
    part = torch.from_numpy(np.ascontiguousarray(photo[low[0] : high[0], low[1] : high[1]]))
    place = (middle + paths - low) / np.maximum(high - low - 1, 1) * 2 - 1
    grid = torch.from_numpy(place[..., ::-1].astype(np.float32))
    source = part.permute(2, 0, 1).float().expand(len(paths), -1, -1, -1)
    rendered: Floats = F.grid_sample(
        source, grid, mode="bicubic", padding_mode="reflection", align_corners=True
    ).numpy()
    return rendered


def _outline(paths: Floats, crop: int, rng: Generator) -> Floats:
    """A wavy disc that moves with ``paths``; (frames, crop, crop), 0..1, one pixel soft."""
    offset = paths - rng.uniform(-0.4, 0.4, 2) * crop
    angle = np.arctan2(offset[..., 0], offset[..., 1])
    radius = np.full_like(angle, rng.uniform(0.15, 0.45) * crop)
    for waves in range(2, 6):
        radius *= 1 + 0.15 * rng.normal() * np.cos(waves * angle + rng.uniform(0, 2 * np.pi))
    outline: Floats = np.clip(radius - np.hypot(offset[..., 0], offset[..., 1]) + 0.5, 0, 1)
    return outline
