"""How fast a command is and how long it takes: a bar on a terminal, words before long work.

A converter reports which group it works on. The time of the groups that are done gives the time of
those to come; verifying follows embedding, and inputs that were not opened yet are taken to be like
the others.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING

from iicnet_cli.cli.console import say
from iicnet_cli.reports import (
    Forecast,
    Progress,
    ProgressListener,
    Stage,
    ignore_progress,
)

if TYPE_CHECKING:
    from rich.progress import ProgressColumn, Task

SAID_SECONDS = 60
"""Work that takes longer than this is announced."""
VERIFYING_SHARE = 0.25
"""Time to verify a group, in times to embed it, until one has been verified."""

_LEAST_SHARE = 0.05
"""Less than this of a stage says nothing about its time."""


class Pace:
    """Speed and time left of one command.

    Args:
        inputs: number of calls of the converter that the command makes.
        verifies: whether embedding is followed by verifying.
        clock: seconds.

    Attributes:
        number: of the current input, from 1 on; 0 before the first.
        stage: of the current input; ``None`` before its first.
        groups: of the current input; ``None`` if not known.
        done: groups that the current phase has done. Verifying is a phase, all before it another.
    """

    def __init__(
        self, inputs: int = 1, verifies: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.inputs = inputs
        self.number = 0
        self._verifies, self._clock = verifies, clock
        self._verifying_share = VERIFYING_SHARE
        self._began = clock()
        self._open()

    def _open(self) -> None:
        self.stage: Stage | None = None
        self.groups: int | None = None
        self.done = 0
        self._stage_share = 0.0
        self._seconds_a_group: float | None = None
        self._embedding_seconds: float | None = None
        self._input_began = self._phase_began = self._group_ended = self._clock()
        self._reported = self._input_began

    def add(self, progress: Progress) -> None:
        """Take in what a converter reports."""
        if progress.forecast is not None:
            self._expect(progress.forecast)
        elif progress.stage is Stage.OPENING:
            self.number += 1
            self._open()
        else:
            self._advance(progress)
        self._reported = self._clock()

    def _expect(self, forecast: Forecast) -> None:
        self.groups = forecast.groups
        share = self._verifying_share if self._verifies else 0
        self._seconds_a_group = forecast.seconds / forecast.groups / (1 + share)
        self._phase_began = self._group_ended = self._clock()

    def _advance(self, progress: Progress) -> None:
        if progress.stage is Stage.VERIFYING and self.stage is not Stage.VERIFYING:
            self._begin_to_verify()
        self.stage = progress.stage
        self.groups = progress.total or self.groups
        self._stage_share = progress.done / (self.groups or 1)
        is_all = self.groups == 1 and progress.stage in (Stage.RESTORING, Stage.PACKING)
        if is_all and progress.done > _LEAST_SHARE:
            self._seconds_a_group = (self._clock() - self._phase_began) / progress.done
        is_one_stage = progress.stage in (Stage.VERIFYING, Stage.RESTORING)
        done = int(progress.done) if is_one_stage else progress.group
        if done > self.done:
            self.done, self._group_ended = done, self._clock()
            self._seconds_a_group = (self._group_ended - self._phase_began) / self.done
            if progress.stage is Stage.VERIFYING and self._embedding_seconds:
                self._verifying_share = self._seconds_a_group / self._embedding_seconds

    def _begin_to_verify(self) -> None:
        self.groups = self.groups or self.done + 1
        # The first report may come when the first group has been verified.
        self._embedding_seconds = (self._reported - self._phase_began) / self.groups
        self._seconds_a_group = self._embedding_seconds * self._verifying_share
        self._phase_began = self._group_ended = self._reported
        self.done = 0

    @property
    def share(self) -> float:
        """What is done, 0..1: in time, if there are several groups; or else of the stage."""
        if self.groups == 1:
            return self._stage_share
        left = self.seconds_left
        if left is None:
            return 0.0
        elapsed = self._clock() - self._began
        return elapsed / (elapsed + left) if elapsed else 0.0

    @property
    def seconds_a_group(self) -> float | None:
        """Seconds that a group takes in the current phase; ``None`` before the first is done."""
        return self._seconds_a_group if self.done else None

    @property
    def input_seconds_left(self) -> float | None:
        """Seconds until the current input is done; ``None`` if nothing is known yet."""
        if self._seconds_a_group is None or self.groups is None:
            return None
        left = self._seconds_a_group * (self.groups - self.done)
        left = max(0.0, left - (self._clock() - self._group_ended))
        if self._verifies and self.stage is not Stage.VERIFYING:
            left += self._seconds_a_group * self._verifying_share * self.groups
        return left

    @property
    def input_seconds(self) -> float | None:
        """Seconds that the current input takes in all; ``None`` if nothing is known yet."""
        left = self.input_seconds_left
        return None if left is None else left + self._clock() - self._input_began

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the command is done; ``None`` if nothing is known yet."""
        left, of_input = self.input_seconds_left, self.input_seconds
        if self.number > 1:
            of_input = (self._input_began - self._began) / (self.number - 1)
            if left is None:
                left = max(0.0, of_input - (self._clock() - self._input_began))
        if left is None or of_input is None:
            return None
        return left + of_input * (self.inputs - max(1, self.number))


class Announcer:
    """Says how long the work takes if that is more than a minute, once for each input.

    It goes by the forecast of the converter, or else by the first two groups, which may have been
    worked on at the same time; of many inputs, by the first one.

    Args:
        pace: of the command; it takes in what is reported before the announcer does.
        clock: seconds.
    """

    def __init__(self, pace: Pace, clock: Callable[[], float] = time.monotonic) -> None:
        self._pace, self._clock = pace, clock
        self._began = clock()
        self._said_input = 0

    def add(self, progress: Progress) -> None:
        """Take in what a converter reports."""
        pace = self._pace
        if progress.forecast is not None:
            self._say_input(progress.forecast)
        elif progress.stage is Stage.OPENING and pace.number == 2:
            seconds = (self._clock() - self._began) * pace.inputs
            if seconds > SAID_SECONDS:
                say(
                    f"about {duration(seconds)} for {pace.inputs} inputs, if all are like the first"
                )
        elif pace.done > 1 and pace.groups and self._said_input != pace.number:
            self._say_input(Forecast(pace.groups, pace.input_seconds or 0))

    def _say_input(self, forecast: Forecast) -> None:
        pace = self._pace
        self._said_input = pace.number
        if forecast.seconds > SAID_SECONDS:
            which = f"input {pace.number} of {pace.inputs}: " if pace.inputs > 1 else ""
            say(which + forecast_text(forecast))


def forecast_text(forecast: Forecast) -> str:
    """A forecast in words.

    >>> forecast_text(Forecast(45, 240.0, 70.0))
    'about 4 minutes for 45 groups; --effort 0 takes about 1 minute'
    """
    groups = f" for {forecast.groups} groups" if forecast.groups > 1 else ""
    text = f"about {duration(forecast.seconds)}{groups}"
    if forecast.seconds_without_effort is not None:
        text += f"; --effort 0 takes about {duration(forecast.seconds_without_effort)}"
    return text


def duration(seconds: float) -> str:
    """A duration in words, rounded.

    >>> [duration(s) for s in (0.4, 45, 100, 6000)]
    ['1 second', '45 seconds', '2 minutes', '1.7 hours']
    """
    for unit, length, most in (("second", 1, 59.5), ("minute", 60, 90 * 60)):
        if seconds < most:
            count = max(1, round(seconds / length))
            return f"{count} {unit}" + ("s" if count > 1 else "")
    return f"{seconds / 3600:.1f} hours"


def rate_text(seconds_a_group: float) -> str:
    """A speed in words.

    >>> rate_text(0.25), rate_text(2.5)
    ('4.0 groups/s', '2.5 s a group')
    """
    if seconds_a_group < 1:
        return f"{1 / max(seconds_a_group, 1e-3):.1f} groups/s"
    return f"{seconds_a_group:.1f} s a group"


def status_text(pace: Pace) -> str:
    """What stands behind the bar.

    For several groups these are counted, with their speed; for one, the share of the stage is told.
    """
    left = pace.seconds_left
    several = pace.groups is None or pace.groups > 1
    parts = [f"{pace.done}/{pace.groups or '?'} groups" if several else f"{pace.share:.0%}"]
    if several and pace.seconds_a_group is not None:
        parts.append(rate_text(pace.seconds_a_group))
    if left is not None:
        minutes, seconds = divmod(math.ceil(left), 60)
        hours, minutes = divmod(minutes, 60)
        clock = f"{hours}:{minutes:02}" if hours else f"{minutes}"
        parts.append(f"{clock}:{seconds:02} left")
    return ", ".join(parts)


@contextmanager
def progress_bar(
    *, quiet: bool, bar: bool = True, inputs: int = 1, verifies: bool = False
) -> Iterator[ProgressListener]:
    """Tell the progress of a converter on stderr: a bar if that is a terminal, and long work.

    Args:
        quiet: tell nothing.
        bar: whether there may be a bar.
        inputs: number of calls of the converter that the command makes.
        verifies: whether embedding is followed by verifying.
    """
    if quiet:
        yield ignore_progress
        return
    pace = Pace(inputs, verifies)
    announcer = Announcer(pace)
    if not (bar and sys.stderr.isatty()):

        def listen(progress: Progress) -> None:
            pace.add(progress)
            announcer.add(progress)

        yield listen
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar

    columns = TextColumn("{task.description}"), BarColumn(20), _status_column(pace)
    with Bar(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task("opening", total=None)

        def update(progress: Progress) -> None:
            pace.add(progress)
            announcer.add(progress)
            gain = "" if progress.gained_psnr is None else f" (+{progress.gained_psnr:.2f} dB)"
            which = f"{pace.number}/{inputs} " if inputs > 1 else ""
            is_open = progress.stage is Stage.OPENING
            shown.update(
                task,
                description=f"{which}{progress.stage}{gain}",
                completed=pace.share,
                total=None if is_open else 1.0,
            )

        yield update


@contextmanager
def file_bar(
    files: int, *, quiet: bool, bar: bool = True, clock: Callable[[], float] = time.monotonic
) -> Iterator[Callable[[object], None]]:
    """Count files on stderr that are worked on elsewhere, and announce long work.

    Args:
        files: number of them.
        quiet: tell nothing.
        bar: whether there may be a bar.
        clock: seconds.

    Yields:
        What is to be called for each file that is done, by any thread.
    """
    if quiet:
        yield lambda outcome: None
        return
    counter = _FileCounter(files, clock)
    if not (bar and sys.stderr.isatty()):
        yield counter.add
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = BarColumn(20), MofNCompleteColumn(), TimeRemainingColumn()
    with Bar(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task("files", total=files)

        def add(outcome: object) -> None:
            counter.add(outcome)
            shown.advance(task)

        yield add


class _FileCounter:
    """Says once how long all files take, when the first ones show that it is long."""

    def __init__(self, files: int, clock: Callable[[], float]) -> None:
        self._files, self._clock = files, clock
        self._began, self._done = clock(), 0
        self._said = False
        self._lock = Lock()

    def add(self, outcome: object) -> None:
        with self._lock:
            self._done += 1
            seconds = (self._clock() - self._began) / self._done * self._files
            # The first one may come while others of the same time are nearly done.
            if not self._said and self._done > self._files / 20 + 1 and seconds > SAID_SECONDS:
                self._said = True
                say(f"about {duration(seconds)} for {self._files} inputs")


def _status_column(pace: Pace) -> ProgressColumn:
    """A column that is written anew each time it is shown, so that the time left runs."""
    from rich.progress import ProgressColumn
    from rich.table import Column
    from rich.text import Text

    class StatusColumn(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text("" if pace.stage is None else status_text(pace))

    return StatusColumn(table_column=Column(no_wrap=True))
