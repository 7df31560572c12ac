"""Checkpoints: strict loading, hashes, names, golden files, the hub."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from iicnet_cli.errors import ModelError
from iicnet_cli.network import IICNet, IICNetConfig
from iicnet_cli.zoo import available, find, find_by_weights, read_config
from iicnet_cli.zoo.checkpoint import TrainingRecord, write_checkpoint
from iicnet_cli.zoo.golden import golden_images, replay_golden, write_golden
from iicnet_cli.zoo.hub import download
from iicnet_cli.zoo.registry import bundled_folder
from tests.conftest import Run

TINY = IICNetConfig.compact(2, blocks=1, width=4)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    write_golden(write_checkpoint(tmp_path / "tiny", IICNet(TINY), name="tiny", task="stego"))
    return tmp_path / "tiny"


def test_round_trip_of_weights(tmp_path: Path) -> None:
    net = IICNet(TINY)
    record = TrainingRecord(steps=7, minutes=1.5, machine="here", data="none", seed=2)
    for half in (True, False):
        made = write_checkpoint(
            tmp_path / "m", net, name="m", task="stego", half=half, training=record
        )
        loaded = read_config(tmp_path / "m")
        assert loaded.config == made.config
        assert loaded.config.training == record
        for key, value in loaded.load().state_dict().items():
            expected = net.state_dict()[key]
            assert torch.equal(value, expected.half().float() if half else expected)


def test_feedback_is_kept(tmp_path: Path) -> None:
    feedback = np.random.default_rng(0).normal(size=(5, 3, 3)).astype(np.float32)
    made = write_checkpoint(tmp_path, IICNet(TINY), name="m", task="stego", feedback=feedback)
    found = read_config(tmp_path).feedback
    assert found is not None and made.feedback is not None
    np.testing.assert_allclose(found, feedback, atol=1e-4)
    np.testing.assert_array_equal(found, made.feedback)


@pytest.mark.parametrize(
    "feedback", [[], [[[0.1]]] * 5, [[[0.1] * 3] * 3] * 4, [[["x"] * 3] * 3] * 5]
)
def test_feedback_of_another_shape_is_refused(folder: Path, feedback: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"feedback": feedback}))
    with pytest.raises(ModelError, match="not valid"):
        read_config(folder)


def test_replaced_weights_are_refused(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["coupling.layers.0.weight"] += 1
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(ModelError, match="hash"):
        read_config(folder).load()


def test_surplus_and_missing_weights_are_refused(folder: Path) -> None:
    import hashlib

    original = load_file(folder / "model.safetensors")
    for change in ({"extra": torch.zeros(1)}, {"coupling.layers.0.weight": None}):
        weights = {k: v for k, v in (original | change).items() if v is not None}
        save_file(weights, folder / "model.safetensors")
        config = json.loads((folder / "config.json").read_text())
        data = (folder / "model.safetensors").read_bytes()
        config["weights_sha256"] = hashlib.sha256(data).hexdigest()
        (folder / "config.json").write_text(json.dumps(config))
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


def test_names_and_places(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IICNET_MODELS", str(tmp_path / "user"))
    before = [c.name for c in available()]
    assert "tiny" not in before
    shutil.copytree(folder, tmp_path / "user" / "tiny")
    assert [c.name for c in available()] == ["tiny", *before]
    assert find("tiny").folder == tmp_path / "user" / "tiny"
    assert find(str(folder)).folder == folder
    assert find("stego-2").folder == bundled_folder() / "stego-2"
    sha = find("tiny").config.weights_sha256
    assert find_by_weights("renamed", sha).name == "tiny"
    with pytest.raises(ModelError, match="other weights"):
        find_by_weights("tiny", "0" * 64)
    with pytest.raises(ModelError, match="not here"):
        find_by_weights("unknown", "0" * 64)


def test_a_broken_model_of_the_user_stops_no_other(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "user" / "mine"
    broken.mkdir(parents=True)
    (broken / "config.json").write_text("{")
    monkeypatch.setenv("IICNET_MODELS", str(tmp_path / "user"))
    assert find("stego-2").name == "stego-2"
    listed = run("models", "list")
    assert listed.exit_code == 0
    assert "stego-2" in listed.stdout
    assert "mine" in listed.stderr
    with pytest.raises(ModelError) as raised:
        find("nope")
    assert "mine" in raised.value.hint


def test_golden_files_tell_a_change(folder: Path) -> None:
    checkpoint = read_config(folder)
    assert replay_golden(checkpoint).ok
    for name in ("embedding", "restored"):
        path = folder / "golden" / f"{name}.png"
        original = path.read_bytes()
        with Image.open(path) as image:
            changed = np.array(image)
        changed[5, 5] = changed[5, 5] ^ 64
        Image.fromarray(changed).save(path)
        assert not replay_golden(checkpoint).ok
        path.write_bytes(original)
    shutil.rmtree(folder / "golden")
    with pytest.raises(ModelError, match="no golden"):
        replay_golden(checkpoint)


def test_golden_images_are_different_pictures() -> None:
    images = golden_images(5)
    assert images.shape == (5, 64, 64, 3)
    for i in range(5):
        assert images[i].std() > 20
        for j in range(i):
            assert np.abs(images[i].astype(int) - images[j]).mean() > 10


@pytest.mark.parametrize("name", ["stego-2", "stego-3", "video-5", "video-9"])
def test_bundled_checkpoints_replay_their_golden_files(name: str) -> None:
    checkpoint = find(name)
    assert checkpoint.folder.parent == bundled_folder()
    assert replay_golden(checkpoint).ok
    config = checkpoint.config
    assert f"{config.task}-{config.network.images}" == name
    assert config.training.steps > 0
    assert checkpoint.size < 2e6
    assert sum(p.numel() for p in checkpoint.load().parameters()) <= 1e6


def test_hub_by_pinned_revision(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    asked = []

    def fetch(repo: str, name: str, *, subfolder: str | None, revision: str) -> str:
        asked.append((repo, name, subfolder, revision))
        return str(folder / name)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fetch)
    assert find("hf://someone/models/tiny@abc123").name == "tiny"
    assert asked == [
        ("someone/models", "config.json", "tiny", "abc123"),
        ("someone/models", "model.safetensors", "tiny", "abc123"),
    ]
    for wrong in ("hf://someone/models", "hf://models@1", "hf://a/b/../c@1"):
        with pytest.raises(ModelError, match="not a hub reference"):
            download(wrong)

    def offline(*args: object, **options: object) -> str:
        raise LocalEntryNotFoundError("offline")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
    with pytest.raises(ModelError, match="cannot be reached"):
        download("hf://a/b@1")
