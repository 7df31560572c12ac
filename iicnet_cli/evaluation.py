"""PSNR, SSIM and errors in flat areas of a checkpoint, on PNGs that are written and read back."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from iicnet_cli.api import Converter
from iicnet_cli.errors import UsageError
from iicnet_cli.media.temporary import scratch_folder
from iicnet_cli.options import EmbedOptions
from iicnet_cli.reports import EmbedReport
from iicnet_cli.tasks import task_named
from iicnet_cli.tasks.task import EvaluationItem
from iicnet_cli.zoo import Checkpoint

T = TypeVar("T")


@dataclass(frozen=True)
class Row:
    """The quality of one PNG: PSNR in dB and SSIM, each the mean over its pictures.

    Attributes:
        embed_flat_error: largest error of the embedding in flat areas, in 8-bit steps.
    """

    name: str
    embed_psnr: float
    restored_psnr: float
    hidden_psnr: float | None
    embed_ssim: float
    restored_ssim: float
    embed_flat_error: float


@dataclass(frozen=True)
class Evaluation:
    """A checkpoint's rows over a folder."""

    model: str
    data: str
    step: int
    rows: tuple[Row, ...]

    @property
    def mean(self) -> Row:
        """Mean of every column over the rows."""
        values = {}
        for column in (field.name for field in fields(Row) if field.name != "name"):
            known = [v for row in self.rows if (v := getattr(row, column)) is not None]
            values[column] = float(np.mean(known)) if known else None
        return Row(name="mean", **values)  # type: ignore[arg-type]


def evaluate(
    checkpoint: Checkpoint,
    folder: Path,
    *,
    converter: Converter,
    options: EmbedOptions = EmbedOptions(),
    limit: int | None = None,
) -> Iterator[Row]:
    """Measure a checkpoint, one PNG after the other.

    ``evaluation_items`` of each task says what a folder must hold and how it is used.

    Args:
        checkpoint: what to measure.
        folder: evaluation data for its task.
        converter: embeds and measures.
        options: ``step``, ``align``, ``enhance`` and ``effort`` are used; the rest is up to the
            task.
        limit: measure at most this many PNGs, evenly chosen (:func:`spread`).

    Raises:
        UsageError: the folder holds nothing that fits, or ``options.align`` is False for a task
            that does not predict.
    """
    with items_of(checkpoint, folder, step=options.step, limit=limit) as items:
        for item in items:
            item = with_options(item, options)
            yield measure(item, checkpoint.config.task, checkpoint.folder, converter)


def with_options(item: EvaluationItem, options: EmbedOptions) -> EvaluationItem:
    """The item with those of the options that :func:`evaluate` uses, and with SSIM."""
    wanted = replace(
        item.options,
        align=options.align,
        enhance=options.enhance,
        effort=options.effort,
        with_ssim=True,
    )
    return replace(item, options=wanted)


def measure(item: EvaluationItem, task: str, model: Path, converter: Converter) -> Row:
    """Measure one PNG of an evaluation, which is thrown away.

    Args:
        item: its inputs, and options with SSIM.
        task: name of the task.
        model: folder of the checkpoint.
        converter: embeds and measures.
    """
    with scratch_folder() as scratch:
        report = converter.embed(
            item.inputs,
            scratch / "embedding.png",
            task=task,
            model=str(model),
            options=item.options,
        )
    return _row(item.name, report)


@contextmanager
def items_of(
    checkpoint: Checkpoint,
    folder: Path,
    *,
    step: int = 1,
    limit: int | None = None,
    scratch: Path | None = None,
) -> Iterator[list[EvaluationItem]]:
    """The items that a checkpoint is measured on, one for each PNG, while the context is open.

    Args and errors: as for :func:`evaluate`; ``step`` takes every n-th frame of clips, and files
    that have to be made first are made in a folder in ``scratch``, which is removed in the end.
    """
    if not folder.is_dir():
        raise UsageError(f"no folder {folder}")
    task = task_named(checkpoint.config.task)
    with tempfile.TemporaryDirectory(dir=scratch) as made:
        images = checkpoint.config.network.images
        items = task.evaluation_items(folder, images, step, Path(made))
        if not items:
            raise UsageError(f"{folder} holds nothing to evaluate {checkpoint.name} on")
        yield spread(items, limit)


def spread(items: Sequence[T], limit: int | None) -> list[T]:
    """At most ``limit`` of the items, evenly spaced over all of them; ``None`` takes all."""
    count = len(items) if limit is None else min(limit, len(items))
    return [items[i * len(items) // count] for i in range(count)]


def _row(name: str, report: EmbedReport) -> Row:
    embedding = report.embedding
    assert embedding is not None
    assert embedding.ssim is not None and embedding.flat_error is not None
    assert report.embed_psnr is not None and report.restored_psnr is not None
    return Row(
        name=name,
        embed_psnr=report.embed_psnr,
        restored_psnr=report.restored_psnr,
        hidden_psnr=report.hidden_psnr,
        embed_ssim=embedding.ssim,
        restored_ssim=float(np.mean([p.ssim for p in report.restored])),
        embed_flat_error=embedding.flat_error,
    )
