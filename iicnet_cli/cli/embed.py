"""``iicnet embed``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from iicnet_cli.cli.batch import (
    BatchStyle,
    expand_patterns,
    print_skipped,
    run_batch,
    same_names,
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
    input_paths,
    output_path,
    parse_colour,
    parse_memory,
    parse_moment,
    print_json,
    say,
)
from iicnet_cli.cli.embed_reports import print_estimate, print_guess, print_report
from iicnet_cli.cli.file_options import AttachOption, ExactOption, ForOption, PasswordOption
from iicnet_cli.cli.passwords import read_password
from iicnet_cli.cli.progress import progress_bar
from iicnet_cli.engines import engine_for
from iicnet_cli.errors import ExitCode, UsageError
from iicnet_cli.jobs.completion import marker_beside
from iicnet_cli.jobs.file_jobs import EmbedJob, EstimateJob
from iicnet_cli.jobs.job import ConverterSettings, Job, Outcome
from iicnet_cli.media.kept_files import check_not_kept, keeping
from iicnet_cli.options import MAX_EFFORT, NETWORK, EmbedOptions

if TYPE_CHECKING:
    from iicnet_cli.reports import EmbedReport, Estimate

InputsArgument = Annotated[
    list[Path],
    typer.Argument(help="A clip, photos, views or layers, as the task needs.", metavar="INPUT..."),
]
OutputOption = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", help="The PNG to write, or the .jpg of what survives JPEG; - is stdout."
    ),
]
OutDirOption = Annotated[
    Path | None, typer.Option(help="Make one PNG of each input: NAME.png in this folder.")
]
TaskOption = Annotated[
    str | None,
    typer.Option(
        help="video, stereo, dual, layers, stego, grayscale or rescale; guessed from the inputs "
        "where they leave no doubt."
    ),
]
ModelOption = Annotated[
    str | None,
    typer.Option(help="Model name or folder, such as video-9; by default the task's own."),
]
HalfOption = Annotated[
    bool, typer.Option("--half", help="Clip: the PNG has half its width and height.")
]
StartOption = Annotated[
    str | None, typer.Option(help="Clip: first moment, such as 12.5 or 1:02.5.", metavar="TIME")
]
EndOption = Annotated[str | None, typer.Option(help="Clip: last moment.", metavar="TIME")]
StepOption = Annotated[int, typer.Option(help="Clip: take every n-th frame.", min=1)]
FramesOption = Annotated[
    int | None, typer.Option(help="Clip: take at most this many frames.", min=1)
]
KeepAudioOption = Annotated[
    Path | None,
    typer.Option(
        help="Clip: save its sound from --start to --end in this file, because the PNG does not "
        "carry it. A .mka file takes any codec unchanged."
    ),
]
LayoutOption = Annotated[
    str | None,
    typer.Option(help="Stereo in one file: side-by-side, top-bottom or cross-eyed."),
]
ZoomOption = Annotated[
    int | None,
    typer.Option(
        help="Dual view of one photo: magnification of its centre. The bundled model is trained "
        "with 2, 4 and 8.",
        min=2,
    ),
]
AlignOption = Annotated[
    bool,
    typer.Option(
        help="Clip: predict each frame from the others by motion compensation, so that less has to "
        "be hidden."
    ),
]
EnhanceOption = Annotated[
    bool,
    typer.Option(
        help="Carry corrections of the restored pictures in the low bits of the PNG. Any change to "
        "the pixels loses them, but not the pictures themselves."
    ),
]
BackgroundOption = Annotated[
    str, typer.Option(help="Colour behind transparent pictures: a name or #rrggbb.")
]
EffortOption = Annotated[
    int,
    typer.Option(
        help="0: the network alone, in half of the time. 1: with the corrections of --enhance. "
        "2 to 10: also search for an embedding that restores better; 2 takes about fourteen times "
        "as long as 1, 5 thirty times, 10 a hundred times.",
        min=0,
        max=MAX_EFFORT,
    ),
]
TargetEmbedOption = Annotated[
    float | None,
    typer.Option(
        help="Keep the embedding at this many dB. With --for edits, the search does, by default as "
        "good as without it; with --for file the default is 40, or --min-psnr if that is higher.",
        metavar="DB",
    ),
]
TargetRestoredOption = Annotated[
    float | None,
    typer.Option(
        help="The search keeps the restored pictures at this many dB and improves the embedding.",
        metavar="DB",
    ),
]
MinPsnrOption = Annotated[
    float | None,
    typer.Option(help="Write nothing if the embedding or the restored pictures are below, in dB."),
]
DryRunOption = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Write nothing. Estimate size, tiles, seconds and dB from parts of the pictures; "
        "unless --for is edits, make all of it and throw it away.",
    ),
]
VerifyOption = Annotated[
    bool, typer.Option(help="Read the file back, restore it and print its quality.")
]


@command
def embed(
    inputs: InputsArgument,
    output: OutputOption = None,
    out_dir: OutDirOption = None,
    task: TaskOption = None,
    model: ModelOption = None,
    half: HalfOption = False,
    start: StartOption = None,
    end: EndOption = None,
    step: StepOption = 1,
    frames: FramesOption = None,
    keep_audio: KeepAudioOption = None,
    layout: LayoutOption = None,
    zoom: ZoomOption = None,
    destination: ForOption = "edits",
    exact: ExactOption = False,
    attach: AttachOption = None,
    password: PasswordOption = False,
    align: AlignOption = True,
    enhance: EnhanceOption = True,
    background: BackgroundOption = "white",
    effort: EffortOption = 1,
    target_embed_psnr: TargetEmbedOption = None,
    target_restored_psnr: TargetRestoredOption = None,
    min_psnr: MinPsnrOption = None,
    dry_run: DryRunOption = False,
    verify: VerifyOption = True,
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
    """Embed a clip, a stereo pair, a dual view, layers or photos in one PNG; print its quality.

    video: a clip, an animation, a motion photo, or a folder or quoted pattern of frames. If it has
    more frames than fit, the PNG is animated. It shows the middle frame of each group.

    stereo: the left view, which shows, and the right one; or one MPO or JPS; or one and --layout,
    which a clip may say itself.

    dual: normal view (which shows) and zoomed view, of any sizes; or one large photo and --zoom.

    layers: a foreground with transparency and a background of its size; or the composed picture,
    foreground and background; or the composed picture and background; or one .ora, .psd or
    multi-page TIFF file. The PNG shows the composed picture.

    stego: the cover, then one to four photos to hide, with --for file any number, of any sizes; the
    cover alone is enough with --attach.

    grayscale, rescale: one photo; the PNG is grey, or has half its size.
    """
    options = EmbedOptions(
        engine=engine_for(destination),
        destination=destination,
        exact=exact,
        attachments=tuple(attach or ()),
        password=read_password(password, twice=True),
        start=parse_moment(start),
        end=parse_moment(end),
        step=step,
        frames=frames,
        background=parse_colour(background),
        half=half,
        layout=layout,
        zoom=zoom,
        align=align,
        enhance=enhance,
        effort=effort,
        target_embed_psnr=target_embed_psnr,
        target_restored_psnr=target_restored_psnr,
        verify=verify,
        min_psnr=min_psnr,
    )
    style = _Style(as_json, quiet, verbose, debug)
    target = _Target(output, out_dir, keep_audio, overwrite=yes)
    sharing = Sharing(jobs, shard, skip_existing, on)
    with keeping([*inputs, *options.attachments]):
        target.check(inputs, style, sharing, writes=not dry_run)
    settings = ConverterSettings(device, parse_memory(memory), compiled, precision)
    run = _EmbedRun(settings, task, model, options, target, style)
    if out_dir is not None:
        run.embed_each(expand_patterns(inputs), sharing, dry_run=dry_run)
    elif dry_run:
        run.estimate(inputs)
    else:
        run.embed_together(inputs)


@dataclass(frozen=True)
class _Style:
    """How results are printed."""

    as_json: bool
    quiet: bool
    verbose: bool
    debug: bool


@dataclass(frozen=True)
class _Target:
    """Where results go."""

    output: Path | None
    out_dir: Path | None
    keep_audio: Path | None
    overwrite: bool

    def check(self, inputs: list[Path], style: _Style, sharing: Sharing, *, writes: bool) -> None:
        """Refuse targets that contradict each other.

        Raises:
            UsageError: saying which.
            OutputExistsError: the file for the sound exists.
        """
        from iicnet_cli.media.files import check_target

        chosen = (self.output is not None) + (self.out_dir is not None)
        if chosen != 1 and (writes or self.output is not None):
            raise UsageError("say where to write: -o FILE for one PNG, --out-dir FOLDER for many")
        if sharing.is_for_many and self.out_dir is None:
            raise UsageError("--shard, --skip-existing and --on need --out-dir FOLDER")
        if sharing.on is not None and not writes:
            raise UsageError("--dry-run estimates on this machine; leave out --on")
        if style.as_json and str(self.output) == "-":
            raise UsageError("--json and -o - cannot both go to stdout")
        if self.output is not None and str(self.output) != "-":
            check_not_kept(self.output)
        if self.keep_audio is not None:
            if len(inputs) != 1 or self.out_dir is not None:
                raise UsageError("--keep-audio saves the sound of one clip; give one input and -o")
            if self.output is not None and self.keep_audio.resolve() == self.output.resolve():
                raise UsageError("--keep-audio and -o name one file")
            check_target(self.keep_audio, self.overwrite)


class _EmbedRun:
    """One call of the command."""

    def __init__(
        self,
        settings: ConverterSettings,
        task: str | None,
        model: str | None,
        options: EmbedOptions,
        target: _Target,
        style: _Style,
    ) -> None:
        self._settings, self._task, self._model = settings, task, model
        self._options, self._target, self._style = options, target, style
        self._verifies = options.verify or options.min_psnr is not None

    def estimate(self, inputs: list[Path]) -> None:
        """Print what to expect of one PNG."""
        with input_paths(inputs) as paths:
            job = self._estimate_job(paths)
            estimate = job.run(self._settings.open())
        self._report_estimate(estimate, job, None)

    def embed_each(self, inputs: list[Path], sharing: Sharing, *, dry_run: bool) -> None:
        """One PNG for each input, or what to expect of each."""
        folder, style = self._target.out_dir, self._style
        assert folder is not None
        batch = BatchStyle(style.as_json, style.quiet, style.debug, self._verifies)
        if dry_run:
            estimates = [self._estimate_job([s]) for s in shard_of(inputs, sharing.shard)]
            # One after the other, for the seconds that each would take alone are wanted.
            alone = Sharing(jobs=1)
            run_batch(estimates, self._settings, alone, batch, self._present_estimate)
            return
        targets = same_names(inputs, folder, ".png")
        jobs = [
            self._job([source], targets[source], sharing)
            for source in shard_of(inputs, sharing.shard)
        ]
        run_batch(jobs, self._settings, sharing, batch, self._present)

    def embed_together(self, inputs: list[Path]) -> None:
        """One PNG of all inputs, and their sound if it is wanted."""
        from iicnet_cli.media.audio import extract_audio

        output, keep_audio = self._target.output, self._target.keep_audio
        assert output is not None
        with (
            input_paths(inputs) as paths,
            output_path(output, ".png") as target,
            progress_bar(
                quiet=self._style.quiet, bar=not self._style.as_json, verifies=self._verifies
            ) as progress,
        ):
            sound = None
            if keep_audio is not None:
                sound = extract_audio(
                    paths[0],
                    keep_audio,
                    start=self._options.start,
                    end=self._options.end,
                    overwrite=self._target.overwrite,
                )
            converter = self._settings.open(progress)
            job = self._job(paths, target, Sharing())
            report = replace(job.run(converter), output=output)
        self._report(report, job, None)
        if self._style.verbose and self._options.engine == NETWORK:
            say(f"device {converter.device.device}: {converter.device.reason}")
        if keep_audio is not None:
            found = f"sound: {keep_audio} ({sound})" if sound else "note: there is no sound to keep"
            say(found, quiet=self._style.quiet)

    def _job(self, paths: list[Path], output: Path, sharing: Sharing) -> EmbedJob:
        overwrite = self._target.overwrite
        return EmbedJob(
            inputs=tuple(paths),
            marker=marker_beside(output) if sharing.on else None,
            skip_existing=sharing.skip_existing or (bool(sharing.on) and not overwrite),
            output=output,
            task=self._task,
            model=self._model,
            options=self._options,
            overwrite=overwrite,
        )

    def _estimate_job(self, paths: list[Path]) -> EstimateJob:
        output = self._target.output
        return EstimateJob(
            inputs=tuple(paths),
            output=None if output is None or str(output) == "-" else output,
            task=self._task,
            model=self._model,
            options=self._options,
        )

    def _present(self, outcome: Outcome[EmbedReport]) -> ExitCode:
        if outcome.report is not None:
            self._report(outcome.report, outcome.job, outcome.job.source)
        else:
            print_skipped(outcome, as_json=self._style.as_json, quiet=self._style.quiet)
        return ExitCode.OK

    def _present_estimate(self, outcome: Outcome[Estimate]) -> ExitCode:
        assert outcome.report is not None
        self._report_estimate(outcome.report, outcome.job, outcome.job.source)
        return ExitCode.OK

    def _report_estimate(self, estimate: Estimate, job: Job[Estimate], named: Path | None) -> None:
        if self._style.as_json:
            print_json(_input_field(named) | job.record(estimate))
            return
        print_guess(estimate.task, estimate.guessed, estimate.notes, quiet=self._style.quiet)
        print_estimate(estimate, named, searches=self._options.searches)

    def _report(self, report: EmbedReport, job: Job[EmbedReport], source: Path | None) -> None:
        if self._style.as_json:
            print_json(_input_field(source) | job.record(report))
        else:
            print_report(report, quiet=self._style.quiet, verbose=self._style.verbose)


def _input_field(source: Path | None) -> dict[str, Any]:
    """In a batch, each JSON line names its input."""
    return {} if source is None else {"input": str(source)}
