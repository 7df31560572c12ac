"""Scenes: groups of frames whose motion is found once, before the training.

Finding the motion of a crop takes a processor longer than a GPU needs for a step. So a recipe may
ask for a number of scenes, whole frames with their motion compensated, from which its samples are
cut. What was found of them is kept in a packed file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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

SUFFIX = ".motion"
"""Of a file CLIP/TIMES.motion with the motion of one scene."""


class Scene(NamedTuple):
    """Frames of a clip, the reference first; its name says which."""

    name: Path
    frames: Pixels


def drawn_scenes(sampler: VideoSampler, names: Sequence[str], count: int) -> Iterator[Scene]:
    """So many scenes as the sampler draws them, always the same; none of them twice.

    Args:
        sampler: of the clips.
        names: file names of its clips.
        count: draws; those that come again are left out.
    """
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(count):
        clip, times = sampler.draw(rng)
        # Numbered, for clips of two folders may have one name.
        name = Path(f"{clip}-{Path(names[clip]).stem}") / "-".join(map(str, times))
        if name not in seen:
            seen.add(name)
            yield Scene(name, sampler.clips[clip][times])


def known_motions(folders: Sequence[Path]) -> dict[Path, bytes]:
    """The motions under ``folders``, by the names of their scenes."""
    return {
        Path(path.parent.name) / path.stem: path.read_bytes()
        for folder in folders
        for path in folder.rglob("*" + SUFFIX)
    }


def motion_bytes(scene: Scene) -> bytes:
    """The scene's motion as a file has it; empty where nothing moves."""
    motion = estimate_motion(scene.frames)
    return motion.to_bytes() if motion else b""


def compensated_scenes(scenes: Iterator[Scene], folders: Sequence[Path]) -> list[PixelArray]:
    """Whole frames (K, H, W, 3) of each as the network gets them; motions are found if unknown."""
    known = known_motions(folders)

    def finish(scene: Scene) -> PixelArray:
        data = known.get(scene.name)
        if data is None:
            data = motion_bytes(scene)
        return subtract_prediction(
            scene.frames, MotionField.from_bytes(data, len(scene.frames) - 1)
        )

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        return list(pool.map(finish, scenes))
