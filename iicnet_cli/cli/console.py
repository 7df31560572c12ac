"""Shared by all commands: messages on stderr, errors to exit statuses, pipes."""

from __future__ import annotations

import functools
import json
import logging
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import typer

from iicnet_cli.errors import ExitCode, IICNetError, UsageError

P = ParamSpec("P")
R = TypeVar("R")


def command(function: Callable[P, R]) -> Callable[P, R]:
    """Turn the errors of a command into one line on stderr and an exit status."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        _say_log(quiet=bool(kwargs.get("quiet")))
        try:
            return function(*args, **kwargs)
        except KeyboardInterrupt:
            say_error("interrupted")
            raise typer.Exit(ExitCode.INTERRUPTED) from None
        except BrokenPipeError:
            # The reader of our stdout went away; Python must not complain again at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(ExitCode.FAILURE) from None
        except IICNetError as error:
            if kwargs.get("debug"):
                raise
            say_error(str(error), error.hint)
            raise typer.Exit(error.exit_code) from None
        except (MemoryError, OSError) as error:
            if kwargs.get("debug"):
                raise
            say_error(system_error_message(error))
            raise typer.Exit(ExitCode.FAILURE) from None

    return run


def system_error_message(error: MemoryError | OSError) -> str:
    """What the system refused, in words."""
    text = f": {error}" if str(error) else ""
    return f"not enough memory{text}" if isinstance(error, MemoryError) else f"system error{text}"


def say(message: str, *, quiet: bool = False) -> None:
    """Print one line on stderr."""
    if not quiet:
        typer.echo(message, err=True)


class _SayHandler(logging.Handler):
    """Prints what the package logs as lines on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        say(record.getMessage())


def _say_log(*, quiet: bool) -> None:
    logger = logging.getLogger("iicnet_cli")
    if not any(isinstance(handler, _SayHandler) for handler in logger.handlers):
        logger.addHandler(_SayHandler())
    logger.setLevel(logging.WARNING if quiet else logging.INFO)


def say_error(message: str, hint: str = "") -> None:
    """Print one line of error, in red on a terminal unless NO_COLOR is set."""
    colour = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    label = typer.style("iicnet: ", fg="red", bold=True) if colour else "iicnet: "
    typer.echo(label + message + (f" ({hint})" if hint else ""), err=True)


def print_json(value: dict[str, Any]) -> None:
    """Print one line of JSON on stdout."""
    typer.echo(json.dumps(value, default=str))


def parse_moment(text: str | None) -> float | None:
    """A time such as 12.5 or 1:02.5 in seconds; ``None`` stays ``None``.

    Raises:
        UsageError: it is no time.
    """
    from iicnet_cli.media.frame_times import parse_time

    return parse_time(text) if text else None


def parse_colour(text: str) -> tuple[int, int, int]:
    """The red, green and blue of a name or #rrggbb.

    Raises:
        UsageError: it is no colour.
    """
    from PIL import ImageColor

    try:
        red, green, blue = ImageColor.getrgb(text)[:3]
    except ValueError:
        raise UsageError(f"'{text}' is no colour", hint="write a name, or #rrggbb") from None
    return red, green, blue


def parse_memory(text: str | None) -> int | None:
    """``512M``, ``2G``, ``1.5GiB`` or plain bytes; ``None`` stays ``None``.

    Raises:
        UsageError: none of these.
    """
    if text is None:
        return None
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?\s*", text, re.IGNORECASE)
    if not match or not float(match[1]):
        raise UsageError(f"'{text}' is no size of memory", hint="write 512M or 2G")
    return int(float(match[1]) * 1024 ** " KMGT".index(match[2].upper() or " "))


@contextmanager
def input_paths(arguments: list[Path]) -> Iterator[list[Path]]:
    """The arguments; ``-`` becomes a temporary file with what stdin holds."""
    if [str(a) for a in arguments].count("-") > 1:
        raise UsageError("'-' (standard input) can be given once only")
    if Path("-") not in arguments:
        yield arguments
        return
    with tempfile.TemporaryDirectory() as folder:
        spooled = Path(folder) / "stdin"
        with spooled.open("wb") as file:
            while block := sys.stdin.buffer.read(1 << 20):
                file.write(block)
        if not spooled.stat().st_size:
            raise UsageError("standard input is empty")
        yield [spooled if str(a) == "-" else a for a in arguments]


@contextmanager
def output_path(argument: Path, suffix: str) -> Iterator[Path]:
    """The argument; ``-`` becomes a temporary file that is copied to stdout in the end."""
    if str(argument) != "-":
        yield argument
        return
    refuse_terminal()
    with tempfile.TemporaryDirectory() as folder:
        spooled = Path(folder) / f"stdout{suffix}"
        yield spooled
        copy_to_stdout(spooled)


def refuse_terminal() -> None:
    """Refuse to write a picture or clip to a terminal.

    Raises:
        UsageError: stdout is a terminal.
    """
    if sys.stdout.isatty():
        raise UsageError("a picture is not written to a terminal", hint="redirect it, or use -o")


def copy_to_stdout(path: Path) -> None:
    """Write the content of a file to stdout."""
    with path.open("rb") as file:
        shutil.copyfileobj(file, sys.stdout.buffer)
    sys.stdout.buffer.flush()
