"""What a PNG is and what restores it, according to its header, its mark or the request."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from iicnet_cli.container.header import Header
from iicnet_cli.engines import DEFAULT_ENGINE, FILE_ENGINES, open_file_engine
from iicnet_cli.engines.base import EngineRequest
from iicnet_cli.engines.file_engine import FileEngine
from iicnet_cli.engines.network.checkpoints import default_checkpoint
from iicnet_cli.errors import (
    DamagedError,
    ModelError,
    NotAnEmbeddingError,
    UnsupportedVersionError,
)
from iicnet_cli.payload.embedding_reader import EmbeddingReader
from iicnet_cli.payload.mark import Mark, fps_from_code, model_id
from iicnet_cli.tasks import TASKS, task_named
from iicnet_cli.zoo import Checkpoint, available, find, find_by_weights

_EMBEDDINGS_TO_TRY = 4
"""Without a header, so many embeddings are searched for the mark of an engine."""


@dataclass(frozen=True)
class Identity:
    """What a PNG is.

    Attributes:
        header: its header, or one that was made up from the mark or the request.
        request: the engine that restores it.
        found_by: ``header``, ``mark`` or ``request``.
    """

    header: Header
    request: EngineRequest
    found_by: str


def identify(
    reader: EmbeddingReader, source: Path, *, task: str | None = None, model: str | None = None
) -> Identity:
    """Tell what a PNG is: from its header, else from its in-pixel mark, else from the request.

    Args:
        reader: the open PNG.
        source: its name, for errors.
        task: overrides what the file says.
        model: overrides what the file says.

    Raises:
        NotAnEmbeddingError: neither header nor mark, and no task or model was given.
        DamagedError: the picture has another size than was written.
        UnsupportedVersionError: its task is unknown here.
        ModelError: the checkpoint is not here.
    """
    if reader.header is not None:
        identity = _by_header(reader, reader.header, source, task, model)
        if identity is not None:
            return identity
    elif reader.mark is not None:
        return _by_mark(reader, reader.mark, source, task, model)
    if not (task or model):
        raise no_embedding_error(reader, source)
    checkpoint = find(model) if model else find(default_checkpoint(task_named(task or "").name))
    return _by_checkpoint(checkpoint, task or checkpoint.config.task, reader.size, "request")


def file_engine_of(reader: EmbeddingReader) -> FileEngine | None:
    """The engine of a PNG that carries files, by its header or by its pixels; else ``None``."""
    if reader.header is not None:
        name = reader.header.engine
        return open_file_engine(name) if name in FILE_ENGINES else None
    if reader.mark is None:
        # The first embedding of several may be the one that was altered.
        for number in range(min(reader.n_frames, _EMBEDDINGS_TO_TRY)):
            embedding = reader.read_frame(number)
            for name in FILE_ENGINES:
                engine = open_file_engine(name)
                if engine.recognises(embedding):
                    return engine
    return None


def no_embedding_error(reader: EmbeddingReader, source: Path) -> NotAnEmbeddingError:
    """The error of a picture without header and mark: what probably happened to it."""
    picture = reader.read_frame(0)
    changes = [open_file_engine(name).likely_change(picture) for name in FILE_ENGINES]
    hint = "if you know what it is, try --task or --model"
    if not reader.is_png:
        hint = "what was not made for JPEG or a service with --for restores from its PNG only"
    return NotAnEmbeddingError(
        f"{source} is not an iicnet picture, or it was altered: it has neither the header nor a "
        "mark" + next(filter(None, changes), ""),
        hint=hint,
    )


def task_of(mark: Mark) -> str:
    """Name of a mark's task, without the suffix by which marks distinguish clips of half size."""
    return mark.task_name.removesuffix("-half")


def _by_header(
    reader: EmbeddingReader, header: Header, source: Path, task: str | None, model: str | None
) -> Identity | None:
    """What the header says; ``None`` if the picture has another size and the request decides."""
    right, bottom = header.padding
    written = (header.width + right) // header.scale, (header.height + bottom) // header.scale
    if reader.size != written:
        if task or model:
            return None
        width, height = reader.size
        raise DamagedError(
            f"{source} is {width}x{height}, but {written[0]}x{written[1]} was written: it was "
            "resized or cropped",
            hint="restore from the original PNG; if it was cropped, what is left comes back "
            f"with --model {header.model}",
        )
    if header.task not in TASKS and task is None:
        raise UnsupportedVersionError(
            f"{source} was made for the task '{header.task}', which is unknown here",
            hint="upgrade iicnet",
        )
    chosen = task or header.task
    if header.engine is not None:
        request = EngineRequest(header.engine, chosen)
        return Identity(header.model_copy(update={"task": chosen}), request, "header")
    if model:
        checkpoint = find(model)
    elif task and task != header.task:
        name = default_checkpoint(task_named(task).name, header.images, half=header.scale > 1)
        checkpoint = find(name)
    else:
        checkpoint = find_by_weights(header.model, header.weights_sha256)
    if not (task or model) and checkpoint.config.task != header.task:
        raise DamagedError(
            f"{source}: its header names the task '{header.task}', but the model "
            f"'{checkpoint.name}' is for {checkpoint.config.task}",
            hint="if you know what it is, add --task",
        )
    if checkpoint.config.network.scale != header.scale:
        # The request is for a network of another kind than the one that the PNG was made with.
        return _by_checkpoint(checkpoint, chosen, reader.size, "request", fps=header.frame_rate)
    changes = {"task": chosen, "images": checkpoint.config.network.images}
    return Identity(
        header.model_copy(update=changes), _request_for(checkpoint, chosen), found_by="header"
    )


def _by_mark(
    reader: EmbeddingReader, mark: Mark, source: Path, task: str | None, model: str | None
) -> Identity:
    checkpoint = find(model) if model else _checkpoint_of_mark(mark, source, task)
    return _by_checkpoint(
        checkpoint,
        task or task_of(mark),
        reader.size,
        "mark",
        padding=mark.padding,
        fps=fps_from_code(mark.fps),
    )


def _by_checkpoint(
    checkpoint: Checkpoint,
    task: str,
    size: tuple[int, int],
    found_by: str,
    *,
    padding: tuple[int, int] = (0, 0),
    fps: Fraction | None = None,
) -> Identity:
    """A header made up for a checkpoint and an embedding of this size, (width, height)."""
    scale = checkpoint.config.network.scale
    width, height = (scale * side - added for side, added in zip(size, padding, strict=True))
    if width <= 0 or height <= 0:
        raise DamagedError("the mark in the pixels tells of more padding than there are pixels")
    header = Header(
        task=task,
        model=checkpoint.name,
        weights_sha256=checkpoint.config.weights_sha256,
        images=checkpoint.config.network.images,
        width=width,
        height=height,
        padding=padding,
        scale=scale,
        fps=str(fps) if fps else None,
    )
    return Identity(header, _request_for(checkpoint, task), found_by)


def _request_for(checkpoint: Checkpoint, task: str) -> EngineRequest:
    return EngineRequest(DEFAULT_ENGINE, task, model=str(checkpoint.folder))


def _checkpoint_of_mark(mark: Mark, source: Path, task: str | None) -> Checkpoint:
    half = mark.task_name.endswith("-half")
    if task and task != task_of(mark):
        return find(default_checkpoint(task_named(task).name, mark.images, half=half))
    for checkpoint in available():
        if model_id(checkpoint.config.weights_sha256) == mark.model:
            return checkpoint
    name = default_checkpoint(task_of(mark), mark.images, half=half)
    raise ModelError(
        f"{source} has lost its header, and its mark names a model that is not here",
        hint=f"name the model's folder with --model; for {mark.images} pictures of "
        f"{task_of(mark)}, '{name}' may be near enough",
    )
