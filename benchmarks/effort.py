"""What `iicnet embed --effort` gains, and how long it takes, as a Markdown table.

For each model the centre of the first pictures of its evaluation data is embedded with each
effort, written as a PNG, read back and restored. Beside the figures stands what they gain over
effort 0, the network alone. The restored figure is the PSNR of the mean squared error over all
pictures, which the search improves; the hidden one leaves out the reference.
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
from evaluation_data import MEDIA, first_groups
from tables import table_head, table_row

from iicnet_cli.engines.base import Computing
from iicnet_cli.engines.network.encoder import (
    EncoderSettings,
    MarkedEmbedding,
    encode_group,
    encode_group_with_search,
)
from iicnet_cli.engines.network.network_engine import NetworkEngine
from iicnet_cli.engines.network.search import Search
from iicnet_cli.engines.network.sliced_encoder import restored_pictures
from iicnet_cli.errors import ExitCode, IICNetError
from iicnet_cli.inference.runner import Runner
from iicnet_cli.motion.estimation import estimate_motion
from iicnet_cli.motion.lifting import subtract_prediction
from iicnet_cli.options import EmbedOptions
from iicnet_cli.payload.mark import Mark
from iicnet_cli.pictures.arrays import PixelArray
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
"""Names of the models that are measured unless others are asked for."""
COLUMNS = ("model", "effort", "seconds", "embed dB", "restored dB", "hidden dB")
"""Titles of the table's columns."""


@dataclasses.dataclass(frozen=True)
class Row:
    """One effort on one group of pictures; ``hidden_psnr`` is ``None`` for a single picture."""

    model: str
    pictures: str
    effort: int
    seconds: float
    embed_psnr: float
    restored_psnr: float
    hidden_psnr: float | None


def predicted_centre(checkpoint: Checkpoint, folder: Path, side: int) -> tuple[str, PixelArray]:
    """The centre of the first group of a folder of evaluation data, after prediction.

    Motion is estimated on the whole pictures, because in small ones it costs more than it gains.

    Args:
        checkpoint: gives task and number of pictures.
        folder: evaluation data for the task.
        side: wanted height and width, in pixels; rounded down to what the network takes.

    Returns:
        The name of the group, and (K, side, side, C).

    Raises:
        UsageError: the folder holds nothing for the task.
    """
    with closing(first_groups(checkpoint, folder, 1)) as groups:
        first = next(groups)
    pictures = first.group.images
    images: PixelArray = pictures
    if first.request.predicts:
        images = subtract_prediction(pictures, estimate_motion(pictures))
    multiple = checkpoint.config.network.multiple
    side = min(side, *images.shape[1:3]) // multiple * multiple
    y, x = ((length - side) // 2 for length in images.shape[1:3])
    return first.name, np.ascontiguousarray(images[:, y : y + side, x : x + side])


def measure(
    checkpoint: Checkpoint,
    name: str,
    images: PixelArray,
    efforts: Sequence[EmbedOptions],
    device: str,
) -> list[Row]:
    """Embed the same pictures with each effort.

    Args:
        checkpoint: the model.
        name: of the pictures.
        images: (K, H, W, C) after prediction, the reference first.
        efforts: the options of each row; only effort and enhancement layer count.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
    """
    runner = NetworkEngine(checkpoint, Computing(device=device)).runner
    reference = runner.reference(images)
    runner.embed(images)  # the first call is slow
    rows = []
    for options in efforts:
        began = time.perf_counter()
        encoded = _encode(runner, images, options)
        seconds = time.perf_counter() - began
        pixels = through_png(encoded.pixels)
        restored = restored_pictures(runner, encoded.mark, pixels, images)
        rows.append(
            Row(
                model=checkpoint.name,
                pictures=name,
                effort=options.effort,
                seconds=seconds,
                embed_psnr=psnr(pixels, reference),
                restored_psnr=psnr(restored, images),
                hidden_psnr=psnr(restored[1:], images[1:]) if len(images) > 1 else None,
            )
        )
    return rows


def _encode(runner: Runner, images: PixelArray, options: EmbedOptions) -> MarkedEmbedding:
    mark = Mark.for_measuring(len(images))
    settings = EncoderSettings(adds_layer=options.adds_layer)
    search = Search.of(options)
    if search is None:
        return encode_group(runner, images, mark, settings)
    return encode_group_with_search(runner, images, mark, search, settings)


def cells(row: Row, alone: Row) -> list[str]:
    """A row of the table, with what it gains over the network alone."""
    hidden = "-"
    if row.hidden_psnr is not None and alone.hidden_psnr is not None:
        hidden = f"{row.hidden_psnr:.2f} ({row.hidden_psnr - alone.hidden_psnr:+.2f})"
    return [
        row.model,
        str(row.effort),
        f"{row.seconds:.2f}",
        f"{row.embed_psnr:.2f} ({row.embed_psnr - alone.embed_psnr:+.2f})",
        f"{row.restored_psnr:.2f} ({row.restored_psnr - alone.restored_psnr:+.2f})",
        hidden,
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", action="append", metavar="NAME", help="may be repeated")
    parser.add_argument(
        "--effort",
        action="append",
        type=int,
        choices=range(1, 11),
        metavar="1-10",
        help="may be repeated; by default 1, 2 and 5",
    )
    parser.add_argument("--no-enhance", action="store_true", help="the search alone, no layer")
    parser.add_argument("--data", type=Path, default=MEDIA, metavar="FOLDER")
    parser.add_argument("--side", type=int, default=128, help="of the centre, in pixels")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--json", action="store_true", help="print a line of JSON for each row")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; returns the exit status."""
    options = _parser().parse_args(arguments)
    efforts = [
        EmbedOptions(effort=effort, enhance=not options.no_enhance)
        for effort in (0, *(options.effort or (1, 2, 5)))
    ]
    if not options.json:
        print(table_head(COLUMNS))
    names = []
    try:
        for model in options.model or MODELS:
            checkpoint = find(model)
            name, images = predicted_centre(checkpoint, options.data, options.side)
            names.append(f"{model}: {name}")
            rows = measure(checkpoint, name, images, efforts, options.device)
            for row in rows:
                record = dataclasses.asdict(row)
                line = json.dumps(record) if options.json else table_row(cells(row, rows[0]))
                print(line, flush=True)
    except IICNetError as error:
        print(f"effort: {error}", file=sys.stderr)
        return error.exit_code
    if not options.json:
        print(f"\nCentres of {options.side} pixels of the first of {options.data.name}:", end=" ")
        print("; ".join(names) + ".")
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(main())
