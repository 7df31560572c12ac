"""``iicnet restore``."""

from __future__ import annotations

import dataclasses
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from iicnet_cli.cli.batch import check_distinct, make_folder, run_batch
from iicnet_cli.cli.console import (
    CompileOption,
    DebugOption,
    DeviceOption,
    JsonOption,
    MemoryOption,
    OverwriteOption,
    PrecisionOption,
    QuietOption,
    VerboseOption,
    command,
    copy_to_stdout,
    input_paths,
    parse_memory,
    print_json,
    progress_bar,
    refuse_terminal,
    say,
    say_error,
)
from iicnet_cli.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from iicnet_cli.api import RestoreReport


@command
def restore(
    sources: Annotated[list[Path], typer.Argument(help="PNGs; - is stdin.", metavar="PNG...")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="File or folder, see below; beside the PNG by default; - is stdout, for a clip or "
            "one photo.",
        ),
    ] = None,
    out_dir: Annotated[
        Path | None,
        typer.Option(help="Folder for the default outputs of many PNGs."),
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="Overrides what the file says: video, stego, ...")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Overrides what the file says: model name or folder.")
    ] = None,
    layout: Annotated[
        str | None,
        typer.Option(help="Stereo in one file: side-by-side, top-bottom, cross-eyed or anaglyph."),
    ] = None,
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
    """Restore what PNGs hold; they say themselves what that is.

    A PNG whose pixels were altered is restored as far as possible, with exit status 3.

    What -o may be: for a clip a file (.mkv .avi exact; .png .webp exact, animated; .mp4 .gif
    lossy) or a folder for frames; for a stereo pair a folder, or a file (.mpo .jps, or a picture
    in a --layout); for layers a folder or an .ora; for a dual view or hidden photos a folder; for
    grayscale and rescale a picture.

    Default outputs: NAME-restored.mkv (FFV1, exact to the network's result) for a clip,
    NAME-restored.png for one photo, the folder NAME-restored for several.
    """
    from iicnet_cli.api import Converter
    from iicnet_cli.tasks import RestoreOptions

    many = len(sources) > 1 or out_dir is not None
    if many and output is not None:
        raise UsageError("-o is for one PNG", hint="use --out-dir FOLDER")
    if any(str(source) == "-" for source in sources) and output is None:
        raise UsageError("from stdin, -o must say where to write")
    to_stdout = str(output) == "-"
    if to_stdout and as_json:
        raise UsageError("--json and -o - cannot both go to stdout")
    if to_stdout:
        refuse_terminal()
    if many:
        check_distinct(sources, out_dir)
    if out_dir is not None:
        make_folder(out_dir)
    with progress_bar(quiet or as_json) as progress:
        converter = Converter(
            device=device,
            memory=parse_memory(memory),
            compiled=compiled,
            precision=precision,
            progress=progress,
        )

        def one(source: Path) -> None:
            with input_paths([source]) as paths, ExitStack() as stack:
                place = out_dir
                if to_stdout:
                    place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
                report = converter.restore(
                    paths[0],
                    None if to_stdout else output,
                    folder=place,
                    task=task,
                    model=model,
                    options=RestoreOptions(layout=layout),
                    overwrite=yes,
                )
                if to_stdout:
                    if len(report.outputs) > 1:
                        raise UsageError(
                            f"{report.task} restores {len(report.outputs)} files, too many for "
                            "stdout",
                            hint="give -o a folder",
                        )
                    copy_to_stdout(report.outputs[0])
                    report = dataclasses.replace(report, outputs=(Path("-"),))
            if as_json:
                record: dict[str, Any] = dataclasses.asdict(report)
                record["outputs"] = [str(path) for path in report.outputs]
                print_json({"input": str(source), **record} if many else record)
            else:
                _tell(report, quiet=quiet)
            if report.altered:
                say_error(
                    f"{source}: the pixels were altered after embedding; what was restored is "
                    "less faithful, or wrong where they were",
                    "re-encoded or edited? restore from the original PNG",
                )
                raise typer.Exit(ExitCode.NOT_EMBEDDING)

        if many:
            run_batch(sources, one, as_json=as_json, debug=debug)
        else:
            one(sources[0])
    if verbose:
        say(f"device {converter.device.device}: {converter.device.reason}")


def _tell(report: RestoreReport, *, quiet: bool) -> None:
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
