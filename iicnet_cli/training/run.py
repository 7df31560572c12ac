"""A whole training run: a recipe and data in, a model folder out."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from iicnet_cli.errors import OutputExistsError, TrainingError
from iicnet_cli.network import IICNet
from iicnet_cli.network.config import IICNetConfig
from iicnet_cli.network.expansion import expand_network
from iicnet_cli.pictures.arrays import PixelArray
from iicnet_cli.training.data import load_data
from iicnet_cli.training.loop import LOG_FILE, Outcome, train
from iicnet_cli.training.pack import unpacked
from iicnet_cli.training.plan import Budget, Compute, Hooks, TrainingPlan
from iicnet_cli.training.recipe import Recipe
from iicnet_cli.training.state import STATE_FILE
from iicnet_cli.training.validation import measure
from iicnet_cli.zoo.checkpoint import (
    CARD_FILE,
    RECIPE_FILE,
    Checkpoint,
    Provenance,
    TrainingRecord,
    write_checkpoint,
)
from iicnet_cli.zoo.golden import fit_task_noise_shaping, write_golden


@dataclass(frozen=True)
class TrainingSource:
    """The files that a run is made from.

    Attributes:
        recipe_file: a TOML file, see :class:`Recipe`; it is copied into the model folder.
        data: folders of photos or clips, or files packed from them.
        start: the checkpoint whose weights a new run starts from, or ``None`` for random weights.
            The recipe's network may have more blocks and a larger width than the checkpoint's.
    """

    recipe_file: Path
    data: Sequence[Path]
    start: Checkpoint | None = None


@dataclass(frozen=True)
class ModelFolder:
    """The model folder that a run writes.

    Attributes:
        path: the folder. While the run goes on, it holds the state and the log.
        licence: SPDX expression of the weights' licence, for the model card.
        data_note: what the data are and under which terms, for the model card; the names of the
            data folders by default.
        overwrite: start a new run even if the folder holds files that are not those of a run.
    """

    path: Path
    licence: str = "MIT"
    data_note: str = ""
    overwrite: bool = False


@dataclass(frozen=True)
class TrainingResult:
    """A finished run.

    Attributes:
        checkpoint: the model folder.
        steps: number of steps taken.
        seconds: wall-clock time of the whole run.
        embed_psnr: PSNR of the embeddings of the held-out samples, in dB, with the weights as they
            are stored.
        restored_psnr: PSNR of the pictures restored from these embeddings, likewise.
    """

    checkpoint: Checkpoint
    steps: int
    seconds: float
    embed_psnr: float
    restored_psnr: float


def run_training(
    source: TrainingSource,
    target: ModelFolder,
    budget: Budget,
    compute: Compute,
    hooks: Hooks = Hooks(),
) -> TrainingResult | None:
    """Train a model and write its folder, or continue the run that was interrupted there.

    Args:
        source: recipe, data and start.
        target: the model folder.
        budget: how long to train, earlier sittings included.
        compute: where and how to compute. Only the first process of a team writes files.
        hooks: what to call while the run goes on.

    Returns:
        The result, or ``None`` if ``hooks.stop`` ended the run before its budget was used up.

    Raises:
        TrainingError: there is too little data, the start does not fit the recipe, the folder holds
            a run with another recipe, or the loss diverged.
        OutputExistsError: the folder holds other files, and ``target.overwrite`` is False.
    """
    team = compute.team
    team.once(lambda: _prepare_folder(target))
    recipe = Recipe.read(source.recipe_file)
    start, noise_shaping = None, None
    if source.start is not None:
        start = _expand_start(source.start, recipe.network)
        noise_shaping = source.start.noise_shaping
    with unpacked(source.data) as folders:
        data = load_data(recipe, folders)
    plan = TrainingPlan(recipe, start, noise_shaping)
    outcome = train(plan, data, target.path, budget, compute, hooks)
    if not outcome.finished:
        return None
    record = TrainingRecord(
        steps=outcome.steps,
        minutes=round(outcome.seconds / 60, 1),
        machine=describe_machine(compute.device, team.size),
        data=target.data_note or ", ".join(path.name for path in source.data),
        seed=recipe.seed,
        started_from=_describe_origin(source.start) if source.start else None,
    )
    return team.once(lambda: _finish(source, target, recipe, outcome, record, data.held_out))


def _prepare_folder(target: ModelFolder) -> None:
    folder = target.path
    if not (folder / STATE_FILE).exists() and not target.overwrite and folder.is_dir():
        others = {path.name for path in folder.iterdir()} - {RECIPE_FILE, LOG_FILE}
        if others:
            raise OutputExistsError(
                f"{folder} holds no unfinished run, but {min(others)}",
                hint="choose another -o, or add -y to overwrite",
            )
    folder.mkdir(parents=True, exist_ok=True)


def _expand_start(start: Checkpoint, network: IICNetConfig) -> IICNet:
    try:
        return expand_network(start.load(), network)
    except ValueError as error:
        raise TrainingError(
            f"the checkpoint '{start.name}' has another network than the recipe",
            hint="give the recipe the [network] of the checkpoint's recipe.toml, with as many "
            "or more blocks and width",
        ) from error


def _finish(
    source: TrainingSource,
    target: ModelFolder,
    recipe: Recipe,
    outcome: Outcome,
    record: TrainingRecord,
    held_out: Sequence[PixelArray],
) -> TrainingResult:
    """Write the model folder, measure what was written, and remove the state of the run."""
    folder = target.path
    checkpoint = write_checkpoint(
        folder,
        outcome.net,
        name=recipe.name,
        version=recipe.version,
        task=recipe.task,
        noise_shaping=fit_task_noise_shaping(outcome.net, recipe.task),
        provenance=Provenance(target.licence, "trained with iicnet train", record),
    )
    write_golden(checkpoint)
    psnrs = measure(checkpoint.load(), held_out, torch.device("cpu"), checkpoint.noise_shaping)
    result = TrainingResult(checkpoint, outcome.steps, outcome.seconds, *psnrs)
    (folder / CARD_FILE).write_text(model_card(result), encoding="utf-8")
    recipe_copy = folder / RECIPE_FILE
    if not recipe_copy.exists() or not recipe_copy.samefile(source.recipe_file):
        shutil.copyfile(source.recipe_file, recipe_copy)
    (folder / STATE_FILE).unlink(missing_ok=True)
    return result


def model_card(result: TrainingResult) -> str:
    """Return the model card, as Markdown."""
    config = result.checkpoint.config
    record = config.training
    network = config.network
    parameters = sum(p.numel() for p in result.checkpoint.load().parameters())
    started = f" It started from {record.started_from}." if record.started_from else ""
    several = network.images > 1
    pictures = f"{network.images} pictures" if several else "a picture"
    mean = f" (mean over all\n  {pictures})" if several else ""
    return f"""# {config.name}, version {config.version}

IICNet for the task **{config.task}**: {pictures} of {network.channels} channels in
one, {network.blocks} blocks of width {network.width}, {parameters:,} parameters, stored as fp16
({result.checkpoint.size / 1e6:.2f} MB).

- Licence of the weights: {config.licence}
- Data: {record.data}
- Training: {record.steps:,} steps in {record.minutes:g} minutes on {record.machine}, seed
  {record.seed}, with `recipe.toml` beside this card.{started}
- On the held-out tenth of the training data, crops, after rounding to 8 bits: embedding
  {result.embed_psnr:.2f} dB, restored {result.restored_psnr:.2f} dB{mean}.
- `golden/` holds what these weights made of fixed pictures; `iicnet models verify {config.name}`
  replays it.

Restored pictures are near copies, not exact ones, and what is hidden is not encrypted.
"""


def _describe_origin(start: Checkpoint) -> str:
    """Return the name and the history of a checkpoint, for the record of the next one."""
    record = start.config.training
    before = f", itself from {record.started_from}" if record.started_from else ""
    return f"{start.name} ({record.steps} steps in {record.minutes:g} minutes{before})"


def describe_machine(device: torch.device, processes: int = 1) -> str:
    """Return the processors that a run used, for its record: ``2 x CPU (x86_64, 4 threads)``."""
    times = f"{processes} x " if processes > 1 else ""
    if device.type == "cuda":
        return times + torch.cuda.get_device_name(device)
    count = torch.get_num_threads()
    return f"{times}CPU ({platform.machine()}, {count} thread{'s' if count > 1 else ''})"
