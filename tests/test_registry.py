"""Names, folders and hashes to checkpoints."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from iicnet_cli.errors import ModelError
from iicnet_cli.zoo.registry import available, bundled_folder, find, find_by_weights, user_folder
from tests.conftest import Run
from tests.tiny_checkpoint import write_tiny


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tiny(tmp_path / "tiny").folder


@pytest.fixture
def models_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "user"
    monkeypatch.setenv("IICNET_MODELS", str(path))
    return path


def test_models_of_the_user_come_before_the_bundled_ones(
    folder: Path, models_of_the_user: Path
) -> None:
    bundled = [checkpoint.name for checkpoint in available()]
    assert "tiny" not in bundled and "stego-2" in bundled
    assert user_folder() == models_of_the_user
    shutil.copytree(folder, models_of_the_user / "tiny")
    shutil.copytree(folder, models_of_the_user / "deeper" / "tiny")
    assert [checkpoint.name for checkpoint in available()] == ["tiny", "tiny", *bundled]


def test_checkpoints_are_found_by_name_and_by_folder(
    folder: Path, models_of_the_user: Path
) -> None:
    shutil.copytree(folder, models_of_the_user / "tiny")
    assert find("tiny").folder == models_of_the_user / "tiny"
    assert find(str(folder)).folder == folder
    assert find("stego-2").folder == bundled_folder() / "stego-2"
    with pytest.raises(ModelError, match="no model 'nope'") as raised:
        find("nope")
    assert "tiny" in raised.value.hint and "stego-2" in raised.value.hint


def test_the_highest_version_of_a_name_is_found_and_older_ones_by_their_weights(
    tmp_path: Path, models_of_the_user: Path
) -> None:
    versions = {}
    for folder, version in (("a", 1), ("b", 3), ("c", 2)):
        written = write_tiny(models_of_the_user / folder, seed=version, version=version)
        versions[version] = written.config.weights_sha256
    assert find("tiny").config.version == 3
    assert find("tiny").config.weights_sha256 == versions[3]
    assert len(set(versions.values())) == 3
    for version, sha in versions.items():
        assert find_by_weights("tiny", sha).config.version == version


def test_checkpoints_are_found_by_their_weights(folder: Path, models_of_the_user: Path) -> None:
    shutil.copytree(folder, models_of_the_user / "tiny")
    sha = find("tiny").config.weights_sha256
    assert find_by_weights("renamed", sha).name == "tiny"
    with pytest.raises(ModelError, match="other weights"):
        find_by_weights("tiny", "0" * 64)
    with pytest.raises(ModelError, match="not here"):
        find_by_weights("unknown", "0" * 64)


def test_a_broken_model_of_the_user_stops_no_other(run: Run, models_of_the_user: Path) -> None:
    broken = models_of_the_user / "mine"
    broken.mkdir(parents=True)
    (broken / "config.json").write_text("{")
    assert find("stego-2").name == "stego-2"
    listed = run("models", "list")
    assert listed.exit_code == 0
    assert "stego-2" in listed.stdout
    assert "mine" in listed.stderr
    with pytest.raises(ModelError) as raised:
        find("nope")
    assert "mine" in raised.value.hint
