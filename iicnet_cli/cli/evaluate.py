"""``iicnet evaluate``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from iicnet_cli.cli.common_options import DebugOption, DeviceOption, JsonOption, QuietOption
from iicnet_cli.cli.console import command, print_json, say

if TYPE_CHECKING:
    from iicnet_cli.evaluation import Evaluation, Row


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
        bool, typer.Option(help="Clip, stereo: predict by motion compensation, as embed does.")
    ] = True,
    enhance: Annotated[
        bool,
        typer.Option(help="Carry an enhancement layer, as embed does; else the network alone."),
    ] = True,
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
    the mean without it.
    """
    from iicnet_cli.api import Converter
    from iicnet_cli.evaluation import Evaluation
    from iicnet_cli.evaluation import evaluate as run
    from iicnet_cli.options import EmbedOptions
    from iicnet_cli.zoo import find

    checkpoint = find(model)
    options = EmbedOptions(step=step, align=align, enhance=enhance)
    converter = Converter(device=device)
    rows: list[Row] = []
    for row in run(checkpoint, folder, converter=converter, options=options, limit=limit):
        rows.append(row)
        say(
            f"{row.name}: embedding {row.embed_psnr:.2f} dB, restored {row.restored_psnr:.2f} dB",
            quiet=quiet,
        )
    result = Evaluation(checkpoint.name, folder.name, step, tuple(rows))
    if as_json:
        print_json(dataclasses.asdict(result) | {"mean": dataclasses.asdict(result.mean)})
    else:
        _print_table(result)


def _print_table(result: Evaluation) -> None:
    typer.echo(f"{result.model} on {result.data}, {len(result.rows)} PNGs, step {result.step}")
    typer.echo(_line("", "embed dB", "restored", "hidden", "embed SSIM", "restored"))
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
            )
        )


def _line(name: str, *cells: str) -> str:
    return f"{name:24}" + "".join(f"{cell:>12}" for cell in cells)
