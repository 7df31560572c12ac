"""PSNR and SSIM of a checkpoint over a folder, on PNGs that are written and read back."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from iicnet_cli.api import Converter
from iicnet_cli.errors import UsageError
from iicnet_cli.reports import EmbedReport
from iicnet_cli.tasks import task_named
from iicnet_cli.tasks.task import EvaluationItem
from iicnet_cli.zoo import Checkpoint

T = TypeVar("T")


@dataclass(frozen=True)
class Row:
    """One PNG of the evaluation; dB, and SSIM, means over its pictures."""

    name: str
    embed_psnr: float
    restored_psnr: float
    hidden_psnr: float | None
    embed_ssim: float
    restored_ssim: float


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
        columns = ("embed_psnr", "restored_psnr", "hidden_psnr", "embed_ssim", "restored_ssim")
        values = {}
        for column in columns:
            known = [v for row in self.rows if (v := getattr(row, column)) is not None]
            values[column] = float(np.mean(known)) if known else None
        return Row(name="mean", **values)  # type: ignore[arg-type]


def evaluate(
    checkpoint: Checkpoint,
    folder: Path,
    *,
    converter: Converter,
    step: int = 1,
    limit: int | None = None,
    align: bool = True,
    enhance: bool = True,
) -> Iterator[Row]:
    """Measure a checkpoint, one PNG after the other.

    What a folder must hold and how it is used is said in ``evaluation_items`` of each task.

    Args:
        checkpoint: what to measure.
        folder: evaluation data for its task.
        converter: does the work.
        step: video: take every n-th frame.
        limit: measure at most so many PNGs, evenly chosen (:func:`spread`).
        align: as of :class:`EmbedOptions`.
        enhance: likewise.

    Raises:
        UsageError: the folder holds nothing that fits, or ``align`` is False where nothing moves.
    """
    config = checkpoint.config
    with (
        items_of(checkpoint, folder, step=step, limit=limit) as items,
        tempfile.TemporaryDirectory() as scratch,
    ):
        for item in items:
            report = converter.embed(
                item.inputs,
                Path(scratch) / "embedding.png",
                task=config.task,
                model=str(checkpoint.folder),
                options=replace(item.options, align=align, enhance=enhance, with_ssim=True),
                overwrite=True,
            )
            yield _row(item.name, report)


@contextmanager
def items_of(
    checkpoint: Checkpoint, folder: Path, *, step: int = 1, limit: int | None = None
) -> Iterator[list[EvaluationItem]]:
    """What a checkpoint is measured on, one item for each PNG, for as long as the context is open.

    Args, and errors: as :func:`evaluate`.
    """
    if not folder.is_dir():
        raise UsageError(f"no folder {folder}")
    task = task_named(checkpoint.config.task)
    with tempfile.TemporaryDirectory() as made:
        images = checkpoint.config.network.images
        items = task.evaluation_items(folder, images, step, Path(made))
        if not items:
            raise UsageError(f"{folder} holds nothing to evaluate {checkpoint.name} on")
        yield spread(items, limit)


def spread(items: Sequence[T], limit: int | None) -> list[T]:
    """At most ``limit`` of the items, at even distances over all of them; None takes all."""
    count = len(items) if limit is None else min(limit, len(items))
    return [items[i * len(items) // count] for i in range(count)]


def _row(name: str, report: EmbedReport) -> Row:
    embedding = report.embedding
    assert embedding is not None and embedding.ssim is not None
    assert report.embed_psnr is not None and report.restored_psnr is not None
    return Row(
        name=name,
        embed_psnr=report.embed_psnr,
        restored_psnr=report.restored_psnr,
        hidden_psnr=report.hidden_psnr,
        embed_ssim=embedding.ssim,
        restored_ssim=float(np.mean([p.ssim for p in report.restored])),
    )
