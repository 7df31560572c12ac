"""What survives re-encoding, noise and cropping, as a Markdown table for each quality of JPEG.

Random bytes, as many as each picture carries beside a small version, are embedded in it with random
bytes for that; the picture goes through each simulated channel and is read again. A crop and a
pasted square take parts of the picture away: they are tried with 80 % of the bytes. The small
version is read after lower qualities, and from what is left of larger losses, as well.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from tables import table_head, table_row

from iicnet_cli.engines.jpegproof import jpeg_channel
from iicnet_cli.engines.jpegproof.capacity_measurement import PARTIAL_PAYLOAD
from iicnet_cli.engines.jpegproof.jpegproof_engine import JpegProofEngine
from iicnet_cli.engines.jpegproof.profiles import Profile, jpeg_profile
from iicnet_cli.engines.jpegproof.simulated_channels import (
    LOSSES,
    Crop,
    PastedSquare,
    channels_from,
    jpeg,
)
from iicnet_cli.errors import ContainerError
from iicnet_cli.pictures.arrays import Pixels
from iicnet_cli.pictures.metrics import psnr

QUALITIES = (60, 70, 75, 85)
"""Lowest qualities of JPEG that have a lattice of their own."""
LOWER_QUALITIES = (50, 40, 30)
"""Qualities of JPEG after which the small version is read."""
LARGER_LOSSES = (Crop(0.5), Crop(0.4), PastedSquare(0.7))
"""What takes so much away that only the small version is left."""

Change = Callable[[Pixels], Pixels]
Read = Callable[[Pixels], bytes | None]


@dataclasses.dataclass
class Tally:
    """Results of one quality.

    Attributes:
        cover_psnr: of each picture, in dB.
        bits_per_pixel: of each picture, after all error correction, without the small version.
        small_version_cost: share of the capacity that it takes.
        small_version_bytes: of each picture.
        embed_seconds: of each picture, of one processor.
        restore_seconds: of each restored picture, likewise.
        restored: names of channels with one truth for each picture.
    """

    cover_psnr: list[float] = dataclasses.field(default_factory=list)
    bits_per_pixel: list[float] = dataclasses.field(default_factory=list)
    small_version_cost: list[float] = dataclasses.field(default_factory=list)
    small_version_bytes: list[int] = dataclasses.field(default_factory=list)
    embed_seconds: list[float] = dataclasses.field(default_factory=list)
    restore_seconds: list[float] = dataclasses.field(default_factory=list)
    restored: dict[str, list[bool]] = dataclasses.field(default_factory=dict)

    def try_channel(self, name: str, change: Change, embedding: Pixels, data: bytes) -> None:
        """Send one picture through a channel."""
        received = change(embedding)
        start = time.process_time()
        self._note(name, JpegProofEngine().read, received, data)
        self.restore_seconds.append(time.process_time() - start)

    def try_small_version(self, name: str, change: Change, embedding: Pixels, data: bytes) -> None:
        """Send one picture through a channel, and read its small version."""
        title = f"small version: {name}"
        self._note(title, JpegProofEngine().read_small_version, change(embedding), data)

    def _note(self, name: str, read: Read, received: Pixels, data: bytes) -> None:
        try:
            same = read(received) == data
        except ContainerError:
            same = False
        self.restored.setdefault(name, []).append(same)

    def lines(self, quality: int) -> list[str]:
        """The table."""
        count = len(self.cover_psnr)
        head = f"JPEG {quality} and better, {count} pictures"
        rows = [
            (head, "restored"),
            ("cover, dB: mean, lowest", f"{_mean(self.cover_psnr)}, {min(self.cover_psnr):.2f}"),
            (
                "bits a pixel: mean, lowest",
                f"{np.mean(self.bits_per_pixel):.3f}, {min(self.bits_per_pixel):.3f}",
            ),
            ("less than without a small version", f"{np.mean(self.small_version_cost):.1%}"),
            ("bytes of the small version: mean", f"{np.mean(self.small_version_bytes):.0f}"),
            ("embedding, processor seconds", _mean(self.embed_seconds)),
            ("restoring, processor seconds", _mean(self.restore_seconds)),
            *((name, f"{sum(all_)} of {len(all_)}") for name, all_ in self.restored.items()),
        ]
        return [table_head(rows[0]), *(table_row(row) for row in rows[1:])]


def _mean(values: Sequence[float]) -> str:
    return f"{np.mean(values):.2f}"


def measure(profile: Profile, name: str, cover: Pixels, tally: Tally) -> None:
    """Send one picture through everything that the profile promises."""
    rng = np.random.default_rng(0)
    start = time.process_time()
    prepared = jpeg_channel.PreparedCover.of(cover, profile)
    size = prepared.capacity_beside
    data, small = rng.bytes(size), rng.bytes(prepared.small_version_capacity)
    embedding = prepared.write(data, small)
    tally.embed_seconds.append(time.process_time() - start)
    tally.cover_psnr.append(psnr(embedding, cover))
    tally.bits_per_pixel.append(8 * size * 3 / cover.size)
    tally.small_version_cost.append(1 - size / prepared.capacity)
    tally.small_version_bytes.append(len(small))
    tally.try_channel("stripped PNG", np.copy, embedding, data)
    for each in channels_from(profile.quality):
        tally.try_channel(each.name, each.apply, embedding, data)
    for lower in LOWER_QUALITIES:
        tally.try_small_version(f"JPEG {lower}", jpeg(lower).apply, embedding, small)
    for loss in LARGER_LOSSES:
        tally.try_small_version(str(loss), loss.apply, embedding, small)
    part = data[: prepared.spared_capacity]
    embedding = prepared.write(part, small)
    share = f"{PARTIAL_PAYLOAD:.0%} of the bytes"
    for each in LOSSES:
        tally.try_channel(f"{each.name}, {share}", each.apply, embedding, part)
    failed = [key for key, all_ in tally.restored.items() if not all_[-1]]
    print(
        f"<!-- {name}: {tally.bits_per_pixel[-1]:.3f} bits a pixel, lost: {failed} -->", flush=True
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one table for each quality."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, required=True, help="folder of pictures")
    parser.add_argument("--limit", type=int, default=24, help="pictures to take")
    parser.add_argument("--quality", type=int, action="append", help="lowest quality of JPEG")
    options = parser.parse_args(arguments)
    paths = sorted(options.photos.glob("*.png"))[: options.limit]
    for quality in options.quality or QUALITIES:
        tally = Tally()
        for path in paths:
            with Image.open(path) as image:
                cover = np.array(image.convert("RGB"), np.uint8)
            measure(jpeg_profile(quality), path.stem, cover, tally)
        print("\n".join(tally.lines(quality)), flush=True)


if __name__ == "__main__":
    main()
