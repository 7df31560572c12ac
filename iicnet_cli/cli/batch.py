"""Many inputs in one call: a bad one does not stop the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import typer

from iicnet_cli.cli.console import print_json, say_error, system_error_message
from iicnet_cli.errors import ExitCode, IICNetError, UsageError


def same_names(inputs: Sequence[Path], folder: Path, suffix: str) -> dict[Path, Path]:
    """The output of each input: its name with another suffix, in ``folder``, which is created.

    Raises:
        UsageError: stdin is among the inputs, two of them would go to one file, or one would be
            overwritten.
    """
    targets: dict[Path, Path] = {}
    taken: dict[Path, Path] = {}
    for source in inputs:
        if str(source) == "-":
            raise UsageError("standard input has no name for --out-dir", hint="use -o")
        stem = source.name if source.is_dir() else source.stem
        target = folder / f"{stem}{suffix}"
        if target in taken:
            raise UsageError(f"{taken[target]} and {source} would both become {target}")
        if target.exists() and target.resolve() == source.resolve():
            raise UsageError(f"{source} would be overwritten", hint="choose another --out-dir")
        targets[source], taken[target] = target, source
    make_folder(folder)
    return targets


def check_distinct(sources: Sequence[Path], folder: Path | None) -> None:
    """Refuse PNGs whose default outputs, in ``folder`` or beside each, would have the same name.

    Raises:
        UsageError: two of them would; the message names them.
    """
    taken: dict[Path, Path] = {}
    for source in sources:
        place = (folder or source.parent) / source.stem
        if place in taken:
            raise UsageError(
                f"{taken[place]} and {source} would be restored to the same name",
                hint="restore them one by one, each with -o",
            )
        taken[place] = source


def make_folder(folder: Path) -> None:
    """Create a folder and its parents.

    Raises:
        UsageError: there is a file of that name.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise UsageError(f"{folder} is not a folder") from None


def run_batch(
    sources: Sequence[Path], one: Callable[[Path], None], *, as_json: bool, debug: bool
) -> None:
    """Call ``one`` for each source; print and count its errors.

    Raises:
        typer.Exit: some sources failed; with their common exit status, else with 1.
    """
    failed: list[int] = []
    for source in sources:
        try:
            one(source)
        except typer.Exit as finished:
            failed.append(finished.exit_code)
        except (IICNetError, MemoryError, OSError) as error:
            if debug:
                raise
            code = error.exit_code if isinstance(error, IICNetError) else ExitCode.FAILURE
            message = str(error) if isinstance(error, IICNetError) else system_error_message(error)
            named = message if str(source) in message else f"{source}: {message}"
            say_error(named, error.hint if isinstance(error, IICNetError) else "")
            if as_json:
                print_json({"input": str(source), "error": message, "exit_code": int(code)})
            failed.append(code)
    if failed:
        if len(sources) > 1:
            say_error(f"{len(failed)} of {len(sources)} failed")
        raise typer.Exit(failed[0] if len(set(failed)) == 1 else ExitCode.FAILURE)
