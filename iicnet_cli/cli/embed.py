"""``iicnet embed``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from iicnet_cli.cli.console import (
    DebugOption,
    DeviceOption,
    JsonOption,
    MemoryOption,
    OverwriteOption,
    QuietOption,
    VerboseOption,
    command,
    input_paths,
    output_path,
    parse_memory,
    print_json,
    progress_bar,
    say,
)
from iicnet_cli.errors import UsageError


@command
def embed(
    inputs: Annotated[
        list[Path],
        typer.Argument(help="A clip or a folder of frames; or the cover, then the photos to hide."),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The PNG to write; - is stdout.")
    ],
    task: Annotated[
        str | None, typer.Option(help="video or stego; guessed if it is left out.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Model name or folder, e.g. video-9; else the task's default."),
    ] = None,
    start: Annotated[
        str | None, typer.Option(help="Clip: first moment, as 12.5 or 1:02.5.", metavar="TIME")
    ] = None,
    end: Annotated[
        str | None, typer.Option(help="Clip: last moment.", metavar="TIME")
    ] = None,
    step: Annotated[int, typer.Option(help="Clip: take every n-th frame.", min=1)] = 1,
    frames: Annotated[
        int | None, typer.Option(help="Clip: take at most so many frames.", min=1)
    ] = None,
    background: Annotated[
        str,
        typer.Option(help="Colour behind transparent pictures: a name or #rrggbb."),
    ] = "white",
    min_psnr: Annotated[
        float | None,
        typer.Option(help="Write nothing if embedding or restored pictures are below, dB."),
    ] = None,
    verify: Annotated[
        bool, typer.Option(help="Read the file back, restore it and tell its quality.")
    ] = True,
    device: DeviceOption = "auto",
    memory: MemoryOption = None,
    yes: OverwriteOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    debug: DebugOption = False,
) -> None:
    """Embed a clip or photos in one PNG, and tell the quality of this very file.

    video: a clip or a folder of frames; more frames than the model takes make an animated PNG.

    stego: the cover first, then one or more photos to hide; all are fitted to the cover's size
    and restored at their own.
    """
    from PIL import ImageColor

    from iicnet_cli.api import Converter
    from iicnet_cli.media.video import parse_time
    from iicnet_cli.tasks import EmbedOptions

    try:
        colour = ImageColor.getrgb(background)
    except ValueError:
        raise UsageError(
            f"'{background}' is no colour", hint="write a name, or #rrggbb"
        ) from None
    options = EmbedOptions(
        start=parse_time(start) if start else None,
        end=parse_time(end) if end else None,
        step=step,
        frames=frames,
        background=(colour[0], colour[1], colour[2]),
    )
    if as_json and str(output) == "-":
        raise UsageError("--json and -o - cannot both go to stdout")
    with (
        input_paths(inputs) as paths,
        output_path(output, ".png") as target,
        progress_bar(quiet or as_json) as progress,
    ):
        converter = Converter(
            device=device, memory=parse_memory(memory), progress=progress
        )
        report = converter.embed(
            paths,
            target,
            task=task,
            model=model,
            options=options,
            overwrite=yes,
            verify=verify,
            min_psnr=min_psnr,
        )
    if as_json:
        print_json(
            {
                **dataclasses.asdict(report),
                "output": str(output),
                "embed_psnr": report.embed_psnr,
                "restored_psnr": report.restored_psnr,
                "hidden_psnr": report.hidden_psnr,
            }
        )
        return
    if verbose:
        say(f"device {converter.device.device}: {converter.device.reason}")
    if report.guessed:
        say(f"task: {report.task}, told from the inputs (--task decides)", quiet=quiet)
    for note in report.notes:
        say(f"note: {note}", quiet=quiet)
    what = "frames" if report.task == "video" else "photos"
    animated = f", animated PNG of {report.embeddings} pictures" if report.embeddings > 1 else ""
    say(
        f"{output}: {report.images} {what} {report.width}x{report.height} with {report.model}"
        f"{animated}, {report.bytes / 1e6:.2f} MB, {report.seconds:.1f} s",
        quiet=quiet,
    )
    if report.embedding:
        say(
            f"embedding {report.embed_psnr:.2f} dB, restored {report.restored_psnr:.2f} dB, "
            f"without the reference {report.hidden_psnr:.2f} dB",
            quiet=quiet,
        )
    if verbose:
        for picture in report.restored:
            say(f"  {picture.name}: {picture.psnr:.2f} dB")
