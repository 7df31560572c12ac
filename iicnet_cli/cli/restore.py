"""``iicnet restore``."""

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
    parse_memory,
    print_json,
    progress_bar,
    say,
    say_error,
)
from iicnet_cli.errors import ExitCode, UsageError


@command
def restore(
    source: Annotated[Path, typer.Argument(help="The PNG; - is stdin.", metavar="PNG")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="video: a file (.mkv .avi exact; .png .webp exact, animated; .mp4 .gif lossy) or "
            "a folder for frames. stego: a folder. Beside the PNG by default.",
        ),
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="Overrides what the file says: video or stego.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Overrides what the file says: model name or folder.")
    ] = None,
    device: DeviceOption = "auto",
    memory: MemoryOption = None,
    yes: OverwriteOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    debug: DebugOption = False,
) -> None:
    """Restore what a PNG holds; it says itself what that is.

    A PNG whose pixels were altered is restored as far as possible, with exit status 3.

    Default outputs: NAME-restored.mkv (FFV1, exact to the network's result) for a clip, the
    folder NAME-restored for photos.
    """
    from iicnet_cli.api import Converter

    if str(source) == "-" and output is None:
        raise UsageError("from stdin, -o must say where to write")
    with input_paths([source]) as paths, progress_bar(quiet or as_json) as progress:
        converter = Converter(
            device=device, memory=parse_memory(memory), progress=progress
        )
        report = converter.restore(
            paths[0], output, task=task, model=model, overwrite=yes
        )
    if as_json:
        print_json(dataclasses.asdict(report) | {"outputs": [str(p) for p in report.outputs]})
    else:
        if verbose:
            say(f"device {converter.device.device}: {converter.device.reason}")
        if report.found_by == "mark":
            say("the header was stripped; task and model are from the mark", quiet=quiet)
        what = "frames" if report.task == "video" else "photos"
        say(
            f"{report.images} {what} restored with {report.model} in {report.seconds:.1f} s",
            quiet=quiet,
        )
        for path in report.outputs:
            say(f"  {path}", quiet=quiet)
        for note in report.notes:
            say(f"note: {note}", quiet=quiet)
    if report.altered:
        say_error(
            f"{source}: the pixels were altered after embedding; what was restored is less "
            "faithful, or wrong where they were",
            "re-encoded or edited? restore from the original PNG",
        )
        raise typer.Exit(ExitCode.NOT_EMBEDDING)
