"""The command line: parse, call the API, print. Loading it imports neither torch nor numpy."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from typing import Annotated

import typer

from iicnet_cli import __version__
from iicnet_cli.cli import check, embed, evaluate, info, models, restore, show_capacity, train
from iicnet_cli.cli.console import describe_failure, say_error
from iicnet_cli.errors import ExitCode
from iicnet_cli.foreign_messages import silence_libraries

app = typer.Typer(
    name="iicnet",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help=(
        "Embed a clip or photos in one ordinary-looking PNG, and restore them from it.\n\n"
        "Restored pictures are near copies, unless embed says that they are exact. What is hidden "
        "is not encrypted, unless --password is given.\n\n"
        "Exit status: 0 ok, 1 failure, 2 usage, 3 not an iicnet picture or damaged, 4 model not "
        "available, 130 interrupted."
    ),
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"iicnet {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    pass


app.command("embed")(embed.embed)
app.command("restore")(restore.restore)
app.command("info")(info.info)
app.command("check")(check.check)
app.command("capacity")(show_capacity.capacity)
app.command("evaluate")(evaluate.evaluate)
app.command("train")(train.train)
app.add_typer(models.app, name="models")


_OPENMP_WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
"""Environment variables by which a user says how idle threads of OpenMP wait."""


def let_idle_threads_sleep() -> None:
    """Let threads of OpenMP sleep while they wait for each other, unless the user has decided.

    By default they spin. Where other programs keep the cores busy, a thread then spins for the
    whole time slices in which the one that it waits for does not run: embedding small pictures
    beside two busy processes took four times the CPU time. Those of OpenBLAS, by which NumPy
    multiplies matrices, cannot sleep, so there is only one. All this has to be set before torch and
    NumPy load, so only a program can do that, not a library.
    """
    if not any(name in os.environ for name in _OPENMP_WAITING):
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def open_closed_streams() -> None:
    """Let what is written to a closed stdout or stderr go nowhere, as under some schedulers.

    Else the next file that is opened gets its number, and what libraries print gets into that file.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))


def main() -> None:
    """Run the command line and end the process."""
    open_closed_streams()
    let_idle_threads_sleep()
    silence_libraries()
    # Leave as Ctrl-C does, so that temporary files are removed on the way out.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        app()
    except SystemExit as end:
        if end.code:
            raise
    except OSError as error:  # of --help and --version; commands handle theirs
        if "--debug" in sys.argv:
            raise
        say_error(describe_failure(error).message)
        sys.exit(ExitCode.FAILURE)
    _leave_at_once()


def _leave_at_once() -> None:
    """End a process that has succeeded, without the half second in which Python takes torch apart.

    After a failure Python ends as usual: what the failure left open is closed only then.
    """
    atexit._run_exitfuncs()  # there is no public way to call them without ending
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):
        return  # Python tries again, complains, and ends with a status of its own
    os._exit(0)
