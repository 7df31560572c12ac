"""Generated pictures and clips for the tests."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


def natural(height: int, width: int, seed: int) -> Pixels:
    """A picture (height, width, 3) with the statistics of a photo: 1/f noise and some edges."""
    rng = np.random.default_rng(seed)
    fy = np.fft.fftfreq(height)[:, None]
    fx = np.fft.rfftfreq(width)[None]
    falloff = 1 / np.maximum(np.hypot(fy, fx), 1 / max(height, width)) ** 1.3
    channels = []
    shared = rng.standard_normal((height, width))
    for _ in range(3):
        noise = shared + 0.3 * rng.standard_normal((height, width))
        field = np.fft.irfft2(np.fft.rfft2(noise) * falloff, s=(height, width))
        channels.append((field - field.mean()) / field.std())
    picture = np.stack(channels, axis=-1) * 40 + 128
    y, x = rng.integers(0, height // 2), rng.integers(0, width // 2)
    picture[y : y + height // 3, x : x + width // 3] += rng.uniform(-50, 50, 3)
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def moving(frames: int, height: int, width: int, seed: int = 0) -> Pixels:
    """Frames (T, height, width, 3): a slow pan with an object that crosses it."""
    scene = natural(height + frames, width + 2 * frames, seed)
    clip = np.stack([scene[t // 2 : t // 2 + height, 2 * t : 2 * t + width] for t in range(frames)])
    for t in range(frames):
        x = 3 * t % max(1, width - 12)
        clip[t, height // 3 : height // 3 + 12, x : x + 12] = (200, 60, 40)
    return clip


def pan(frames: int, height: int, width: int, speed: int) -> Pixels:
    """(frames, height, width, 3): a camera that moves ``speed`` pixels a frame to the right."""
    scene = natural(height, width + speed * frames, 7)
    return np.stack([scene[:, speed * t : speed * t + width] for t in range(frames)])
