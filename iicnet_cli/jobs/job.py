"""One output as plain data: what to do, how its result is reported, and whether it is there.

::

    Job --pickle--> worker process: Performer, which keeps a Converter --pickle--> Outcome

Jobs and outcomes hold paths and numbers, never pictures. Loading this module imports neither torch
nor numpy, for the process that hands out jobs needs neither.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import pickle
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from iicnet_cli.jobs.completion import read_marker, write_marker
from iicnet_cli.options import Precision
from iicnet_cli.reports import ProgressListener, ignore_progress

if TYPE_CHECKING:
    from iicnet_cli.api import Converter

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


@dataclass(frozen=True)
class ConverterSettings:
    """How a worker computes; the fields are those of :class:`iicnet_cli.Converter`."""

    device: str = "auto"
    memory: int | None = None
    compiled: bool = False
    precision: Precision = "fp32"

    def open(self, progress: ProgressListener = ignore_progress, share: float = 1.0) -> Converter:
        """A converter with these settings.

        Args:
            progress: called with the progress of each call.
            share: the part of a GPU's memory that this converter may take, for several processes
                use one GPU at the same time.
        """
        from iicnet_cli.api import Converter

        settings = self
        if share < 1 and self.memory is None and self.device != "cpu":
            from iicnet_cli.inference.device import choose_device
            from iicnet_cli.inference.tiling import default_memory

            device = choose_device(self.device).device
            if device.type == "cuda":
                settings = replace(self, memory=max(1, int(share * default_memory(device))))
        return Converter(
            device=settings.device,
            memory=settings.memory,
            compiled=settings.compiled,
            precision=settings.precision,
            progress=progress,
        )


@dataclass(frozen=True, kw_only=True)
class Job(ABC, Generic[R_co]):
    """The work on one output.

    Attributes:
        inputs: the files that it is made of, the one that it is named after first.
        marker: where to note that the work is complete, with its record; ``None`` for nowhere.
        skip_existing: the work is not done again where its output is complete.
    """

    inputs: tuple[Path, ...]
    marker: Path | None = None
    skip_existing: bool = False

    @property
    def source(self) -> Path:
        """The input that the job is named after."""
        return self.inputs[0]

    @abstractmethod
    def run(self, converter: Converter) -> R_co:
        """Do the work.

        Raises:
            IICNetError: it cannot be done.
        """

    @abstractmethod
    def record(self, report: Any) -> dict[str, Any]:
        """What :meth:`run` returned, as a line of JSON says it."""

    def outputs(self) -> tuple[Path, ...]:
        """The files or folders that the work will write, as far as that is known without it."""
        return ()

    def is_complete(self) -> bool:
        """Whether the output is there and is what this job would write, as far as is cheap."""
        return False

    def state_of(self, path: Path) -> list[object]:
        """What changes when an input changes: its path, its size in bytes, and its time."""
        try:
            state = path.stat()
        except OSError:
            return [str(path)]
        return [str(path), state.st_size, state.st_mtime_ns]

    def fingerprint(self) -> str:
        """A hash of what is to be done, and of the states of its inputs."""
        described = {
            field.name: repr(getattr(self, field.name))
            for field in fields(self)
            if field.name not in ("inputs", "kept", "marker", "skip_existing", "overwrite")
        }
        states = [self.state_of(path) for path in self.inputs]
        text = json.dumps([type(self).__name__, described, states], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Outcome(Generic[R]):
    """What became of a job: it was done (``report``), failed (``error``), or was skipped.

    Attributes:
        job: the job.
        report: what it returned.
        error: why it failed.
        skipped: whether its output was there before.
        record: what its marker says of it, if it was skipped and has one.
        messages: what was written to stderr meanwhile.
    """

    job: Job[R]
    report: R | None = None
    error: Exception | None = None
    skipped: bool = False
    record: Mapping[str, Any] | None = None
    messages: str = ""


Listener = Callable[[Outcome[Any]], None]
"""Called with each outcome as soon as it is there, whatever the order of the jobs."""


def earlier_outcome(job: Job[R]) -> Outcome[R] | None:
    """The outcome of a job that need not be done: its marker or its output shows that.

    An output whose worker was lost before it could write a marker gets one now.
    """
    if job.marker is not None:
        record = read_marker(job.marker, job.fingerprint())
        if record is not None and all(path.exists() for path in job.outputs()):
            return Outcome(job, skipped=True, record=record)
    if job.skip_existing and job.is_complete():
        if job.marker is not None and not job.marker.exists():
            found = {"outputs": [str(path) for path in job.outputs()]}
            write_marker(job.marker, job.fingerprint(), found)
        return Outcome(job, skipped=True)
    return None


class Performer:
    """Does jobs, one at a time, with one converter, which it opens for the first of them.

    Args:
        settings: of the converter.
        progress: called with the progress of each job.
        share: as of :meth:`ConverterSettings.open`.
    """

    def __init__(
        self,
        settings: ConverterSettings,
        progress: ProgressListener = ignore_progress,
        share: float = 1.0,
    ) -> None:
        self._settings, self._progress, self._share = settings, progress, share
        self._converter: Converter | None = None

    def perform(self, job: Job[R]) -> Outcome[R]:
        """Do a job, and mark it as complete; errors become part of the outcome."""
        try:
            # Before the work: an input that changes meanwhile must not count as done.
            fingerprint = "" if job.marker is None else job.fingerprint()
            if self._converter is None:
                self._converter = self._settings.open(self._progress, self._share)
            report = job.run(self._converter)
            if job.marker is not None:
                write_marker(job.marker, fingerprint, job.record(report))
        except Exception as error:
            return Outcome(job, error=error)
        return Outcome(job, report)

    def perform_portably(self, job: Job[R]) -> Outcome[R]:
        """As :meth:`perform`, for an outcome that is sent to another process.

        An error keeps its traceback as a note, and what is written to stderr is kept as messages.
        """
        with contextlib.redirect_stderr(io.StringIO()) as messages:
            outcome = self.perform(job)
        error = outcome.error
        if error is not None:
            note = "".join(traceback.format_exception(error)).rstrip()
            try:
                error = pickle.loads(pickle.dumps(error.with_traceback(None)))
            except Exception:
                error = RuntimeError(f"{type(error).__name__}: {error}")
            error.add_note(note)
        return replace(outcome, error=error, messages=messages.getvalue())
