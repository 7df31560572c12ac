"""Processes that round along trellises, so that threads need not wait for each other's Python."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from queue import Empty, LifoQueue
from typing import Self

import iicnet_cli
from iicnet_cli.pictures.arrays import Pixels
from iicnet_cli.quantize.viterbi import TrellisRows, Values, viterbi_quantize


class ViterbiWorkers:
    """As many as there are threads that ask at once, for as long as the context is open.

    They are no ``multiprocessing`` workers, which would run the main module of a program that uses
    this package once more.
    """

    def __init__(self) -> None:
        self._idle: LifoQueue[subprocess.Popen[bytes]] = LifoQueue()
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True
        self._end_idle()

    def viterbi_quantize(self, rows: TrellisRows) -> Values:
        """As the function; done here where there can be no helper, or it was killed."""
        helper = self._helper()
        if helper is None:
            return viterbi_quantize(rows)
        try:
            rows.levels[:], errors = _answer(helper, rows)
        except (OSError, EOFError, pickle.UnpicklingError):
            _end(helper)
            return viterbi_quantize(rows)
        self._idle.put(helper)
        if self._closed:
            self._end_idle()
        return errors

    def _end_idle(self) -> None:
        with suppress(Empty):
            while True:
                _end(self._idle.get_nowait())

    def _helper(self) -> subprocess.Popen[bytes] | None:
        with suppress(Empty):
            return self._idle.get_nowait()
        if getattr(sys, "frozen", False) or not sys.executable:
            return None
        package = str(Path(iicnet_cli.__file__).parents[1])
        paths = [package, os.environ["PYTHONPATH"]] if "PYTHONPATH" in os.environ else [package]
        try:
            return subprocess.Popen(
                [sys.executable, "-P", "-c", f"from {__name__} import serve; serve()"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            )
        except OSError:
            return None


def serve() -> None:
    """Answer until there is nobody to ask."""
    # Ctrl-C is for the process that asks.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asked, answers = sys.stdin.buffer, sys.stdout.buffer
    while True:
        try:
            rows = pickle.load(asked)
            errors = viterbi_quantize(rows)
            pickle.dump((rows.levels, errors), answers)
            answers.flush()
        except (EOFError, BrokenPipeError):
            os._exit(0)


def _answer(helper: subprocess.Popen[bytes], rows: TrellisRows) -> tuple[Pixels, Values]:
    assert helper.stdin
    assert helper.stdout
    pickle.dump(rows, helper.stdin)
    helper.stdin.flush()
    levels, errors = pickle.load(helper.stdout)
    return levels, errors


def _end(helper: subprocess.Popen[bytes]) -> None:
    helper.kill()
    helper.communicate()
