"""Scenes: groups of whole frames whose motion is found once, before the training.

A processor needs longer to find the motion of a crop than a GPU needs for a step. Samples that are
cut from scenes need no search. A packed file keeps the motion of its scenes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from iicnet_cli.motion.estimation import estimate_motion
from iicnet_cli.motion.field import MotionField
from iicnet_cli.motion.lifting import subtract_prediction
from iicnet_cli.pictures.arrays import PixelArray, Pixels
from iicnet_cli.training.samplers import VideoSampler

MOTION_SUFFIX = ".motion"
"""Suffix of a file CLIP/TIMES.motion that holds the motion of one scene."""


class Scene(NamedTuple):
    """Frames of a clip.

    Attributes:
        name: CLIP/TIMES, unique among the scenes of a run.
        frames: (K, H, W, 3), the reference first.
    """

    name: Path
    frames: Pixels


def draw_scenes(sampler: VideoSampler, names: Sequence[str], count: int) -> Iterator[Scene]:
    """Draw scenes as the sampler draws its frames; the same ones in every run.

    Args:
        sampler: the sampler whose clips the frames are taken from.
        names: file names of its clips.
        count: number of draws. Scenes that were drawn before are left out, so there may be fewer.
    """
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(count):
        clip, times = sampler.draw(rng)
        # Clips of two folders may have the same name, so the index is part of it.
        name = Path(f"{clip}-{Path(names[clip]).stem}") / "-".join(map(str, times))
        if name not in seen:
            seen.add(name)
            yield Scene(name, sampler.clips[clip][times])


def encode_motion(scene: Scene) -> bytes:
    """Find the motion of a scene, as the bytes of its file; empty where nothing moves."""
    motion = estimate_motion(scene.frames)
    return motion.to_bytes() if motion else b""


def compensate_scenes(scenes: Iterable[Scene], folders: Sequence[Path]) -> list[PixelArray]:
    """Subtract from the frames of each scene what other frames predict, as before embedding.

    Args:
        scenes: scenes to compensate.
        folders: folders with motion files; motion that is missing there is found anew.

    Returns:
        One (K, H, W, 3) array for each scene.
    """
    known = _read_motion(folders)

    def compensate(scene: Scene) -> PixelArray:
        data = known.get(scene.name)
        if data is None:
            data = encode_motion(scene)
        motion = MotionField.from_bytes(data, len(scene.frames) - 1)
        return subtract_prediction(scene.frames, motion)

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        return list(pool.map(compensate, scenes))


def _read_motion(folders: Sequence[Path]) -> dict[Path, bytes]:
    """Read all motion files under the folders, by the names of their scenes."""
    return {
        Path(path.parent.name) / path.stem: path.read_bytes()
        for folder in folders
        for path in folder.rglob("*" + MOTION_SUFFIX)
    }
