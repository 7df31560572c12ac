"""``iicnet train``: small runs on generated data, on the CPU."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from iicnet_cli.cli import train as train_command
from iicnet_cli.errors import DeviceError, ExitCode, OutputExistsError, TrainingError
from iicnet_cli.network.quantization import Quantization
from iicnet_cli.quantize.lattice import NoiseShapingFilter
from iicnet_cli.training import loop
from iicnet_cli.training.data import batches, build_samplers
from iicnet_cli.training.loop import Budget, train
from iicnet_cli.training.losses import total_loss
from iicnet_cli.training.recipe import Recipe
from iicnet_cli.training.run import run_training
from iicnet_cli.training.samplers import StegoSampler
from iicnet_cli.zoo import Checkpoint
from iicnet_cli.zoo.golden import fit_task_noise_shaping
from tests.conftest import Run, moving, natural

CPU = torch.device("cpu")

RECIPE = """
name = "tiny"
task = "{task}"
seed = 3
stages = [{{ until = 0.5, crop = 16, batch = 2 }}, {{ until = 1.0, crop = 32, batch = 2 }}]
straight_through = 0.8

[network]
images = {images}
blocks = 2
width = 8
"""


@pytest.fixture
def photo_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "data" / "photos"
    folder.mkdir(parents=True)
    for i in range(10):
        Image.fromarray(natural(48, 56, i)).save(folder / f"{i}.png")
    (folder / "broken.jpg").write_text("no picture")
    return folder


@pytest.fixture
def clip_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "data" / "clips"
    folder.mkdir(parents=True)
    for i in range(4):
        writer = imageio_ffmpeg.write_frames(
            str(folder / f"{i}.mkv"),
            (56, 48),
            codec="ffv1",
            macro_block_size=1,
            pix_fmt_out="bgr0",
        )
        writer.send(None)
        for frame in moving(9, 48, 56, seed=i):
            writer.send(np.ascontiguousarray(frame))
        writer.close()
    return folder


def recipe_file(tmp_path: Path, task: str, images: int) -> Path:
    path = tmp_path / f"{task}.toml"
    path.write_text(RECIPE.format(task=task, images=images))
    return path


def test_stego_run_writes_a_model_folder_that_embeds(
    run: Run, photo_folder: Path, photos: list[Path], tmp_path: Path
) -> None:
    recipe = recipe_file(tmp_path, "stego", 2)
    out = tmp_path / "model"
    result = run(
        "train",
        "--recipe",
        recipe,
        "-d",
        photo_folder,
        "-o",
        out,
        "--steps",
        12,
        "--data-note",
        "generated",
    )
    assert result.exit_code == 0, result.output
    assert "12 steps" in result.stderr
    assert {p.name for p in out.iterdir()} == {
        "README.md",
        "config.json",
        "golden",
        "model.safetensors",
        "recipe.toml",
    }
    config = json.loads((out / "config.json").read_text())
    assert config["training"]["steps"] == 12
    assert config["training"]["data"] == "generated"
    assert all(t.dtype == torch.float16 for t in load_file(out / "model.safetensors").values())
    assert "12 steps" in (out / "README.md").read_text()
    assert run("models", "verify", out).exit_code == 0
    result = run("embed", *photos[:2], "-o", tmp_path / "o.png", "--model", out)
    assert result.exit_code == 0, result.output


def test_video_run_and_fine_tuning(run: Run, clip_folder: Path, tmp_path: Path) -> None:
    recipe = recipe_file(tmp_path, "video", 3)
    first, second = tmp_path / "first", tmp_path / "second"
    common = ("-d", clip_folder, "--steps", 4)
    assert run("train", "--recipe", recipe, *common, "-o", first).exit_code == 0
    result = run("train", "--from", first, *common, "-o", second)
    assert result.exit_code == 0, result.output
    assert "from tiny" in result.stderr
    config = json.loads((second / "config.json").read_text())
    origin = config["training"]["started_from"]
    assert origin.startswith("tiny (4 steps in ")
    assert origin in (second / "README.md").read_text()


def test_fine_tuning_diffuses_noise_as_rounding_is(
    photo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    class Spy(Quantization):
        def __init__(self, *, noise_shaping: NoiseShapingFilter | None) -> None:
            seen.append(noise_shaping)
            super().__init__(noise_shaping=noise_shaping)

    monkeypatch.setattr(loop, "Quantization", Spy)
    recipe = recipe_file(tmp_path, "stego", 2)
    run = partial(run_training, recipe, [photo_folder], budget=Budget(2, None), device=CPU)
    first = run(tmp_path / "first")
    assert first is not None
    told = first.checkpoint
    given = tuple(tuple((0.1 * i, 0.0, 0.2) for i in range(3)) for _ in range(5))
    start = Checkpoint(told.folder, told.config.model_copy(update={"noise_shaping": given}))
    second = run(tmp_path / "second", start=start)
    assert seen[0] is None
    np.testing.assert_allclose(seen[1], given)
    # Its own is measured anew.
    assert second is not None
    measured = fit_task_noise_shaping(second.checkpoint.load(), second.checkpoint.config.task)
    if measured is None:
        assert second.checkpoint.noise_shaping is None
    else:
        np.testing.assert_allclose(second.checkpoint.noise_shaping, measured, atol=0.02)


def test_training_lowers_the_loss(photo_folder: Path, tmp_path: Path) -> None:
    losses: list[float] = []
    run_training(
        recipe_file(tmp_path, "stego", 2),
        [photo_folder],
        tmp_path / "m",
        budget=Budget(120, None),
        device=CPU,
        report=lambda r: losses.append(r.loss),
    )
    assert len(losses) == 120
    assert np.mean(losses[-20:]) < 0.7 * np.mean(losses[:20])


@pytest.mark.parametrize("interrupted_at", [3, 7])
def test_an_interrupted_run_goes_on_as_if_it_had_not_been(
    photo_folder: Path, tmp_path: Path, interrupted_at: int
) -> None:
    recipe = recipe_file(tmp_path, "stego", 2)

    def go(folder: Path, stop_after: int | None = None) -> bool:
        steps = 0

        def stop() -> bool:
            nonlocal steps
            steps += 1
            return steps == stop_after

        return (
            run_training(
                recipe, [photo_folder], folder, budget=Budget(10, None), device=CPU, stop=stop
            )
            is not None
        )

    assert go(tmp_path / "whole")
    assert not go(tmp_path / "parts", stop_after=interrupted_at)
    assert not (tmp_path / "parts" / "model.safetensors").exists()
    assert go(tmp_path / "parts")
    a = load_file(tmp_path / "whole" / "model.safetensors")
    b = load_file(tmp_path / "parts" / "model.safetensors")
    assert a.keys() == b.keys()
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_ctrl_c_saves_and_says_how_to_go_on(
    run: Run, photo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_command._Stopper, "__call__", lambda self: True)
    recipe = recipe_file(tmp_path, "stego", 2)
    arguments = ("train", "--recipe", recipe, "-d", photo_folder, "-o", tmp_path / "m")
    result = run(*arguments, "--steps", 5)
    assert result.exit_code == ExitCode.INTERRUPTED
    assert "goes on" in result.stderr
    assert (tmp_path / "m" / "training.pt").exists()
    monkeypatch.undo()
    assert run(*arguments, "--steps", 5).exit_code == 0
    assert not (tmp_path / "m" / "training.pt").exists()


def test_another_recipe_does_not_go_on_in_the_same_folder(
    photo_folder: Path, tmp_path: Path
) -> None:
    recipe = recipe_file(tmp_path, "stego", 2)
    run_training(
        recipe,
        [photo_folder],
        tmp_path / "m",
        budget=Budget(5, None),
        device=CPU,
        stop=lambda: True,
    )
    other = tmp_path / "other.toml"
    other.write_text(recipe.read_text().replace("seed = 3", "seed = 4"))
    with pytest.raises(TrainingError, match="another recipe"):
        run_training(other, [photo_folder], tmp_path / "m", budget=Budget(5, None), device=CPU)
    assert not (tmp_path / "m" / "recipe.toml").exists()


def test_a_folder_of_other_files_is_left_alone(photo_folder: Path, tmp_path: Path) -> None:
    recipe = recipe_file(tmp_path, "stego", 2)
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "README.md").write_text("mine")
    budget = Budget(1, None)
    with pytest.raises(OutputExistsError, match=r"README\.md"):
        run_training(recipe, [photo_folder], tmp_path / "m", budget=budget, device=CPU)
    assert (tmp_path / "m" / "README.md").read_text() == "mine"
    done = run_training(
        recipe, [photo_folder], tmp_path / "m", budget=budget, device=CPU, overwrite=True
    )
    assert done is not None
    assert (tmp_path / "m" / "README.md").read_text().startswith("# ")


def test_a_diverging_run_is_an_error(run: Run, photo_folder: Path, tmp_path: Path) -> None:
    recipe = recipe_file(tmp_path, "stego", 2)
    recipe.write_text("learning_rate = 1e6\n" + recipe.read_text())
    result = run(
        "train", "--recipe", recipe, "-d", photo_folder, "-o", tmp_path / "m", "--steps", 40
    )
    assert result.exit_code == ExitCode.FAILURE
    assert "shot up" in result.stderr


def test_after_a_spike_the_run_goes_on_from_the_average(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    losses = []

    def spiky(*arguments: object) -> torch.Tensor:
        losses.append(total_loss(*arguments))  # type: ignore[arg-type]
        return losses[-1] * (100 if len(losses) == 12 else 1)

    monkeypatch.setattr("iicnet_cli.training.loop.total_loss", spiky)
    recipe = Recipe.read(recipe_file(tmp_path, "stego", 2))
    sampler = StegoSampler([natural(40, 40, i) for i in range(4)], 2)
    outcome = train(recipe, sampler, [], Budget(12, None), tmp_path, device=CPU)
    assert outcome.steps == 12
    state = torch.load(tmp_path / "training.pt", weights_only=True)
    for key, tensor in state["net"].items():
        assert torch.equal(tensor, state["average"][f"module.{key}"])
    assert state["optimizers"][0]["state"] == {}
    assert not (tmp_path / "m" / "model.safetensors").exists()


def test_what_cannot_be_compiled_is_said(
    photo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch._dynamo.exc import TorchDynamoException

    def compiled(function: object, **options: object) -> Callable[..., None]:
        def fail(x: torch.Tensor) -> None:
            raise TorchDynamoException("no compiler")

        return fail

    monkeypatch.setattr(torch, "compile", compiled)
    with pytest.raises(DeviceError, match="cannot be compiled"):
        run_training(
            recipe_file(tmp_path, "stego", 2),
            [photo_folder],
            tmp_path / "m",
            budget=Budget(2, None),
            device=CPU,
            compiled=True,
        )


def test_budget_in_minutes_ends_the_run(photo_folder: Path, tmp_path: Path) -> None:
    result = run_training(
        recipe_file(tmp_path, "stego", 2),
        [photo_folder],
        tmp_path / "m",
        budget=Budget(None, 0.05),
        device=CPU,
    )
    assert result is not None
    assert 3 <= result.seconds < 20
    assert result.steps > 1


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ((), 2, "--task, --from or --recipe"),
        (("--recipe", "none.toml"), 2, "none.toml"),
        (("--from", "nope"), 4, "no model"),
        (("--task", "stegoo"), 2, "no task"),
        (("--recipe", "{recipe}"), 2, "budget"),
        (("--recipe", "{recipe}", "--task", "video"), 2, "is for stego"),
        (("--recipe", "{recipe}", "--steps", "2", "--from", "stego-3"), 1, "another network"),
        (("--recipe", "{recipe}", "--steps", "2", "-d", "{empty}"), 1, "too little data"),
        (("--recipe", "{recipe}", "--steps", "2", "-d", "nowhere"), 1, "no folder"),
    ],
)
def test_train_errors(
    run: Run, tmp_path: Path, arguments: tuple[str, ...], status: int, words: str
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    recipe = recipe_file(tmp_path, "stego", 2)
    given = [a.format(recipe=recipe, empty=empty) for a in arguments]
    if "-d" not in given:
        given += ["-d", str(empty)]
    result = run("train", *given, "-o", tmp_path / "m")
    assert result.exit_code == status, result.output
    assert words in result.stderr


def test_held_out_files_are_never_drawn(photo_folder: Path, tmp_path: Path) -> None:
    recipe = Recipe.read(recipe_file(tmp_path, "stego", 2))
    for i, path in enumerate(sorted(photo_folder.glob("*.png"))):
        Image.new("RGB", (48, 48), (i, 0, 0)).save(path)
    sampler, held_out = build_samplers(recipe, [photo_folder])
    held = {int(image[0, 0, 0]) for sample in held_out for image in sample}
    drawn = {
        int(image[0, 0, 0])
        for seed in range(200)
        for image in sampler.sample(np.random.default_rng(seed), 16)
    }
    assert len(held) == 2
    assert len(drawn) == 8
    assert not held & drawn


def test_batches_depend_on_seed_and_step_only(tmp_path: Path) -> None:
    recipe = Recipe.read(recipe_file(tmp_path, "stego", 2))
    sampler = StegoSampler([natural(40, 40, i) for i in range(4)], 2)

    def first(step: int, count: int) -> list[np.ndarray]:
        feed = batches(sampler, recipe, step, lambda at: at / 10)
        taken = [next(feed) for _ in range(count)]
        feed.close()
        return taken

    whole = first(0, 8)
    assert all(np.array_equal(a, b) for a, b in zip(whole[3:], first(3, 5), strict=True))
    assert [batch.shape[2] for batch in whole] == [16] * 5 + [32] * 3


def test_an_error_while_sampling_reaches_the_caller(tmp_path: Path) -> None:
    class Broken:
        def sample(self, rng: np.random.Generator, crop: int) -> np.ndarray:
            raise TrainingError("broken")

    recipe = Recipe.read(recipe_file(tmp_path, "stego", 2))
    feed = batches(Broken(), recipe, 0, lambda at: 0.0)
    with pytest.raises(TrainingError, match="broken"):
        next(feed)
