"""``iicnet train``."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from iicnet_cli.cli.common_options import DebugOption, DeviceOption, OverwriteOption, QuietOption
from iicnet_cli.cli.console import command, parse_memory, say
from iicnet_cli.cli.progress import progress_bar
from iicnet_cli.errors import ExitCode, UsageError
from iicnet_cli.options import Precision
from iicnet_cli.reports import Progress, Stage

if TYPE_CHECKING:
    from iicnet_cli.training.pack import PackSummary
    from iicnet_cli.training.plan import Budget, StepReport
    from iicnet_cli.training.recipe import Recipe
    from iicnet_cli.training.run import ModelFolder, TrainingSource
    from iicnet_cli.zoo.checkpoint import Checkpoint

DataOption = Annotated[
    list[Path],
    typer.Option(
        "--data",
        "-d",
        help="Folder of photos or clips, or a file written by --pack; repeatable.",
    ),
]
OutputOption = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Model folder to write, or to continue."),
]
TaskOption = Annotated[
    str | None, typer.Option("--task", help="stego, video, ...: fine-tune its default model.")
]
RecipeOption = Annotated[Path | None, typer.Option("--recipe", help="Recipe, a TOML file.")]
FromOption = Annotated[
    str | None,
    typer.Option(
        "--from", help="Fine-tune this model: start from its weights, and use its recipe."
    ),
]
ScratchOption = Annotated[bool, typer.Option("--scratch", help="Start from random weights.")]
StepsOption = Annotated[int | None, typer.Option("--steps", help="Budget in steps.", min=1)]
MinutesOption = Annotated[
    float | None, typer.Option("--minutes", help="Budget in minutes.", min=0.01)
]
ThreadsOption = Annotated[
    int | None, typer.Option("--threads", help="CPU threads; all by default.", min=1)
]
TrainingPrecisionOption = Annotated[
    Precision,
    typer.Option(
        "--precision",
        help="Precision of the arithmetic. bf16 applies to the networks inside the couplings, on "
        "GPUs and on CPUs with bf16 instructions; tf32 to all convolutions, on CUDA only. Weights "
        "are always fp32.",
    ),
]
CompileBlocksOption = Annotated[
    bool,
    typer.Option(
        "--compile",
        help="Compile the network's blocks first, which takes about half a minute for each crop "
        "size; for long runs. Needs a C++ compiler.",
    ),
]
PackOption = Annotated[
    Path | None,
    typer.Option(
        "--pack", help="Do not train, but write the data that the recipe reads into this one file."
    ),
]
PackLimitOption = Annotated[
    str | None,
    typer.Option(
        "--pack-limit",
        help="Maximum size of the packed file, as 60M. To stay below it, pictures are scaled down, "
        "then coded more coarsely, and at last left out.",
        metavar="SIZE",
    ),
]
PackQualityOption = Annotated[
    int,
    typer.Option(
        "--pack-quality",
        help="Maximum quality of packed pictures; 100 is lossless.",
        min=1,
        max=100,
    ),
]
LicenceOption = Annotated[
    str, typer.Option("--licence", help="Licence of the weights, for the model card.")
]
DataNoteOption = Annotated[
    str, typer.Option("--data-note", help="Description of the data, for the model card.")
]


@command
def train(
    data: DataOption,
    output: OutputOption = None,
    task: TaskOption = None,
    recipe: RecipeOption = None,
    model: FromOption = None,
    scratch: ScratchOption = False,
    steps: StepsOption = None,
    minutes: MinutesOption = None,
    threads: ThreadsOption = None,
    precision: TrainingPrecisionOption = "fp32",
    compiled: CompileBlocksOption = False,
    pack: PackOption = None,
    pack_limit: PackLimitOption = None,
    pack_quality: PackQualityOption = 90,
    licence: LicenceOption = "MIT",
    data_note: DataNoteOption = "",
    device: DeviceOption = "auto",
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Train a model, or fine-tune a bundled one, on a folder of photos or clips.

    Choose what to train with --task, --from or --recipe. --task and --from fine-tune. --recipe
    starts from random weights, or with --from from the weights of that model; --scratch makes any
    of them start from random weights.

    Interrupt the training at any time (Ctrl-C), and give the same command again to continue. The
    result is a model folder: embed --model FOLDER uses it.

    On several GPUs, or in several processes: torchrun --nproc-per-node N -m iicnet_cli train ...
    """
    recipe_file, start = _choose_recipe(task, recipe, model)
    settings = _read_recipe(recipe_file, task)
    if pack is not None:
        limit = parse_memory(pack_limit)
        _pack(settings, data, pack, pack_quality, limit, overwrite=overwrite, quiet=quiet)
        return
    if output is None:
        raise UsageError("say where the model goes: -o FOLDER")

    import torch

    from iicnet_cli.training.run import ModelFolder, TrainingSource

    budget = _choose_budget(steps, minutes, settings)
    if threads:
        torch.set_num_threads(threads)
    _train(
        settings,
        TrainingSource(recipe_file, data, None if scratch else start),
        ModelFolder(output, licence, data_note, overwrite),
        budget,
        device,
        precision,
        compiled=compiled,
        quiet=quiet,
    )


def _choose_recipe(
    task: str | None, recipe: Path | None, model: str | None
) -> tuple[Path, Checkpoint | None]:
    """Return the recipe's file, and the model to start from if one is named."""
    from iicnet_cli.zoo import find
    from iicnet_cli.zoo.checkpoint import RECIPE_FILE

    if task is None and recipe is None and model is None:
        raise UsageError("say what to train: --task, --from or --recipe")
    if task is not None and model is None and recipe is None:
        from iicnet_cli.engines.network.checkpoints import default_checkpoint
        from iicnet_cli.tasks import task_named

        model = default_checkpoint(task_named(task).name)
    start = find(model) if model else None
    recipe_file = recipe or (start.folder / RECIPE_FILE if start else None)
    assert recipe_file is not None
    return recipe_file, start


def _read_recipe(path: Path, task: str | None) -> Recipe:
    from iicnet_cli.training.recipe import Recipe

    recipe = Recipe.read(path)
    if task is not None and recipe.task != task:
        raise UsageError(f"the recipe {path} is for {recipe.task}, not for {task}")
    return recipe


def _choose_budget(steps: int | None, minutes: float | None, recipe: Recipe) -> Budget:
    from iicnet_cli.training.plan import Budget

    if steps is None and minutes is None:
        steps, minutes = recipe.steps, recipe.minutes
    if steps is None and minutes is None:
        raise UsageError("no budget: give --steps or --minutes")
    return Budget(steps, minutes)


def _train(
    recipe: Recipe,
    source: TrainingSource,
    target: ModelFolder,
    budget: Budget,
    device: str,
    precision: Precision,
    *,
    compiled: bool,
    quiet: bool,
) -> None:
    from iicnet_cli.inference.device import choose_device
    from iicnet_cli.training.distributed import join_team, own_device
    from iicnet_cli.training.plan import Compute, Hooks
    from iicnet_cli.training.run import run_training

    choice = choose_device(device)
    own = own_device(choice.device)
    with join_team(own) as team:
        quiet = quiet or not team.first
        origin = f"from {source.start.name}" if source.start else "from random weights"
        processes = f" in {team.size} processes" if team.size > 1 else ""
        say(
            f"training {recipe.name} ({recipe.task}) {origin} on {choice.device}{processes}: "
            f"{choice.reason}",
            quiet=quiet,
        )
        stop = StopOnSignal(quiet=not team.first)
        with StepPrinter(quiet) as printer:
            result = run_training(
                source,
                target,
                budget,
                Compute(own, precision, compiled, team),
                Hooks(report=printer, stop=stop),
            )
        if result is None:
            say(f"stopped; the same command goes on from {target.path}", quiet=not team.first)
            raise typer.Exit(ExitCode.INTERRUPTED)
    say(
        f"{target.path}: {result.steps} steps in {result.seconds / 60:.1f} minutes; held out: "
        f"embedding {result.embed_psnr:.2f} dB, restored {result.restored_psnr:.2f} dB",
        quiet=quiet,
    )


def _pack(
    recipe: Recipe,
    data: list[Path],
    target: Path,
    quality: int,
    limit: int | None,
    *,
    overwrite: bool,
    quiet: bool,
) -> None:
    from iicnet_cli.training.pack import Packing, pack

    with progress_bar(quiet=quiet) as progress:
        summary = pack(
            recipe,
            data,
            target,
            packing=Packing(quality),
            limit=limit,
            overwrite=overwrite,
            progress=lambda share: progress(Progress(Stage.PACKING, share, 1)),
        )
    say(f"{target}: {_describe_pack(summary)}", quiet=quiet)


def _describe_pack(summary: PackSummary) -> str:
    files = f"{summary.stills} stills and {summary.clips} clips of {summary.found} files"
    if summary.scenes:
        files += f", motion of {summary.scenes} scenes"
    return f"{summary.size / 1e6:.1f} MB, {files}; {summary.packing.describe()}"


class StopOnSignal:
    """Answers True after the first Ctrl-C or termination signal; the second one ends at once."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._stop = False
        self._quiet = quiet
        signal.signal(signal.SIGINT, self._handle)
        signal.signal(signal.SIGTERM, self._handle)

    def _handle(self, number: int, frame: Any) -> None:
        self._stop = True
        signal.signal(number, signal.default_int_handler)
        say("stopping after this step; once more to stop at once", quiet=self._quiet)

    def __call__(self) -> bool:
        return self._stop


class StepPrinter:
    """Shows a progress bar on a terminal, and prints one line for each measurement everywhere."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._bar: Any = None

    def __enter__(self) -> StepPrinter:
        if not self._quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.percentage:.0f}%"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task("reading the data", total=1.0)
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, report: StepReport) -> None:
        if self._bar is not None:
            self._bar.update(
                self._task,
                completed=report.progress,
                description=f"step {report.step}, loss {report.loss:.4f}",
            )
        if report.embed_psnr is not None and report.restored_psnr is not None:
            line = (
                f"step {report.step}, {report.seconds / 60:.1f} min, loss {report.loss:.4f}, "
                f"embedding {report.embed_psnr:.2f} dB, restored {report.restored_psnr:.2f} dB"
            )
            if self._bar is not None:
                self._bar.console.print(line, highlight=False)
            else:
                say(line, quiet=self._quiet)
