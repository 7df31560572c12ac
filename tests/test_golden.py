"""Golden files: they show any change of a checkpoint or of the code that runs it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from iicnet_cli.errors import ModelError
from iicnet_cli.network.pixels import to_pixels, to_rounding_residual, to_tensor
from iicnet_cli.quantize.error_diffusion import round_embedding
from iicnet_cli.quantize.lattice import UnroundedEmbedding
from iicnet_cli.zoo.checkpoint import read_config
from iicnet_cli.zoo.golden import (
    fit_task_noise_shaping,
    golden_images,
    read_golden,
    replay_golden,
    write_golden,
)
from iicnet_cli.zoo.registry import bundled_folder
from tests.conftest import natural
from tests.tiny_checkpoint import write_tiny

BUNDLED = sorted(path.parent.name for path in bundled_folder().glob("*/config.json"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    checkpoint = write_tiny(tmp_path / "tiny")
    write_golden(checkpoint)
    return checkpoint.folder


@pytest.mark.parametrize("name", ["embedding", "restored"])
def test_a_changed_picture_is_found(folder: Path, name: str) -> None:
    checkpoint = read_config(folder)
    assert replay_golden(checkpoint).ok
    changed = read_golden(checkpoint, name).copy()
    changed[5, 5] ^= 64
    Image.fromarray(changed).save(folder / "golden" / f"{name}.png")
    replay = replay_golden(checkpoint)
    assert not replay.ok
    assert getattr(replay, name) >= 64


def test_a_picture_of_another_size_is_found(folder: Path) -> None:
    checkpoint = read_config(folder)
    restored = read_golden(checkpoint, "restored")
    Image.fromarray(restored[:64]).save(folder / "golden" / "restored.png")
    assert replay_golden(checkpoint).restored == 255


def test_missing_golden_files_are_an_error(folder: Path) -> None:
    shutil.rmtree(folder / "golden")
    with pytest.raises(ModelError, match="no golden"):
        replay_golden(read_config(folder))


def test_golden_images_are_different_pictures() -> None:
    images = golden_images(5)
    assert images.shape == (5, 64, 64, 3)
    for i in range(5):
        assert images[i].std() > 20
        for j in range(i):
            assert np.abs(images[i].astype(int) - images[j]).mean() > 10


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_checkpoints_replay_their_golden_files(name: str) -> None:
    checkpoint = read_config(bundled_folder() / name)
    assert checkpoint.name == name
    assert replay_golden(checkpoint).ok
    assert name.startswith(checkpoint.config.task)
    assert checkpoint.config.training.steps > 0
    assert checkpoint.size < 2e6
    assert sum(p.numel() for p in checkpoint.load().parameters()) <= 1e6


@pytest.mark.slow
@pytest.mark.parametrize("name", ["stego-3", "rescale"])
def test_bundled_filters_are_those_of_the_weights(name: str) -> None:
    checkpoint = read_config(bundled_folder() / name)
    fitted = fit_task_noise_shaping(checkpoint.load(), checkpoint.config.task)
    assert fitted is not None and checkpoint.noise_shaping is not None
    np.testing.assert_allclose(checkpoint.noise_shaping, fitted, atol=0.01)


@pytest.mark.parametrize("name", ["stego-2", "layers-2", "video-5", "video-3-half", "grayscale"])
def test_bundled_networks_restore_less_of_shaped_rounding_errors(name: str) -> None:
    checkpoint = read_config(bundled_folder() / name)
    net = checkpoint.load()
    images = np.stack([natural(96, 128, seed) for seed in range(net.config.images)])
    with torch.inference_mode():
        exact = net(to_tensor(images[None]))
        wanted = net.inverse(exact)
        unrounded = UnroundedEmbedding(to_pixels(exact)[0], to_rounding_residual(exact)[0])
        restored_errors, embedding_errors = [], []
        for noise_shaping in (None, checkpoint.noise_shaping):
            embedding = to_tensor(round_embedding(unrounded, noise_shaping)[None])
            restored_errors.append((net.inverse(embedding) - wanted).square().mean().item())
            embedding_errors.append((embedding - exact).square().mean().item())
    assert restored_errors[1] < 0.75 * restored_errors[0]
    assert embedding_errors[1] < 3 * embedding_errors[0]
