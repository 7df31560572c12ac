"""A whole training run: recipe and data in, model folder out."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from iicnet_cli.errors import OutputExistsError, TrainingError
from iicnet_cli.network.expansion import expand_network
from iicnet_cli.network.precision import Precision
from iicnet_cli.pictures.arrays import PixelArray
from iicnet_cli.training.data import build_samplers
from iicnet_cli.training.distributed import Team
from iicnet_cli.training.loop import LOG_FILE, STATE_FILE, Budget, Outcome, Report, measure, train
from iicnet_cli.training.pack import unpacked
from iicnet_cli.training.recipe import Recipe
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
class TrainingResult:
    """A finished run; PSNRs in dB on the held-out pictures, with the weights as stored."""

    checkpoint: Checkpoint
    steps: int
    seconds: float
    embed_psnr: float
    restored_psnr: float


def run_training(
    recipe_file: Path,
    data: Sequence[Path],
    folder: Path,
    *,
    budget: Budget,
    device: torch.device,
    precision: Precision = "fp32",
    compiled: bool = False,
    team: Team = Team(),
    start: Checkpoint | None = None,
    licence: str = "MIT",
    data_note: str = "",
    overwrite: bool = False,
    report: Callable[[Report], None] = lambda report: None,
    stop: Callable[[], bool] = lambda: False,
) -> TrainingResult | None:
    """Train, and write the model folder; go on where an interrupted run in it stopped.

    Args:
        recipe_file: TOML, see :class:`Recipe`; copied into the folder.
        data: folders of photos or clips, or files packed from them.
        folder: becomes the model folder.
        budget: of the whole run, earlier sittings included.
        device: where to compute.
        precision: see :func:`train`.
        compiled: likewise.
        team: the processes that share the work; the first of them alone writes.
        start: checkpoint whose weights a new run starts from; the recipe's network may have
            more blocks and width.
        licence: SPDX expression of the weights, for the card.
        data_note: what the data are and under which terms, for the card.
        overwrite: start anew in a folder that holds other files than those of a run.
        report: called after every step.
        stop: asked after every step; True saves the state and ends the sitting.

    Returns:
        The result, or ``None`` if ``stop`` ended the sitting before the budget was used up.

    Raises:
        TrainingError: too little data, another run in the folder, or the loss is not finite.
        OutputExistsError: the folder holds other files, and ``overwrite`` is False.
    """
    team.once(lambda: _prepare(folder, overwrite))
    recipe = Recipe.read(recipe_file)
    network = recipe.network
    start_net = None
    if start is not None:
        try:
            start_net = expand_network(start.load(), network)
        except ValueError as error:
            raise TrainingError(
                f"the checkpoint '{start.name}' has another network than the recipe",
                hint="give the recipe the [network] of the checkpoint's recipe.toml, with as many "
                "or more blocks and width",
            ) from error
    with unpacked(data) as folders:
        sampler, held_out = build_samplers(recipe, folders)
    outcome = train(
        recipe,
        sampler,
        held_out,
        budget,
        folder,
        device=device,
        precision=precision,
        compiled=compiled,
        team=team,
        start=start_net,
        feedback=start.noise_shaping if start else None,
        report=report,
        stop=stop,
    )
    if not outcome.finished:
        return None
    record = TrainingRecord(
        steps=outcome.steps,
        minutes=round(outcome.seconds / 60, 1),
        machine=describe_machine(device, team.size),
        data=data_note or ", ".join(path.name for path in data),
        seed=recipe.seed,
        started_from=_origin(start) if start else None,
    )
    return team.once(
        lambda: _write_model(folder, recipe_file, recipe, outcome, record, held_out, licence)
    )


def _prepare(folder: Path, overwrite: bool) -> None:
    if not (folder / STATE_FILE).exists() and not overwrite and folder.is_dir():
        others = {path.name for path in folder.iterdir()} - {RECIPE_FILE, LOG_FILE}
        if others:
            raise OutputExistsError(
                f"{folder} holds no unfinished run, but {min(others)}",
                hint="choose another -o, or add -y to overwrite",
            )
    folder.mkdir(parents=True, exist_ok=True)


def _write_model(
    folder: Path,
    recipe_file: Path,
    recipe: Recipe,
    outcome: Outcome,
    record: TrainingRecord,
    held_out: list[PixelArray],
    licence: str,
) -> TrainingResult:
    checkpoint = write_checkpoint(
        folder,
        outcome.net,
        name=recipe.name,
        task=recipe.task,
        noise_shaping=fit_task_noise_shaping(outcome.net, recipe.task),
        provenance=Provenance(licence, "trained with iicnet train", record),
    )
    write_golden(checkpoint)
    embed, restored = measure(
        checkpoint.load(), held_out, torch.device("cpu"), checkpoint.noise_shaping
    )
    result = TrainingResult(checkpoint, outcome.steps, outcome.seconds, embed, restored)
    (folder / CARD_FILE).write_text(card(result), encoding="utf-8")
    copy = folder / RECIPE_FILE
    if not copy.exists() or not copy.samefile(recipe_file):
        shutil.copyfile(recipe_file, copy)
    (folder / STATE_FILE).unlink(missing_ok=True)
    return result


def card(result: TrainingResult) -> str:
    """The model card, Markdown."""
    config = result.checkpoint.config
    record = config.training
    network = config.network
    parameters = sum(p.numel() for p in result.checkpoint.load().parameters())
    started = f" It started from {record.started_from}." if record.started_from else ""
    several = network.images > 1
    pictures = f"{network.images} pictures" if several else "a picture"
    mean = f" (mean over all\n  {pictures})" if several else ""
    return f"""# {config.name}

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


def _origin(start: Checkpoint) -> str:
    """A checkpoint and all that went into it, in words."""
    record = start.config.training
    before = f", itself from {record.started_from}" if record.started_from else ""
    return f"{start.name} ({record.steps} steps in {record.minutes:g} minutes{before})"


def describe_machine(device: torch.device, processes: int = 1) -> str:
    """The processors that a run used, in a few words."""
    times = f"{processes} x " if processes > 1 else ""
    if device.type == "cuda":
        return times + torch.cuda.get_device_name(device)
    count = torch.get_num_threads()
    return f"{times}CPU ({platform.machine()}, {count} thread{'s' if count > 1 else ''})"
