"""What comes back after damage and after services, as one Markdown table.

The same photos are hidden in the same covers by each engine, as ``iicnet embed`` does, and as a
codec's bytes in plain low bits of the network's embedding PSNR. All of them are damaged in the same
ways and restored. Services are simulated.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, Self

import numpy as np
from baselines import (
    AVIF,
    Carrier,
    Codec,
    DoesNotFitError,
    carrier_for,
    hide,
    reveal,
    through_png,
)
from damages import DAMAGES, Damage
from evaluation_data import MEDIA, FirstGroup, display_name, first_groups
from PIL import Image
from tables import table_head, table_row

from iicnet_cli import Converter, EmbedOptions, __version__
from iicnet_cli.container.header import Header
from iicnet_cli.engines import open_file_engine
from iicnet_cli.engines.base import Computing, SideInfo
from iicnet_cli.engines.jpegproof.profiles import SERVICES
from iicnet_cli.engines.network.network_engine import NetworkEngine
from iicnet_cli.errors import ContainerError, ExitCode, IICNetError, UsageError
from iicnet_cli.pictures.arrays import Pixels
from iicnet_cli.pictures.metrics import cap_psnr, psnr
from iicnet_cli.zoo import Checkpoint, find

TASK = "stego"
"""The task whose models are measured."""
COLUMNS = ("engine", "after", "cover dB", "hidden dB", "restored", "small version only")
"""Titles of the table's columns."""
SERVICE_DAMAGES = tuple(
    Damage(f"{each.name}: {each.summary}", each.channel.apply) for each in SERVICES
)
"""What services do, simulated."""
ALL_DAMAGES = (*DAMAGES, *SERVICE_DAMAGES)
_DESTINATIONS = {
    damage: service.name for damage, service in zip(SERVICE_DAMAGES, SERVICES, strict=True)
}
_RECOGNISED = 20.0
"""Pictures of so many dB count as restored."""
_USUAL_DESTINATION = "jpeg:75"
"""What pictures that survive JPEG are made for, unless a service is named."""


class Sent(Protocol):
    """Pictures that were hidden in some way, and can be damaged."""

    def cover_psnr(self, damage: Damage) -> float:
        """Of what is written for the way of a damage, before it, in dB."""

    def hidden_psnr(self, damage: Damage) -> float | None:
        """Of the hidden pictures after a damage, in dB; ``None`` if nothing of them comes back."""

    def has_small_version(self, damage: Damage) -> bool:
        """Whether a small version of them is left after a damage."""


class Outcome(NamedTuple):
    """What :class:`Sent` says of one damage."""

    cover_psnr: float
    hidden_psnr: float | None
    small_version: bool


@dataclasses.dataclass(frozen=True)
class Row:
    """One engine after one damage, over all photos.

    Attributes:
        engine: its name.
        damage: its name.
        cover_psnr: mean of what was written, in dB.
        hidden_psnr: mean of what came back, in dB; ``None`` if nothing did.
        restored: of how many covers the hidden pictures can be recognised.
        covers: number of covers.
        small_versions: of how many covers nothing but a small version came back.
    """

    engine: str
    damage: str
    cover_psnr: float
    hidden_psnr: float | None
    restored: int
    covers: int
    small_versions: int

    def cells(self) -> list[str]:
        """The row of the table as text."""
        hidden = "lost" if self.hidden_psnr is None else f"{self.hidden_psnr:.2f}"
        shares = [f"{count} of {self.covers}" for count in (self.restored, self.small_versions)]
        return [self.engine, self.damage, f"{self.cover_psnr:.2f}", hidden, *shares]


@dataclasses.dataclass(frozen=True)
class NetworkPng:
    """The PNG that ``embed`` writes of one group of pictures.

    Attributes:
        engine: made it, and restores it.
        task: name of the task.
        images: (K, H, W, 3), the originals, the reference first.
        pixels: (H_e, W_e, 3), as read.
        side_info: what its header repeats of the mark.
    """

    engine: NetworkEngine
    task: str
    images: Pixels
    pixels: Pixels
    side_info: SideInfo

    @classmethod
    def encode(cls, engine: NetworkEngine, first: FirstGroup) -> Self:
        """Embed a group of pictures as ``embed`` does by default."""
        encoded = engine.encode_group(first.group, first.request)
        pixels = through_png(encoded.pixels)
        return cls(engine, first.request.task, first.group.images, pixels, encoded.side_info)

    def cover_psnr(self, damage: Damage) -> float:
        """Of what was written before a damage, in dB."""
        return cap_psnr(psnr(self.pixels, self.engine.reference(self.images)))

    def hidden_psnr(self, damage: Damage) -> float | None:
        """Of what is left of the hidden pictures after a damage, in dB; ``None`` if nothing is."""
        height, width = self.images.shape[1:3]
        mask = damage.measured(height, width, self.engine.scale)
        try:
            restored = self.restore(damage)
        except ContainerError:
            return None
        # What a cropped PNG restores is as large as what is measured.
        left = restored.reshape(len(restored), -1, 3) if damage.cut else restored[:, mask]
        return _mean_psnr(left[1:], self.images[1:, mask])

    def has_small_version(self, damage: Damage) -> bool:
        """The network has none."""
        return False

    def restore(self, damage: Damage) -> Pixels:
        """The pictures (K, H, W, 3) of what is left after a damage.

        The header is taken to survive, unless the PNG was cropped: then it no longer fits the
        pixels, and nothing tells where in the pictures they were.
        """
        received = damage.apply(self.pixels)
        if not damage.cut:
            header = self._header(self.images.shape[1:3], [self.side_info])
            return self.engine.decode_group(received, header, 0).images
        scale = self.engine.scale
        multiple = self.engine.config.multiple // scale
        added = damage.cut % multiple if damage.realign else 0
        aligned = np.pad(received, ((added, 0), (added, 0), (0, 0)), mode="edge")
        header = self._header((scale * aligned.shape[0], scale * aligned.shape[1]), [])
        pictures = self.engine.decode_group(aligned, header, 0).images
        return pictures[:, scale * added :, scale * added :]

    def _header(self, size: tuple[int, ...], side_info: Sequence[SideInfo]) -> Header:
        """The header of an embedding of pictures of this height and width."""
        fields = self.engine.header(size[0], size[1], side_info)
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
        images: (K, H, W, 3), the originals, the cover first.
        pixels: (H, W, 3), as read.
        carrier: where the bytes are.
        codec: of the bytes.
    """

    images: Pixels
    pixels: Pixels
    carrier: Carrier
    codec: Codec

    @classmethod
    def encode(cls, images: Pixels, embed_psnr: float, codec: Codec) -> Self | None:
        """Hide all pictures but the first in that; ``None`` if they do not fit."""
        carrier = carrier_for(images[0], embed_psnr)
        try:
            payload = codec.encode_within(images[1:], carrier.capacity(images[0].size))
        except DoesNotFitError:
            return None
        return cls(images, through_png(hide(images[0], payload, carrier)), carrier, codec)

    def cover_psnr(self, damage: Damage) -> float:
        """Of what was written before a damage, in dB."""
        return cap_psnr(psnr(self.pixels, self.images[0]))

    def hidden_psnr(self, damage: Damage) -> float | None:
        """Of the hidden pictures after a damage, in dB; ``None`` if they are lost."""
        payload = reveal(damage.apply(self.pixels), self.carrier)
        return None if payload is None else _mean_psnr(self.codec.decode(payload), self.images[1:])

    def has_small_version(self, damage: Damage) -> bool:
        """There is none."""
        return False


class FilePng:
    """The PNGs that ``embed`` writes with an engine that carries files.

    Args:
        images: (K, H, W, 3), the cover first.
        engine: its name.
    """

    def __init__(self, images: Pixels, engine: str) -> None:
        self._images, self._engine = images, engine
        self._converter = Converter()
        self._pixels: dict[str, Pixels] = {}

    def cover_psnr(self, damage: Damage) -> float:
        """Of what was written before a damage, in dB."""
        return cap_psnr(psnr(self._embedding(damage), self._images[0]))

    def hidden_psnr(self, damage: Damage) -> float | None:
        """Of the hidden pictures after a damage, in dB; ``None`` if they are lost."""
        file = io.BytesIO()
        Image.fromarray(damage.apply(self._embedding(damage))).save(file, "PNG", compress_level=1)
        try:
            restored = self._converter.restore_images(file.getvalue())
        except ContainerError:
            return None
        return _mean_psnr(np.stack(restored[1:]), self._images[1:])

    def has_small_version(self, damage: Damage) -> bool:
        """Whether a small version of them is left after a damage."""
        received = damage.apply(self._embedding(damage))
        return open_file_engine(self._engine).read_small_version(received) is not None

    def _embedding(self, damage: Damage) -> Pixels:
        """What is written for the way of a damage, (H, W, 3)."""
        destination = _DESTINATIONS.get(damage, _USUAL_DESTINATION)
        if self._engine == "lowbits":
            destination = ""
        if destination not in self._pixels:
            options = EmbedOptions(engine=self._engine, destination=destination, verify=False)
            image = self._converter.embed_images(list(self._images), options=options)
            self._pixels[destination] = np.array(image.convert("RGB"), np.uint8)
        return self._pixels[destination]


def _mean_psnr(restored: Pixels, originals: Pixels) -> float:
    values = [cap_psnr(psnr(a, b)) for a, b in zip(restored, originals, strict=True)]
    return float(np.mean(values))


def all_sent(first: FirstGroup, engine: NetworkEngine) -> dict[str, Sent]:
    """Hide a group of photos in every way."""
    images = first.group.images
    network = NetworkPng.encode(engine, first)
    sent: dict[str, Sent] = {
        "network": network,
        "jpegproof": FilePng(images, "jpegproof"),
        "lowbits": FilePng(images, "lowbits"),
    }
    coded = CodecPng.encode(images, network.cover_psnr(DAMAGES[0]), AVIF)
    if coded is not None:
        sent[f"{AVIF.name} in plain low bits"] = coded
    return sent


def measure(
    checkpoint: Checkpoint, folder: Path, *, limit: int | None, device: str
) -> tuple[list[Row], list[str]]:
    """Every engine after every damage, over a folder of photos.

    Args:
        checkpoint: the network, of the task stego.
        folder: photos.
        limit: take at most this many covers, evenly chosen; ``None`` for all.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Returns:
        The rows, and names of the covers.

    Raises:
        UsageError: the model is of another task, or the folder holds nothing for it.
    """
    task = checkpoint.config.task
    if task != TASK:
        raise UsageError(f"{checkpoint.name} is for {task}, not for {TASK}")
    engine = NetworkEngine(checkpoint, Computing(device=device))
    found: dict[tuple[str, str], list[Outcome]] = {}
    names = []
    for first in first_groups(checkpoint, folder, limit):
        for name, sent in all_sent(first, engine).items():
            for damage in ALL_DAMAGES:
                hidden = sent.hidden_psnr(damage)
                small = hidden is None and sent.has_small_version(damage)
                outcome = Outcome(sent.cover_psnr(damage), hidden, small)
                found.setdefault((name, damage.name), []).append(outcome)
        names.append(first.name)
        print(f"{first.name}: done", file=sys.stderr)
    return [_row(*key, outcomes) for key, outcomes in found.items()], names


def _row(engine: str, damage: str, outcomes: Sequence[Outcome]) -> Row:
    hidden = [each.hidden_psnr for each in outcomes if each.hidden_psnr is not None]
    return Row(
        engine,
        damage,
        float(np.mean([each.cover_psnr for each in outcomes])),
        float(np.mean(hidden)) if hidden else None,
        sum(each >= _RECOGNISED for each in hidden),
        len(outcomes),
        sum(each.small_version for each in outcomes),
    )


def report(rows: Sequence[Row], checkpoint: Checkpoint, data: str, names: Sequence[str]) -> str:
    """The table, and what it was measured on."""
    table = "\n".join([table_head(COLUMNS), *(table_row(row.cells()) for row in rows)])
    return (
        f"{table}\n\n{checkpoint.name} and the others on {data} ({', '.join(names)}): each photo "
        "is the cover once, the next ones of its size are hidden.\n"
        "cover: what was written, beside the cover. hidden: what came back of the hidden photos; "
        f"restored: with {_RECOGNISED:g} dB or more; small version only: of those that are lost, a "
        "thumbnail is left. The network's header is taken to survive; of "
        "its cropped PNGs what is left is measured, of those with a square what lies outside it. "
        "Re-aligned: a row and a column "
        "were added at the top left, so that the network's 2x2 grid fits again. jpegproof is made "
        f"for the service, or for {_USUAL_DESTINATION}. Services are simulated."
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--photos", type=Path, default=MEDIA, metavar="FOLDER")
    parser.add_argument("--model", default="stego-2", metavar="NAME", help="of the task stego")
    parser.add_argument("--limit", type=int, metavar="N", help="take at most N covers")
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
        checkpoint = find(options.model)
        rows, names = measure(
            checkpoint, options.photos, limit=options.limit, device=options.device
        )
    except IICNetError as error:
        print(f"survival: {error}", file=sys.stderr)
        return error.exit_code
    print(report(rows, checkpoint, display_name(options.photos), names))
    if options.json:
        record = {
            "version": __version__,
            "covers": names,
            "rows": [dataclasses.asdict(row) for row in rows],
        }
        options.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(main())
