"""Jobs done in this process, or at the same time in worker processes of this machine."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, LifoQueue
from typing import TypeVar

from iicnet_cli.errors import DeviceError
from iicnet_cli.jobs.job import (
    ConverterSettings,
    Job,
    Listener,
    Outcome,
    Performer,
    earlier_outcome,
)
from iicnet_cli.jobs.machine import available_cores
from iicnet_cli.media.temporary import remove_leftovers
from iicnet_cli.reports import ProgressListener

R = TypeVar("R")

GRACE_SECONDS = 5.0
"""A worker that is told to stop has this long to remove its temporary files."""

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS")
"""These environment variables say how many threads a library may use; the user's own win."""


def can_start_workers() -> bool:
    """Whether there is a Python interpreter to start; a frozen program has none."""
    return bool(sys.executable) and not getattr(sys, "frozen", False)


def perform_here(
    jobs: Iterable[Job[R]], settings: ConverterSettings, progress: ProgressListener
) -> Generator[Outcome[R], None, None]:
    """Do jobs one after the other in this process, with one converter."""
    performer = Performer(settings, progress)
    for job in jobs:
        yield earlier_outcome(job) or performer.perform(job)


def perform_in_processes(
    jobs: Sequence[Job[R]], settings: ConverterSettings, workers: int, listener: Listener
) -> Generator[Outcome[R], None, None]:
    """Do jobs in worker processes, each with its share of the cores; outcomes come in order.

    A worker that is killed is the failure of its job only. If the generator is closed early, all
    workers end.

    Args:
        jobs: what to do.
        settings: for the converter of each worker.
        workers: number of processes.
        listener: called with each outcome as soon as it is there, by several threads.
    """
    with _WorkerPool(settings, workers) as pool, ThreadPoolExecutor(workers) as threads:

        def one(job: Job[R]) -> Outcome[R]:
            outcome = earlier_outcome(job) or pool.perform(job)
            listener(outcome)
            return outcome

        futures = [threads.submit(one, job) for job in jobs]
        try:
            for future in futures:
                yield future.result()
        finally:
            threads.shutdown(wait=False, cancel_futures=True)
            pool.close()


@contextmanager
def _blocked_interrupts() -> Iterator[None]:
    """Let processes that this thread starts inherit that Ctrl-C waits.

    A worker ignores it, but only when it has loaded; before, it would end with a traceback.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _WorkerPool:
    """As many worker processes as threads ask at the same time."""

    def __init__(self, settings: ConverterSettings, workers: int) -> None:
        self._settings, self._workers = settings, workers
        self._idle: LifoQueue[_Worker] = LifoQueue()
        self._started: set[_Worker] = set()
        self._lock = threading.Lock()
        self._closed = False

    def __enter__(self) -> _WorkerPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def perform(self, job: Job[R]) -> Outcome[R]:
        """Do a job in a worker that is idle, or in a new one."""
        worker = self._take()
        try:
            outcome = worker.perform(job)
        except (OSError, EOFError, pickle.UnpicklingError):
            with self._lock:
                self._started.discard(worker)
            how = worker.end()
            for output in job.outputs():
                remove_leftovers(output)
            error = DeviceError(
                f"its worker process {how}",
                hint="out of memory? use fewer --jobs, or less --memory",
            )
            return Outcome(job, error=error)
        self._idle.put(worker)
        return outcome

    def close(self) -> None:
        """End all workers, those at work too."""
        with self._lock:
            self._closed = True
            started, self._started = self._started, set()
        for worker in started:
            worker.tell_to_stop()
        for worker in started:
            worker.end()

    def _take(self) -> _Worker:
        with suppress(Empty):
            return self._idle.get_nowait()
        with self._lock:
            if self._closed:
                raise DeviceError("the workers have been stopped")
            worker = _Worker(self._settings, self._workers)
            self._started.add(worker)
        return worker


class _Worker:
    """One worker process, seen from the process that started it.

    It is no ``multiprocessing`` worker, for those run the main module of the program once more.
    """

    def __init__(self, settings: ConverterSettings, workers: int) -> None:
        package = str(Path(__file__).parents[2])
        path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH", "")]))
        threads = str(max(1, available_cores() // workers))
        with _blocked_interrupts():
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", "from iicnet_cli.jobs.worker import serve; serve()"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={
                    **dict.fromkeys(_THREAD_VARIABLES, threads),
                    **os.environ,
                    "PYTHONPATH": path,
                },
            )
        assert self._process.stdin and self._process.stdout
        self._requests, self._answers = self._process.stdin, self._process.stdout
        with suppress(OSError):  # the first job tells
            pickle.dump((settings, 1 / workers), self._requests)

    def perform(self, job: Job[R]) -> Outcome[R]:
        """Send a job and wait for its outcome.

        Raises:
            OSError, EOFError, pickle.UnpicklingError: the process has ended.
        """
        pickle.dump(job, self._requests)
        self._requests.flush()
        outcome: Outcome[R] = pickle.load(self._answers)
        return outcome

    def tell_to_stop(self) -> None:
        """Let the process end by itself, whatever it is doing."""
        with suppress(OSError):
            self._requests.close()

    def end(self) -> str:
        """Wait until the process has ended, kill it if need be, and say how it ended."""
        self.tell_to_stop()
        try:
            status = self._process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        with suppress(OSError):
            self._answers.close()
        if status >= 0:
            return f"ended with status {status}"
        with suppress(ValueError):
            return f"was killed by {signal.Signals(-status).name}"
        return f"was killed by signal {-status}"
