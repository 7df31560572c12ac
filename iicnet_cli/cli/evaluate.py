"""``iicnet evaluate``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from iicnet_cli.cli.batch import BatchStyle, make_folder, run_batch, shard_of
from iicnet_cli.cli.common_options import (
    DebugOption,
    DeviceOption,
    JobsOption,
    JsonOption,
    OnOption,
    QuietOption,
    ShardOption,
    Sharing,
)
from iicnet_cli.cli.console import command, print_json, say
from iicnet_cli.errors import ExitCode, UsageError
from iicnet_cli.jobs.file_jobs import EvaluateJob
from iicnet_cli.jobs.job import ConverterSettings, Outcome
from iicnet_cli.options import EmbedOptions

if TYPE_CHECKING:
    from iicnet_cli.evaluation import Evaluation, Row
    from iicnet_cli.tasks.task import EvaluationItem
    from iicnet_cli.zoo import Checkpoint


@command
def evaluate(
    folder: Annotated[
        Path, typer.Argument(help="Pictures or clips for the model's task.", metavar="FOLDER")
    ],
    model: Annotated[str, typer.Option("--model", "-m", help="Model name or folder.")],
    step: Annotated[int, typer.Option(help="Clip: take every n-th frame.", min=1)] = 1,
    limit: Annotated[
        int | None, typer.Option(help="Measure at most this many PNGs, evenly chosen.", min=1)
    ] = None,
    align: Annotated[
        bool, typer.Option(help="Clip: predict by motion compensation, as embed does.")
    ] = True,
    enhance: Annotated[
        bool,
        typer.Option(help="Carry an enhancement layer, as embed does; else the network alone."),
    ] = True,
    out_dir: Annotated[
        Path | None,
        typer.Option(
            help="Keep each row in this folder. Rows that are there, of the same data and options, "
            "are not measured again."
        ),
    ] = None,
    jobs: JobsOption = None,
    shard: ShardOption = None,
    on: OnOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Measure a model over a folder: PSNR and SSIM of PNGs that are written and read back.

    video: each clip or sub-folder of frames is cut into whole groups. stereo: each pair NAME_left,
    NAME_right, and each MPO and JPS file. dual: each photo at zoom 2, 4 and 8. layers: each cut-out
    (also of FOLDER/cutouts) before each photo (also of FOLDER/backgrounds). stego: each photo is
    the cover once; the next ones of the same size, by name, are hidden. grayscale, rescale: each
    photo.

    "restored" is the mean over all pictures, the reference included, as in the paper; "hidden" is
    the mean without it. "flat" is the largest error of the embedding in flat areas, in 8-bit steps:
    of all 8x8 blocks in which the reference hardly varies, the largest root-mean-square error.
    """
    from iicnet_cli.evaluation import Evaluation, Row, items_of, with_options
    from iicnet_cli.zoo import find

    if on is not None and out_dir is None:
        raise UsageError("--on needs --out-dir, a folder that all machines share")
    if out_dir is not None:
        make_folder(out_dir)
    checkpoint = find(model)
    options = EmbedOptions(step=step, align=align, enhance=enhance)
    rows: list[Row] = []

    def present(outcome: Outcome[Row]) -> ExitCode:
        row = outcome.report or Row(**(outcome.record or {}))
        rows.append(row)
        say(
            f"{row.name}: embedding {row.embed_psnr:.2f} dB, restored {row.restored_psnr:.2f} dB",
            quiet=quiet,
        )
        return ExitCode.OK

    with items_of(checkpoint, folder, step=step, limit=limit, scratch=out_dir) as items:
        measured = [
            _job(checkpoint, with_options(item, options), out_dir, number)
            for number, item in shard_of(list(enumerate(items)), shard, key=_name)
        ]
        failure = None
        try:
            run_batch(
                measured,
                ConverterSettings(device),
                Sharing(jobs, on=on),
                BatchStyle(as_json=False, quiet=quiet or as_json, debug=debug),
                present,
            )
        except typer.Exit as finished:
            failure = finished
    result = Evaluation(checkpoint.name, folder.name, step, tuple(rows))
    if rows and as_json:
        print_json(dataclasses.asdict(result) | {"mean": dataclasses.asdict(result.mean)})
    elif rows:
        _print_table(result)
    if failure is not None:
        raise failure


def _job(
    checkpoint: Checkpoint, item: EvaluationItem, folder: Path | None, number: int
) -> EvaluateJob:
    """The measurement of an item; ``folder`` keeps its row."""
    from iicnet_cli.container.header import safe_name

    return EvaluateJob(
        inputs=item.inputs,
        marker=folder and folder / f"{number:06}-{safe_name(item.name)}.json",
        name=item.name,
        task=checkpoint.config.task,
        model=checkpoint.folder,
        options=item.options,
    )


def _name(numbered: tuple[int, EvaluationItem]) -> str:
    return numbered[1].name


def _print_table(result: Evaluation) -> None:
    typer.echo(f"{result.model} on {result.data}, {len(result.rows)} PNGs, step {result.step}")
    typer.echo(_line("", "embed dB", "restored", "hidden", "embed SSIM", "restored", "flat"))
    for row in (*result.rows, result.mean):
        hidden = f"{row.hidden_psnr:.2f}" if row.hidden_psnr is not None else "-"
        typer.echo(
            _line(
                row.name,
                f"{row.embed_psnr:.2f}",
                f"{row.restored_psnr:.2f}",
                hidden,
                f"{row.embed_ssim:.4f}",
                f"{row.restored_ssim:.4f}",
                f"{row.embed_flat_error:.1f}",
            )
        )


def _line(name: str, *cells: str) -> str:
    return f"{name:24}" + "".join(f"{cell:>12}" for cell in cells)
