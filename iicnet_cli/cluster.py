"""Jobs done by the machines of a Ray cluster. Nothing else in this program knows Ray.

::

    this process                                   machines of the cluster
    jobs (paths and options) --object store-->     actors, each with one Converter
    outcomes (reports, errors) <--object store--   outputs and markers --> shared folders

All machines need the same iicnet and the same folders. A job whose actor is lost is done again by
an actor on another machine.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO, TypeVar

from iicnet_cli import __version__
from iicnet_cli.errors import DeviceError, IICNetError, UsageError
from iicnet_cli.jobs.job import (
    ConverterSettings,
    Job,
    Listener,
    Outcome,
    Performer,
    earlier_outcome,
)
from iicnet_cli.jobs.machine import JOB_MEMORY, MAX_JOBS_ON_GPU
from iicnet_cli.media.temporary import remove_leftovers

R = TypeVar("R")

RETRIES = 3
"""How often a job is repeated after its worker was lost, and connecting after the head failed."""
TOKEN_HINT = (
    "is it running? if it asks for a token, set RAY_AUTH_MODE=token, "
    "and put its token in RAY_AUTH_TOKEN or ~/.ray/auth_token"
)
"""Ray sends no token to an address that is named unless it is told to, and says only "timeout"."""
WAIT_SECONDS = 60.0
"""After so long without any worker the user is told what the program waits for."""


def check_address(on: str) -> str | None:
    """The address of a cluster as Ray takes it; ``None`` for this machine's, or a new one here.

    Args:
        on: ``ray`` or ``ray://HEAD:PORT``.

    Raises:
        UsageError: neither of them.
    """
    if on == "ray":
        return None
    if on.startswith("ray://") and on.rpartition(":")[2].isdecimal():
        return on
    raise UsageError(f"no cluster '{on}'", hint="write --on ray or --on ray://HEAD:PORT")


def perform_on_ray(
    jobs: Sequence[Job[R]],
    settings: ConverterSettings,
    address: str | None,
    workers: int | None,
    listener: Listener,
    warn: Callable[[str], None],
) -> Generator[Outcome[R], None, None]:
    """Do jobs in actors on a Ray cluster; outcomes come in order.

    Jobs that are complete are skipped before a cluster is asked for.

    Args:
        jobs: what to do; their paths must mean the same on all machines.
        settings: for the converter of each actor.
        address: of the cluster, see :func:`check_address`.
        workers: number of actors; by default as many as the cluster has room for.
        listener: called with each outcome as soon as it is there.
        warn: called with a sentence for each minute in which no worker is at work.

    Raises:
        UsageError: Ray is not installed.
        DeviceError: there is no such cluster, or its machines cannot do the work.
    """
    outcomes: dict[int, Outcome[R]] = {}
    for number, job in enumerate(jobs):
        earlier = earlier_outcome(job)
        if earlier is not None:
            outcomes[number] = earlier
            listener(earlier)
    numbers = [number for number in range(len(jobs)) if number not in outcomes]
    given = 0
    if numbers:
        with connected(address) as ray:
            actors = _Actors(ray, settings, workers, [(n, jobs[n]) for n in numbers])
            with contextlib.closing(actors.outcomes(warn)) as finished:
                for number, outcome in finished:
                    listener(outcome)
                    outcomes[number] = outcome
                    while given in outcomes:
                        yield outcomes.pop(given)
                        given += 1
    while given in outcomes:
        yield outcomes.pop(given)
        given += 1


@contextmanager
def connected(address: str | None) -> Iterator[Any]:
    """The module ``ray``, connected to a cluster while the context is open.

    Args:
        address: of the cluster, see :func:`check_address`.

    Raises:
        UsageError: Ray is not installed.
        DeviceError: there is no such cluster, or it does not answer.
    """
    # Ray reads these when it is imported. It neither reports the use nor warns of GPUs.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError:
        raise UsageError("Ray is not installed", hint="pip install 'iicnet[ray]'") from None
    try:
        _connect(ray, address)
    except Exception as error:  # of many kinds, from several libraries
        where = address or "here"
        # The sentences after the first are Ray's advice, which does not name RAY_AUTH_MODE. What
        # went wrong at the other end is the last line of its traceback.
        first, *more = str(error).strip().splitlines() or [type(error).__name__]
        reason = f"{first} {more[-1]}" if more and first.endswith(":") else first.partition(". ")[0]
        raise DeviceError(f"no Ray cluster {where}: {reason}", hint=TOKEN_HINT) from error
    try:
        with contextlib.redirect_stdout(_OwnThread(sys.stdout)):
            yield ray
    finally:
        with _quiet():
            ray.shutdown()


def _connect(ray: Any, address: str | None) -> None:
    for retries_left in reversed(range(RETRIES + 1)):
        try:
            with _quiet():
                ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL)
            return
        except ConnectionAbortedError:
            # The process that the head forks for this client has ended, as gRPC sometimes makes
            # it on a busy machine; the next one may live. docs/scaling.md has the remedy.
            if not retries_left:
                raise


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what Ray says away from stdout and stderr."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


class _OwnThread:
    """A stream that takes text from the present thread only.

    Ray prints news of its machines from threads of its own, on stdout.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._thread = stream, threading.get_ident()

    def write(self, text: str) -> int:
        if threading.get_ident() == self._thread:
            return self._stream.write(text)
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _RayWorker:
    """An actor: it does one job after the other, in the folder of the process that asks."""

    def __init__(self, settings: ConverterSettings, share: float, folder: str) -> None:
        self._performer = Performer(settings, share=share)
        self._folder = folder

    def missing(self, version: str) -> str | None:
        """What this machine lacks for the work."""
        if version != __version__:
            return f"has iicnet {__version__}, not {version}"
        try:
            os.chdir(self._folder)
        except OSError:
            return f"has no folder {self._folder}; all machines must share it"
        return None

    def perform(self, job: Job[R]) -> Outcome[R]:
        # A restarted actor begins here. Of a lost one there may be unfinished files.
        os.chdir(self._folder)
        for output in job.outputs():
            remove_leftovers(output)
        return self._performer.perform_portably(job)


class _Actors:
    """The actors of one call, and which job each of them does."""

    def __init__(
        self,
        ray: Any,
        settings: ConverterSettings,
        workers: int | None,
        jobs: Sequence[tuple[int, Job[Any]]],
    ) -> None:
        self._ray, self._settings = ray, settings
        self._waiting = deque(jobs)
        self._gpus, room = self._room()
        self._count = min(len(jobs), workers or room)
        self._starting: dict[Any, Any] = {}
        self._working: dict[Any, tuple[Any, int, Job[Any]]] = {}

    def outcomes(
        self, warn: Callable[[str], None]
    ) -> Generator[tuple[int, Outcome[Any]], None, None]:
        """Do all jobs; yield the number and the outcome of each when it is done.

        Raises:
            DeviceError: a machine cannot do the work.
        """
        for _ in range(self._count):
            self._start()
        try:
            while self._waiting or self._working:
                done, _ = self._ray.wait([*self._starting, *self._working], timeout=WAIT_SECONDS)
                for answer in done:
                    if answer in self._starting:
                        actor = self._starting.pop(answer)
                        self._check(answer)
                        self._next(actor)
                    else:
                        yield self._finish(answer)
                if not (done or self._working):
                    warn(
                        f"waiting: no machine of the cluster has a core and {JOB_MEMORY >> 30} GiB "
                        "of memory to spare"
                    )
        finally:
            for actor in (*self._starting.values(), *(work[0] for work in self._working.values())):
                self._ray.kill(actor)

    def _room(self) -> tuple[float, int]:
        """The GPUs that an actor takes, and how many actors the cluster has room for."""
        resources = self._ray.cluster_resources()
        cores, memory = resources.get("CPU", 0), resources.get("memory", 0)
        room = int(min(cores, memory // JOB_MEMORY))
        gpus = resources.get("GPU", 0) if self._settings.device != "cpu" else 0
        if gpus:
            return 1 / MAX_JOBS_ON_GPU, max(1, int(min(room, gpus * MAX_JOBS_ON_GPU)))
        return 0, max(1, room)

    def _start(self) -> None:
        kind = self._ray.remote(_RayWorker).options(
            num_cpus=1,
            num_gpus=self._gpus,
            memory=JOB_MEMORY,
            max_restarts=-1,
            max_task_retries=RETRIES,
        )
        actor = kind.remote(self._settings, self._gpus or 1, str(Path.cwd()))
        self._starting[actor.missing.remote(__version__)] = actor

    def _check(self, answer: Any) -> None:
        try:
            lack = self._ray.get(answer)
        except Exception as error:  # of many kinds
            lack = f"cannot start it: {_first_line(error)}"
        if lack:
            raise DeviceError(
                f"a machine of the cluster {lack}", hint="install the same iicnet on all machines"
            )

    def _next(self, actor: Any) -> None:
        """Give an actor its next job, or end it, which leaves its place to others."""
        if not self._waiting:
            self._ray.kill(actor)
            return
        number, job = self._waiting.popleft()
        self._working[actor.perform.remote(job)] = (actor, number, job)

    def _finish(self, answer: Any) -> tuple[int, Outcome[Any]]:
        actor, number, job = self._working.pop(answer)
        try:
            outcome: Outcome[Any] = self._ray.get(answer)
        except Exception as error:  # of many kinds
            lost = DeviceError(
                f"its worker was lost {RETRIES + 1} times ({_first_line(error)})",
                hint="out of memory? use fewer --jobs, or less --memory",
            )
            self._ray.kill(actor)
            if self._waiting:
                self._start()
            return number, Outcome(job, error=lost)
        self._next(actor)
        return number, outcome


def _first_line(error: Exception) -> str:
    if isinstance(error, IICNetError):
        return str(error)
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
