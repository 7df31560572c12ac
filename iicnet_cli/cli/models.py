"""``iicnet models``: list, path, verify and import checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from iicnet_cli.cli.common_options import DebugOption, JsonOption, OverwriteOption
from iicnet_cli.cli.console import command, print_json, say, say_error
from iicnet_cli.errors import ExitCode, ModelError

app = typer.Typer(no_args_is_help=True, help="List, check and import checkpoints.")


@app.command("list")
@command
def list_models(as_json: JsonOption = False, debug: DebugOption = False) -> None:
    """List the checkpoints: the user's own, then the bundled ones."""
    from iicnet_cli.zoo import available

    unreadable: list[ModelError] = []
    checkpoints = list(available(unreadable))
    for error in unreadable:
        say(f"note: {error}")
    if as_json:
        for checkpoint in checkpoints:
            print_json(
                {
                    **checkpoint.config.model_dump(by_alias=True),
                    "folder": str(checkpoint.folder),
                    "bytes": checkpoint.size,
                }
            )
        return
    typer.echo(f"{'name':20}{'version':>7}  {'task':12}{'pictures':>9}{'MB':>8}  weights")
    for checkpoint in checkpoints:
        config = checkpoint.config
        typer.echo(
            f"{config.name:20}{config.version:>7}  {config.task:12}{config.network.images:>9}"
            f"{checkpoint.size / 1e6:>8.2f}  {config.weights_sha256[:12]}"
        )


@app.command("path")
@command
def path(
    name: Annotated[str, typer.Argument(help="Model name.")], debug: DebugOption = False
) -> None:
    """Print the folder of a checkpoint; its README.md is the model card."""
    from iicnet_cli.zoo import find

    typer.echo(str(find(name).folder))


@app.command("verify")
@command
def verify(
    names: Annotated[
        list[str] | None, typer.Argument(help="Model names or folders; all by default.")
    ] = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Check the hash of the weights, and replay the golden files.

    A checkpoint passes if every 8-bit value differs by at most one from the golden files.
    """
    from iicnet_cli.zoo import available, find
    from iicnet_cli.zoo.golden import replay_golden

    failed = False
    for checkpoint in [find(name) for name in names] if names else list(available()):
        replay = replay_golden(checkpoint)
        failed = failed or not replay.ok
        if as_json:
            print_json(
                {
                    "name": checkpoint.name,
                    "ok": replay.ok,
                    "embedding": replay.embedding,
                    "restored": replay.restored,
                }
            )
        else:
            verdict = "ok" if replay.ok else "FAILED"
            typer.echo(
                f"{checkpoint.name:20}{verdict:8}largest difference: embedding "
                f"{replay.embedding}, restored {replay.restored}"
            )
    if failed:
        say_error("some checkpoints do not reproduce their golden files")
        raise typer.Exit(ExitCode.FAILURE)


@app.command("import")
@command
def import_model(
    source: Annotated[Path, typer.Argument(help="A .pth file of the authors' code.")],
    name: Annotated[
        str, typer.Option("--as", help="Published setting, e.g. paper/video-5; see above.")
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder; the user's models by default.")
    ] = None,
    yes: OverwriteOption = False,
    debug: DebugOption = False,
) -> None:
    """Import a checkpoint of the paper's code.

    It is a pickled state dict, which is read without running any code in it.

    Settings: paper/video-5, video-7, video-9, video-3-half, video-5-half, stereo, dual, layers-3,
    layers-2, stego-2 to stego-5, grayscale, rescale, each with paper/ before it.
    """
    from iicnet_cli.zoo.importing import import_official

    checkpoint = import_official(source, name, output, overwrite=yes)
    say(f"{checkpoint.name}: {checkpoint.folder}")
    typer.echo(str(checkpoint.folder))
