"""Embedding with engines that carry files: what the converter calls for them.

::

    task --contents/--> covers and bundles --[seal]--> engine --> PNG or JPEG
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from os import PathLike
from pathlib import Path

from iicnet_cli import __version__
from iicnet_cli.container.header import Header
from iicnet_cli.container.png_writer import PngWriter
from iicnet_cli.contents.clip_contents import clip_parts
from iicnet_cli.contents.part import ContentsRequest, Part, check_files
from iicnet_cli.contents.photo_contents import photo_part
from iicnet_cli.contents.small_version import SMALL_VERSION
from iicnet_cli.engines import open_file_engine
from iicnet_cli.engines.file_engine import Channel, FileEngine, FileWriter
from iicnet_cli.errors import QualityError, UsageError
from iicnet_cli.file_restoring import opened_contents
from iicnet_cli.measuring import FileMeter, check_quality
from iicnet_cli.media.files import check_picture_target, replacing
from iicnet_cli.media.stills import resize
from iicnet_cli.media.temporary import scratch_folder
from iicnet_cli.media.tiny_stills import TINY_SUFFIX
from iicnet_cli.options import EmbedOptions
from iicnet_cli.payload.bundle_description import joined_description
from iicnet_cli.payload.embedding_reader import EmbeddingReader
from iicnet_cli.payload.sealing import SEAL_OVERHEAD, seal
from iicnet_cli.pictures.arrays import Pixels, padding_to
from iicnet_cli.reports import (
    CarriedFile,
    EmbedReport,
    Estimate,
    PictureQuality,
    Progress,
    ProgressListener,
    Stage,
)
from iicnet_cli.simulated_delivery import deliver
from iicnet_cli.tasks import check_total_size, choose_task, open_source
from iicnet_cli.tasks.task import PictureSource, Task

_PSNR_MARGIN = 0.05
"""Embeddings are held by so many dB above a floor, for they miss by a few hundredths."""
_NO_RESERVE = "it would not survive a crop, or a sticker: what it carries fills it"
"""What is noted where no reserve is left."""


@dataclass(frozen=True)
class FileJob:
    """One PNG that is to be made.

    Attributes:
        task: whose pictures they are.
        engine: carries them.
        writer: of the engine, for where they go.
        source: the opened inputs.
        options: what was asked for.
        listener: receives the progress.
        guessed: whether the task was guessed.
    """

    task: Task
    engine: FileEngine
    writer: FileWriter
    source: PictureSource
    options: EmbedOptions
    listener: ProgressListener
    guessed: bool

    @cached_property
    def request(self) -> ContentsRequest:
        """What contents are chosen for: they leave the writer's reserve."""
        return self._request_for(self.writer.spared_capacity, self.writer.small_version_capacity)

    def parts(self) -> Iterator[Part]:
        """The contents of each embedding.

        What does not fit otherwise takes all of the room, without a reserve and a small version.
        """
        if self.writer.arrives_exact:
            yield from _parts_for(self.request)
            return
        try:
            (part,) = _parts_for(self.request)
        except QualityError:
            (part,) = _parts_for(self._request_for(self.writer.capacity, lambda cover: 0))
        yield part

    def leaves_reserve(self, cover: Pixels, data: bytes) -> bool:
        """Whether a cover with these bytes has room left, so that a part of it restores them."""
        return len(data) <= self.writer.spared_capacity(cover)

    def _request_for(
        self, capacity: Callable[[Pixels], int], small_version_capacity: Callable[[Pixels], int]
    ) -> ContentsRequest:
        overhead = SEAL_OVERHEAD if self.options.password else 0

        def remaining(of: Callable[[Pixels], int]) -> Callable[[Pixels], int]:
            return lambda cover: max(0, of(cover) - overhead)

        return ContentsRequest(
            task=self.task,
            source=self.source,
            options=self.options,
            capacity=remaining(capacity),
            small_version_capacity=remaining(small_version_capacity),
            embed_psnr=self.writer.embed_psnr,
            limit=self.writer.limit,
            arrives_exact=self.writer.arrives_exact,
            longest_side=self.writer.longest_side,
            tick=lambda share: self.listener(Progress(Stage.ENCODING, share, 1)),
        )


def _parts_for(request: ContentsRequest) -> Iterator[Part]:
    if request.source.fps is None:
        return iter([photo_part(request)])
    return clip_parts(request)


@dataclass(frozen=True)
class WrittenFiles:
    """A PNG that was written.

    Attributes:
        description: of all that it holds.
        embeddings: pictures in it.
        carried: the files that it holds.
        notes: how the pictures are carried, in words.
        step: every so many frames of the source are in it.
        leaves_reserve: whether room is left, so that a part of it restores everything.
    """

    description: Header
    embeddings: int
    carried: tuple[CarriedFile, ...]
    notes: tuple[str, ...]
    step: int
    leaves_reserve: bool


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
    engine = open_file_engine(options.engine)
    writer = _writer_for(engine, options)
    paths, chosen = choose_task(inputs, task, options)
    # One frame at a time, so that clips of any length fit into memory.
    source = open_source(chosen, paths, chosen.pictures_per_group(paths) or 1, options)
    check_total_size(source)
    check_files(source, options)
    return FileJob(chosen, engine, writer, source, options, listener, guessed=task is None)


def _writer_for(engine: FileEngine, options: EmbedOptions) -> FileWriter:
    """What writes the embeddings, above the floor of quality if their PSNR can be chosen.

    Raises:
        UsageError: as of ``FileEngine.writer_for``, or what was asked for contradicts itself.
    """
    target, least = options.target_embed_psnr, options.min_psnr
    if target is not None and least is not None and target < least:
        raise UsageError(
            f"--target-embed-psnr {target:g} makes embeddings below --min-psnr {least:g}",
            hint="leave --target-embed-psnr out, or raise it",
        )
    writer = engine.writer_for(options.destination, target)
    if target is not None or least is None or not writer.arrives_exact:
        return writer
    return engine.writer_for(options.destination, max(writer.embed_psnr, least + _PSNR_MARGIN))


def embed_files(job: FileJob, output: Path, *, overwrite: bool) -> EmbedReport:
    """Make a PNG or JPEG; then, by default, read it back, restore it and compare.

    Args:
        job: what is embedded.
        output: the file to write.
        overwrite: replace an existing output.

    Raises:
        QualityError: the contents do not fit, are worth less than was asked for, or would not
            survive what they have to.
        MediaError, OutputExistsError: as :meth:`Converter.embed`.
    """
    began = time.monotonic()
    check_picture_target(output, overwrite, job.writer.suffixes)
    with replacing(output, overwrite=overwrite) as temporary:
        written = write_files(job, temporary)
        quality: list[PictureQuality] = []
        survived: tuple[str, ...] = ()
        survives_crop, notes = None, written.notes
        if job.writer.losses and not written.leaves_reserve:
            survives_crop = False
        if job.options.verify or job.options.min_psnr is not None:
            quality = measure_files(job, temporary, written.step)
            losses = job.writer.losses if written.leaves_reserve else ()
            survived = check_deliveries(job, temporary, losses)
            if losses:
                survives_crop = all(each.name in survived for each in losses)
        if survives_crop is False:
            notes = (*notes, _NO_RESERVE)
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
            notes=notes,
            guessed=job.guessed,
            carried=written.carried,
            survived=survived,
            survives_crop=survives_crop,
        )
        check_quality(report, job.options.min_psnr)
    return report


def estimate_files(job: FileJob, output: Path | None) -> Estimate:
    """What :func:`embed_files` would write: everything is made and measured, but not kept.

    Args:
        job: what would be embedded.
        output: the file; a PNG by default.
    """
    suffix = ".png"
    if output is not None:
        suffix = check_picture_target(output, True, job.writer.suffixes).suffix
    job = replace(job, options=replace(job.options, verify=True))
    with scratch_folder() as folder:
        report = embed_files(job, folder / f"dry{suffix}", overwrite=False)
    return Estimate(
        task=report.task,
        model=report.model,
        images=report.images,
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
        embedding=report.embedding,
        restored=report.restored,
        carried=report.carried,
        survived=report.survived,
        survives_crop=report.survives_crop,
    )


def write_files(job: FileJob, path: Path) -> WrittenFiles:
    """Choose contents, and write them as a PNG, or as a JPEG if the path says so.

    Raises:
        QualityError: they do not fit.
        MediaError: an input cannot be read.
    """
    carried: list[CarriedFile] = []
    notes = dict.fromkeys(each for each in job.source.notes if each not in job.source.fitting_notes)
    headers: list[Header] = []
    png: PngWriter | None = None
    reserves = []
    with open(path, "w+b") as file:
        for part, data, small_version in _contents(job):
            embedding = job.writer.write(part.cover, data, small_version)
            reserves.append(job.leaves_reserve(part.cover, data))
            if path.suffix.lower() == ".png":
                fps = job.source.fps
                png = png or PngWriter(file, frame_delay=part.frames / fps if fps else None)
                png.add(embedding)
            else:
                file.write(job.writer.encode_jpeg(embedding))
            carried += [
                CarriedFile(each.role.name.lower(), each.name, len(each.data))
                for each in part.bundle.files
            ]
            if (small := part.small_version) is not None:
                name = f"{SMALL_VERSION}{TINY_SUFFIX}"
                carried.append(CarriedFile("small version", name, len(small)))
            notes |= dict.fromkeys(part.notes)
            headers.append(part.description)
        description = joined_description(headers)
        if png is not None:
            png.finish(_outer_header(job, description, part.cover))
    return WrittenFiles(
        description, len(headers), tuple(carried), tuple(notes), part.step, all(reserves)
    )


def _contents(job: FileJob) -> Iterator[tuple[Part, bytes, bytes | None]]:
    """Each part of the contents, its bytes, and those of its small version."""
    for part in job.parts():
        data, small_version = part.bundle.to_bytes(), part.small_version
        if job.options.password:
            data = seal(data, job.options.password)
            if small_version is not None:
                small_version = seal(small_version, job.options.password)
        yield part, data, small_version


def measure_files(job: FileJob, path: Path, step: int) -> list[PictureQuality]:
    """Read a file back, restore it, and compare with the inputs: the embedding first.

    Pictures that are carried smaller are enlarged to the size of the originals.

    Args:
        job: what was embedded.
        path: the file.
        step: every so many frames of the source are carried.
    """
    meter = FileMeter(job.options.with_ssim)
    with opened_contents(path, job.engine, job.options.password) as found:
        restored = found.contents.groups()
        done = 0
        with closing(job.source.groups()) as groups:
            for group, back in zip(islice(groups, 0, None, step), restored, strict=True):
                for mine, original in zip(back.pictures, group.pictures, strict=True):
                    height, width = original.shape[:2]
                    meter.add(resize(mine, width, height), original)
                cover = found.cover_shown_by(done)
                if cover is not None:
                    meter.add_embedding(cover, job.request.cover_of(group.images[0]))
                done += 1
                share = done / (found.contents.header.frames or 1)
                job.listener(Progress(Stage.VERIFYING, min(1.0, share), 1))
    return meter.pictures(job.source.names)


def check_deliveries(job: FileJob, path: Path, losses: Sequence[Channel]) -> tuple[str, ...]:
    """Send a file through the channels that it has to survive, and some others, simulated.

    Args:
        job: what was embedded.
        path: the file.
        losses: those that it need not survive.

    Returns:
        Names of the channels that it survived.

    Raises:
        QualityError: after one of them, something does not come back.
    """
    if not job.writer.channels:
        return ()
    with EmbeddingReader(path) as reader:
        embedding = reader.read_frame(0)
    sent = job.engine.read(embedding)
    deliveries = deliver(embedding, sent, job.engine, (*job.writer.channels, *losses))
    for delivery in deliveries[: len(job.writer.channels)]:
        if not delivery.restored:
            raise QualityError(
                f"nothing was written: after {delivery.channel}, simulated, nothing would come "
                f"back: {delivery.reason}",
                hint="hide less, or take another picture",
            )
    return tuple(delivery.channel for delivery in deliveries if delivery.restored)


def _outer_header(job: FileJob, description: Header, cover: Pixels) -> Header:
    """The header of the PNG: all of the description, unless a password hides it."""
    width, height = job.source.width, job.source.height
    scale = 1 if cover.shape[:2] == (height, width) else 2
    if cover.shape[:2] not in ((height, width), (-(-height // 2), -(-width // 2))):
        # The embedding was made larger or smaller than the pictures, whose sizes it says itself.
        height, width = cover.shape[:2]
        scale = 1
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
    return Header.for_writing(**fields)
