"""What survives damage to the PNG, as a Markdown table for each model.

Two PNGs of the same pictures are damaged in the same ways and restored: the one that ``iicnet
embed`` writes, and one with a codec's bytes in the low bits of the cover, of the same embedding
PSNR.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
from baselines import (
    Carrier,
    Codec,
    DoesNotFitError,
    carrier_for,
    codec_for,
    hide,
    reveal,
    through_png,
)
from damages import DAMAGES, Damage
from evaluation_data import MEDIA, FirstGroup, bundled_checkpoints, display_name, first_groups
from tables import table_head, table_row

from iicnet_cli import __version__
from iicnet_cli.container.header import Header
from iicnet_cli.engines.base import Computing, SideInfo
from iicnet_cli.engines.network.network_engine import NetworkEngine
from iicnet_cli.errors import ExitCode, IICNetError, UsageError
from iicnet_cli.pictures.arrays import Pixels
from iicnet_cli.pictures.metrics import cap_psnr, psnr
from iicnet_cli.zoo import Checkpoint, find

TASKS = ("stego", "video")
"""Names of the tasks that are measured: their embeddings are in colour."""
COLUMNS = ("damage", "restored dB", "hidden dB", "codec: hidden dB")
"""Titles of the table's columns."""


@dataclasses.dataclass(frozen=True)
class Result:
    """What is left after one damage to one PNG, in dB.

    Attributes:
        restored_psnr: mean over all restored pictures.
        hidden_psnr: the same without the reference.
        codec_hidden_psnr: mean over the codec's pictures without the reference; ``None`` if they
            are lost.
    """

    restored_psnr: float
    hidden_psnr: float
    codec_hidden_psnr: float | None


@dataclasses.dataclass(frozen=True)
class Sheet:
    """One PNG with every damage.

    Attributes:
        name: of the pictures.
        embed_psnr: of the network's PNG before any damage, in dB.
        codec_embed_psnr: of the codec's; ``None`` if the pictures do not fit.
        results: one for each of ``DAMAGES``.
    """

    name: str
    embed_psnr: float
    codec_embed_psnr: float | None
    results: tuple[Result, ...]


@dataclasses.dataclass(frozen=True)
class Survival:
    """One model over one folder.

    Attributes:
        model: name of the checkpoint.
        task: its task.
        data: the folder, as tables name it.
        codec: name of the codec that stands beside.
        sheets: one for each PNG.
    """

    model: str
    task: str
    data: str
    codec: str
    sheets: tuple[Sheet, ...]

    def table(self) -> str:
        """The Markdown table, under a line that says what it shows."""
        embed = np.mean([sheet.embed_psnr for sheet in self.sheets])
        known = [s.codec_embed_psnr for s in self.sheets if s.codec_embed_psnr is not None]
        codec = f"{np.mean(known):.2f} dB" if known else "which does not fit"
        rows = [
            table_row([damage.name, *cells([sheet.results[i] for sheet in self.sheets])])
            for i, damage in enumerate(DAMAGES)
        ]
        title = f"**{self.model}**: embedding {embed:.2f} dB; {self.codec} in the low bits: {codec}"
        return "\n".join([title, "", table_head(COLUMNS), *rows])

    def explanation(self) -> str:
        """What it was measured on."""
        what = "each photo is the cover once, the next ones of its size are hidden"
        if self.task == "video":
            what = "the first whole group of frames of each clip"
        names = ", ".join(sheet.name for sheet in self.sheets)
        return f"{self.model} on {self.data} ({names}): {what}."


def cells(results: Sequence[Result]) -> list[str]:
    """Means over the PNGs of one row, and how many of the codec's are lost."""
    known = [r.codec_hidden_psnr for r in results if r.codec_hidden_psnr is not None]
    codec = "lost"
    if known:
        codec = f"{np.mean(known):.2f}"
        if len(known) < len(results):
            codec += f" ({len(results) - len(known)} of {len(results)} lost)"
    return [
        f"{np.mean([r.restored_psnr for r in results]):.2f}",
        f"{np.mean([r.hidden_psnr for r in results]):.2f}",
        codec,
    ]


@dataclasses.dataclass(frozen=True)
class NetworkPng:
    """The PNG that ``embed`` writes of one group of pictures.

    Attributes:
        engine: made it, and restores it.
        task: name of the task.
        size: height and width of the pictures.
        pixels: (H_e, W_e, 3), as read.
        side_info: what its header repeats of the mark.
    """

    engine: NetworkEngine
    task: str
    size: tuple[int, int]
    pixels: Pixels
    side_info: SideInfo

    @classmethod
    def encode(cls, engine: NetworkEngine, first: FirstGroup) -> Self:
        """Embed a group of pictures as ``embed`` does by default."""
        encoded = engine.encode_group(first.group, first.request)
        height, width = first.group.images.shape[1:3]
        pixels = through_png(encoded.pixels)
        return cls(engine, first.request.task, (height, width), pixels, encoded.side_info)

    def restore(self, damage: Damage) -> Pixels:
        """The pictures (K, H, W, 3) of what is left after a damage.

        The header is taken to survive, unless the PNG was cropped: then it no longer fits the
        pixels, and nothing tells where in the pictures they were.
        """
        received = damage.apply(self.pixels)
        if not damage.cut:
            header = self._header(self.size, [self.side_info])
            return self.engine.decode_group(received, header, 0).images
        scale = self.engine.scale
        multiple = self.engine.config.multiple // scale
        added = damage.cut % multiple if damage.realign else 0
        aligned = np.pad(received, ((added, 0), (added, 0), (0, 0)), mode="edge")
        header = self._header((scale * aligned.shape[0], scale * aligned.shape[1]), [])
        pictures = self.engine.decode_group(aligned, header, 0).images
        return pictures[:, scale * added :, scale * added :]

    def _header(self, size: tuple[int, int], side_info: Sequence[SideInfo]) -> Header:
        """The header of an embedding of pictures of this height and width."""
        fields = self.engine.header(*size, side_info)
        return Header(
            task=self.task,
            height=size[0],
            width=size[1],
            model=fields.model,
            weights_sha256=fields.weights_sha256,
            images=fields.images,
            padding=fields.padding,
            scale=fields.scale,
            static_regions=fields.static_regions,
            motion=fields.motion,
        )


@dataclasses.dataclass(frozen=True)
class CodecPng:
    """A cover with the hidden pictures as a codec's bytes in its low bits.

    Attributes:
        pixels: (H_e, W_e, 3), as read.
        carrier: where the bytes are.
        codec: of the bytes.
    """

    pixels: Pixels
    carrier: Carrier
    codec: Codec

    @classmethod
    def encode(
        cls, reference: Pixels, hidden: Pixels, embed_psnr: float, codec: Codec
    ) -> Self | None:
        """Hide (K, H, W, 3) in a reference (H_e, W_e, 3); ``None`` if they do not fit."""
        carrier = carrier_for(reference, embed_psnr)
        try:
            payload = codec.encode_within(hidden, carrier.capacity(reference.size))
        except DoesNotFitError:
            return None
        return cls(through_png(hide(reference, payload, carrier)), carrier, codec)

    def restore(self, damage: Damage) -> Pixels | None:
        """The hidden pictures after a damage; ``None`` if they are lost."""
        payload = reveal(damage.apply(self.pixels), self.carrier)
        return None if payload is None else self.codec.decode(payload)


def damaged(first: FirstGroup, engine: NetworkEngine, codec: Codec) -> Sheet:
    """Put every damage on both PNGs of a group of pictures, restore them, and measure."""
    images = first.group.images
    reference = engine.reference(images)
    embedding = NetworkPng.encode(engine, first)
    embed_psnr = cap_psnr(psnr(embedding.pixels, reference))
    # A smaller embedding does not show the reference, so the codec has to hold that, too.
    hidden = images if engine.scale > 1 else images[1:]
    coded = CodecPng.encode(reference, hidden, embed_psnr, codec)
    return Sheet(
        name=first.name,
        embed_psnr=embed_psnr,
        codec_embed_psnr=None if coded is None else cap_psnr(psnr(coded.pixels, reference)),
        results=tuple(_result(damage, images, embedding, coded) for damage in DAMAGES),
    )


def _result(
    damage: Damage, images: Pixels, embedding: NetworkPng, coded: CodecPng | None
) -> Result:
    """Measure what is left of both PNGs after one damage.

    Args:
        damage: what happens to them.
        images: (K, H, W, 3), the originals, the reference first.
        embedding: the network's PNG.
        coded: the codec's.
    """
    height, width = embedding.size
    mask = damage.measured(height, width, embedding.engine.scale)
    restored = embedding.restore(damage)
    # What a cropped PNG restores is as large as what is measured.
    left = restored.reshape(len(restored), -1, 3) if damage.cut else restored[:, mask]
    quality = _psnrs(left, images[:, mask])
    codec_psnr = None
    decoded = None if coded is None else coded.restore(damage)
    if decoded is not None:
        hidden = images[1:, mask]
        codec_psnr = float(np.mean(_psnrs(decoded[-len(hidden) :, mask], hidden)))
    return Result(float(np.mean(quality)), float(np.mean(quality[1:])), codec_psnr)


def _psnrs(restored: Pixels, originals: Pixels) -> list[float]:
    return [cap_psnr(psnr(a, b)) for a, b in zip(restored, originals, strict=True)]


def measure(checkpoint: Checkpoint, folder: Path, *, limit: int | None, device: str) -> Survival:
    """Measure one model over a folder of evaluation data for its task.

    Args:
        checkpoint: the model.
        folder: evaluation data.
        limit: make at most this many PNGs, evenly chosen; ``None`` for all.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        UsageError: the model is of another task, or the folder holds nothing for it.
    """
    task = checkpoint.config.task
    if task not in TASKS:
        raise UsageError(f"{checkpoint.name} is for {task}, not for {' or '.join(TASKS)}")
    engine = NetworkEngine(checkpoint, Computing(device=device))
    codec = codec_for(task)
    sheets = []
    for first in first_groups(checkpoint, folder, limit):
        sheets.append(damaged(first, engine, codec))
        print(f"{checkpoint.name}, {first.name}: done", file=sys.stderr)
    return Survival(checkpoint.name, task, display_name(folder), codec.name, tuple(sheets))


def report(survivals: Sequence[Survival]) -> str:
    """All tables, and what they were measured on."""
    tables = "\n\n".join(survival.table() for survival in survivals)
    explanations = "\n".join(survival.explanation() for survival in survivals)
    return (
        f"{tables}\n\n{explanations}\n"
        "restored: mean of all pictures, cover or reference included; hidden: without it. Of a "
        "cropped PNG what is left is measured, of one with a square what lies outside it. "
        "Re-aligned: a row and a column were added at the top left, so that the network's 2x2 "
        "grid fits again. lost: the codec's bytes fail their checksum."
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--photos", type=Path, default=MEDIA, metavar="FOLDER", help="for stego")
    parser.add_argument("--clips", type=Path, default=MEDIA, metavar="FOLDER", help="for video")
    parser.add_argument(
        "--model",
        action="append",
        metavar="NAME",
        help="may be repeated; by default all bundled models of stego and video",
    )
    parser.add_argument(
        "--limit", type=int, metavar="N", help="make at most N PNGs for each model, evenly chosen"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there, too")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; returns the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.limit is not None and options.limit < 1:
        parser.error("--limit must be 1 or more")
    try:
        if options.model:
            checkpoints = [find(name) for name in options.model]
        else:
            checkpoints = [c for c in bundled_checkpoints() if c.config.task in TASKS]
        survivals = [
            measure(
                checkpoint,
                options.clips if checkpoint.config.task == "video" else options.photos,
                limit=options.limit,
                device=options.device,
            )
            for checkpoint in checkpoints
        ]
    except IICNetError as error:
        print(f"robustness: {error}", file=sys.stderr)
        return error.exit_code
    print(report(survivals))
    if options.json:
        record = {
            "version": __version__,
            "damages": [damage.name for damage in DAMAGES],
            "models": [dataclasses.asdict(survival) for survival in survivals],
        }
        options.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(main())
