"""Train the tiny networks on which behaviour is tested.

Usage::

    python tests/tiny_models/train_tiny_models.py [NAME ...]

Each network has one block of eight features and trains for less than a minute on one core. The
weights in this folder are committed, and no test trains them anew: training again gives other
weights on another machine. The data are generated pictures, so that nothing else is needed.
"""

from __future__ import annotations

import sys
import zlib
from pathlib import Path

import numpy as np
import torch

from iicnet_cli.network import IICNet, IICNetConfig
from iicnet_cli.network.pixels import to_tensor
from iicnet_cli.zoo.checkpoint import Provenance, TrainingRecord, write_checkpoint
from iicnet_cli.zoo.golden import fit_task_noise_shaping

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parents[1]))

from tests.samples import Pixels, natural  # noqa: E402

NETWORKS = {
    "video-3-half": {"images": 3, "half_size": True, "detail": {"blocks": 1, "width": 4}},
    "video-5": {"images": 5},
    "stereo": {"images": 2},
    "dual": {"images": 2},
    "layers-2": {"images": 2},
    "layers-3": {"images": 3},
    "stego-2": {"images": 2},
    "stego-3": {"images": 3},
    "stego-4": {"images": 4},
    "stego-5": {"images": 5},
    "grayscale": {"images": 1, "embedding_channels": 1},
    "rescale": {"images": 1, "half_size": True, "channel_order": "band"},
}
"""The shape of each network, as that of the bundled one."""
STEPS, BATCH, CROP = 1500, 4, 48
LEARNING_RATE = 1e-2


def sample(rng: np.random.Generator, scenes: list[Pixels], images: int) -> Pixels:
    """K crops (K, CROP, CROP, 3): of different scenes, of one scene that moves, or a mixture."""

    def crop(scene: Pixels, y: int, x: int) -> Pixels:
        return scene[y : y + CROP, x : x + CROP]

    y, x = rng.integers(20, 160 - CROP - 20, 2)
    chosen = [scenes[i] for i in rng.integers(0, len(scenes), images)]
    pictures = np.stack([crop(scene, y, x) for scene in chosen])
    kind = rng.integers(4)
    if kind == 0:
        speed = rng.integers(-4, 5, 2)
        places = [(y + k * speed[0], x + k * speed[1]) for k in range(images)]
        pictures = np.stack([crop(chosen[0], *place) for place in places])
    elif kind == 1 and images > 1:
        left = rng.integers(0, CROP)
        pictures[0] = pictures[1]
        pictures[0, :, left:] = pictures[-1, :, left:]
    return pictures


def log_error(found: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """The logarithm of the root mean squared error, rounding to 8 bits included."""
    return ((found - wanted).square().mean() + 1 / (12 * 255**2)).log() / 2


def train(name: str) -> None:
    """Train one network and write its checkpoint into this folder."""
    seed = zlib.crc32(name.encode())
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    rng = np.random.default_rng(seed)
    scenes = [natural(160, 160, 1000 + i) for i in range(40)]
    net = IICNet(IICNetConfig.compact(**{"blocks": 1, "width": 8, **NETWORKS[name]}))
    optimizer = torch.optim.Adam(net.parameters(), LEARNING_RATE, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, STEPS)
    for step in range(STEPS):
        images = [sample(rng, scenes, net.config.images) for _ in range(BATCH)]
        pictures = to_tensor(np.stack(images))
        embedding = net(pictures)
        rounded = embedding + (torch.rand_like(embedding) - 0.5) / 255
        shown = log_error(embedding, net.reference(pictures))
        restored = log_error(net.inverse(rounded), pictures)
        optimizer.zero_grad()
        (shown + max(2, net.config.images) * restored).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 300 == 299:
            found = [float(-20 / np.log(10) * each.detach()) for each in (shown, restored)]
            print(
                f"{name}: step {step + 1}, embedding {found[0]:.1f} dB, restored {found[1]:.1f} dB"
            )
    net.eval().requires_grad_(False)
    task = name.split("-")[0]
    write_checkpoint(
        FOLDER / name,
        net,
        name=name,
        task=task,
        noise_shaping=fit_task_noise_shaping(net, task),
        provenance=Provenance(
            origin="tests/tiny_models/train_tiny_models.py",
            training=TrainingRecord(steps=STEPS, data="generated pictures"),
        ),
    )


if __name__ == "__main__":
    for each in sys.argv[1:] or NETWORKS:
        train(each)
