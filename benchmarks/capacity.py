"""How many bytes the low bits of photos carry, as a Markdown table.

Each photo is filled with random bytes at each embedding dB: by the engine `lowbits`, and by the
plain digits of `baselines.py`, which the other benchmarks compare with. Both are read back, and the
dB in the table are those of the pixels that were written. Seconds are of the processor.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from baselines import carrier_for, hide, reveal
from evaluation_data import MEDIA
from tables import table_head, table_row

from iicnet_cli.engines.lowbits import channel
from iicnet_cli.errors import ExitCode, IICNetError
from iicnet_cli.media.stills import read_still
from iicnet_cli.pictures.arrays import Pixels
from iicnet_cli.pictures.metrics import psnr
from iicnet_cli.tasks.photos import photos_in

PSNRS = (36.0, 40.0, 44.0)
"""The embedding dB that photos are filled at unless others are asked for."""
COLUMNS = (
    "photo",
    "dB",
    "bytes",
    "embed dB",
    "plain bytes",
    "embed dB",
    "gain",
    "write s",
    "read s",
)
"""Titles of the table's columns."""


@dataclasses.dataclass(frozen=True)
class Row:
    """One photo at one embedding dB, or the mean over photos.

    Attributes:
        photo: its name.
        psnr: the dB that were asked for.
        size: bytes that the engine carries.
        embed_psnr: the dB of its pixels beside the photo.
        plain_size: bytes that plain digits carry.
        plain_embed_psnr: the dB of theirs.
        write_seconds: processor time to write the bytes.
        read_seconds: processor time to read them.
    """

    photo: str
    psnr: float
    size: float
    embed_psnr: float
    plain_size: float
    plain_embed_psnr: float
    write_seconds: float
    read_seconds: float


def measure(name: str, photo: Pixels, embed_psnr: float) -> Row:
    """Fill a photo, (H, W, 3), in both ways at this embedding dB."""
    rng = np.random.default_rng(0)
    data = rng.bytes(channel.measured_capacity(photo, embed_psnr))
    start = time.process_time()
    pixels = channel.write(photo, data)
    written = time.process_time()
    assert channel.read(pixels) == data
    read = time.process_time()
    carrier = carrier_for(photo, embed_psnr)
    plain = rng.bytes(carrier.capacity(photo.size))
    hidden = hide(photo, plain, carrier)
    assert reveal(hidden, carrier) == plain
    return Row(
        name,
        embed_psnr,
        len(data),
        psnr(pixels, photo),
        len(plain),
        psnr(hidden, photo),
        written - start,
        read - written,
    )


def mean_rows(rows: Sequence[Row], psnrs: Sequence[float]) -> list[Row]:
    """The mean over all photos for each embedding dB."""
    means = []
    for embed_psnr in psnrs:
        of_psnr = [dataclasses.astuple(row)[1:] for row in rows if row.psnr == embed_psnr]
        means.append(Row("mean", *np.mean(of_psnr, axis=0).tolist()))
    return means


def cells(row: Row) -> list[str]:
    """A row of the table as text."""
    return [
        row.photo,
        f"{row.psnr:g}",
        f"{row.size:.0f}",
        f"{row.embed_psnr:.2f}",
        f"{row.plain_size:.0f}",
        f"{row.plain_embed_psnr:.2f}",
        f"{100 * (row.size / row.plain_size - 1):+.1f} %",
        f"{row.write_seconds:.2f}",
        f"{row.read_seconds:.3f}",
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, default=MEDIA, help="folder of photos")
    parser.add_argument("--psnr", type=float, nargs="+", default=PSNRS, help="embedding dB")
    parser.add_argument("--limit", type=int, help="at most this many photos")
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    options = parser.parse_args(arguments)
    # The first call compiles the search, or loads what was compiled.
    channel.write(np.full((64, 64, 3), 128, np.uint8), b"warm")
    rows = []
    print(table_head(COLUMNS), flush=True)
    try:
        for path in photos_in(options.photos)[: options.limit]:
            photo = read_still(path).pixels
            for embed_psnr in options.psnr:
                rows.append(measure(path.stem, photo, embed_psnr))
                print(table_row(cells(rows[-1])), flush=True)
    except IICNetError as error:
        print(f"capacity: {error}", file=sys.stderr)
        return error.exit_code
    means = mean_rows(rows, options.psnr)
    for row in means:
        print(table_row(cells(row)))
    if options.json:
        records = [dataclasses.asdict(row) for row in rows + means]
        options.json.write_text(json.dumps(records, indent=1), encoding="utf-8")
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(main())
