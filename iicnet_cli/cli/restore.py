"""``iicnet restore``."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from iicnet_cli.cli.batch import (
    BatchStyle,
    check_distinct,
    expand_patterns,
    make_folder,
    print_skipped,
    run_batch,
    shard_of,
)
from iicnet_cli.cli.common_options import (
    CompileOption,
    DebugOption,
    DeviceOption,
    JobsOption,
    JsonOption,
    MaxPixelsOption,
    MemoryOption,
    OnOption,
    OverwriteOption,
    PrecisionOption,
    QuietOption,
    ShardOption,
    Sharing,
    SkipOption,
    VerboseOption,
)
from iicnet_cli.cli.console import (
    command,
    copy_to_stdout,
    counted,
    input_paths,
    naming,
    parse_memory,
    print_json,
    refuse_terminal,
    say,
    say_error,
)
from iicnet_cli.cli.file_options import PasswordOption
from iicnet_cli.cli.passwords import read_password
from iicnet_cli.cli.progress import progress_bar
from iicnet_cli.engines import FILE_ENGINES
from iicnet_cli.errors import ExitCode, UsageError
from iicnet_cli.jobs.completion import marker_beside
from iicnet_cli.jobs.file_jobs import RestoreJob
from iicnet_cli.jobs.job import ConverterSettings, Job, Outcome
from iicnet_cli.media.files import named_after
from iicnet_cli.media.temporary import scratch_folder
from iicnet_cli.options import RestoreOptions

if TYPE_CHECKING:
    from iicnet_cli.api import Converter
    from iicnet_cli.reports import RestoreReport

SourcesArgument = Annotated[
    list[Path],
    typer.Argument(
        help="What embed wrote, or what services made of it; - is stdin.", metavar="PICTURE..."
    ),
]
OutputOption = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        help="File or folder, see below; by default beside the PNG. - is stdout, for a clip or one "
        "photo.",
    ),
]
OutDirOption = Annotated[
    Path | None, typer.Option(help="Folder for the default outputs of many PNGs.")
]
TaskOption = Annotated[
    str | None, typer.Option(help="Override the task that the file names: video, stego, ...")
]
ModelOption = Annotated[
    str | None, typer.Option(help="Override the model that the file names: name or folder.")
]
LayoutOption = Annotated[
    str | None,
    typer.Option(help="Stereo in one file: side-by-side, top-bottom, cross-eyed or anaglyph."),
]


@command
def restore(
    sources: SourcesArgument,
    output: OutputOption = None,
    out_dir: OutDirOption = None,
    task: TaskOption = None,
    model: ModelOption = None,
    layout: LayoutOption = None,
    password: PasswordOption = False,
    jobs: JobsOption = None,
    shard: ShardOption = None,
    skip_existing: SkipOption = False,
    on: OnOption = None,
    device: DeviceOption = "auto",
    memory: MemoryOption = None,
    max_pixels: MaxPixelsOption = None,
    compiled: CompileOption = False,
    precision: PrecisionOption = "fp32",
    yes: OverwriteOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    debug: DebugOption = False,
) -> None:
    """Restore what pictures hold. Each one says itself what that is.

    A PNG whose pixels were altered is restored as far as possible, with exit status 3.

    What -o may be: for a clip, a file (.mkv and .avi are exact; .png and .webp are exact and
    animated; .mp4 and .gif are lossy) or a folder for frames; for a stereo pair, a folder or a file
    (.mpo, .jps, or a picture in a --layout); for layers, a folder or an .ora file; for a dual view
    or hidden photos, a folder; for grayscale and rescale, a picture.

    Default outputs: NAME-restored.mkv (FFV1, exact to the network's result) for a clip,
    NAME-restored.png for one photo, the folder NAME-restored for several.

    A picture of another --for than edits carries files, which are written as they are: a clip as
    it was encoded (.webm), original photos byte for byte, attachments in the same folder, or in
    NAME-attachments beside a single file. A clip is converted if -o has another suffix. If the
    picture was altered more than it survives, nothing is written; of an animated PNG, the pictures
    that are intact are restored. What was made to survive JPEG is restored from a JPEG or WebP,
    too; if too much of it is lost, its small version may be left, which is written as one picture,
    with exit status 3.
    """
    from iicnet_cli.tasks import task_named

    if task is not None:
        task_named(task)  # files that are carried do not ask for it
    sharing = Sharing(jobs, shard, skip_existing, on)
    sources = expand_patterns(sources)
    is_batch = len(sources) > 1 or out_dir is not None or sharing.is_for_many
    target = _Target(output, out_dir, overwrite=yes)
    target.check(sources, is_batch, as_json)
    settings = ConverterSettings(device, parse_memory(memory), compiled, precision)
    options = RestoreOptions(layout=layout, password=read_password(password))
    run = _RestoreRun(settings, task, model, options, target, _Style(as_json, quiet, verbose))
    if is_batch:
        run.restore_each(sources, sharing, BatchStyle(as_json, quiet, debug))
    else:
        run.restore_one(sources[0])


@dataclass(frozen=True)
class _Style:
    """How results are printed."""

    as_json: bool
    quiet: bool
    verbose: bool


@dataclass(frozen=True)
class _Target:
    """Where results go."""

    output: Path | None
    out_dir: Path | None
    overwrite: bool

    @property
    def is_stdout(self) -> bool:
        return str(self.output) == "-"

    def check(self, sources: list[Path], is_batch: bool, as_json: bool) -> None:
        """Refuse targets that contradict each other, and make the folder.

        Raises:
            UsageError: saying which.
        """
        if is_batch and self.output is not None:
            raise UsageError("-o is for one PNG", hint="use --out-dir FOLDER")
        if any(str(source) == "-" for source in sources) and self.output is None:
            raise UsageError("from stdin, -o must say where to write")
        if self.is_stdout:
            if as_json:
                raise UsageError("--json and -o - cannot both go to stdout")
            refuse_terminal()
        if is_batch:
            check_distinct(sources, self.out_dir)
        if self.out_dir is not None:
            make_folder(self.out_dir)


@dataclass(frozen=True)
class _RestoreRun:
    """One call of the command."""

    settings: ConverterSettings
    task: str | None
    model: str | None
    options: RestoreOptions
    target: _Target
    style: _Style

    def restore_one(self, source: Path) -> None:
        """Restore one PNG into its target.

        Raises:
            typer.Exit: its pixels were altered.
        """
        with progress_bar(quiet=self.style.quiet, bar=not self.style.as_json) as progress:
            converter = self.settings.open(progress)
            report = self._restore(source, converter)
        code = self._present(report, RestoreJob(inputs=(source,)), {})
        if self.style.verbose and report.model not in FILE_ENGINES:
            say(f"device {converter.device.device}: {converter.device.reason}")
        if code:
            raise typer.Exit(code)

    def restore_each(self, sources: list[Path], sharing: Sharing, style: BatchStyle) -> None:
        """Restore each PNG into its default output."""
        by_name = {source.with_suffix(""): source for source in sources}
        jobs = [self._job(source, sharing, by_name) for source in shard_of(sources, sharing.shard)]

        def present(outcome: Outcome[RestoreReport]) -> ExitCode:
            named = {"input": str(outcome.job.source)}
            if outcome.report is not None:
                return self._present(outcome.report, outcome.job, named)
            print_skipped(outcome, as_json=style.as_json, quiet=style.quiet)
            return _say_altered(outcome.job.source, outcome.record or {})

        run_batch(jobs, self.settings, sharing, style, present)

    def _job(self, source: Path, sharing: Sharing, sources: Mapping[Path, Path]) -> RestoreJob:
        """What is to be done for one source; ``sources`` are all, by their names without suffix."""
        target = self.target
        default = named_after((target.out_dir or source.parent) / source.name, "-restored")
        return RestoreJob(
            inputs=(source,),
            marker=marker_beside(default) if sharing.on else None,
            skip_existing=sharing.skip_existing or (bool(sharing.on) and not target.overwrite),
            folder=target.out_dir,
            task=self.task,
            model=self.model,
            options=self.options,
            overwrite=target.overwrite,
            kept=(sources[default],) if default in sources else (),
        )

    def _restore(self, source: Path, converter: Converter) -> RestoreReport:
        job = replace(self._job(source, Sharing(), {}), output=self.target.output)
        with naming(source), input_paths([source]) as paths, ExitStack() as stack:
            job = replace(job, inputs=tuple(paths))
            if not self.target.is_stdout:
                return job.run(converter)
            folder = stack.enter_context(scratch_folder())
            report = replace(job, output=None, folder=folder).run(converter)
            if len(report.outputs) > 1:
                raise UsageError(
                    f"{report.task} restores {len(report.outputs)} files, too many for stdout",
                    hint="give -o a folder",
                )
            copy_to_stdout(report.outputs[0])
            return replace(report, outputs=(Path("-"),))

    def _present(
        self, report: RestoreReport, job: Job[RestoreReport], named: dict[str, Any]
    ) -> ExitCode:
        """Print a report; in a batch the JSON line names its input."""
        record = job.record(report)
        if self.style.as_json:
            print_json(named | record)
        else:
            _print_report(report, quiet=self.style.quiet)
        return _say_altered(job.source, record)


def _say_altered(source: Path, record: Mapping[str, Any]) -> ExitCode:
    """Say in one line that a picture is not what was written, if its report's record says so."""
    if not record.get("altered"):
        return ExitCode.OK
    if record.get("only_small_version"):
        say_error(f"{source}: {'; '.join(record['notes'])}", "restore from the original file")
    elif record.get("missing"):
        say_error(
            f"{source}: pictures of the PNG are missing; what the others hold was restored",
            "optimised, or edited? restore from the original PNG",
        )
    else:
        say_error(
            f"{source}: the pixels were altered after embedding; what was restored is less "
            "faithful, or wrong or missing where they were",
            "re-encoded or edited? restore from the original PNG",
        )
    return ExitCode.NOT_EMBEDDING


def _print_report(report: RestoreReport, *, quiet: bool) -> None:
    from iicnet_cli.tasks import task_named

    # What carries files says everything in its pixels: nothing was lost with a header.
    if report.found_by == "mark" and report.model not in FILE_ENGINES:
        say("the header was stripped; task and model are from the mark", quiet=quiet)
    is_small = report.only_small_version
    what = "small version"
    if not is_small:
        what = counted(report.images, task_named(report.task).pictures)
    say(f"{what} restored with {report.model} in {report.seconds:.1f} s", quiet=quiet)
    for path in report.outputs:
        say(f"  {path}", quiet=quiet)
    for note in () if is_small else report.notes:  # those of a small version are an error
        say(f"note: {note}", quiet=quiet)
