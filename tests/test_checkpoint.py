"""Checkpoint folders: strict loading, hashes, descriptions that are not valid."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from iicnet_cli.errors import ModelError
from iicnet_cli.network.iicnet import IICNet
from iicnet_cli.zoo.checkpoint import Provenance, TrainingRecord, read_config, write_checkpoint
from tests.tiny_checkpoint import TINY, write_tiny


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tiny(tmp_path / "tiny").folder


def edit_config(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize("half", [True, False])
def test_round_trip_of_weights_and_description(tmp_path: Path, half: bool) -> None:
    net = IICNet(TINY)
    provenance = Provenance(
        licence="CC0-1.0",
        origin="a test",
        training=TrainingRecord(steps=7, minutes=1.5, machine="here", data="none", seed=2),
    )
    made = write_checkpoint(
        tmp_path, net, name="m", task="stego", half_precision=half, provenance=provenance
    )
    loaded = read_config(tmp_path)
    assert loaded.config == made.config
    assert loaded.name == "m" and loaded.size == made.size > 1000
    config = loaded.config
    assert Provenance(config.licence, config.origin, config.training) == provenance
    for key, value in loaded.load().state_dict().items():
        expected = net.state_dict()[key]
        assert torch.equal(value, expected.half().float() if half else expected)


def test_the_noise_shaping_filter_is_stored(tmp_path: Path) -> None:
    noise_shaping = np.random.default_rng(0).normal(size=(5, 3, 3)).astype(np.float32)
    made = write_checkpoint(
        tmp_path, IICNet(TINY), name="m", task="stego", noise_shaping=noise_shaping
    )
    stored = json.loads((tmp_path / "config.json").read_text())["feedback"]
    np.testing.assert_allclose(stored, noise_shaping, atol=1e-4)
    found = read_config(tmp_path).noise_shaping
    assert found is not None and made.noise_shaping is not None
    np.testing.assert_allclose(found, noise_shaping, atol=1e-4)
    np.testing.assert_array_equal(found, made.noise_shaping)


def test_without_a_filter_there_is_none(folder: Path) -> None:
    assert read_config(folder).noise_shaping is None
    assert json.loads((folder / "config.json").read_text())["feedback"] is None


@pytest.mark.parametrize(
    "coefficients", [[], [[[0.1]]] * 5, [[[0.1] * 3] * 3] * 4, [[["x"] * 3] * 3] * 5]
)
def test_filters_of_another_shape_are_refused(folder: Path, coefficients: object) -> None:
    edit_config(folder, feedback=coefficients)
    with pytest.raises(ModelError, match=r"not valid.*feedback"):
        read_config(folder)


def test_replaced_weights_are_refused(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["coupling.layers.0.weight"] += 1
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(ModelError, match="hash"):
        read_config(folder).load()


@pytest.mark.parametrize(
    "change", [{"extra": torch.zeros(1)}, {"coupling.layers.0.weight": None}], ids=list("+-")
)
def test_surplus_and_missing_weights_are_refused(
    folder: Path, change: dict[str, torch.Tensor | None]
) -> None:
    path = folder / "model.safetensors"
    weights = {k: v for k, v in (load_file(path) | change).items() if v is not None}
    save_file(weights, path)
    edit_config(folder, weights_sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    with pytest.raises(ModelError, match="do not fit"):
        read_config(folder).load()


def test_broken_folders(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not a model folder"):
        read_config(tmp_path)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="cannot read"):
        read_config(folder).load()
    config = json.loads((folder / "config.json").read_text())
    config["network"]["blocks"] = 0
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=r"network\.blocks"):
        read_config(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_no_numbers_are_refused(tmp_path: Path, value: float) -> None:
    net = IICNet(TINY)
    torch.nn.init.constant_(next(net.parameters()).view(-1)[:1], value)
    checkpoint = write_checkpoint(tmp_path, net, name="tiny", task="stego")
    with pytest.raises(ModelError, match="infinite or no number"):
        checkpoint.load()


def test_constant_weights_are_refused(tmp_path: Path) -> None:
    net = IICNet(TINY)
    for values in (*net.parameters(), *net.buffers()):
        torch.nn.init.constant_(values, 0.5)
    checkpoint = write_checkpoint(tmp_path, net, name="tiny", task="stego")
    with pytest.raises(ModelError, match="all are equal"):
        checkpoint.load()


@pytest.mark.parametrize(
    "changes",
    [
        {"width": 10**9},
        {"depth": 10**9},
        {"width": 256, "depth": 16, "blocks": 64, "images": 16},
        {"subnet": "dense", "width": 256, "depth": 16, "blocks": 64},
        {"relation": {"features": 10**9}},
        {"relation": {"scale": 1e999}},
        {"half_size": True, "detail": {"width": 10**9}},
    ],
)
def test_networks_that_would_fill_the_memory_are_refused_before_they_are_built(
    folder: Path, changes: dict[str, object]
) -> None:
    network = json.loads((folder / "config.json").read_text())["network"]
    edit_config(folder, network=network | changes)
    with pytest.raises(ModelError, match="not valid"):
        read_config(folder)
