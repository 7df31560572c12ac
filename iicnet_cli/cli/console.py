"""Shared by all commands: messages on stderr, errors to exit statuses, pipes."""

from __future__ import annotations

import functools
import json
import logging
import math
import os
import re
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import typer

from iicnet_cli.errors import ContainerError, ExitCode, IICNetError, UsageError
from iicnet_cli.media.temporary import scratch_folder

if TYPE_CHECKING:
    from iicnet_cli.reports import PictureQuality

P = ParamSpec("P")
R = TypeVar("R")

_MAX_ERROR_LENGTH = 300
"""Messages of errors that nobody foresaw are cut to this many characters."""


def command(function: Callable[P, R]) -> Callable[P, R]:
    """Turn the errors of a command into one line on stderr and an exit status."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        _say_log(quiet=bool(kwargs.get("quiet")))
        try:
            with _interruptible():
                return function(*args, **kwargs)
        except KeyboardInterrupt:
            say_error("interrupted")
            raise typer.Exit(ExitCode.INTERRUPTED) from None
        except BrokenPipeError:
            # The reader of our stdout went away; Python must not complain again at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(ExitCode.FAILURE) from None
        except (typer.Exit, typer.Abort):
            raise
        except Exception as error:
            if kwargs.get("debug"):
                raise
            failure = describe_failure(error)
            say_error(failure.message, failure.hint)
            raise typer.Exit(failure.exit_code) from None

    return run


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C raise ``KeyboardInterrupt`` here, whatever it does where no command is running."""
    before = signal.getsignal(signal.SIGINT)
    if not callable(before) or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@dataclass(frozen=True)
class Failure:
    """An error as users see it: one line, what to do about it, and the exit status."""

    message: str
    hint: str
    exit_code: ExitCode


def describe_failure(error: Exception) -> Failure:
    """Describe any error, those that nobody foresaw included."""
    if isinstance(error, IICNetError):
        return Failure(str(error), error.hint, error.exit_code)
    text = f": {error}" if str(error) else ""
    if isinstance(error, MemoryError):
        return Failure(f"not enough memory{text}", "", ExitCode.FAILURE)
    if isinstance(error, OSError):
        return Failure(f"system error{text}", "", ExitCode.FAILURE)
    line = " ".join(f"{type(error).__name__}{text}".split())
    hint = "this is a fault of iicnet; --debug shows where it is"
    return Failure(f"unexpected error: {line[:_MAX_ERROR_LENGTH]}", hint, ExitCode.FAILURE)


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
    size = float(match[1]) * 1024 ** " KMGT".index(match[2].upper() or " ") if match else 0.0
    if not 1 <= size < math.inf:
        raise UsageError(f"'{text}' is no size of memory", hint="write 512M or 2G")
    return int(size)


@contextmanager
def input_paths(arguments: list[Path]) -> Iterator[list[Path]]:
    """The arguments; ``-`` becomes a temporary file with what stdin holds."""
    if [str(a) for a in arguments].count("-") > 1:
        raise UsageError("'-' (standard input) can be given once only")
    if Path("-") not in arguments:
        yield arguments
        return
    with scratch_folder() as folder:
        spooled = folder / "stdin"
        with spooled.open("wb") as file:
            while block := sys.stdin.buffer.read(1 << 20):
                file.write(block)
        if not spooled.stat().st_size:
            raise UsageError("standard input is empty")
        yield [spooled if str(a) == "-" else a for a in arguments]


@contextmanager
def naming(source: Path) -> Iterator[None]:
    """Let errors of what a file holds name the file."""
    try:
        yield
    except ContainerError as error:
        if str(source) in str(error):
            raise
        raise type(error)(f"{source}: {error}", hint=error.hint) from error


@contextmanager
def output_path(argument: Path, suffix: str) -> Iterator[Path]:
    """The argument; ``-`` becomes a temporary file that is copied to stdout in the end."""
    if str(argument) != "-":
        yield argument
        return
    refuse_terminal()
    with scratch_folder() as folder:
        spooled = folder / f"stdout{suffix}"
        yield spooled
        copy_to_stdout(spooled)


def refuse_terminal() -> None:
    """Refuse to write a picture or clip to a terminal.

    Raises:
        UsageError: stdout is a terminal, or closed.
    """
    if sys.__stdout__ is None:
        raise UsageError("standard output is closed", hint="use -o")
    if sys.stdout.isatty():
        raise UsageError("a picture is not written to a terminal", hint="redirect it, or use -o")


def copy_to_stdout(path: Path) -> None:
    """Write the content of a file to stdout."""
    with path.open("rb") as file:
        shutil.copyfileobj(file, sys.stdout.buffer)
    sys.stdout.buffer.flush()


def counted(number: int, things: str) -> str:
    """A number of things, named in the singular or the plural, in words: 1 frame, 2 frames."""
    return f"{number} {things.removesuffix('s')}{'' if number == 1 else 's'}"


def decibels(picture: PictureQuality) -> str:
    """The PSNR of a picture in words."""
    return "exact" if picture.is_exact else f"{picture.psnr:.2f} dB"
