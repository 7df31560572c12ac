"""The Python API: what the command line calls, and what a program can call.

>>> from pathlib import Path
>>> from iicnet_cli.api import Converter
>>> converter = Converter()
>>> report = converter.embed([Path("clip.mp4")], Path("preview.png"))  # doctest: +SKIP
>>> converter.restore(Path("preview.png"), Path("clip.mkv"))  # doctest: +SKIP
"""

from __future__ import annotations

import base64
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from iicnet_cli import __version__
from iicnet_cli.container.header import MAX_HEADER_BYTES, Header
from iicnet_cli.container.png_writer import PngWriter
from iicnet_cli.engines.network import enhancement_layer as enhancement
from iicnet_cli.engines.network.encoder import LAYERED, EncodedGroup, Search, marked
from iicnet_cli.errors import DamagedError, QualityError, UsageError
from iicnet_cli.identify import identify
from iicnet_cli.media.files import check_target, replacing
from iicnet_cli.motion.field import MotionField
from iicnet_cli.payload.embedding_reader import EmbeddingReader
from iicnet_cli.payload.mark import TASKS as MARK_TASKS
from iicnet_cli.payload.mark import Mark, fps_code, model_id
from iicnet_cli.payload.mark_pixels import payload_capacity, read_mark
from iicnet_cli.payload.static_map import StaticRegion
from iicnet_cli.pictures.arrays import PixelArray, Pixels, crop, from_fixed_point, pad, padding_to
from iicnet_cli.pictures.metrics import SSIM_WINDOW, cap_psnr, mse_to_psnr, psnr, psnr_to_mse, ssim
from iicnet_cli.quantize.viterbi import viterbi_quantize
from iicnet_cli.quantize.viterbi_workers import ViterbiWorkers
from iicnet_cli.tasks import EmbedOptions, Group, Job, RestoreOptions, Task, guess_task, task_named
from iicnet_cli.zoo import Checkpoint, find

if TYPE_CHECKING:
    from iicnet_cli.engines.network.search import Target
    from iicnet_cli.inference.device import DeviceChoice
    from iicnet_cli.inference.runner import Runner
    from iicnet_cli.network import IICNetConfig
    from iicnet_cli.network.precision import Precision

_MOST_TOLD = MAX_HEADER_BYTES // 4
"""Characters of motion in a header, and of common areas; of longer clips only the marks have
them."""

_SAMPLES_TO_A_MOTION_BIT = 3
"""Of a PNG, at least: motion that took more would cost more than it gains."""

SMALLEST = 16
"""Pixels of the shortest side that can be embedded."""

Progress = Callable[[str, float, float | None], None]
"""Called with what is being done, how many groups are done, and how many there are (if known); by
several threads in turn while a clip is embedded."""


@dataclass(frozen=True)
class PictureQuality:
    """PSNR in dB (and SSIM, if asked for) of one of the pictures of a group, over all groups."""

    name: str
    psnr: float
    ssim: float | None = None


@dataclass(frozen=True)
class EmbedReport:
    """What :meth:`Converter.embed` wrote, measured on that very file.

    Attributes:
        output: the PNG.
        task: name of the task.
        model: name of the checkpoint.
        embeddings: pictures in the PNG; more than one make it an animated PNG.
        images: pictures (photos, frames) that it holds.
        width: of the restored pictures, pixels.
        height: of the restored pictures, pixels.
        bytes: size of the PNG.
        seconds: time taken, verification included.
        embedding: quality of the PNG beside the reference pictures; ``None`` if not verified.
        restored: quality of the restored pictures beside the originals (fitted to the common
            size), in the network's order: the reference first.
        notes: what was changed while reading the inputs.
        guessed: the task was told from the inputs.
        gained_psnr: dB that the search of ``effort`` gained, on restored pictures or, with a
            target for those, on the embedding; ``None`` without.
    """

    output: Path
    task: str
    model: str
    embeddings: int
    images: int
    width: int
    height: int
    bytes: int
    seconds: float
    embedding: PictureQuality | None = None
    restored: tuple[PictureQuality, ...] = ()
    notes: tuple[str, ...] = ()
    guessed: bool = False
    gained_psnr: float | None = None

    @property
    def embed_psnr(self) -> float | None:
        """dB of the PNG beside the reference."""
        return self.embedding.psnr if self.embedding else None

    @property
    def restored_psnr(self) -> float | None:
        """Mean dB of all restored pictures, the reference included, as in the paper."""
        return float(np.mean([p.psnr for p in self.restored])) if self.restored else None

    @property
    def hidden_psnr(self) -> float | None:
        """Mean dB of the restored pictures without the reference."""
        hidden = self.restored[1:]
        return float(np.mean([p.psnr for p in hidden])) if hidden else None


@dataclass(frozen=True)
class RestoreReport:
    """What :meth:`Converter.restore` wrote.

    Attributes:
        outputs: files, or folders of frames.
        task: name of the task.
        model: name of the checkpoint.
        images: pictures restored.
        altered: True when the pixels are not those that were written; ``None`` when it cannot be
            told, because the header was stripped.
        found_by: ``header``, ``mark`` or ``request``.
        seconds: time taken.
        notes: what the outputs could not keep.
    """

    outputs: tuple[Path, ...]
    task: str
    model: str
    images: int
    altered: bool | None
    found_by: str
    seconds: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Estimate:
    """What :meth:`Converter.embed` would write, told from small windows of the first group.

    Attributes:
        embeddings: PNG frames, one for each group of pictures; ``None`` if not known beforehand.
        tiles: that each embedding is computed in.
        bytes: of the file, about; of one embedding if ``embeddings`` is not known.
        seconds: likewise, with reading back, restoring and comparing.
        embed_psnr: dB, of the network's own embedding; a search gains on it.
        restored_psnr: dB, mean over all pictures.
        notes: what is changed while reading the inputs.
        guessed: the task was told from the inputs.
    """

    task: str
    model: str
    images: int
    width: int
    height: int
    embeddings: int | None
    tiles: int
    bytes: int
    seconds: float
    embed_psnr: float
    restored_psnr: float
    notes: tuple[str, ...] = ()
    guessed: bool = False


class _Quality:
    """What the pictures are worth, gathered group by group: rows of embedding, picture 1, ..."""

    def __init__(self, with_ssim: bool) -> None:
        self._with_ssim = with_ssim
        self._psnr: list[list[float]] = []
        self._ssim: list[list[float]] = []

    def add(self, embedding: Pixels, reference: Pixels, restored: Pixels, images: Pixels) -> None:
        pairs = [(embedding, reference), *zip(restored, images, strict=True)]
        self._psnr.append([cap_psnr(psnr(a, b)) for a, b in pairs])
        if self._with_ssim:
            self._ssim.append([ssim(a, b) for a, b in pairs])

    def pictures(self, names: Sequence[str]) -> list[PictureQuality]:
        """Means over the groups: the embedding first, then the restored pictures."""
        psnrs = np.mean(self._psnr, axis=0).tolist()
        ssims = np.mean(self._ssim, axis=0).tolist() if self._ssim else [None] * len(psnrs)
        return [
            PictureQuality(*row) for row in zip(("embedding", *names), psnrs, ssims, strict=True)
        ]


class Converter:
    """Embeds and restores; keeps the networks that it has loaded.

    Args:
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        memory: bytes that the tensors of one tile may take; larger pictures are cut into tiles. As
            many groups of a clip are embedded at once as fit.
        compiled: compile each network before its first use: half a minute or more, then faster.
        precision: of the network: ``fp32``, ``tf32`` (CUDA only) or ``bf16``.
        progress: told how far a call is.
    """

    def __init__(
        self,
        *,
        device: str = "auto",
        memory: int | None = None,
        compiled: bool = False,
        precision: Precision = "fp32",
        progress: Progress = lambda what, done, total: None,
    ) -> None:
        self._device = device
        self._memory = memory
        self._compiled = compiled
        self._precision: Precision = precision
        self._progress = progress
        self._choice: DeviceChoice | None = None
        self._runners: dict[str, Runner] = {}

    @property
    def device(self) -> DeviceChoice:
        """The device that is used, and why."""
        if self._choice is None:
            from iicnet_cli.inference.device import choose_device

            self._choice = choose_device(self._device)
        return self._choice

    def embed(
        self,
        inputs: Sequence[Path],
        output: Path,
        *,
        task: str | None = None,
        model: str | None = None,
        options: EmbedOptions = EmbedOptions(),
        overwrite: bool = False,
        verify: bool = True,
        min_psnr: float | None = None,
        effort: int = 1,
        target_embed_psnr: float | None = None,
        target_restored_psnr: float | None = None,
        with_ssim: bool = False,
    ) -> EmbedReport:
        """Embed files in one PNG; then, by default, read it back, restore it and compare.

        Args:
            inputs: files, in the order that the task wants.
            output: the PNG to write.
            task: name of the task; guessed where the inputs leave no doubt.
            model: name or folder of a checkpoint; the task's own by default.
            options: what to take of the inputs.
            overwrite: replace an existing output.
            verify: measure the file that was written.
            min_psnr: write nothing if the embedding or the restored pictures' mean is below, dB.
            effort: 0 to 10: how much to do for each PNG beyond the network's own embedding,
                whose rounding is diffused: nothing more; from 1 on an enhancement layer, if
                ``options`` want one; from 2 on also a search, longer and longer, for an embedding
                that restores better and is at least as near to the reference.
            target_embed_psnr: let the search hold the embedding at this many dB instead.
            target_restored_psnr: let the search hold the restored pictures at this many dB
                (mean squared error over all of them), and improve the embedding.
            with_ssim: measure SSIM too, which takes longer.

        Raises:
            UsageError: the inputs do not fit the task, or the task cannot be guessed.
            MediaError: an input cannot be read or the output not be written.
            ModelError: no such checkpoint.
            QualityError: below ``min_psnr``.
            OutputExistsError: ``output`` exists and ``overwrite`` is False.
        """
        began = time.monotonic()
        if output.suffix.lower() != ".png":
            raise UsageError(
                f"the output must be a PNG, not '{output.name}'",
                hint="any lossy format would destroy what it holds: use -o NAME.png",
            )
        check_target(output, overwrite)
        search = Search.of(effort, target_embed_psnr, target_restored_psnr)
        options = replace(options, enhance=options.enhance and effort >= LAYERED)
        chosen, checkpoint, job = _open(inputs, task, model, options)
        runner = self._runner(checkpoint)
        if with_ssim and min(job.width, job.height) < SSIM_WINDOW * runner.scale:
            raise UsageError(f"SSIM needs pictures of {SSIM_WINDOW} pixels or more to each side")

        with replacing(output, overwrite=overwrite) as temporary:
            header, embeddings, gained, notes = self._write(
                job, chosen, checkpoint, runner, temporary, search, options
            )
            quality: list[PictureQuality] = []
            if verify or min_psnr is not None:
                quality = self._verify(job, runner, temporary, with_ssim)
            report = EmbedReport(
                output=output,
                task=chosen.name,
                model=checkpoint.name,
                embeddings=embeddings,
                images=chosen.pictures_in(header),
                width=job.width,
                height=job.height,
                bytes=temporary.stat().st_size,
                seconds=time.monotonic() - began,
                embedding=quality[0] if quality else None,
                restored=tuple(quality[1:]),
                notes=(*job.notes, *notes),
                guessed=task is None,
                gained_psnr=gained,
            )
            _check_quality(report, min_psnr)
            if search is not None:
                report = replace(report, notes=(*report.notes, *_missed(report, search.target)))
        return report

    def forecast(
        self,
        inputs: Sequence[Path],
        *,
        task: str | None = None,
        model: str | None = None,
        options: EmbedOptions = EmbedOptions(),
        effort: int = 1,
        target_embed_psnr: float | None = None,
        target_restored_psnr: float | None = None,
    ) -> Estimate:
        """Tell what :meth:`embed` would take and give, from its first group; nothing is written.

        Args:
            inputs: likewise.
            task: likewise.
            model: likewise.
            options: likewise.
            effort: likewise; its time is told, but not what it gains.
            target_embed_psnr: likewise.
            target_restored_psnr: likewise.

        Raises:
            UsageError, MediaError, ModelError: as :meth:`embed`.
        """
        from iicnet_cli.engines.network.estimate import forecast
        from iicnet_cli.engines.network.parallel import cores_for

        search = Search.of(effort, target_embed_psnr, target_restored_psnr)
        options = replace(options, enhance=options.enhance and effort >= LAYERED)
        chosen, checkpoint, job = _open(inputs, task, model, options)
        runner = self._runner(checkpoint)
        padding = padding_to(job.width, job.height, runner.config.multiple)
        with closing(job.groups()) as groups:
            group = next(groups)
        images = pad(_compensated(group.images, chosen, runner.config, options)[0], padding)
        obstacle = enhancement.obstacle(images) if options.enhance else None
        steps = search.steps if search else 0
        count = job.total
        at_once = _at_once(runner, job, search)
        with cores_for(at_once):
            told = forecast(runner, images, steps, enhance=options.enhance and not obstacle)
        return Estimate(
            task=chosen.name,
            model=checkpoint.name,
            images=job.images,
            width=job.width,
            height=job.height,
            embeddings=count,
            tiles=told.tiles,
            bytes=told.bytes * (count or 1),
            seconds=told.seconds * math.ceil((count or 1) / at_once),
            embed_psnr=told.embed_psnr,
            restored_psnr=told.restored_psnr,
            notes=(*job.notes, *_without_layer(obstacle)),
            guessed=task is None,
        )

    def restore(
        self,
        source: Path,
        output: Path | None = None,
        *,
        folder: Path | None = None,
        task: str | None = None,
        model: str | None = None,
        options: RestoreOptions = RestoreOptions(),
        overwrite: bool = False,
    ) -> RestoreReport:
        """Restore what a PNG holds; task and model are read from it unless they are given.

        A PNG whose pixels were altered is restored as far as that makes sense, and the report says
        so.

        Args:
            source: the PNG.
            output: file or folder, as the task takes it; by default named after the PNG.
            folder: where the default output goes; beside the PNG by default.
            task: overrides what the file says.
            model: name or folder of a checkpoint; overrides what the file says.
            options: how to write the outputs.
            overwrite: replace existing outputs.

        Raises:
            NotAnEmbeddingError: neither header nor mark, and no task or model was given.
            DamagedError: the size of the picture is not that which was written.
            ModelError: the checkpoint is not here.
            UsageError: the output does not fit the task.
            OutputExistsError: the output exists and ``overwrite`` is False.
        """
        began = time.monotonic()
        with EmbeddingReader(source) as reader:
            header, checkpoint, found_by = identify(reader, source, task=task, model=model)
            chosen = task_named(header.task)
            _check_task(checkpoint, chosen)
            if options.layout is not None and "layout" not in chosen.takes:
                raise UsageError(f"{chosen.name} has no use for --layout")
            altered = None if reader.header is None else not reader.verify()
            place = source if folder is None else folder / source.name
            target = output if output is not None else chosen.default_target(place, header)
            runner = self._runner(checkpoint)
            layered = reader.mark is not None and reader.mark.enhancement != b""
            groups = self._restored(reader, header, runner)
            delivered = chosen.deliver(header, groups, target, overwrite=overwrite, options=options)
        return RestoreReport(
            outputs=delivered.outputs,
            notes=(*delivered.notes, *_without_layer(enhancement.missing() if layered else None)),
            task=chosen.name,
            model=checkpoint.name,
            images=delivered.pictures,
            altered=altered,
            found_by=found_by,
            seconds=time.monotonic() - began,
        )

    def _runner(self, checkpoint: Checkpoint) -> Runner:
        from iicnet_cli.inference.runner import Runner

        key = checkpoint.config.weights_sha256
        if key not in self._runners:
            self._runners[key] = Runner(
                checkpoint.load(),
                self.device.device,
                feedback=checkpoint.feedback,
                memory=self._memory,
                compiled=self._compiled,
                precision=self._precision,
            )
        return self._runners[key]

    def _write(
        self,
        job: Job,
        task: Task,
        checkpoint: Checkpoint,
        runner: Runner,
        path: Path,
        search: Search | None,
        options: EmbedOptions,
    ) -> tuple[Header, int, float | None, list[str]]:
        from iicnet_cli.engines.network.parallel import Groups

        padding = padding_to(job.width, job.height, runner.config.multiple)
        obstacle: str | None = None
        gains: list[float] = []
        all_motion: list[bytes] = []
        all_common: list[bytes] = []
        with open(path, "w+b") as file, ViterbiWorkers() as helpers:
            writer = PngWriter(file, frame_delay=job.frame_delay)
            network = runner.config
            half = task.name == "video" and network.half_size
            mark_task = f"{task.name}-half" if half else task.name
            at_once = _at_once(runner, job, search)
            groups = Groups(at_once, job.total, self._progress)
            along = helpers.viterbi_quantize if at_once > 1 else viterbi_quantize

            def work(number: int, group: Group) -> tuple[EncodedGroup, str | None]:
                still, motion = _compensated(group.images, task, network, options)
                mark = Mark(
                    task=MARK_TASKS.index(mark_task),
                    model=model_id(checkpoint.config.weights_sha256),
                    images=job.images,
                    valid=group.valid,
                    padding=padding,
                    fps=fps_code(job.fps),
                    motion=motion,
                )
                obstacle = enhancement.obstacle(still) if options.enhance else None
                found = marked(
                    runner,
                    still,
                    mark,
                    enhance=options.enhance and not obstacle,
                    search=search,
                    along=along,
                    embedding=partial(groups.tick, "embedding", number),
                    enhancing=partial(groups.tick, "enhancing", number),
                    improving=lambda share, gain: groups.tick(
                        f"improving (+{gain:.2f} dB)", number, share
                    ),
                )
                return found, obstacle

            for found, why in groups.each(work, job.groups()):
                obstacle = why
                all_motion.append(found.mark.motion)
                all_common.append(found.mark.static_region_bytes)
                if found.gained_psnr is not None:
                    gains.append(found.gained_psnr)
                pixels = found.pixels
                writer.add(pixels[..., 0] if network.embedding_channels == 1 else pixels)
            header = Header(
                task=task.name,
                model=checkpoint.name,
                weights_sha256=checkpoint.config.weights_sha256,
                images=job.images,
                width=job.width,
                height=job.height,
                padding=padding,
                scale=runner.scale,
                precision=self._precision,
                static_regions=_told(all_common),
                motion=_told(all_motion),
                pixels_sha256="",
                software=f"iicnet {__version__}",
                **job.header_fields(),
            )
            gained = float(np.mean(gains)) if gains else None
            count = len(all_motion)
            return writer.finish(header), count, gained, _without_layer(obstacle)

    def _verify(
        self, job: Job, runner: Runner, path: Path, with_ssim: bool
    ) -> list[PictureQuality]:
        quality = _Quality(with_ssim)
        padding = padding_to(job.width, job.height, runner.config.multiple)
        # Of the embedding: what shows a picture and not only its padding.
        width, height = -(-job.width // runner.scale), -(-job.height // runner.scale)
        with EmbeddingReader(path) as reader:
            assert reader.header is not None
            for i, (group, embedding) in enumerate(zip(job.groups(), reader, strict=True)):
                tick = self._ticker("verifying", i, job.total)
                restored = _restored(runner, reader.header, embedding, i, tick).images
                embedding = _with_channels(embedding, runner.config.embedding_channels)
                reference = runner.reference(pad(group.images, padding))
                visible, wanted = (x[:height, :width] for x in (embedding, reference))
                quality.add(visible, wanted, restored, group.images)
        return quality.pictures(job.names)

    def _restored(self, reader: EmbeddingReader, header: Header, runner: Runner) -> Iterator[Group]:
        for i, embedding in enumerate(reader):
            tick = self._ticker("restoring", i, reader.n_frames)
            yield _restored(runner, header, embedding, i, tick)

    def _ticker(self, what: str, done: int, total: int | None) -> Callable[[float], None]:
        return lambda share: self._progress(what, done + share, total)


def _at_once(runner: Runner, job: Job, search: Search | None) -> int:
    """How many groups are embedded together; a search has all cores to itself."""
    at_once = runner.at_once(job.height, job.width) if search is None else 1
    return at_once if job.total is None else min(at_once, job.total)


def _with_channels(embedding: Pixels, channels: int) -> Pixels:
    """(H, W) or (H, W, 3) as (H, W, channels).

    Raises:
        DamagedError: grey where the model needs colour.
    """
    if channels == 1:
        grey = embedding if embedding.ndim == 2 else embedding[..., 1]
        return grey[..., None]
    if embedding.ndim == 2:
        raise DamagedError(
            "the PNG is grey, but the model's embeddings are in colour",
            hint="restore from the original PNG",
        )
    return embedding


def _open(
    inputs: Sequence[Path], task: str | None, model: str | None, options: EmbedOptions
) -> tuple[Task, Checkpoint, Job]:
    """Task and checkpoint for these inputs, and the inputs opened."""
    if not inputs:
        raise UsageError("nothing to embed: no input was given")
    chosen = task_named(task) if task else guess_task(inputs, options)
    checkpoint = find(model or chosen.default_model(chosen.images_of(inputs), half=options.half))
    _check_task(checkpoint, chosen)
    _check_options(chosen, options)
    if options.half and not checkpoint.config.network.half_size:
        raise UsageError(
            f"the embeddings of '{checkpoint.name}' have full size, but half was asked for",
            hint="leave --model or --half out",
        )
    job = chosen.open(inputs, checkpoint.config.network.images, options)
    if min(job.width, job.height) < SMALLEST:
        raise UsageError(
            f"pictures of {job.width}x{job.height} pixels are too small: {SMALLEST}x{SMALLEST} is "
            "the least"
        )
    return chosen, checkpoint, job


def _compensated(
    images: Pixels, task: Task, network: IICNetConfig, options: EmbedOptions
) -> tuple[PixelArray, bytes]:
    """The pictures as the network gets them, and the motion that undoes it, as bytes."""
    if not options.align or "align" not in task.takes:
        return images, b""
    from iicnet_cli.motion.estimation import estimate_motion, subtract_prediction

    motion = estimate_motion(images)
    data = motion.to_bytes() if motion else b""
    scale = 2 if network.half_size else 1
    shape = images.shape[1] // scale, images.shape[2] // scale, network.embedding_channels
    if len(data) > payload_capacity(shape, carriers_per_symbol=_SAMPLES_TO_A_MOTION_BIT):
        return images, b""
    return subtract_prediction(images, motion), data


def _without_layer(obstacle: str | None) -> list[str]:
    """A note on it, if there is one."""
    return [f"without the enhancement layer: {obstacle}"] if obstacle else []


def _restored(
    runner: Runner,
    header: Header,
    embedding: Pixels,
    index: int,
    tick: Callable[[float], None],
) -> Group:
    """The pictures of an embedding (H, W) or (H, W, C), with all that it carries for them."""
    mark = read_mark(embedding)
    if mark is not None and mark.images != header.images:
        mark = None
    motion = _of_group(header.motion, index) or (mark.motion if mark else b"")
    common = _of_group(header.static_regions, index) or (mark.static_region_bytes if mark else b"")
    # Both may come from anyone.
    area = StaticRegion.from_bytes(common)
    if area is not None and not (area.fits(embedding.shape) and runner.scale == 1):
        area = None
    embedding = _with_channels(embedding, runner.config.embedding_channels)
    height, width = embedding.shape[:2]
    # Only a cropped picture, restored on request, is not yet a multiple.
    multiple = runner.config.multiple // runner.scale
    embedding = pad(embedding[None], padding_to(width, height, multiple))[0]
    dtype = np.int16 if motion else np.uint8
    levels: PixelArray
    if mark is not None and mark.enhancement:
        fine = crop(
            runner.restore_fixed_point(embedding, dtype, tick=tick), header.width, header.height
        )
        enhancement.add(mark.enhancement, fine)
        levels = from_fixed_point(fine, dtype, out=fine)
    else:
        levels = crop(runner.restore(embedding, dtype, tick), header.width, header.height)
    if area is not None:
        area.copy_into(levels, embedding)
    if motion:
        from iicnet_cli.motion.estimation import add_prediction

        images = add_prediction(levels, MotionField.from_bytes(motion, header.images - 1))
    else:
        images = levels.astype(np.uint8, copy=False)
    return Group(images, mark.valid if mark else header.images)


def _told(of_groups: list[bytes]) -> list[str] | None:
    """What a header tells of the groups, if there is any of it and not too much."""
    texts = [base64.b64encode(data).decode() for data in of_groups]
    return texts if 0 < sum(map(len, texts)) <= _MOST_TOLD else None


def _of_group(told: list[str] | None, index: int) -> bytes:
    """Inverse of :func:`_told` for a group; empty where the header does not tell."""
    return base64.b64decode(told[index]) if told is not None and index < len(told) else b""


def _check_options(task: Task, options: EmbedOptions) -> None:
    usual = EmbedOptions()
    for field in fields(options):
        given = getattr(options, field.name) != getattr(usual, field.name)
        if given and field.name not in task.takes | {"background", "enhance"}:
            raise UsageError(f"{task.name} has no use for --{field.name}")


def _check_task(checkpoint: Checkpoint, task: Task) -> None:
    if checkpoint.config.task != task.name:
        raise UsageError(
            f"the model '{checkpoint.name}' is made for {checkpoint.config.task}, "
            f"not for {task.name}",
            hint="see: iicnet models list",
        )


def _check_quality(report: EmbedReport, min_psnr: float | None) -> None:
    if min_psnr is None or report.embed_psnr is None or report.restored_psnr is None:
        return
    worst = min(report.embed_psnr, report.restored_psnr)
    if worst < min_psnr:
        raise QualityError(
            f"nothing was written: embedding {report.embed_psnr:.2f} dB, restored "
            f"{report.restored_psnr:.2f} dB, but {min_psnr:g} dB was asked for",
        )


def _missed(report: EmbedReport, target: Target) -> list[str]:
    """What the search could not hold, in words; as far as the file was measured."""
    if not report.restored or report.embed_psnr is None:
        return []
    # The search holds the mean squared error of all pictures; the rounding of the mark is allowed.
    errors = [psnr_to_mse(picture.psnr) for picture in report.restored]
    restored = mse_to_psnr(float(np.mean(errors)))
    return [
        f"the target of {wanted:g} dB for the {what} was not reached: {reached:.2f} dB"
        for what, wanted, reached in (
            ("embedding", target.embed_psnr, report.embed_psnr),
            ("restored pictures", target.restored_psnr, restored),
        )
        if wanted is not None and reached < wanted - 0.1
    ]
