"""Many inputs in one call: a bad one does not stop the rest."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import typer

from iicnet_cli.cli.common_options import Sharing
from iicnet_cli.cli.console import (
    describe_failure,
    print_json,
    say,
    say_error,
)
from iicnet_cli.cli.progress import file_bar, progress_bar
from iicnet_cli.errors import ExitCode, UsageError
from iicnet_cli.jobs.job import ConverterSettings, Job, Outcome
from iicnet_cli.jobs.local_workers import can_start_workers, perform_here, perform_in_processes
from iicnet_cli.jobs.machine import default_jobs
from iicnet_cli.media.kept_files import check_not_kept, keeping
from iicnet_cli.media.patterns import files_of_pattern, is_pattern

R = TypeVar("R")
T = TypeVar("T")


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
        targets[source], taken[target] = target, source
    existing = [target for target in targets.values() if target.exists()]
    with keeping(inputs if existing else ()):
        for target in existing:
            check_not_kept(target)
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


def expand_patterns(inputs: Sequence[Path]) -> list[Path]:
    """Replace each quoted pattern by the files and folders that fit it, sorted by name.

    A command line is limited in length, a pattern is not.

    Raises:
        UsageError: nothing fits a pattern.
    """
    found: list[Path] = []
    for path in inputs:
        if not is_pattern(path):
            found.append(path)
            continue
        matches = files_of_pattern(str(path))
        if not matches:
            raise UsageError(f"{path}: no file fits this pattern")
        found += matches
    return found


def shard_of(
    items: Sequence[T], shard: str | None, key: Callable[[T], object] = lambda item: item
) -> list[T]:
    """The items of one shard, in their order.

    Which those are depends on all items, but not on their order: the I-th of N shards has every
    N-th item in alphabetical order, from the I-th on.

    Args:
        items: all items.
        shard: "I/N" with 1 <= I <= N; ``None`` takes all.
        key: the name of an item.

    Raises:
        UsageError: ``shard`` is something else.
    """
    if shard is None:
        return list(items)
    match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", shard)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise UsageError(f"'{shard}' is no shard", hint="write --shard 1/8, up to 8/8")
    first, step = int(match[1]) - 1, int(match[2])
    chosen = set(sorted(range(len(items)), key=lambda i: (str(key(items[i])), i))[first::step])
    return [item for i, item in enumerate(items) if i in chosen]


@dataclass(frozen=True)
class BatchStyle:
    """How a batch is told about; ``verifies``: whether its files are verified when written."""

    as_json: bool
    quiet: bool
    debug: bool
    verifies: bool = False


def run_batch(
    jobs: Sequence[Job[R]],
    settings: ConverterSettings,
    sharing: Sharing,
    style: BatchStyle,
    present: Callable[[Outcome[R]], ExitCode],
) -> None:
    """Do jobs, print each result by ``present`` in the order of the jobs, and count the errors.

    Raises:
        typer.Exit: some jobs failed; with their common exit status, else with 1.
    """
    failed: list[ExitCode] = []
    skipped = 0
    with closing(_outcomes(jobs, settings, sharing, style)) as outcomes:
        for outcome in outcomes:
            if outcome.messages:
                typer.echo(outcome.messages, err=True, nl=False)
            skipped += outcome.skipped
            code = present(outcome) if outcome.error is None else _say_failure(outcome, style)
            if code:
                failed.append(code)
    if skipped:
        say(f"{skipped} of {len(jobs)} were complete before", quiet=style.quiet)
    if failed:
        if len(jobs) > 1:
            say_error(f"{len(failed)} of {len(jobs)} failed")
        raise typer.Exit(failed[0] if len(set(failed)) == 1 else ExitCode.FAILURE)


def print_skipped(outcome: Outcome[Any], *, as_json: bool, quiet: bool) -> None:
    """Say of a job that it was complete before, with its record if there is one."""
    job = outcome.job
    if as_json:
        record = outcome.record or {"outputs": [str(path) for path in job.outputs()]}
        print_json({"input": str(job.source), **record, "skipped": True})
    else:
        say(f"{job.source}: complete before, skipped", quiet=quiet)


def _outcomes(
    jobs: Sequence[Job[R]],
    settings: ConverterSettings,
    sharing: Sharing,
    style: BatchStyle,
) -> Generator[Outcome[R], None, None]:
    """The outcomes of jobs in order, wherever they are done."""
    count, has_bar = len(jobs), not style.as_json
    if sharing.on is not None:
        from iicnet_cli.cluster import check_address, perform_on_ray

        address, warn = check_address(sharing.on), partial(say, quiet=style.quiet)
        with file_bar(count, quiet=style.quiet, bar=has_bar) as listener:
            yield from perform_on_ray(jobs, settings, address, sharing.jobs, listener, warn)
        return
    workers = min(count, sharing.jobs or default_jobs(settings.device))
    if workers > 1 and can_start_workers():
        with file_bar(count, quiet=style.quiet, bar=has_bar) as listener:
            yield from perform_in_processes(jobs, settings, workers, listener)
        return
    with progress_bar(
        quiet=style.quiet, bar=has_bar, inputs=count, verifies=style.verifies
    ) as progress:
        yield from perform_here(jobs, settings, progress)


def _say_failure(outcome: Outcome[Any], style: BatchStyle) -> ExitCode:
    """Print the error of a job; with --debug it is raised."""
    error, source = outcome.error, outcome.job.source
    assert error is not None
    if style.debug:
        raise error
    failure = describe_failure(error)
    message = failure.message
    named = f"{source}: {message.removeprefix(f'{source.name}: ')}"
    say_error(message if str(source) in message else named, failure.hint)
    if style.as_json:
        code = int(failure.exit_code)
        print_json({"input": str(source), "error": message, "exit_code": code})
    return failure.exit_code
