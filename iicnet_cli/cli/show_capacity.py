"""``iicnet capacity``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from iicnet_cli.cli.common_options import DebugOption, JsonOption
from iicnet_cli.cli.console import command, input_paths, print_json
from iicnet_cli.engines import DESTINATIONS

PSNRS = (36, 40, 44)
"""The qualities of the embedding for which the capacity is printed, in dB."""
VIDEO_RATE = 1_000_000
"""Bits a second of the clip that is taken for an example."""
PHOTO_BYTES = 300_000
"""Bytes of the photo that is taken for an example."""


@command
def capacity(
    cover: Annotated[
        Path, typer.Argument(help="A picture, or a clip; - is stdin.", metavar="COVER")
    ],
    destination: Annotated[
        Literal["file"], typer.Option("--for", help="Where the PNG will go, as of embed.")
    ] = "file",
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Print how many bytes a cover holds at 36, 40 and 44 dB, and what that is.

    Of a clip, its first frame is the cover. A clip of 854x480 pixels is taken at 1 Mbit/s, a photo
    at 300 kB.
    """
    from iicnet_cli.engines import open_file_engine
    from iicnet_cli.media.stills import read_still
    from iicnet_cli.media.video_reader import is_video, open_frames

    with input_paths([cover]) as (path,):
        if is_video(path):
            with open_frames(path, frames=1) as frames:
                pixels = next(frames)
        else:
            pixels = read_still(path).pixels
    engine = open_file_engine(DESTINATIONS[destination])
    sizes = {psnr: engine.capacity(pixels, psnr) for psnr in PSNRS}
    height, width = pixels.shape[:2]
    if as_json:
        print_json(
            {
                "file": str(cover),
                "engine": engine.name,
                "width": width,
                "height": height,
                "bytes": {f"{psnr} dB": size for psnr, size in sizes.items()},
            }
        )
        return
    typer.echo(f"{cover}: {width}x{height}")
    for psnr, size in sizes.items():
        seconds, photos = 8 * size / VIDEO_RATE, size / PHOTO_BYTES
        typer.echo(
            f"{psnr} dB: {size} bytes, about {seconds:.1f} s of 480p at "
            f"{VIDEO_RATE / 1e6:g} Mbit/s or {photos:.1f} photos of {PHOTO_BYTES / 1000:g} kB"
        )
