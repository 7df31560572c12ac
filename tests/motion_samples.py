"""Motion fields and moving pictures that several tests use."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from PIL import Image

from iicnet_cli.motion.field import MAX_BLEND_WEIGHT, MotionField
from tests.conftest import Pixels, natural


def motion_fields(frames: int, longest: int = 400) -> st.SearchStrategy[MotionField]:
    """Random fields of this many frames, with components of up to ``longest`` half pixels."""

    def build(rows: int, columns: int, seed: int) -> MotionField:
        rng = np.random.default_rng(seed)
        vectors = rng.integers(-longest, longest + 1, (frames, 2, rows, columns, 2))
        weights = rng.integers(0, MAX_BLEND_WEIGHT + 1, (frames, rows, columns), dtype=np.uint8)
        return MotionField(vectors.astype(np.int16), weights)

    return st.builds(build, st.integers(1, 6), st.integers(1, 6), st.integers(0, 999))


def zooming(frames: int, height: int, width: int) -> Pixels:
    """A camera that comes nearer, (frames, height, width, 3), the middle frame first."""
    scene = Image.fromarray(natural(2 * height, 2 * width, 5))
    clip = []
    for t in range(frames):
        zoom = 1.4 + 0.06 * (t - frames // 2)
        w, h = 2 * width / zoom, 2 * height / zoom
        box = (width - w / 2, height - h / 2, width + w / 2, height + h / 2)
        clip.append(np.asarray(scene.resize((width, height), Image.Resampling.BICUBIC, box)))
    order = [frames // 2, *(t for t in range(frames) if t != frames // 2)]
    return np.stack(clip)[order]


def uncovering() -> Pixels:
    """An object that moves 20 pixels a frame, (5, 160, 320, 3), the middle frame first."""
    background, thing = natural(160, 320, 1), natural(96, 120, 9)
    clip = np.stack([background] * 5)
    for t in range(5):
        clip[t, 32:128, 60 + 20 * t : 180 + 20 * t] = thing
    return clip[[2, 0, 1, 3, 4]]
