"""Clips and stereo pairs made from photos: one photo is the scene, another one moves before it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch.nn import functional as F

from iicnet_cli.pictures.arrays import Pixels

Floats = NDArray[np.floating[Any]]

_MEAN_DISPARITY = 15.0
"""Mean disparity of the planes of synthetic stereo pairs, in pixels."""


def moving_photos(
    photos: Sequence[Pixels], frames: int, crop: int, rng: Generator, *, speed: float = 5.0
) -> Pixels:
    """Make a clip of steady motion: a photo that shifts, zooms and turns.

    In half of the clips an occluder moves before it, a patch of another photo with an outline of
    its own. So every frame but the first shows something that no other frame does. The photo behind
    shifts by less than a pixel, as in clips whose motion was compensated.

    Args:
        photos: (H, W, 3) each, of any sizes.
        frames: number of frames.
        crop: height and width of the clip, in pixels.
        rng: source of all randomness.
        speed: standard deviation of the occluder's shift between two frames, in pixels on each
            axis.

    Returns:
        (frames, crop, crop, 3), uint8, in the order of time.
    """
    time = np.arange(frames) - (frames - 1) / 2
    layers = [_camera_paths(time, crop, 0.3, rng)]
    if rng.random() < 0.5:
        layers.append(_camera_paths(time, crop, speed, rng))
    return _render_layers(photos, layers, rng)


def stereo_photos(photos: Sequence[Pixels], crop: int, rng: Generator) -> Pixels:
    """Make a stereo pair: photos on one to four slanted planes, nearer ones before the others.

    In half of the pairs the right view has a brightness and a white balance of its own, as of
    another camera.

    Args:
        photos: (H, W, 3) each, of any sizes.
        crop: height and width of the views, in pixels.
        rng: source of all randomness.

    Returns:
        (2, crop, crop, 3), uint8, left view first. Nearer objects are further left in the right
        view.
    """
    time = np.array([-0.5, 0.5])
    planes = []
    for disparity in np.sort(rng.exponential(_MEAN_DISPARITY, int(rng.integers(1, 5)))):
        slant = rng.normal(0, 0.04, 2) * [1, 0.5]
        planes.append(_paths(time, crop, np.stack([[0, 0], slant]), np.array([0, disparity])))
    views = _render_layers(photos, planes, rng)
    if rng.random() < 0.5:
        gains = np.exp(rng.normal(0, 0.06) + rng.normal(0, 0.03, 3))
        views[1] = np.rint(views[1] * gains + rng.normal(0, 2)).clip(0, 255)
    return views


def _render_layers(photos: Sequence[Pixels], layers: Sequence[Floats], rng: Generator) -> Pixels:
    """Render a random photo for each layer, the later layers before the earlier ones.

    Args:
        photos: (H, W, 3) each.
        layers: paths (frames, crop, crop, 2) of each layer, see :func:`_paths`.
        rng: source of all randomness.

    Returns:
        (frames, crop, crop, 3).
    """
    picture: Floats | None = None
    for paths in layers:
        rendered = _render(photos[int(rng.integers(len(photos)))], paths, rng)
        if picture is None:
            picture = rendered
        else:
            picture = picture + _blob_mask(paths, rng)[:, None] * (rendered - picture)
    assert picture is not None
    return np.rint(picture).clip(0, 255).astype(np.uint8).transpose(0, 2, 3, 1)


def _camera_paths(time: Floats, crop: int, speed: float, rng: Generator) -> Floats:
    """Draw the paths of a camera that shifts, zooms and turns a little, at a constant speed."""
    zoom, turn = rng.normal(0, 0.006, 2)
    change = np.array([[zoom, -turn], [turn, zoom]])
    return _paths(time, crop, change, rng.normal(0, speed, 2))


def _paths(time: Floats, crop: int, change: Floats, shift: Floats) -> Floats:
    """Compute where in the photo each pixel of each frame looks.

    Args:
        time: of each frame.
        crop: height and width of the frames, in pixels.
        change: (2, 2). In a unit of time the offset of a pixel from the centre grows by this matrix
            times the offset.
        shift: (2,), by which all offsets grow in a unit of time, in pixels.

    Returns:
        Offsets (frames, crop, crop, 2) from the centre, as (y, x).
    """
    axis = np.arange(crop) - (crop - 1) / 2
    start = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1)
    paths: Floats = start + time[:, None, None, None] * (start @ change.T + shift)
    return paths


def _render(photo: Pixels, paths: Floats, rng: Generator) -> Floats:
    """Sample a photo along paths around a random centre; it is mirrored beyond its borders.

    Returns:
        (frames, 3, crop, crop), 0..255.
    """
    size = np.array(photo.shape[:2])
    reach = np.ceil(np.abs(paths).max(axis=(0, 1, 2)))
    free = np.maximum(size - 1 - 2 * reach, 0)
    centre = (size - 1 - free) / 2 + rng.uniform(0, 1, 2) * free
    low = np.maximum(centre - reach - 2, 0).astype(int)
    high = np.minimum(centre + reach + 3, size).astype(int)
    part = torch.from_numpy(np.ascontiguousarray(photo[low[0] : high[0], low[1] : high[1]]))
    positions = (centre + paths - low) / np.maximum(high - low - 1, 1) * 2 - 1
    grid = torch.from_numpy(positions[..., ::-1].astype(np.float32))
    source = part.permute(2, 0, 1).float().expand(len(paths), -1, -1, -1)
    rendered: Floats = F.grid_sample(
        source, grid, mode="bicubic", padding_mode="reflection", align_corners=True
    ).numpy()
    return rendered


def _blob_mask(paths: Floats, rng: Generator) -> Floats:
    """Draw a wavy disc that moves along the paths: (frames, crop, crop), 0..1, with a soft edge."""
    crop = paths.shape[1]
    offset = paths - rng.uniform(-0.4, 0.4, 2) * crop
    angle = np.arctan2(offset[..., 0], offset[..., 1])
    radius = np.full_like(angle, rng.uniform(0.15, 0.45) * crop)
    for waves in range(2, 6):
        radius *= 1 + 0.15 * rng.normal() * np.cos(waves * angle + rng.uniform(0, 2 * np.pi))
    mask: Floats = np.clip(radius - np.hypot(offset[..., 0], offset[..., 1]) + 0.5, 0, 1)
    return mask
