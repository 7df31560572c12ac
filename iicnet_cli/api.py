"""The converter: what the command line calls, and what a program can call.

>>> from iicnet_cli import Converter
>>> converter = Converter()
>>> report = converter.embed(["clip.mp4"], "preview.png")  # doctest: +SKIP
>>> converter.restore("preview.png", "clip.mkv")  # doctest: +SKIP
"""

from __future__ import annotations

import io
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from iicnet_cli.container.header import Header
from iicnet_cli.container.png_writer import PngWriter
from iicnet_cli.embedding_job import EmbeddingJob
from iicnet_cli.engines import FILE_ENGINES, open_engine
from iicnet_cli.engines.base import (
    Computing,
    EncodedGroup,
    EncodingRequest,
    Engine,
    EngineRequest,
)
from iicnet_cli.engines.group_decoding import GroupDecoder
from iicnet_cli.engines.parallel import GroupScheduler, with_last
from iicnet_cli.errors import UsageError
from iicnet_cli.file_embedding import embed_files, estimate_files, open_file_job
from iicnet_cli.file_restoring import restore_files, restored_pictures
from iicnet_cli.forecasting import estimate_first_group, forecast, groups_at_once
from iicnet_cli.identify import file_engine_of, identify
from iicnet_cli.integrity import check_integrity
from iicnet_cli.measuring import QualityMeter, check_quality, mean_gain, missed_targets
from iicnet_cli.media.files import check_picture_target, replacing
from iicnet_cli.media.kept_files import check_not_kept, keeping
from iicnet_cli.media.temporary import scratch_folder
from iicnet_cli.memory_images import encode_embedding, open_embedding, write_pictures
from iicnet_cli.options import EmbedOptions, Precision, RestoreOptions
from iicnet_cli.payload.embedding_reader import EmbeddingReader
from iicnet_cli.payload.mark import ClipPlace
from iicnet_cli.pictures.arrays import Pixels
from iicnet_cli.pictures.group import Group
from iicnet_cli.reports import (
    EmbedReport,
    Estimate,
    PictureQuality,
    Progress,
    ProgressListener,
    RestoreReport,
    Stage,
    ignore_progress,
)
from iicnet_cli.tasks import Task, check_total_size, choose_task, open_source, task_named

if TYPE_CHECKING:
    from PIL import Image

    from iicnet_cli.inference.device import DeviceChoice

AnyPath = str | PathLike[str]


class Converter:
    """Embeds and restores; keeps the networks that it has loaded.

    Args:
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        memory: bytes that the tensors of one tile may take; larger pictures are cut into tiles. As
            many groups of a clip are embedded at once as fit.
        compiled: compile each network before its first use: half a minute or more, then faster.
        precision: arithmetic of the network: ``fp32``, ``tf32`` (CUDA only) or ``bf16``.
        progress: called with the progress of each call.
    """

    def __init__(
        self,
        *,
        device: str = "auto",
        memory: int | None = None,
        compiled: bool = False,
        precision: Precision = "fp32",
        progress: ProgressListener = ignore_progress,
    ) -> None:
        self._computing = Computing(device, memory, compiled, precision)
        self._progress = progress
        self._engines: dict[tuple[str, str, str], Engine] = {}

    @cached_property
    def device(self) -> DeviceChoice:
        """The device that is used, and why."""
        from iicnet_cli.inference.device import choose_device

        return choose_device(self._computing.device)

    def embed(
        self,
        inputs: Sequence[AnyPath],
        output: AnyPath,
        *,
        task: str | None = None,
        model: str | None = None,
        options: EmbedOptions = EmbedOptions(),
        overwrite: bool = False,
    ) -> EmbedReport:
        """Embed files in one PNG; then, by default, read it back, restore it and compare.

        Args:
            inputs: files, in the order that the task wants.
            output: the PNG to write; a .jpg if it survives JPEG.
            task: name of the task; guessed where the inputs leave no doubt.
            model: name or folder of a checkpoint; the task's own by default.
            options: what to take of the inputs, how to embed it, and what it must be worth.
            overwrite: replace an existing output.

        Raises:
            UsageError: the inputs do not fit the task, the task cannot be guessed, or the output is
                one of the inputs.
            MediaError: an input cannot be read or the output cannot be written.
            ModelError: the checkpoint is not here.
            OutputExistsError, QualityError: the output exists, or is worth less than was asked for.
        """
        began = time.monotonic()
        self._progress(Progress(Stage.OPENING, 0, None))
        with keeping([*inputs, *options.attachments]):
            if options.engine in FILE_ENGINES:
                files = open_file_job(inputs, task, model, options, self._progress)
                return embed_files(files, Path(output), overwrite=overwrite)
            target = check_picture_target(Path(output), overwrite)
            job = self._open(inputs, task, model, options)
            job.check_ssim_size()
            return self._embed(job, target, overwrite, began)

    def estimate(
        self,
        inputs: Sequence[AnyPath],
        output: AnyPath | None = None,
        *,
        task: str | None = None,
        model: str | None = None,
        options: EmbedOptions = EmbedOptions(),
    ) -> Estimate:
        """Estimate what :meth:`embed` would take and give, from its first group.

        Nothing is written. The time of a search is estimated, but not what it gains. Args and
        errors: as :meth:`embed`; ``output`` may exist, but be no input, and is a PNG by default.
        """
        if output is not None:
            with keeping([*inputs, *options.attachments]):
                check_not_kept(Path(output))
        if options.engine in FILE_ENGINES:
            files = open_file_job(inputs, task, model, options, self._progress)
            return estimate_files(files, None if output is None else Path(output))
        if output is not None:
            check_picture_target(Path(output), overwrite=True)
        job = self._open(inputs, task, model, options)
        estimate, seconds = estimate_first_group(job.engine, job.source, job.request)
        return Estimate(
            task=job.task.name,
            model=job.engine.model,
            images=job.source.images if job.source.fps is None else None,
            width=job.source.width,
            height=job.source.height,
            embeddings=job.source.total,
            tiles=estimate.tiles,
            bytes=estimate.bytes * (job.source.total or 1),
            seconds=seconds,
            embed_psnr=estimate.embed_psnr,
            restored_psnr=estimate.restored_psnr,
            notes=(*job.source.notes, *job.lost_sound(), *estimate.notes),
            guessed=job.guessed,
        )

    def restore(
        self,
        source: AnyPath,
        output: AnyPath | None = None,
        *,
        folder: AnyPath | None = None,
        task: str | None = None,
        model: str | None = None,
        options: RestoreOptions = RestoreOptions(),
        overwrite: bool = False,
    ) -> RestoreReport:
        """Restore what a PNG holds; task and model are read from it unless they are given.

        A PNG whose pixels were altered is restored as far as that makes sense; the report says so.

        Args:
            source: the PNG, or the JPEG or WebP that became of it.
            output: file or folder, as the task takes it; by default named after the PNG.
            folder: where the default output goes; beside the PNG by default.
            task, model: override what the file says; a model is the name or folder of a checkpoint.
            options: how to write the outputs.
            overwrite: replace existing outputs.

        Raises:
            NotAnEmbeddingError: neither header nor mark, and no task or model was given.
            DamagedError, UnsupportedVersionError: the PNG is damaged, or newer than this program.
            ModelError: the checkpoint is not here.
            UsageError: the output does not fit the task, or would replace the source.
            OutputExistsError, MediaError: an output exists, or a file cannot be read or written.
        """
        began = time.monotonic()
        self._progress(Progress(Stage.OPENING, 0, None))
        source = Path(source)
        with keeping([source]), EmbeddingReader(source) as reader:
            if (carrier := file_engine_of(reader)) is not None:
                outputs = _named(source, folder), output, overwrite
                return restore_files(reader, carrier, outputs, options, self._progress)
            identity = identify(reader, source, task=task, model=model)
            header = identity.header
            chosen = task_named(header.task)
            engine = self._engine(identity.request)
            _check_layout(chosen, options)
            integrity = check_integrity(reader)
            notes = list(integrity.notes)
            target = _restore_target(source, output, folder, chosen, header)
            with closing(self._restored_groups(reader, header, engine, notes)) as groups:
                delivered = chosen.deliver(
                    header, groups, target, overwrite=overwrite, options=options
                )
        return RestoreReport(
            outputs=delivered.outputs,
            notes=(*delivered.notes, *notes),
            task=chosen.name,
            model=engine.model,
            images=delivered.pictures,
            altered=integrity.altered,
            missing=integrity.missing,
            found_by=identity.found_by,
            seconds=time.monotonic() - began,
        )

    def embed_images(
        self,
        images: Sequence[Pixels | Image.Image],
        *,
        task: str | None = None,
        model: str | None = None,
        options: EmbedOptions = EmbedOptions(),
    ) -> Image.Image:
        """Embed pictures that are in memory.

        Args:
            images: arrays (H, W), (H, W, 3) or (H, W, 4) uint8, or Pillow images, in the order that
                the task wants; the frames of a clip for the task ``video``.
            task: name of the task; by default ``stego`` for two or more pictures.
            model: name or folder of a checkpoint; the task's own by default.
            options: as for :meth:`embed`.

        Returns:
            The embedding, an animated picture if there are several groups. ``image.save("x.png",
            save_all=True, pnginfo=embedding_info(image))`` writes it with its header.

        Raises:
            UsageError, MediaError, ModelError, QualityError: as :meth:`embed`.
        """
        with scratch_folder() as scratch:
            inputs, output = write_pictures(images, scratch), scratch / "embedding.png"
            self.embed(inputs, output, task=task, model=model, options=options)
            return open_embedding(output.read_bytes())

    def restore_images(
        self,
        source: AnyPath | bytes | Image.Image,
        *,
        task: str | None = None,
        model: str | None = None,
        password: str | None = None,
    ) -> list[Pixels]:
        """Restore what a PNG holds into memory.

        Args:
            source: path or bytes of the PNG, or what :meth:`embed_images` returned.
            task: overrides what the PNG says.
            model: name or folder of a checkpoint; overrides what the PNG says.
            password: opens what was encrypted.

        Returns:
            The pictures (H, W, 3) uint8 in the order in which they were given, at their own sizes;
            of a clip its frames in time.

        Raises:
            ContainerError, ModelError, MediaError: as :meth:`restore`.
        """
        self._progress(Progress(Stage.OPENING, 0, None))
        if isinstance(source, str | PathLike):
            readable: Path | io.BytesIO = Path(source)
        elif isinstance(source, bytes | bytearray):
            readable = io.BytesIO(source)
        else:
            readable = io.BytesIO(encode_embedding(source))
        name = readable if isinstance(readable, Path) else Path("the picture")
        with EmbeddingReader(readable) as reader:
            carrier = file_engine_of(reader)
            if carrier is not None:
                return restored_pictures(reader, carrier, password)
            identity = identify(reader, name, task=task, model=model)
            header = identity.header
            engine = self._engine(identity.request)
            with closing(self._restored_groups(reader, header, engine, [])) as groups:
                return list(task_named(header.task).restored_pictures(header, groups))

    def _open(
        self,
        inputs: Sequence[AnyPath],
        task: str | None,
        model: str | None,
        options: EmbedOptions,
    ) -> EmbeddingJob:
        """Choose task and engine, and open the inputs."""
        paths, chosen = choose_task(inputs, task, options)
        images = chosen.pictures_per_group(paths)
        engine = self._engine(
            EngineRequest(options.engine, chosen.name, images, options.half, model)
        )
        source = open_source(chosen, paths, engine.images_per_group, options)
        check_total_size(source)
        predicts = options.align and "align" in chosen.takes
        request = EncodingRequest(chosen.name, source.fps, predicts, options)
        return EmbeddingJob(chosen, engine, source, request, guessed=task is None)

    def _engine(self, request: EngineRequest) -> Engine:
        """The engine for a request; one that is open already, if it is the same."""
        engine = open_engine(request, self._computing)
        key = request.engine, engine.model, engine.weights_sha256
        return self._engines.setdefault(key, engine)

    def _embed(self, job: EmbeddingJob, output: Path, overwrite: bool, began: float) -> EmbedReport:
        """Write a PNG, measure it, and give it its name; ``began`` is when the call did."""
        options = job.request.options
        is_heard = self._progress is not ignore_progress
        if is_heard and (expected := forecast(job.engine, job.source, job.request)):
            self._progress(Progress(Stage.OPENING, 0, job.source.total, forecast=expected))
        with replacing(output, overwrite=overwrite) as temporary:
            header, encoded, notes = self._write(job, temporary)
            quality: list[PictureQuality] = []
            if options.verify or options.min_psnr is not None:
                quality = self._measure(job, temporary)
            report = EmbedReport(
                output=output,
                task=job.task.name,
                model=job.engine.model,
                embeddings=len(encoded),
                images=job.task.pictures_in(header),
                width=job.source.width,
                height=job.source.height,
                bytes=temporary.stat().st_size,
                seconds=time.monotonic() - began,
                embedding=quality[0] if quality else None,
                restored=tuple(quality[1:]),
                notes=notes,
                guessed=job.guessed,
                gained_psnr=mean_gain([each.gained_psnr for each in encoded]),
            )
            check_quality(report, options.min_psnr)
        return replace(report, notes=(*report.notes, *missed_targets(report, options)))

    def _write(
        self, job: EmbeddingJob, path: Path
    ) -> tuple[Header, list[EncodedGroup], tuple[str, ...]]:
        """Encode all groups into a PNG.

        Returns:
            Its header, what was encoded (without the pixels), and notes.
        """
        at_once = groups_at_once(job.engine, job.source, job.request)
        scheduler = GroupScheduler(
            at_once, job.source.total, self._progress, overlaps=not self._computing.compiled
        )

        def encode(number: int, item: tuple[Group, bool]) -> EncodedGroup:
            group, is_last = item
            place = None if is_last and number == 0 else ClipPlace(number, is_last)
            request = replace(job.request, place=place)
            return job.engine.encode_group(group, request, scheduler.progress_of(number))

        encoded: list[EncodedGroup] = []
        groups = job.source.groups()
        with (
            open(path, "w+b") as file,
            closing(scheduler.map(encode, with_last(groups))) as encoded_groups,
        ):
            writer = PngWriter(file, frame_delay=job.source.frame_delay)
            for each in encoded_groups:
                pixels = each.pixels
                writer.add(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
                encoded.append(replace(each, pixels=pixels[:0]))
            description = groups.description
            header = job.header(description, [each.side_info for each in encoded])
            header = writer.finish(header)
        of_groups = (note for each in encoded for note in each.notes)
        notes = dict.fromkeys((*description.notes, *job.lost_sound(), *of_groups))
        return header, encoded, tuple(notes)

    def _measure(self, job: EmbeddingJob, path: Path) -> list[PictureQuality]:
        """Read a PNG back, restore it, and compare with the inputs."""
        meter = QualityMeter(job.request.options.with_ssim)
        engine, source = job.engine, job.source
        # Only what shows a picture counts, not its padding.
        width, height = -(-source.width // engine.scale), -(-source.height // engine.scale)
        with EmbeddingReader(path) as reader:
            assert reader.header is not None
            decoder = self._decoder(engine, reader.header, source.total, Stage.VERIFYING)
            pairs = zip(source.groups(), reader, strict=True)
            with closing(decoder.decode(pairs)) as decoded:
                for group, embedding, restored in decoded:
                    reference = engine.reference(group.images)
                    shown = embedding.reshape(*embedding.shape[:2], -1)
                    visible, wanted = (x[:height, :width] for x in (shown, reference))
                    meter.add(visible, wanted, restored.images, group.images)
        return meter.pictures(source.names)

    def _restored_groups(
        self, reader: EmbeddingReader, header: Header, engine: Engine, notes: list[str]
    ) -> Generator[Group, None, None]:
        """Restore the groups of a PNG in order; ``notes`` gets what cannot be restored."""

        def embeddings() -> Iterator[tuple[None, Pixels]]:
            for i, embedding in enumerate(reader):
                if i == 0:
                    notes.extend(engine.notes_on_restoring(embedding))
                yield None, embedding

        decoder = self._decoder(engine, header, reader.n_frames, Stage.RESTORING)
        with closing(decoder.decode(embeddings())) as decoded:
            for *_, group in decoded:
                yield group

    def _decoder(
        self, engine: Engine, header: Header, total: int | None, stage: Stage
    ) -> GroupDecoder:
        overlaps = not self._computing.compiled  # compiled networks belong to one thread
        return GroupDecoder(engine, header, total, stage, self._progress, overlaps=overlaps)


def _check_layout(task: Task, options: RestoreOptions) -> None:
    if options.layout is not None and "layout" not in task.takes:
        raise UsageError(f"{task.name} has no use for --layout")


def _restore_target(
    source: Path, output: AnyPath | None, folder: AnyPath | None, task: Task, header: Header
) -> Path:
    """The output that was asked for, or the task's own in ``folder`` or beside the PNG."""
    return task.default_output(_named(source, folder), header) if output is None else Path(output)


def _named(source: Path, folder: AnyPath | None) -> Path:
    """The path after which default outputs are named."""
    return source if folder is None else Path(folder) / source.name
