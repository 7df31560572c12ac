"""PSNR and SSIM of a checkpoint over a folder, on PNGs that are written and read back."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from iicnet_cli.api import Converter, EmbedReport
from iicnet_cli.errors import UsageError
from iicnet_cli.media.stills import STILL_SUFFIXES, VIDEO_SUFFIXES, still_size
from iicnet_cli.media.video import open_frames
from iicnet_cli.tasks import EmbedOptions
from iicnet_cli.zoo import Checkpoint


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
) -> Iterator[Row]:
    """Measure a checkpoint, one PNG after the other.

    Stego: every picture of the folder is the cover once, the next pictures of the same size (in
    the order of names, round and round) are hidden in it. Video: every sub-folder of frames, and
    every clip, cut into whole groups of frames.

    Args:
        checkpoint: what to measure.
        folder: pictures, or folders of frames and clips.
        converter: does the work.
        step: video: take every n-th frame.
        limit: measure at most so many PNGs.

    Raises:
        UsageError: the folder holds nothing that fits.
    """
    config = checkpoint.config
    images = config.network.images
    if not folder.is_dir():
        raise UsageError(f"no folder {folder}")
    items: list[tuple[str, list[Path], EmbedOptions]]
    if config.task == "video":
        items = [
            (path.name, [path], EmbedOptions(step=step, frames=frames))
            for path in _sequences(folder)
            if (frames := _count(path, step) // images * images)
        ]
    else:
        items = [
            (chosen[0].stem, chosen, EmbedOptions()) for chosen in _cyclic(_stills(folder), images)
        ]
    if not items:
        raise UsageError(f"{folder} holds nothing to evaluate {checkpoint.name} on")
    with tempfile.TemporaryDirectory() as scratch:
        for name, inputs, options in items[:limit]:
            report = converter.embed(
                inputs,
                Path(scratch) / "embedding.png",
                task=config.task,
                model=str(checkpoint.folder),
                options=options,
                overwrite=True,
                with_ssim=True,
            )
            yield _row(name, report)


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


def _stills(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in STILL_SUFFIXES)


def _sequences(folder: Path) -> list[Path]:
    found = [
        p
        for p in folder.iterdir()
        if (p.is_dir() and _stills(p)) or p.suffix.lower() in VIDEO_SUFFIXES
    ]
    return sorted(found) or ([folder] if _stills(folder) else [])


def _count(path: Path, step: int) -> int:
    if path.is_dir():
        return -(-len(_stills(path)) // step)
    with open_frames(path, step=step) as frames:
        return sum(1 for _ in frames)


def _cyclic(paths: Sequence[Path], images: int) -> list[list[Path]]:
    by_size: dict[tuple[int, int], list[Path]] = defaultdict(list)
    for path in paths:
        by_size[still_size(path)].append(path)
    chosen = [
        [same[(i + k) % len(same)] for k in range(images)]
        for same in by_size.values()
        if len(same) >= images
        for i in range(len(same))
    ]
    return sorted(chosen)
