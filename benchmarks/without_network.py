"""What can be done without a network, on the pictures that one was measured on."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from baselines import Figures, codec_for, mean_figures, measure_codec, measure_lsb
from hidden_files import measure_file_engine

from iicnet_cli.engines.network.network_engine import NetworkEngine
from iicnet_cli.evaluation import Evaluation, Row, items_of, spread
from iicnet_cli.pictures.arrays import Pixels
from iicnet_cli.tasks import task_named
from iicnet_cli.zoo import Checkpoint

METHODS = ("file", "codec", "lsb")
"""The engine of ``--for file``, the codec in plain low bits, and 4-bit LSB."""

Rows = tuple[Figures | None, ...]


@dataclass(frozen=True)
class Baselines:
    """What the same pictures give without a network; empty where it was not measured.

    Attributes:
        file: of ``--for file``, one entry for each PNG.
        codec: of the low-bit codec, likewise; ``None`` where the pictures do not fit.
        lsb: of 4-bit LSB, likewise; ``None`` where the embedding is smaller than the pictures, or
            grey.
        codec_name: of the codec.
    """

    file: Rows = ()
    codec: Rows = ()
    lsb: Rows = ()
    codec_name: str = ""

    @classmethod
    def from_record(cls, record: Mapping[str, Any] | None) -> Baselines:
        """Read what :meth:`record` gave."""
        record = record or {}
        rows = {
            name: tuple(None if row is None else Figures(**row) for row in record[name]["rows"])
            for name in METHODS
            if name in record
        }
        return cls(**rows, codec_name=record.get("codec_name", ""))

    def __or__(self, newer: Baselines) -> Baselines:
        """These figures, replaced by newer ones where there are any."""
        rows = {name: getattr(newer, name) or getattr(self, name) for name in METHODS}
        return Baselines(**rows, codec_name=newer.codec_name or self.codec_name)

    def cells(self) -> list[str]:
        """Their part of the row of the table."""
        return [figures_cell(mean_figures(getattr(self, name))) for name in METHODS]

    def record(self) -> dict[str, Any]:
        """The same for JSON, with every PNG."""
        return {
            "codec_name": self.codec_name,
            **{
                name: {
                    "mean": _fields(mean_figures(getattr(self, name))),
                    "rows": [_fields(row) for row in getattr(self, name)],
                }
                for name in METHODS
            },
        }


def figures_cell(figures: Figures | Row | None) -> str:
    """Embedding / restored / hidden, in dB."""
    if figures is None:
        return "-"
    values = (figures.embed_psnr, figures.restored_psnr, figures.hidden_psnr)
    return " / ".join("-" if value is None else f"{value:.2f}" for value in values)


def measure_without_network(
    evaluation: Evaluation,
    checkpoint: Checkpoint,
    folder: Path,
    engine: NetworkEngine,
    methods: Collection[str],
    *,
    limit: int | None = None,
    groups: int | None = None,
) -> Baselines:
    """Measure methods on the pictures of an evaluation, each PNG at the network's embedding PSNR.

    Args:
        evaluation: of the network.
        checkpoint: the network.
        folder: that it was measured on.
        engine: with this network.
        methods: some of ``METHODS``; others are passed over.
        limit: measure at most so many PNGs.
        groups: of each clip, measure at most so many groups.
    """
    task = task_named(checkpoint.config.task)
    codec = codec_for(task.name)
    dbs = {row.name: row.embed_psnr for row in evaluation.rows}
    found: dict[str, list[Figures | None]] = {name: [] for name in METHODS if name in methods}
    with items_of(checkpoint, folder, step=evaluation.step, limit=limit) as items:
        for item in items:
            if item.name not in dbs:
                continue
            source = task.open(item.inputs, engine.images_per_group, item.options)
            chosen = spread([group.images for group in source.groups()], groups)
            for name, rows in found.items():
                figures = [
                    _measure(name, images, engine, task.name, dbs[item.name]) for images in chosen
                ]
                rows.append(mean_figures(figures))
                print(
                    f"{evaluation.model}, {item.name}: {name} (embed / restored / hidden) "
                    f"{figures_cell(rows[-1])} dB",
                    file=sys.stderr,
                )
    rows_of = {name: tuple(rows) for name, rows in found.items()}
    return Baselines(**rows_of, codec_name=codec.name if "codec" in found else "")


def _measure(
    method: str, images: Pixels, engine: NetworkEngine, task: str, embed_psnr: float
) -> Figures | None:
    """Measure a method on (K, H, W, 3)."""
    if method == "file":
        half = task == "video" and engine.scale > 1
        return measure_file_engine(images, task, embed_psnr, half=half)
    reference = visible_reference(images, engine)
    if method == "codec":
        return measure_codec(reference, images, embed_psnr, codec_for(task))
    has_room = len(images) > 1 and reference.shape == images.shape[1:]
    return measure_lsb(images) if has_room else None


def visible_reference(images: Pixels, engine: NetworkEngine) -> Pixels:
    """What the embedding of (K, H, W, C) should look like, without padding: (H_e, W_e, C_e)."""
    height, width = (-(-side // engine.scale) for side in images.shape[1:3])
    return engine.reference(images)[:height, :width]


def _fields(figures: Figures | None) -> dict[str, Any] | None:
    return None if figures is None else asdict(figures)
