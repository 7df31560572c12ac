"""``iicnet capacity``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from iicnet_cli.cli.common_options import DebugOption, JsonOption
from iicnet_cli.cli.console import command, input_paths, print_json
from iicnet_cli.engines import FILE_ENGINES, engine_for
from iicnet_cli.errors import UsageError

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
        str,
        typer.Option(
            "--for",
            help="Where the picture will go, as of embed; not edits.",
            metavar="DESTINATION",
        ),
    ] = "file",
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Print how many bytes a cover holds, and what that is.

    With --for file, that is at 36, 40 and 44 dB. For other destinations, the cover is first made
    as small as it will be there. Of a clip, its first frame is the cover. A clip of 854x480 pixels
    is taken at 1 Mbit/s, a photo at 300 kB.
    """
    from iicnet_cli.engines import open_file_engine
    from iicnet_cli.media.stills import fit_within, read_still
    from iicnet_cli.media.video_reader import is_video, open_frames

    name = engine_for(destination)
    if name not in FILE_ENGINES:
        raise UsageError(f"--for {destination} carries no bytes", hint="add --for file")
    with input_paths([cover]) as (path,):
        if is_video(path):
            with open_frames(path, frames=1) as frames:
                pixels = next(frames)
        else:
            pixels = read_still(path).pixels
    engine = open_file_engine(name)
    writers = [engine.writer_for(destination, None)]
    if writers[0].arrives_exact:
        writers = [engine.writer_for(destination, psnr) for psnr in PSNRS]
    pixels = fit_within(pixels, writers[0].longest_side)
    # "at 40 dB", "for signal": without the preposition.
    sizes = {writer.limit.split(" ", 1)[1]: writer.capacity(pixels) for writer in writers}
    height, width = pixels.shape[:2]
    if as_json:
        print_json(
            {
                "file": str(cover),
                "engine": engine.name,
                "width": width,
                "height": height,
                "bytes": sizes,
            }
        )
        return
    typer.echo(f"{cover}: {width}x{height}")
    for limit, size in sizes.items():
        seconds, photos = 8 * size / VIDEO_RATE, size / PHOTO_BYTES
        typer.echo(
            f"{limit}: {size} bytes, about {seconds:.1f} s of 480p at "
            f"{VIDEO_RATE / 1e6:g} Mbit/s or {photos:.1f} photos of {PHOTO_BYTES / 1000:g} kB"
        )
