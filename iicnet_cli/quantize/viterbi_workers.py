"""Worker processes for the Viterbi search, so that threads do not wait for one interpreter lock."""

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

from iicnet_cli.pictures.arrays import Pixels
from iicnet_cli.quantize.viterbi import TrellisRows, Values, viterbi_quantize


class ViterbiWorkers:
    """A pool of worker processes, open as a context.

    It has one process for each thread that calls it at the same time. They are not
    ``multiprocessing`` workers, for those run the main module of the calling program once more.
    """

    def __init__(self) -> None:
        self._idle: LifoQueue[subprocess.Popen[bytes]] = LifoQueue()
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True
        self._stop_idle()

    def viterbi_quantize(self, rows: TrellisRows) -> tuple[Pixels, Values]:
        """Call :func:`viterbi.viterbi_quantize` in a worker process.

        It runs in this process if no worker can be started, or if the worker was killed.
        """
        worker = self._take_worker()
        if worker is None:
            return viterbi_quantize(rows)
        try:
            result = _ask(worker, rows)
        except (OSError, EOFError, pickle.UnpicklingError):
            _stop(worker)
            return viterbi_quantize(rows)
        self._idle.put(worker)
        if self._closed:
            self._stop_idle()
        return result

    def _stop_idle(self) -> None:
        with suppress(Empty):
            while True:
                _stop(self._idle.get_nowait())

    def _take_worker(self) -> subprocess.Popen[bytes] | None:
        """An idle worker or a new one; ``None`` where none can be started."""
        with suppress(Empty):
            return self._idle.get_nowait()
        if getattr(sys, "frozen", False) or not sys.executable:
            return None
        package = str(Path(__file__).parents[2])
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
    """Run a worker process: answer requests on stdin until it is closed."""
    # Ctrl-C is handled by the process that asks.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    while True:
        try:
            rows = pickle.load(requests)
            pickle.dump(viterbi_quantize(rows), answers)
            answers.flush()
        except (EOFError, BrokenPipeError):
            os._exit(0)


def _ask(worker: subprocess.Popen[bytes], rows: TrellisRows) -> tuple[Pixels, Values]:
    assert worker.stdin
    assert worker.stdout
    pickle.dump(rows, worker.stdin)
    worker.stdin.flush()
    pixels, errors = pickle.load(worker.stdout)
    return pixels, errors


def _stop(worker: subprocess.Popen[bytes]) -> None:
    worker.kill()
    worker.communicate()
