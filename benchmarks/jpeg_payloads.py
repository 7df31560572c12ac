"""What survives re-encoding, noise and cropping, as a Markdown table for each quality of JPEG.

Random bytes, as many as each picture carries, are embedded in it; the picture goes through each
simulated channel and is read again. A crop and a pasted square take parts of the picture away:
they are tried with 80 % of the bytes.
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
from iicnet_cli.engines.jpegproof.profiles import Profile, jpeg_profile
from iicnet_cli.engines.jpegproof.simulated_channels import channels_from
from iicnet_cli.errors import ContainerError
from iicnet_cli.pictures.arrays import Pixels
from iicnet_cli.pictures.metrics import psnr

QUALITIES = (60, 70, 75, 85)
"""Lowest qualities of JPEG that have a lattice of their own."""
PARTIAL_SHARE = 0.8
"""Share of the bytes that a part of the picture has to restore."""
_STICKER_COLOUR = (250, 210, 40)

Change = Callable[[Pixels], Pixels]


def crop(pixels: Pixels) -> Pixels:
    """Three quarters of the area, at odd offsets."""
    height, width = (round(side * 0.75**0.5) for side in pixels.shape[:2])
    top, left = 37, 51
    return pixels[top : top + height, left : left + width]


def paste_square(pixels: Pixels) -> Pixels:
    """A square over the middle, a quarter of each side."""
    height, width = pixels.shape[:2]
    out = pixels.copy()
    out[height * 3 // 8 : height * 5 // 8, width * 3 // 8 : width * 5 // 8] = _STICKER_COLOUR
    return out


@dataclasses.dataclass
class Tally:
    """Results of one quality.

    Attributes:
        cover_psnr: of each picture, in dB.
        bits_per_pixel: of each picture, after all error correction.
        embed_seconds: of each picture, of one processor.
        restore_seconds: of each restored picture, likewise.
        restored: names of channels with one truth for each picture.
    """

    cover_psnr: list[float] = dataclasses.field(default_factory=list)
    bits_per_pixel: list[float] = dataclasses.field(default_factory=list)
    embed_seconds: list[float] = dataclasses.field(default_factory=list)
    restore_seconds: list[float] = dataclasses.field(default_factory=list)
    restored: dict[str, list[bool]] = dataclasses.field(default_factory=dict)

    def try_channel(self, name: str, change: Change, embedding: Pixels, data: bytes) -> None:
        """Send one picture through a channel."""
        received = change(embedding)
        start = time.process_time()
        try:
            same = jpeg_channel.read(received) == data
        except ContainerError:
            same = False
        self.restore_seconds.append(time.process_time() - start)
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
    size = jpeg_channel.capacity(cover, profile)
    data = rng.bytes(size)
    start = time.process_time()
    embedding = jpeg_channel.write(cover, data, profile)
    tally.embed_seconds.append(time.process_time() - start)
    tally.cover_psnr.append(psnr(embedding, cover))
    tally.bits_per_pixel.append(8 * size * 3 / cover.size)
    tally.try_channel("stripped PNG", np.copy, embedding, data)
    for each in channels_from(profile.quality):
        tally.try_channel(each.name, each.apply, embedding, data)
    part = data[: int(size * PARTIAL_SHARE)]
    embedding = jpeg_channel.write(cover, part, profile)
    share = f"{PARTIAL_SHARE:.0%} of the bytes"
    tally.try_channel(f"crop to 75 % of the area, {share}", crop, embedding, part)
    tally.try_channel(f"pasted square, {share}", paste_square, embedding, part)
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
