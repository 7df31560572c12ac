"""Small recipes and generated data for the tests of training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from iicnet_cli.network.config import IICNetConfig
from iicnet_cli.training.data import TrainingData
from iicnet_cli.training.plan import Compute
from iicnet_cli.training.recipe import Recipe, Stage
from iicnet_cli.training.samplers import StegoSampler
from tests.helpers import write_clip
from tests.samples import Pixels, moving, natural

CPU = Compute(torch.device("cpu"))

RECIPE = """
name = "tiny"
task = "{task}"
seed = 3
stages = [{{ until = 0.5, crop = 16, batch = 2 }}, {{ until = 1.0, crop = 24, batch = 2 }}]
straight_through = 0.8

[network]
images = {images}
blocks = 1
width = 4
"""


def write_recipe(folder: Path, task: str = "stego", images: int = 2) -> Path:
    """Write a recipe of a tiny network, and return its path."""
    path = folder / f"{task}.toml"
    path.write_text(RECIPE.format(task=task, images=images))
    return path


def tiny_recipe(task: str = "stego", images: int = 2, crop: int = 16, **fields: Any) -> Recipe:
    """Return a recipe of a tiny network with one stage of batches of two."""
    channels = 1 if task == "grayscale" else 3
    network = IICNetConfig.compact(images, blocks=1, width=4, embedding_channels=channels)
    settings = {"stages": (Stage(until=1, crop=crop, batch=2),)} | fields
    return Recipe(name="tiny", task=task, network=network, **settings)  # type: ignore


def tiny_data(images: int = 2) -> TrainingData:
    """Return a sampler of four generated photos, and one held-out sample of others."""
    sampler = StegoSampler([natural(32, 32, i) for i in range(4)], images)
    return TrainingData(sampler, [np.stack([natural(24, 24, 10 + i) for i in range(images)])])


def write_photos(folder: Path, count: int = 10) -> Path:
    """Write photos of 56x48 pixels and a file that is no picture, and return the folder."""
    folder.mkdir(parents=True)
    for i in range(count):
        Image.fromarray(natural(48, 56, i)).save(folder / f"{i}.png")
    (folder / "broken.jpg").write_text("no picture")
    return folder


def write_pan(path: Path, frames: int, height: int, width: int, seed: int) -> None:
    """Write a lossless clip of a slow pan."""
    write_clip(path, moving(frames, height, width, seed=seed))


def find_disparity(left: Pixels, right: Pixels) -> int:
    """Return the shift d for which left[:, x] is most like right[:, x - d]."""
    width = left.shape[1]
    a, b = left.astype(float), right.astype(float)
    errors = {
        d: np.abs(a[:, max(0, d) : width + min(0, d)] - b[:, max(0, -d) : width - max(0, d)]).mean()
        for d in range(-20, 21)
    }
    return min(errors, key=errors.__getitem__)
