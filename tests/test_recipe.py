"""Recipes: what they accept, and those that the project bundles."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from iicnet_cli.errors import ExitCode, UsageError
from iicnet_cli.network.config import IICNetConfig
from iicnet_cli.network.iicnet import IICNet
from iicnet_cli.training.recipe import LossConfig, Recipe, Stage
from iicnet_cli.zoo import available, read_config

PLAIN = """
name = "tiny"
task = "stego"
[network]
images = 2
"""


def read(folder: Path, text: str) -> Recipe:
    path = folder / "recipe.toml"
    path.write_text(text)
    return Recipe.read(path)


def test_a_stage_may_have_a_loss_of_its_own(tmp_path: Path) -> None:
    stages = """
        stages = [
            { until = 0.5, crop = 64, batch = 4 },
            { until = 1.0, crop = 96, batch = 4, loss = { form = "psnr", restored = 2.0 } },
        ]
    """
    recipe = read(tmp_path, stages + PLAIN + "[loss]\nembedding = 7.0")
    assert recipe.loss_at(0.4) == LossConfig(embedding=7)
    assert recipe.loss_at(0.5) == recipe.loss_at(1.0) == LossConfig(form="psnr", restored=2)


def test_a_recipe_has_defaults(tmp_path: Path) -> None:
    recipe = read(tmp_path, PLAIN)
    assert recipe.network == IICNetConfig.compact(2)
    assert recipe.stage(0.0).crop == 96
    assert recipe.stage(0.7).crop == 144
    assert recipe.stage(1.0).crop == recipe.largest_crop == 144
    paper = '[loss]\nform = "paper"\nembedding = 1\nfrequency = 0.001'
    assert read(tmp_path, PLAIN + paper).loss.frequency == 0.001


@pytest.mark.parametrize("path", sorted(Path(__file__).parents[1].glob("recipes/*.toml")))
def test_bundled_recipes_are_valid(path: Path) -> None:
    recipe = Recipe.read(path)
    assert recipe.name == path.stem
    IICNet(recipe.network)


@pytest.mark.parametrize("path", sorted(Path(__file__).parents[1].glob("models/*/recipe.toml")))
def test_bundled_models_can_be_fine_tuned_by_their_recipes(path: Path) -> None:
    recipe = Recipe.read(path)
    assert recipe.name == path.parent.name
    assert recipe.network == read_config(path.parent).config.network


@pytest.mark.usefixtures("bundled_weights")
def test_one_makefile_trains_every_bundled_checkpoint() -> None:
    folder = Path(__file__).parents[1] / "recipes"
    dry_run = subprocess.run(
        ["make", "-n", "-C", folder, "OUT=/o", "PHOTOS=/p", "CLIPS=/c", "STEREO=/s", "CUTOUTS=/k"],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = re.findall(r"^iicnet train --recipe (\S+)\.toml (.*)$", dry_run.stdout, re.M)
    made: list[str] = []
    for name, options in lines:
        start = re.search(r"--from /o/(\S+)", options)
        assert "--scratch" in options or (start and start[1] in made), f"{name}: {options}"
        assert f" -o /o/{name}" in options
        made.append(name)
    assert {path.stem for path in folder.glob("*.toml")} == set(made)
    for checkpoint in available():
        recipe = Recipe.read(folder / f"{checkpoint.name}.toml")
        assert recipe.network == checkpoint.config.network, checkpoint.name


WRONG = {
    "unknown field": ("stepz = 3\n" + PLAIN, "stepz"),
    "unknown field inside": (PLAIN + "blokcs = 3", "network.blokcs"),
    "bad task": (PLAIN.replace("stego", "cooking"), "task"),
    "bad name": (PLAIN.replace("tiny", "../tiny"), "name"),
    "stages out of order": (
        "stages = [{until = 0.9, crop = 64, batch = 1}, {until = 0.5, crop = 64, batch = 1}]"
        + PLAIN,
        "in order",
    ),
    "stages end early": ("stages = [{until = 0.9, crop = 64, batch = 1}]" + PLAIN, "until = 1"),
    "no stages": ("stages = []" + PLAIN, "until = 1"),
    "odd crop": ("stages = [{until = 1.0, crop = 65, batch = 1}]" + PLAIN, "multiple of 2"),
    "frequency in psnr form": (
        PLAIN + '[loss]\nform = "psnr"\nfrequency = 0.001',
        "paper's form only",
    ),
    "PSNR cap in explicit form": (PLAIN + "[loss]\nembedding_psnr_cap = 40", "psnr form only"),
    "layer threshold in explicit form": (PLAIN + "[loss]\nlayer_threshold = 40", "psnr form only"),
    "mean PSNR in explicit form": (PLAIN + '[loss]\nrestored_mean = "psnr"', "psnr form only"),
    "no weight at all": (PLAIN + "[loss]\nembedding = 0\nrestored = 0", "above 0"),
    "frequency in explicit form": (PLAIN + "[loss]\nfrequency = 0.001", "paper's form only"),
    "impossible network": (PLAIN + 'downscaling = "none"\nhalf_size = true', "half_size"),
    "no TOML": ("name = ", "TOML"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_recipes_are_refused(case: str, tmp_path: Path) -> None:
    text, message = WRONG[case]
    with pytest.raises(UsageError, match=message) as caught:
        read(tmp_path, text)
    assert caught.value.exit_code == ExitCode.USAGE
    assert "\n" not in str(caught.value)


def test_stages_outside_their_ranges_are_refused() -> None:
    with pytest.raises(ValueError):
        Stage(until=1.1, crop=64, batch=1)
    with pytest.raises(ValueError):
        Stage(until=1.0, crop=8, batch=1)
