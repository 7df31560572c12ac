"""``iicnet train``."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from iicnet_cli.cli.common_options import DebugOption, DeviceOption, OverwriteOption, QuietOption
from iicnet_cli.cli.console import (
    command,
    parse_memory,
    progress_bar,
    say,
)
from iicnet_cli.errors import ExitCode, UsageError
from iicnet_cli.options import Precision
from iicnet_cli.reports import Progress, Stage

if TYPE_CHECKING:
    from iicnet_cli.training.loop import Report
    from iicnet_cli.training.recipe import Recipe


@command
def train(
    data: Annotated[
        list[Path],
        typer.Option(
            "--data",
            "-d",
            help="Folder of photos or clips, or a file that --pack wrote; repeatable.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Model folder to write, or to go on with."),
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="stego, video, ...: fine-tunes its default model.")
    ] = None,
    recipe: Annotated[Path | None, typer.Option(help="Recipe, a TOML file.")] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--from", help="Fine-tune this model: start from its weights, with its recipe."
        ),
    ] = None,
    scratch: Annotated[bool, typer.Option("--scratch", help="Start from random weights.")] = False,
    steps: Annotated[int | None, typer.Option(help="Budget in steps.", min=1)] = None,
    minutes: Annotated[float | None, typer.Option(help="Budget in minutes.", min=0.01)] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads; all by default.", min=1)] = None,
    precision: Annotated[
        Precision,
        typer.Option(
            help="Of the arithmetic. bf16: in the networks inside the couplings, for GPUs and for "
            "CPUs that have its instructions; tf32: in all convolutions, CUDA only. Weights are "
            "fp32 in any case."
        ),
    ] = "fp32",
    compiled: Annotated[
        bool,
        typer.Option(
            "--compile",
            help="Compile the network's blocks first, for each crop about half a minute; for long "
            "runs. Needs a C++ compiler.",
        ),
    ] = False,
    pack: Annotated[
        Path | None,
        typer.Option(help="Do not train, but write what the recipe would read into this one file."),
    ] = None,
    pack_limit: Annotated[
        str | None,
        typer.Option(
            help="Of the packed file, as 60M; pictures get smaller, coarser and at last fewer.",
            metavar="SIZE",
        ),
    ] = None,
    pack_quality: Annotated[
        int,
        typer.Option(help="Of packed pictures, at most; 100 is lossless.", min=1, max=100),
    ] = 90,
    licence: Annotated[str, typer.Option(help="Licence of the weights, for the card.")] = "MIT",
    data_note: Annotated[str, typer.Option(help="What the data are, for the card.")] = "",
    device: DeviceOption = "auto",
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Train a model, or fine-tune a bundled one, on a folder of photos or clips.

    Say what to train with --task, --from or --recipe. --task and --from fine-tune; --recipe, and
    --scratch with any of them, start from random weights (--recipe with --from starts from that
    model's).

    Interrupt it at any time (Ctrl-C) and give the same command again to go on. The result is a
    model folder: embed --model FOLDER uses it.

    On several GPUs, or in several processes: torchrun --nproc-per-node N -m iicnet_cli train ...
    """
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

    from iicnet_cli.training.recipe import Recipe

    settings = Recipe.read(recipe_file)
    if task is not None and settings.task != task:
        raise UsageError(f"the recipe {recipe_file} is for {settings.task}, not for {task}")
    if pack is not None:
        limit = parse_memory(pack_limit)
        _pack(settings, data, pack, pack_quality, limit, overwrite=overwrite, quiet=quiet)
        return
    if output is None:
        raise UsageError("say where the model goes: -o FOLDER")

    import torch

    from iicnet_cli.inference.device import choose_device
    from iicnet_cli.training.distributed import own_device, team
    from iicnet_cli.training.loop import Budget
    from iicnet_cli.training.run import run_training

    if steps is None and minutes is None:
        steps, minutes = settings.steps, settings.minutes
    if steps is None and minutes is None:
        raise UsageError("no budget: give --steps or --minutes")
    if threads:
        torch.set_num_threads(threads)
    choice = choose_device(device)
    own = own_device(choice.device)
    with team(own) as processes:
        quiet = quiet or not processes.first
        origin = f"from {start.name}" if start and not scratch else "from random weights"
        together = f" in {processes.size} processes" if processes.size > 1 else ""
        say(
            f"training {settings.name} ({settings.task}) {origin} on {choice.device}{together}: "
            f"{choice.reason}",
            quiet=quiet,
        )
        stopper = _Stopper(quiet=not processes.first)
        with _Printer(quiet) as printer:
            result = run_training(
                recipe_file,
                data,
                output,
                budget=Budget(steps, minutes),
                device=own,
                precision=precision,
                compiled=compiled,
                team=processes,
                start=None if scratch else start,
                licence=licence,
                data_note=data_note,
                overwrite=overwrite,
                report=printer,
                stop=stopper,
            )
        if result is None:
            say(f"stopped; the same command goes on from {output}", quiet=not processes.first)
            raise typer.Exit(ExitCode.INTERRUPTED)
    say(
        f"{output}: {result.steps} steps in {result.seconds / 60:.1f} minutes; held out: embedding "
        f"{result.embed_psnr:.2f} dB, restored {result.restored_psnr:.2f} dB",
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

    with progress_bar(quiet) as progress:
        packed = pack(
            recipe,
            data,
            target,
            packing=Packing(quality),
            limit=limit,
            overwrite=overwrite,
            progress=lambda share: progress(Progress(Stage.PACKING, 100 * share, 100)),
        )
    files = f"{packed.stills} stills and {packed.clips} clips of {packed.found} files"
    if packed.scenes:
        files += f", motion of {packed.scenes} scenes"
    say(f"{target}: {packed.size / 1e6:.1f} MB, {files}; {packed.packing.describe()}", quiet=quiet)


class _Stopper:
    """True after the first Ctrl-C or termination signal; the second one ends at once."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._asked = False
        self._quiet = quiet
        signal.signal(signal.SIGINT, self._ask)
        signal.signal(signal.SIGTERM, self._ask)

    def _ask(self, number: int, frame: Any) -> None:
        self._asked = True
        signal.signal(number, signal.default_int_handler)
        say("stopping after this step; once more to stop at once", quiet=self._quiet)

    def __call__(self) -> bool:
        return self._asked


class _Printer:
    """A bar on a terminal; a line for each measurement everywhere."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._bar: Any = None

    def __enter__(self) -> _Printer:
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

    def __call__(self, report: Report) -> None:
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
