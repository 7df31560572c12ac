"""Golden files: what a checkpoint made of fixed pictures when it was written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from iicnet_cli.errors import ModelError
from iicnet_cli.pictures.arrays import Pixels
from iicnet_cli.quantize.lattice import NoiseShapingFilter
from iicnet_cli.zoo.checkpoint import Checkpoint

if TYPE_CHECKING:
    from iicnet_cli.network.iicnet import IICNet

GOLDEN_FOLDER = "golden"
GOLDEN_SIDE = 64
"""Golden pictures are squares of this many pixels a side."""

_TOLERANCE = 1
"""Replayed pictures may differ by this many sample values, because processors round differently."""
_EMBEDDING_WEIGHTS = {"stego": 0.1, "dual": 0.1}
"""Embedding weights of :func:`fit_noise_shaping` for tasks that differ from the usual one."""
_USUAL_EMBEDDING_WEIGHT = 0.3
"""Embedding weight of :func:`fit_noise_shaping` for all other tasks (docs/notebook/rounding.md)."""


@dataclass(frozen=True)
class Replay:
    """Result of replaying golden files.

    Attributes:
        embedding: largest difference between the stored and the computed embedding, sample values.
        restored: the same for the restored pictures.
    """

    embedding: int
    restored: int

    @property
    def ok(self) -> bool:
        """Whether both differences are within what different processors may cause."""
        return self.embedding <= _TOLERANCE and self.restored <= _TOLERANCE


def golden_images(images: int, channels: int = 3) -> Pixels:
    """Make fixed pictures of gradients, waves and coarse noise, different for each image.

    Args:
        images: K.
        channels: C.

    Returns:
        (K, 64, 64, C) uint8.
    """
    y, x = np.mgrid[0:GOLDEN_SIDE, 0:GOLDEN_SIDE] / GOLDEN_SIDE
    pictures = []
    for k in range(images):
        rng = np.random.default_rng(k)
        coarse = rng.random((GOLDEN_SIDE // 8, GOLDEN_SIDE // 8, channels))
        noise = coarse.repeat(8, axis=0).repeat(8, axis=1)
        waves = np.stack(
            [
                np.sin(2 * np.pi * (x * (1 + k + c) + y * (2 + k - c))) / 2 + 0.5
                for c in range(channels)
            ],
            axis=-1,
        )
        pictures.append(0.3 * x[..., None] + 0.4 * waves + 0.3 * noise)
    pixels: Pixels = np.rint(np.stack(pictures) * 255).astype(np.uint8)
    return pixels


def fit_task_noise_shaping(net: IICNet, task: str) -> NoiseShapingFilter | None:
    """Fit the noise-shaping filter of a network for a task, on the golden pictures.

    Returns:
        The filter, or ``None`` if plain rounding is better.
    """
    from iicnet_cli.network.noise_shaping import fit_noise_shaping
    from iicnet_cli.network.pixels import to_tensor

    images = golden_images(net.config.images, net.config.channels)
    weight = _EMBEDDING_WEIGHTS.get(task, _USUAL_EMBEDDING_WEIGHT)
    return fit_noise_shaping(net, to_tensor(images[None]), weight)


def write_golden(checkpoint: Checkpoint) -> None:
    """Write ``golden/`` beside the weights, computed from the weights as they are stored."""
    net = checkpoint.load()
    images = golden_images(net.config.images, net.config.channels)
    embedding = _embed(net, images)
    folder = checkpoint.folder / GOLDEN_FOLDER
    folder.mkdir(exist_ok=True)
    for name, pixels in (
        ("images", np.concatenate(images)),
        ("embedding", embedding),
        ("restored", np.concatenate(_restore(net, embedding))),
    ):
        Image.fromarray(pixels.squeeze()).save(folder / f"{name}.png")


def replay_golden(checkpoint: Checkpoint) -> Replay:
    """Embed and restore the golden pictures again, and compare with the golden files.

    Raises:
        ModelError: there are no golden files, or the weights are damaged.
    """
    folder = checkpoint.folder / GOLDEN_FOLDER
    if not folder.is_dir():
        raise ModelError(f"{checkpoint.folder} has no golden files to verify against")
    net = checkpoint.load()
    embedding = read_golden(checkpoint, "embedding")
    images = read_golden(checkpoint, "images")
    images = images.reshape(net.config.images, -1, *images.shape[1:])
    restored = np.concatenate(_restore(net, embedding))
    return Replay(
        _largest_difference(_embed(net, images), embedding),
        _largest_difference(restored, read_golden(checkpoint, "restored")),
    )


def read_golden(checkpoint: Checkpoint, name: str) -> Pixels:
    """Read one golden picture: ``images``, ``embedding`` or ``restored``.

    Returns:
        (H, W, C) uint8; several pictures stand below each other.
    """
    with Image.open(checkpoint.folder / GOLDEN_FOLDER / f"{name}.png") as image:
        pixels = np.asarray(image)
    return pixels if pixels.ndim == 3 else pixels.reshape(*pixels.shape, 1)


def _embed(net: IICNet, images: Pixels) -> Pixels:
    import torch

    from iicnet_cli.network.pixels import to_pixels, to_tensor

    with torch.inference_mode():
        pixels: Pixels = to_pixels(net(to_tensor(images[None])))[0]
    return pixels


def _restore(net: IICNet, embedding: Pixels) -> Pixels:
    import torch

    from iicnet_cli.network.pixels import to_pixels, to_tensor

    with torch.inference_mode():
        pixels: Pixels = to_pixels(net.inverse(to_tensor(embedding[None])))[0]
    return pixels


def _largest_difference(a: Pixels, b: Pixels) -> int:
    if a.shape != b.shape:
        return 255
    return int(np.abs(a.astype(int) - b.astype(int)).max())
