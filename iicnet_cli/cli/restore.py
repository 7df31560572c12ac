"""``iicnet restore``."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from iicnet_cli.cli.batch import check_distinct, make_folder, run_batch
from iicnet_cli.cli.common_options import (
    CompileOption,
    DebugOption,
    DeviceOption,
    JsonOption,
    MemoryOption,
    OverwriteOption,
    PrecisionOption,
    QuietOption,
    VerboseOption,
)
from iicnet_cli.cli.console import (
    command,
    copy_to_stdout,
    input_paths,
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
from iicnet_cli.options import RestoreOptions

if TYPE_CHECKING:
    from iicnet_cli.api import Converter
    from iicnet_cli.reports import RestoreReport

SourcesArgument = Annotated[list[Path], typer.Argument(help="PNGs; - is stdin.", metavar="PNG...")]
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
    device: DeviceOption = "auto",
    memory: MemoryOption = None,
    compiled: CompileOption = False,
    precision: PrecisionOption = "fp32",
    yes: OverwriteOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    debug: DebugOption = False,
) -> None:
    """Restore what PNGs hold. Each PNG says itself what that is.

    A PNG whose pixels were altered is restored as far as possible, with exit status 3.

    What -o may be: for a clip, a file (.mkv and .avi are exact; .png and .webp are exact and
    animated; .mp4 and .gif are lossy) or a folder for frames; for a stereo pair, a folder or a file
    (.mpo, .jps, or a picture in a --layout); for layers, a folder or an .ora file; for a dual view
    or hidden photos, a folder; for grayscale and rescale, a picture.

    Default outputs: NAME-restored.mkv (FFV1, exact to the network's result) for a clip,
    NAME-restored.png for one photo, the folder NAME-restored for several.

    A PNG of --for file carries files, which are written as they are: a clip as it was encoded
    (.webm), original photos byte for byte, attachments beside them. A clip is converted if -o has
    another suffix. If such a PNG was altered, nothing is written; of an animated one, the pictures
    that are intact are restored.
    """
    from iicnet_cli.api import Converter

    is_batch = len(sources) > 1 or out_dir is not None
    target = _Target(output, out_dir, overwrite=yes)
    target.check(sources, is_batch, as_json)
    with progress_bar(quiet=quiet, bar=not as_json, inputs=len(sources)) as progress:
        converter = Converter(
            device=device,
            memory=parse_memory(memory),
            compiled=compiled,
            precision=precision,
            progress=progress,
        )
        options = RestoreOptions(layout=layout, password=read_password(password))
        run = _RestoreRun(converter, task, model, options, target)

        def one(source: Path) -> None:
            report = run.restore(source)
            if as_json:
                print_json(_record(report, source if is_batch else None))
            else:
                _print_report(report, quiet=quiet)
            if report.altered:
                is_file = report.model in FILE_ENGINES
                say_error(
                    f"{source}: the pixels were altered after embedding; what was restored is "
                    + ("not all of it" if is_file else "less faithful, or wrong where they were"),
                    "re-encoded or edited? restore from the original PNG",
                )
                raise typer.Exit(ExitCode.NOT_EMBEDDING)

        if is_batch:
            run_batch(sources, one, as_json=as_json, debug=debug)
        else:
            one(sources[0])
    if verbose:
        say(f"device {converter.device.device}: {converter.device.reason}")


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

    converter: Converter
    task: str | None
    model: str | None
    options: RestoreOptions
    target: _Target

    def restore(self, source: Path) -> RestoreReport:
        """Restore one PNG into its target."""
        with input_paths([source]) as paths, ExitStack() as stack:
            folder, output = self.target.out_dir, self.target.output
            if self.target.is_stdout:
                folder, output = Path(stack.enter_context(tempfile.TemporaryDirectory())), None
            report = self.converter.restore(
                paths[0],
                output,
                folder=folder,
                task=self.task,
                model=self.model,
                options=self.options,
                overwrite=self.target.overwrite,
            )
            if not self.target.is_stdout:
                return report
            if len(report.outputs) > 1:
                raise UsageError(
                    f"{report.task} restores {len(report.outputs)} files, too many for stdout",
                    hint="give -o a folder",
                )
            copy_to_stdout(report.outputs[0])
            return replace(report, outputs=(Path("-"),))


def _record(report: RestoreReport, source: Path | None) -> dict[str, Any]:
    """The JSON line of a report; in a batch it names its input."""
    record = asdict(report) | {"outputs": [str(path) for path in report.outputs]}
    return record if source is None else {"input": str(source), **record}


def _print_report(report: RestoreReport, *, quiet: bool) -> None:
    from iicnet_cli.tasks import task_named

    if report.found_by == "mark":
        say("the header was stripped; task and model are from the mark", quiet=quiet)
    what = task_named(report.task).pictures
    say(
        f"{report.images} {what} restored with {report.model} in {report.seconds:.1f} s",
        quiet=quiet,
    )
    for path in report.outputs:
        say(f"  {path}", quiet=quiet)
    for note in report.notes:
        say(f"note: {note}", quiet=quiet)
