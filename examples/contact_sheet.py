"""A contact sheet: originals, embedding, restored pictures and their errors, side by side.

Use::

    python examples/contact_sheet.py a.jpg b.jpg c.jpg --embedding hidden.png \
        --restored hidden-restored/a.png hidden-restored/b.png hidden-restored/c.png -o sheet.png

The originals and the restored pictures are in the same order. The row of the reference also shows
the embedding. The reference is the first original, as for hidden photos, unless ``--reference N``
names another one, such as the middle frame of a clip.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from iicnet_cli.errors import ExitCode, IICNetError, UsageError
from iicnet_cli.media.stills import read_still
from iicnet_cli.pictures.arrays import Pixels
from iicnet_cli.pictures.metrics import psnr

MAX_COLUMN_WIDTH = 390
"""Wider pictures are reduced to this many pixels; the sheet of four columns stays below 1600."""
MARGIN = 8
"""Pixels between pictures, and around the sheet."""
LABEL_HEIGHT = 24
"""Pixels above each picture for its label."""
ERROR_GAIN = 10
"""Errors are shown this many times larger."""
FONT_SIZE = 16
"""Size of the labels' font, in pixels."""

Cell = tuple[str, Pixels]
"""The label of a picture, and the picture."""


def contact_sheet(
    originals: Sequence[Pixels],
    embedding: Pixels,
    restored: Sequence[Pixels],
    *,
    reference: int = 0,
    names: Sequence[str] | None = None,
) -> Image.Image:
    """Draw the sheet, one row for each original.

    Args:
        originals: (H, W, 3) uint8 each, of any sizes.
        embedding: (H_e, W_e, 3) uint8; what lies beyond the reference's size is padding.
        restored: as the originals, in their order and of their sizes.
        reference: index of the original that the embedding looks like.
        names: labels of the originals; by default they are numbered.

    Raises:
        UsageError: the numbers or the sizes of the pictures do not fit together.
    """
    if len(originals) != len(restored):
        raise UsageError(f"{len(originals)} originals, but {len(restored)} restored pictures")
    if not 0 <= reference < len(originals):
        raise UsageError(f"there is no original {reference + 1} to be the reference")
    labels = names or [f"picture {i + 1}" for i in range(len(originals))]
    rows: list[list[Cell | None]] = []
    for i, (original, copy, label) in enumerate(zip(originals, restored, labels, strict=True)):
        shown: Cell | None = None
        if i == reference:
            height, width = original.shape[:2]
            visible = embedding[:height, :width]
            quality = _describe_quality(visible, original, "embedding")
            shown = (f"embedding  {quality}", visible)
        quality = _describe_quality(copy, original, label)
        error = np.abs(copy.astype(np.int16) - original.astype(np.int16)) * ERROR_GAIN
        rows.append(
            [
                (label, original),
                shown,
                (f"restored  {quality}", copy),
                (f"error x{ERROR_GAIN}", np.minimum(error, 255).astype(np.uint8)),
            ]
        )
    return _draw(rows)


def _describe_quality(picture: Pixels, original: Pixels, name: str) -> str:
    """The PSNR as a label shows it."""
    if picture.shape != original.shape:
        raise UsageError(
            f"{name}: {picture.shape[1]}x{picture.shape[0]} cannot be compared with an original of "
            f"{original.shape[1]}x{original.shape[0]}"
        )
    value = psnr(picture, original)
    return "equal" if math.isinf(value) else f"{value:.2f} dB"


def _draw(rows: Sequence[Sequence[Cell | None]]) -> Image.Image:
    """Draw rows of as many cells each; ``None`` leaves a cell empty."""
    widest = max(cell[1].shape[1] for row in rows for cell in row if cell)
    column = min(MAX_COLUMN_WIDTH, widest)
    thumbnails = [[cell and (cell[0], _thumbnail(cell[1], column)) for cell in row] for row in rows]
    heights = [max(cell[1].height for cell in row if cell) for row in thumbnails]
    width = MARGIN + len(rows[0]) * (column + MARGIN)
    height = MARGIN + sum(height + LABEL_HEIGHT + MARGIN for height in heights)
    sheet = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=FONT_SIZE)
    y = MARGIN
    for row, row_height in zip(thumbnails, heights, strict=True):
        for i, cell in enumerate(row):
            if cell:
                x = MARGIN + i * (column + MARGIN)
                draw.text((x, y), _fit_label(cell[0], column, font), fill="black", font=font)
                sheet.paste(cell[1], (x, y + LABEL_HEIGHT))
        y += row_height + LABEL_HEIGHT + MARGIN
    return sheet


def _thumbnail(pixels: Pixels, width: int) -> Image.Image:
    """A picture, reduced if it is wider than ``width``."""
    picture = Image.fromarray(pixels)
    if picture.width <= width:
        return picture
    height = max(1, round(picture.height * width / picture.width))
    return picture.resize((width, height), Image.Resampling.LANCZOS)


def _fit_label(text: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """The text, cut at its start until it fits: what matters is at its end."""
    if font.getlength(text) <= width:
        return text
    while len(text) > 1 and font.getlength(f"...{text}") > width:
        text = text[1:]
    return f"...{text}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw a sheet as the command line asks; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("originals", nargs="+", type=Path, metavar="ORIGINAL")
    parser.add_argument("--embedding", required=True, type=Path, metavar="PNG")
    parser.add_argument("--restored", required=True, nargs="+", type=Path, metavar="FILE")
    parser.add_argument(
        "--reference",
        type=int,
        default=1,
        metavar="N",
        help="number of the reference; the first is 1",
    )
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="SHEET")
    options = parser.parse_args(arguments)
    try:
        sheet = contact_sheet(
            [read_still(path).pixels for path in options.originals],
            read_still(options.embedding).pixels,
            [read_still(path).pixels for path in options.restored],
            reference=options.reference - 1,
            names=[path.name for path in options.originals],
        )
        sheet.save(options.output)
    except IICNetError as error:
        print(f"contact_sheet: {error}", file=sys.stderr)
        return error.exit_code
    except (OSError, ValueError) as error:
        print(f"contact_sheet: {error}", file=sys.stderr)
        return ExitCode.FAILURE
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(main())
