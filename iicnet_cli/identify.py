"""What a PNG is, and which checkpoint restores it: told by its header, its mark, or a request."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from iicnet_cli.container.header import Header
from iicnet_cli.errors import DamagedError, ModelError, NotAnEmbeddingError, UnsupportedVersionError
from iicnet_cli.payload.embedding_reader import EmbeddingReader
from iicnet_cli.payload.mark import Mark, fps_from_code, model_id
from iicnet_cli.tasks import TASKS, task_named
from iicnet_cli.zoo import Checkpoint, available, find, find_by_weights


def identify(
    reader: EmbeddingReader, source: Path, *, task: str | None = None, model: str | None = None
) -> tuple[Header, Checkpoint, str]:
    """What a PNG is: from its header, else its in-pixel mark, else the request.

    Args:
        reader: the open PNG.
        source: its name, for errors.
        task: overrides the file.
        model: overrides the file.

    Returns:
        A header (made up when the file has none), the checkpoint, and ``header``, ``mark`` or
        ``request``.

    Raises:
        NotAnEmbeddingError, DamagedError, ModelError: see :meth:`Converter.restore`.
    """
    width, height = reader.size
    requested = bool(task or model)
    if reader.header is not None:
        header = reader.header
        right, bottom = header.padding
        written = (
            (header.width + right) // header.scale,
            (header.height + bottom) // header.scale,
        )
        if (width, height) == written:
            if header.task not in TASKS and task is None:
                raise UnsupportedVersionError(
                    f"{source} was made for the task '{header.task}', which is unknown here",
                    hint="upgrade iicnet",
                )
            checkpoint = find(model) if model else _checkpoint_for(header, task)
            if _scale(checkpoint) != header.scale:  # of another kind than the one it was made with
                made_up = _made_up_header(
                    checkpoint, task or header.task, width, height, (0, 0), header.frame_rate
                )
                return made_up, checkpoint, "request"
            changes = {"task": task or header.task, "images": checkpoint.config.network.images}
            return header.model_copy(update=changes), checkpoint, "header"
        if not requested:
            raise DamagedError(
                f"{source} is {width}x{height}, but {written[0]}x{written[1]} was written: it was "
                "resized or cropped",
                hint="restore from the original PNG; if it was cropped, what is left comes back "
                f"with --model {header.model}",
            )
    elif reader.mark is not None:
        mark = reader.mark
        checkpoint = find(model) if model else _checkpoint_with_id(mark, source, task)
        fps = fps_from_code(mark.fps)
        return (
            _made_up_header(checkpoint, task or task_of(mark), width, height, mark.padding, fps),
            checkpoint,
            "mark",
        )
    if not requested:
        raise NotAnEmbeddingError(
            f"{source} is not an iicnet PNG, or it was re-encoded: it has neither the header nor "
            "the mark",
            hint="if you know what it is, try --task or --model",
        )
    checkpoint = find(model) if model else find(task_named(task or "").default_model())
    return (
        _made_up_header(checkpoint, task or checkpoint.config.task, width, height, (0, 0), None),
        checkpoint,
        "request",
    )


def _made_up_header(
    checkpoint: Checkpoint,
    task: str,
    width: int,
    height: int,
    padding: tuple[int, int],
    fps: Fraction | None,
) -> Header:
    scale = _scale(checkpoint)
    if width * scale <= padding[0] or height * scale <= padding[1]:
        raise DamagedError("the mark in the pixels tells of more padding than there are pixels")
    return Header(
        task=task,
        model=checkpoint.name,
        weights_sha256=checkpoint.config.weights_sha256,
        images=checkpoint.config.network.images,
        width=width * scale - padding[0],
        height=height * scale - padding[1],
        padding=padding,
        scale=scale,
        fps=str(fps) if fps else None,
        pixels_sha256="",
    )


def _scale(checkpoint: Checkpoint) -> int:
    """Pixels of a picture to one of the embedding, on each axis."""
    return 2 if checkpoint.config.network.half_size else 1


def _checkpoint_for(header: Header, task: str | None) -> Checkpoint:
    if task and task != header.task:
        return find(task_named(task).default_model(header.images, half=header.scale > 1))
    return find_by_weights(header.model, header.weights_sha256)


def _checkpoint_with_id(mark: Mark, source: Path, task: str | None) -> Checkpoint:
    half = mark.task_name.endswith("-half")
    if task and task != task_of(mark):
        return find(task_named(task).default_model(mark.images, half=half))
    for checkpoint in available():
        if model_id(checkpoint.config.weights_sha256) == mark.model:
            return checkpoint
    name = task_named(task_of(mark)).default_model(mark.images, half=half)
    raise ModelError(
        f"{source} has lost its header, and its mark names a model that is not here",
        hint=f"name the model's folder with --model; for {mark.images} pictures of "
        f"{task_of(mark)}, '{name}' may be near enough",
    )


def task_of(mark: Mark) -> str:
    """Name of a mark's task; clips of half size, which it tells apart, are no task of their own."""
    return mark.task_name.removesuffix("-half")
