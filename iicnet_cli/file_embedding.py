"""Embedding and restoring with engines that carry files: what the converter calls for them.

::

    task --contents/--> covers and bundles --[seal]--> engine --> PNG
    PNG --engine--> bundles --[unseal]--> contents/ --> files
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from iicnet_cli import __version__
from iicnet_cli.container.header import Header
from iicnet_cli.container.png_writer import PngWriter
from iicnet_cli.contents.clip_contents import clip_parts
from iicnet_cli.contents.part import ContentsRequest, Part
from iicnet_cli.contents.photo_contents import photo_part
from iicnet_cli.contents.restored_contents import RestoredContents, joined_description
from iicnet_cli.engines import open_file_engine
from iicnet_cli.engines.file_engine import FileEngine
from iicnet_cli.errors import ContainerError, DamagedError, UnsupportedVersionError, UsageError
from iicnet_cli.measuring import FileMeter, check_quality
from iicnet_cli.media.files import replacing
from iicnet_cli.media.temporary import scratch_folder
from iicnet_cli.options import EmbedOptions, RestoreOptions
from iicnet_cli.payload.bundle import Bundle
from iicnet_cli.payload.embedding_reader import EmbeddingReader
from iicnet_cli.payload.sealing import SEAL_OVERHEAD, WrongPasswordError, is_sealed, seal, unseal
from iicnet_cli.pictures.arrays import Pixels, padding_to
from iicnet_cli.reports import (
    CarriedFile,
    EmbedReport,
    Estimate,
    PictureQuality,
    Progress,
    ProgressListener,
    RestoreReport,
    Stage,
)
from iicnet_cli.tasks import choose_task, open_source
from iicnet_cli.tasks.task import PictureSource, Task


@dataclass(frozen=True)
class FileJob:
    """One PNG that is to be made.

    Attributes:
        task: whose pictures they are.
        engine: carries them.
        source: the opened inputs.
        options: what was asked for.
        listener: receives the progress.
        guessed: whether the task was guessed.
    """

    task: Task
    engine: FileEngine
    source: PictureSource
    options: EmbedOptions
    listener: ProgressListener
    guessed: bool

    @property
    def embed_psnr(self) -> float:
        """PSNR in dB that the embedding is held at."""
        target = self.options.target_embed_psnr
        return self.engine.default_psnr if target is None else target

    def parts(self) -> Iterator[Part]:
        """The contents of each embedding."""
        overhead = SEAL_OVERHEAD if self.options.password else 0

        known: dict[int, int] = {}

        def capacity(cover: Pixels) -> int:
            key = zlib.crc32(cover.tobytes())
            if key not in known:
                known[key] = max(0, self.engine.capacity(cover, self.embed_psnr) - overhead)
            return known[key]

        request = ContentsRequest(
            task=self.task,
            source=self.source,
            options=self.options,
            capacity=capacity,
            embed_psnr=self.embed_psnr,
            tick=lambda share: self.listener(Progress(Stage.ENCODING, share, 1)),
        )
        return iter([photo_part(request)]) if self.source.fps is None else clip_parts(request)


@dataclass(frozen=True)
class WrittenFiles:
    """A PNG that was written.

    Attributes:
        description: of all that it holds.
        embeddings: pictures in it.
        carried: the files that it holds.
        notes: how the pictures are carried, in words.
    """

    description: Header
    embeddings: int
    carried: tuple[CarriedFile, ...]
    notes: tuple[str, ...]


def open_file_job(
    inputs: Sequence[str | PathLike[str]],
    task: str | None,
    model: str | None,
    options: EmbedOptions,
    listener: ProgressListener,
) -> FileJob:
    """Choose the task, and open the inputs, for an engine that carries files.

    Raises:
        UsageError, MediaError: as :meth:`Converter.embed`.
    """
    if model is not None:
        raise UsageError("--model is for the network", hint="leave --model or --for out")
    paths, chosen = choose_task(inputs, task, options)
    # One frame at a time, so that clips of any length fit into memory.
    source = open_source(chosen, paths, chosen.pictures_per_group(paths) or 1, options)
    engine = open_file_engine(options.engine)
    return FileJob(chosen, engine, source, options, listener, guessed=task is None)


def embed_files(job: FileJob, output: Path, *, overwrite: bool) -> EmbedReport:
    """Make a PNG; then, by default, read it back, restore it and compare.

    Args:
        job: what is embedded.
        output: the PNG to write.
        overwrite: replace an existing output.

    Raises:
        QualityError: the contents do not fit, or are worth less than was asked for.
        MediaError, OutputExistsError: as :meth:`Converter.embed`.
    """
    began = time.monotonic()
    with replacing(output, overwrite=overwrite) as temporary:
        written = write_files(job, temporary)
        quality: list[PictureQuality] = []
        if job.options.verify or job.options.min_psnr is not None:
            quality = measure_files(job, temporary)
        report = EmbedReport(
            output=output,
            task=job.task.name,
            model=job.engine.name,
            embeddings=written.embeddings,
            images=job.task.pictures_in(written.description),
            width=job.source.width,
            height=job.source.height,
            bytes=temporary.stat().st_size,
            seconds=time.monotonic() - began,
            embedding=quality[0] if quality else None,
            restored=tuple(quality[1:]),
            notes=written.notes,
            guessed=job.guessed,
            carried=written.carried,
        )
        check_quality(report, job.options.min_psnr)
    return report


def estimate_files(job: FileJob) -> Estimate:
    """What :func:`embed_files` would write: everything is made, but not kept."""
    with scratch_folder() as folder:
        report = embed_files(job, folder / "dry.png", overwrite=False)
    return Estimate(
        task=report.task,
        model=report.model,
        images=job.source.images,
        width=report.width,
        height=report.height,
        embeddings=report.embeddings,
        tiles=1,
        bytes=report.bytes,
        seconds=report.seconds,
        embed_psnr=report.embed_psnr or 0.0,
        restored_psnr=report.restored_psnr or 0.0,
        notes=report.notes,
        guessed=job.guessed,
    )


def write_files(job: FileJob, path: Path) -> WrittenFiles:
    """Choose contents, and write them as a PNG.

    Raises:
        QualityError: they do not fit.
        MediaError: an input cannot be read.
    """
    carried: list[CarriedFile] = []
    notes: dict[str, None] = dict.fromkeys(job.source.notes)
    headers: list[Header] = []
    embeddings = 0
    with open(path, "w+b") as file:
        writer: PngWriter | None = None
        for part in job.parts():
            if writer is None:
                fps = job.source.fps
                writer = PngWriter(file, frame_delay=part.frames / fps if fps else None)
            data = part.bundle.to_bytes()
            if job.options.password:
                data = seal(data, job.options.password)
            writer.add(job.engine.write(part.cover, data))
            carried += [
                CarriedFile(each.role.name.lower(), each.name, len(each.data))
                for each in part.bundle.files
            ]
            notes |= dict.fromkeys(part.notes)
            headers.append(part.description)
            embeddings += 1
        assert writer is not None
        description = joined_description(headers)
        writer.finish(_outer_header(job, description, part.cover))
    return WrittenFiles(description, embeddings, tuple(carried), tuple(notes))


def measure_files(job: FileJob, path: Path) -> list[PictureQuality]:
    """Read a PNG back, restore it, and compare with the inputs: the embedding first."""
    meter = FileMeter(job.options.with_ssim)
    with opened_contents(path, job.engine, job.options.password) as found:
        restored = found.contents.groups()
        done = 0
        with closing(job.source.groups()) as groups:
            for group, back in zip(groups, restored, strict=True):
                for mine, original in zip(back.pictures, group.pictures, strict=True):
                    meter.add(mine, original)
                cover = found.cover_shown_by(done)
                if cover is not None:
                    meter.add_embedding(cover, job.task.cover(group.images[0], job.options))
                done += 1
                share = done / (found.contents.header.frames or 1)
                job.listener(Progress(Stage.VERIFYING, min(1.0, share), 1))
    return meter.pictures(job.source.names)


def restore_files(
    reader: EmbeddingReader,
    engine: FileEngine,
    outputs: tuple[Path, str | PathLike[str] | None, bool],
    options: RestoreOptions,
    listener: ProgressListener,
) -> RestoreReport:
    """Restore what a PNG carries.

    Args:
        reader: the open PNG.
        engine: that it was made with.
        outputs: the path after which outputs are named by default; the output itself, a file or
            folder; and whether existing outputs are replaced.
        options: how to write them.
        listener: receives the progress.

    Raises:
        WrongPasswordError: a password is needed, or it is wrong.
        DamagedError: nothing in it is intact.
        UsageError, OutputExistsError, MediaError: as :meth:`RestoredContents.deliver`.
    """
    began = time.monotonic()
    png, output, overwrite = outputs
    with read_contents(reader, engine, options.password) as found:
        contents = found.contents
        if options.layout is not None and "layout" not in contents.task.takes:
            raise UsageError(f"{contents.task.name} has no use for --layout")
        listener(Progress(Stage.RESTORING, 0, found.total))
        target = contents.default_output(png) if output is None else Path(output)
        delivered = contents.deliver(target, overwrite=overwrite, options=options)
    return RestoreReport(
        outputs=delivered.outputs,
        task=contents.task.name,
        model=engine.name,
        images=delivered.pictures,
        altered=bool(found.damaged),
        found_by="header" if reader.header is not None else "mark",
        seconds=time.monotonic() - began,
        notes=(*delivered.notes, *found.notes),
    )


def restored_pictures(
    reader: EmbeddingReader, engine: FileEngine, password: str | None
) -> list[Pixels]:
    """The pictures that an open PNG carries; errors as of :func:`read_contents`."""
    with read_contents(reader, engine, password) as found:
        contents = found.contents
        return list(contents.task.restored_pictures(contents.header, contents.groups()))


@dataclass(frozen=True)
class FoundContents:
    """What the embeddings of a PNG carry.

    Attributes:
        contents: of the intact ones.
        covers: the intact embeddings.
        damaged: numbers of the others, from 0 on.
        total: number of all.
    """

    contents: RestoredContents
    covers: Sequence[Pixels]
    damaged: tuple[int, ...]
    total: int

    @property
    def notes(self) -> tuple[str, ...]:
        """What is missing, in words."""
        if not self.damaged:
            return ()
        numbers = ", ".join(str(i + 1) for i in self.damaged)
        return (f"{len(self.damaged)} of {self.total} pictures were altered: {numbers}",)

    def cover_shown_by(self, frame: int) -> Pixels | None:
        """The embedding that shows a frame of the clip, if one does; photos are frame 0."""
        return next(
            (
                cover
                for cover, shown in zip(self.covers, self.contents.shown_frames, strict=True)
                if shown == frame
            ),
            None,
        )


@contextmanager
def opened_contents(
    path: Path, engine: FileEngine, password: str | None
) -> Iterator[FoundContents]:
    """Open a PNG, and read what it carries; errors as of :func:`read_contents`."""
    with EmbeddingReader(path) as reader, read_contents(reader, engine, password) as found:
        yield found


@contextmanager
def read_contents(
    reader: EmbeddingReader, engine: FileEngine, password: str | None
) -> Iterator[FoundContents]:
    """Read what an open PNG carries.

    Raises:
        WrongPasswordError: a password is needed, or it is wrong.
        DamagedError: nothing in it is intact, or it is no bundle.
    """
    bundles, covers, damaged = [], [], []
    first_error: ContainerError | None = None
    for number, embedding in enumerate(reader):
        try:
            bundles.append(_open_bundle(engine.read(embedding), password))
            covers.append(embedding)
        except WrongPasswordError:
            raise
        except ContainerError as error:
            first_error = first_error or error
            damaged.append(number)
    if not bundles:
        raise _likely_cause(reader, first_error)
    with scratch_folder() as scratch:
        contents = RestoredContents(bundles, covers, scratch)
        yield FoundContents(contents, covers, tuple(damaged), len(bundles) + len(damaged))


def _open_bundle(data: bytes, password: str | None) -> Bundle:
    if is_sealed(data):
        if not password:
            raise WrongPasswordError("what it carries is encrypted", hint="add --password")
        data = unseal(data, password)
    return Bundle.from_bytes(data)


def _likely_cause(reader: EmbeddingReader, error: ContainerError | None) -> ContainerError:
    """The error of a PNG in which nothing is intact: what probably happened to it."""
    header = reader.header
    hint = "restore from the original file, sent as a file and not as a picture"
    if header is not None:
        written = _embedding_size(header)
        if reader.size != written:
            return DamagedError(
                f"it is {reader.size[0]}x{reader.size[1]}, but {written[0]}x{written[1]} was "
                "written: it was resized or cropped",
                hint=hint,
            )
        if not reader.verify():
            return DamagedError("its pixels were altered: it was re-encoded or edited", hint=hint)
    if isinstance(error, UnsupportedVersionError):
        return error
    return DamagedError(str(error), hint=hint)


def _embedding_size(header: Header) -> tuple[int, int]:
    right, bottom = header.padding
    return (header.width + right) // header.scale, (header.height + bottom) // header.scale


def _outer_header(job: FileJob, description: Header, cover: Pixels) -> Header:
    """The header of the PNG: all of the description, unless a password hides it."""
    width, height = job.source.width, job.source.height
    scale = 1 if cover.shape[:2] == (height, width) else 2
    fields = {
        "task": job.task.name,
        "engine": job.engine.name,
        "model": job.engine.name,
        "weights_sha256": "",
        "images": 1,
        "width": width,
        "height": height,
        "scale": scale,
        "padding": padding_to(width, height, scale),
        "software": f"iicnet {__version__}",
    }
    if not job.options.password:
        kept = {"sources", "fps", "frames"}
        fields |= description.model_dump(include=kept, exclude_none=True)
    return Header.model_validate(fields)
