"""Whole training runs, from files to a model folder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from iicnet_cli.errors import OutputExistsError, TrainingError
from iicnet_cli.quantize.lattice import NoiseShapingFilter
from iicnet_cli.training import loop
from iicnet_cli.training.plan import Budget, Hooks
from iicnet_cli.training.run import (
    ModelFolder,
    TrainingResult,
    TrainingSource,
    describe_machine,
    run_training,
)
from iicnet_cli.training.state import STATE_FILE
from iicnet_cli.zoo import Checkpoint
from iicnet_cli.zoo.golden import fit_task_noise_shaping
from tests.training_helpers import CPU, write_photos, write_recipe


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> TrainingSource:
    folder = tmp_path_factory.mktemp("source")
    return TrainingSource(write_recipe(folder), [write_photos(folder / "photos")])


def run(source: TrainingSource, target: ModelFolder, hooks: Hooks = Hooks()) -> TrainingResult:
    result = run_training(source, target, Budget(steps=2), CPU, hooks)
    assert result is not None
    return result


@pytest.fixture(scope="module")
def first(source: TrainingSource, tmp_path_factory: pytest.TempPathFactory) -> TrainingResult:
    """A run of two steps from random weights."""
    return run(source, ModelFolder(tmp_path_factory.mktemp("first"), "CC0-1.0", "generated"))


def test_the_model_folder_has_all_that_a_model_needs(
    source: TrainingSource, first: TrainingResult
) -> None:
    folder = first.checkpoint.folder
    assert {path.name for path in folder.iterdir()} == {
        "README.md",
        "config.json",
        "golden",
        "model.safetensors",
        "recipe.toml",
    }
    assert (folder / "recipe.toml").read_bytes() == source.recipe_file.read_bytes()
    config = json.loads((folder / "config.json").read_text())
    assert config["training"]["steps"] == first.steps == 2
    assert config["training"]["data"] == "generated"
    assert config["licence"] == "CC0-1.0"
    weights = load_file(folder / "model.safetensors")
    assert all(tensor.dtype == torch.float16 for tensor in weights.values())
    card = (folder / "README.md").read_text()
    assert card.startswith("# tiny") and "2 steps" in card and "CC0-1.0" in card
    assert f"embedding\n  {first.embed_psnr:.2f} dB" in card


def test_a_fine_tuned_model_names_its_origin(
    source: TrainingSource, first: TrainingResult, tmp_path: Path
) -> None:
    start = TrainingSource(source.recipe_file, source.data, first.checkpoint)
    checkpoint = run(start, ModelFolder(tmp_path / "m")).checkpoint
    origin = checkpoint.config.training.started_from
    assert origin is not None and origin.startswith("tiny (2 steps in ")
    assert checkpoint.config.training.data == "photos"
    assert origin in (tmp_path / "m" / "README.md").read_text()


def test_fine_tuning_shapes_noise_as_the_checkpoint_does(
    source: TrainingSource,
    first: TrainingResult,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    filters: list[NoiseShapingFilter | None] = []
    quantization = loop.Quantization

    def spy(*, noise_shaping: NoiseShapingFilter | None) -> torch.nn.Module:
        filters.append(noise_shaping)
        return quantization(noise_shaping=noise_shaping)

    monkeypatch.setattr(loop, "Quantization", spy)
    given = tuple(tuple((0.1 * i, 0.0, 0.2) for i in range(3)) for _ in range(5))
    config = first.checkpoint.config.model_copy(update={"noise_shaping": given})
    start = Checkpoint(first.checkpoint.folder, config)
    result = run(
        TrainingSource(source.recipe_file, source.data, start), ModelFolder(tmp_path / "m")
    )
    assert len(filters) == 1
    np.testing.assert_allclose(filters[0], given)
    # The result has a filter of its own.
    measured = fit_task_noise_shaping(result.checkpoint.load(), "stego")
    if measured is None:
        assert result.checkpoint.noise_shaping is None
    else:
        np.testing.assert_allclose(result.checkpoint.noise_shaping, measured, atol=0.02)


def test_a_stopped_run_writes_no_model_and_is_continued(
    source: TrainingSource, first: TrainingResult, tmp_path: Path
) -> None:
    target = ModelFolder(tmp_path / "m")
    stop = Hooks(stop=lambda: True)
    assert run_training(source, target, Budget(steps=2), CPU, stop) is None
    assert {path.name for path in target.path.iterdir()} == {STATE_FILE}
    assert run(source, target).steps == 2
    assert not (target.path / STATE_FILE).exists()
    expected = (first.checkpoint.folder / "model.safetensors").read_bytes()
    assert (target.path / "model.safetensors").read_bytes() == expected


def test_another_recipe_does_not_continue_the_run(source: TrainingSource, tmp_path: Path) -> None:
    target = ModelFolder(tmp_path / "m")
    run_training(source, target, Budget(steps=2), CPU, Hooks(stop=lambda: True))
    other = tmp_path / "other.toml"
    other.write_text(source.recipe_file.read_text().replace("seed = 3", "seed = 4"))
    with pytest.raises(TrainingError, match="another recipe"):
        run(TrainingSource(other, source.data), target)
    assert {path.name for path in target.path.iterdir()} == {STATE_FILE}


def test_a_folder_of_other_files_is_left_alone(source: TrainingSource, tmp_path: Path) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "README.md").write_text("mine")
    with pytest.raises(OutputExistsError, match=r"README\.md"):
        run(source, ModelFolder(folder))
    assert (folder / "README.md").read_text() == "mine"
    run(source, ModelFolder(folder, overwrite=True))
    assert (folder / "README.md").read_text().startswith("# ")


def test_a_start_that_does_not_fit_the_recipe_is_an_error(
    source: TrainingSource, first: TrainingResult, tmp_path: Path
) -> None:
    recipe = write_recipe(tmp_path, images=3)
    with pytest.raises(TrainingError, match="another network"):
        run(TrainingSource(recipe, source.data, first.checkpoint), ModelFolder(tmp_path / "m"))


def test_the_machine_is_described() -> None:
    assert describe_machine(CPU.device).startswith("CPU (")
    assert describe_machine(CPU.device, 2).startswith("2 x CPU (")
