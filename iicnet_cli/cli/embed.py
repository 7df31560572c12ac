"""``iicnet embed``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from iicnet_cli.cli.batch import run_batch, same_names
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
    input_paths,
    output_path,
    parse_memory,
    print_json,
    progress_bar,
    say,
)
from iicnet_cli.errors import UsageError

if TYPE_CHECKING:
    from iicnet_cli.api import EmbedReport, Estimate


@command
def embed(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            help="A clip, photos, views or layers, as the task needs.", metavar="INPUT..."
        ),
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The PNG to write; - is stdout.")
    ] = None,
    out_dir: Annotated[
        Path | None,
        typer.Option(help="Make one PNG of each input, NAME.png in this folder."),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            help="video, stereo, dual, layers, stego, grayscale or rescale; told from the inputs "
            "where they leave no doubt."
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Model name or folder, e.g. video-9; else the task's default."),
    ] = None,
    half: Annotated[
        bool, typer.Option("--half", help="Clip: the PNG has half its width and height.")
    ] = False,
    start: Annotated[
        str | None, typer.Option(help="Clip: first moment, as 12.5 or 1:02.5.", metavar="TIME")
    ] = None,
    end: Annotated[str | None, typer.Option(help="Clip: last moment.", metavar="TIME")] = None,
    step: Annotated[int, typer.Option(help="Clip: take every n-th frame.", min=1)] = 1,
    frames: Annotated[
        int | None, typer.Option(help="Clip: take at most so many frames.", min=1)
    ] = None,
    keep_audio: Annotated[
        Path | None,
        typer.Option(
            help="Clip: save its sound from --start to --end, which no PNG carries; .mka takes all "
            "codecs as they are."
        ),
    ] = None,
    layout: Annotated[
        str | None,
        typer.Option(help="Stereo in one file: side-by-side, top-bottom or cross-eyed."),
    ] = None,
    zoom: Annotated[
        int | None,
        typer.Option(
            help="Dual view of one photo: its centre, so many times enlarged; the bundled model is "
            "trained with 2, 4 and 8.",
            min=2,
        ),
    ] = None,
    align: Annotated[
        bool,
        typer.Option(
            help="Clip, stereo: take out of each picture what others show of it, moved along; and "
            "undo it when restored."
        ),
    ] = True,
    enhance: Annotated[
        bool,
        typer.Option(
            help="Carry in the low bits of the PNG what the network restores worst. Lost where the "
            "PNG is altered; the rest is not."
        ),
    ] = True,
    background: Annotated[
        str,
        typer.Option(help="Colour behind transparent pictures: a name or #rrggbb."),
    ] = "white",
    effort: Annotated[
        int,
        typer.Option(
            help="0: the network alone, in a third of the time. 1: what --enhance adds, too. 2 to "
            "10: and search for an embedding that restores better; 2 takes about ten times as long "
            "as 1, 5 twenty times, 10 forty.",
            min=0,
            max=10,
        ),
    ] = 1,
    target_embed_psnr: Annotated[
        float | None,
        typer.Option(
            help="The search holds the embedding at so many dB; else at the network's own.",
            metavar="DB",
        ),
    ] = None,
    target_restored_psnr: Annotated[
        float | None,
        typer.Option(
            help="The search holds the restored pictures at so many dB, and improves the "
            "embedding.",
            metavar="DB",
        ),
    ] = None,
    min_psnr: Annotated[
        float | None,
        typer.Option(help="Write nothing if embedding or restored pictures are below, dB."),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Write nothing; tell size, tiles, seconds and dB to expect, from parts of the "
            "pictures.",
        ),
    ] = False,
    verify: Annotated[
        bool, typer.Option(help="Read the file back, restore it and tell its quality.")
    ] = True,
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
    """Embed a clip, a stereo pair, a dual view, layers or photos in one PNG, and tell its quality.

    video: a clip, an animation, a motion photo, a folder or quoted pattern of frames. More frames
    than the model takes make an animated PNG. It shows the middle frame of each group.

    stereo: left and right view, pictures or clips of one size; or one MPO or JPS; or one file and
    --layout. The PNG shows the left view.

    dual: normal and zoomed view, any sizes; or one large photo and --zoom. It shows the normal
    view.

    layers: a foreground with transparency, and a background of its size; or the composed picture,
    foreground and background; or the composed picture and background; or one .ora, .psd or
    multi-page TIFF. It shows the composed picture.

    stego: the cover first, then one to four photos to hide; all are fitted to the cover's size
    and restored at their own.

    grayscale: one photo; the PNG is grey. rescale: one photo; the PNG has half its size.
    """
    from PIL import ImageColor

    from iicnet_cli.api import Converter
    from iicnet_cli.engines.network.encoder import SEARCHED
    from iicnet_cli.media.audio import extract_audio
    from iicnet_cli.media.files import check_target
    from iicnet_cli.media.frame_times import parse_time
    from iicnet_cli.tasks import EmbedOptions

    try:
        colour = ImageColor.getrgb(background)
    except ValueError:
        raise UsageError(f"'{background}' is no colour", hint="write a name, or #rrggbb") from None
    options = EmbedOptions(
        start=parse_time(start) if start else None,
        end=parse_time(end) if end else None,
        step=step,
        frames=frames,
        background=(colour[0], colour[1], colour[2]),
        half=half,
        layout=layout,
        zoom=zoom,
        align=align,
        enhance=enhance,
    )
    if (output is None) == (out_dir is None) and not (dry_run and output is None):
        raise UsageError("say where to write: -o FILE for one PNG, --out-dir FOLDER for many")
    if as_json and str(output) == "-":
        raise UsageError("--json and -o - cannot both go to stdout")
    if keep_audio is not None:
        if len(inputs) != 1 or out_dir is not None:
            raise UsageError("--keep-audio saves the sound of one clip; give one input and -o")
        check_target(keep_audio, yes)

    with progress_bar(quiet or as_json) as progress:
        converter = Converter(
            device=device,
            memory=parse_memory(memory),
            compiled=compiled,
            precision=precision,
            progress=progress,
        )
        wanted: dict[str, Any] = {
            "task": task,
            "model": model,
            "options": options,
            "effort": effort,
            "target_embed_psnr": target_embed_psnr,
            "target_restored_psnr": target_restored_psnr,
        }
        if dry_run:

            def foretell(sources: list[Path], source: Path | None = None) -> None:
                with input_paths(sources) as paths:
                    forecast = converter.forecast(paths, **wanted)
                _tell_forecast(
                    forecast, source, searched=effort >= SEARCHED, as_json=as_json, quiet=quiet
                )

            if out_dir is None:
                foretell(inputs)
            else:
                run_batch(inputs, lambda one: foretell([one], one), as_json=as_json, debug=debug)
            return
        settings = {**wanted, "overwrite": yes, "verify": verify, "min_psnr": min_psnr}

        def tell(report: EmbedReport, shown: Path, *, source: Path | None = None) -> None:
            if as_json:
                print_json(_record(report, shown, source))
            else:
                _tell(report, shown, quiet=quiet, verbose=verbose)

        if out_dir is not None:
            targets = same_names(inputs, out_dir, ".png")

            def one(source: Path) -> None:
                target = targets[source]
                tell(converter.embed([source], target, **settings), target, source=source)

            run_batch(inputs, one, as_json=as_json, debug=debug)
            return
        assert output is not None
        with input_paths(inputs) as paths, output_path(output, ".png") as target:
            sound = keep_audio and extract_audio(
                paths[0], keep_audio, start=options.start, end=options.end, overwrite=yes
            )
            report = converter.embed(paths, target, **settings)
    tell(report, output)
    if verbose:
        say(f"device {converter.device.device}: {converter.device.reason}")
    if keep_audio is not None:
        say(
            f"sound: {keep_audio} ({sound})" if sound else "note: there is no sound to keep",
            quiet=quiet,
        )


def _tell_forecast(
    forecast: Estimate, source: Path | None, *, searched: bool, as_json: bool, quiet: bool
) -> None:
    named = {} if source is None else {"input": str(source)}
    if as_json:
        print_json({**named, **dataclasses.asdict(forecast)})
        return
    _tell_guess(forecast.task, forecast.guessed, forecast.notes, quiet=quiet)
    known = forecast.embeddings is not None
    count = "" if forecast.embeddings == 1 else f", {forecast.embeddings or '?'} embeddings"
    each = "" if known else " for each embedding"
    tiles = f" in {forecast.tiles} tiles" if forecast.tiles > 1 else ""
    which = "" if source is None else f"{source}: "
    typer.echo(
        f"{which}{forecast.width}x{forecast.height}{tiles} with {forecast.model}{count}, about "
        f"{forecast.bytes / 1e6:.1f} MB, {_duration(forecast.seconds)}{each}"
    )
    gain = ", without what the search gains" if searched else ""
    typer.echo(
        f"embedding about {forecast.embed_psnr:.1f} dB, restored about "
        f"{forecast.restored_psnr:.1f} dB{gain}"
    )


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def _tell_guess(task: str, guessed: bool, notes: tuple[str, ...], *, quiet: bool) -> None:
    if guessed:
        say(f"task: {task}, told from the inputs (--task decides)", quiet=quiet)
    for note in notes:
        say(f"note: {note}", quiet=quiet)


def _record(report: EmbedReport, output: Path, source: Path | None) -> dict[str, Any]:
    return {
        **({} if source is None else {"input": str(source)}),
        **dataclasses.asdict(report),
        "output": str(output),
        "embed_psnr": report.embed_psnr,
        "restored_psnr": report.restored_psnr,
        "hidden_psnr": report.hidden_psnr,
    }


def _tell(report: EmbedReport, output: Path, *, quiet: bool, verbose: bool) -> None:
    from iicnet_cli.tasks import task_named

    _tell_guess(report.task, report.guessed, report.notes, quiet=quiet)
    what = task_named(report.task).pictures
    animated = f", animated PNG of {report.embeddings} pictures" if report.embeddings > 1 else ""
    say(
        f"{output}: {report.images} {what} {report.width}x{report.height} with {report.model}"
        f"{animated}, {report.bytes / 1e6:.2f} MB, {report.seconds:.1f} s",
        quiet=quiet,
    )
    if report.embedding:
        hidden = report.hidden_psnr
        without = "" if hidden is None else f", without the reference {hidden:.2f} dB"
        say(
            f"embedding {report.embed_psnr:.2f} dB, restored {report.restored_psnr:.2f} dB"
            + without,
            quiet=quiet,
        )
    if report.gained_psnr is not None:
        say(f"the search gained {report.gained_psnr:.2f} dB", quiet=quiet)
    if verbose:
        for picture in report.restored:
            say(f"  {picture.name}: {picture.psnr:.2f} dB")
