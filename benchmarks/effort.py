"""What `iicnet embed --effort` gains, and how long it takes, as a Markdown table.

For each model the first PNG of the evaluation data of its task is made, from the centre of the
pictures, with each effort; embedding and restored pictures are measured after PNG writing and
reading, and stand beside those of no effort, the network alone. The restored figure is of the mean
squared error over all pictures, which the search improves; hidden is without the reference.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from baselines import through_png
from quality import MEDIA
from robustness import groups

from iicnet_cli.engines.network.encoder import LAYERED, Search, marked
from iicnet_cli.engines.network.sliced_encoder import complete
from iicnet_cli.errors import IICNetError
from iicnet_cli.inference.device import choose_device
from iicnet_cli.inference.runner import Runner
from iicnet_cli.motion.lifting import subtract_prediction
from iicnet_cli.payload.mark import Mark
from iicnet_cli.pictures.arrays import PixelArray, from_fixed_point
from iicnet_cli.pictures.metrics import psnr
from iicnet_cli.zoo import Checkpoint, find

MODELS = (
    "stego-2",
    "stego-3",
    "video-5",
    "video-9",
    "stereo",
    "dual",
    "layers-3",
    "grayscale",
    "rescale",
)


@dataclasses.dataclass(frozen=True)
class Row:
    """One effort on one group of pictures; dB."""

    model: str
    pictures: str
    effort: int
    seconds: float
    embed_psnr: float
    restored_psnr: float
    hidden_psnr: float | None


def pictures(checkpoint: Checkpoint, folder: Path, side: int) -> tuple[str, PixelArray]:
    """Name and centre of the first group of a task's evaluation data, as the network gets it.

    Raises:
        UsageError: the folder has none.
    """
    with closing(groups(checkpoint, folder, 1)) as found:
        name, images, motion = next(found)
    group = subtract_prediction(images, motion)
    multiple = checkpoint.config.network.multiple
    side = min(side, *group.shape[1:3]) // multiple * multiple
    y, x = ((length - side) // 2 for length in group.shape[1:3])
    return name, np.ascontiguousarray(group[:, y : y + side, x : x + side])


def measure(
    checkpoint: Checkpoint,
    name: str,
    images: PixelArray,
    efforts: Sequence[int],
    device: str,
    enhance: bool = True,
) -> list[Row]:
    """A row for each effort; from 1 on with an enhancement layer, if ``enhance``."""
    runner = Runner(
        checkpoint.load(), choose_device(device).device, feedback=checkpoint.noise_shaping
    )
    reference = runner.reference(images)
    bare = Mark(task=0, model=0, images=len(images), valid=len(images))
    runner.embed(images)  # the first call sets up much
    rows = []
    for effort in efforts:
        layer, search = enhance and effort >= LAYERED, Search.of(effort)
        began = time.perf_counter()
        found = marked(runner, images, bare, enhance=layer, search=search)
        seconds = time.perf_counter() - began
        read = through_png(found.pixels)
        fine = runner.restore_fixed_point(read, images.dtype)
        complete(found.mark, read, fine)
        restored = from_fixed_point(fine, images.dtype)
        rows.append(
            Row(
                model=checkpoint.name,
                pictures=name,
                effort=effort,
                seconds=seconds,
                embed_psnr=psnr(read, reference),
                restored_psnr=psnr(restored, images),
                hidden_psnr=psnr(restored[1:], images[1:]) if len(images) > 1 else None,
            )
        )
    return rows


def cells(row: Row, without: Row) -> list[str]:
    """A row of the table, beside that of no effort."""
    hidden = "-"
    if row.hidden_psnr is not None and without.hidden_psnr is not None:
        hidden = f"{row.hidden_psnr:.2f} ({row.hidden_psnr - without.hidden_psnr:+.2f})"
    return [
        row.model,
        str(row.effort),
        f"{row.seconds:.2f}",
        f"{row.embed_psnr:.2f} ({row.embed_psnr - without.embed_psnr:+.2f})",
        f"{row.restored_psnr:.2f} ({row.restored_psnr - without.restored_psnr:+.2f})",
        hidden,
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", action="append", metavar="NAME", help="repeatable")
    parser.add_argument(
        "--effort",
        action="append",
        type=int,
        choices=range(1, 11),
        metavar="1-10",
        help="repeatable; by default 1, 2 and 5",
    )
    parser.add_argument("--no-enhance", action="store_true", help="the search alone, no layer")
    parser.add_argument("--data", type=Path, default=MEDIA, metavar="FOLDER")
    parser.add_argument("--side", type=int, default=128, help="of the pictures' centre, in pixels")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--json", action="store_true", help="a line of JSON for each row")
    options = parser.parse_args(arguments)
    if not options.json:
        columns = ("model", "effort", "seconds", "embed dB", "restored dB", "hidden dB")
        for line in (columns, ["---", *["---:"] * (len(columns) - 1)]):
            print(f"| {' | '.join(line)} |")
    try:
        names = []
        for model in options.model or MODELS:
            checkpoint = find(model)
            name, images = pictures(checkpoint, options.data, options.side)
            names.append(f"{model}: {name}")
            efforts = [0, *(options.effort or (1, 2, 5))]
            enhance = not options.no_enhance
            rows = measure(checkpoint, name, images, efforts, options.device, enhance)
            for row in rows:
                if options.json:
                    print(json.dumps(dataclasses.asdict(row)), flush=True)
                else:
                    print(f"| {' | '.join(cells(row, rows[0]))} |", flush=True)
    except IICNetError as error:
        print(f"effort: {error}", file=sys.stderr)
        return error.exit_code
    if not options.json:
        print(f"\nCentres of {options.side} pixels of the first of {options.data.name}:", end=" ")
        print("; ".join(names) + ".")
    return 0


if __name__ == "__main__":
    sys.exit(main())
