"""``iicnet capacity``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from iicnet_cli.cli.common_options import DebugOption, JsonOption
from iicnet_cli.cli.console import command, input_paths, print_json
from iicnet_cli.engines import FILE_ENGINES, engine_for
from iicnet_cli.errors import UsageError

PSNRS = (36, 40, 44)
"""The qualities of the embedding for which the capacity is printed, in dB."""


class Examples(NamedTuple):
    """What bytes are compared with."""

    clip: str
    bits_a_second: int
    photo_bytes: int


GOOD = Examples("480p", 1_000_000, 300_000)
"""Where covers hold much."""
SMALL = Examples("360p", 300_000, 10_000)
"""Where they hold little. A clip of this rate, or a photo of 600x400 pixels of these bytes, comes
back with about 34 dB if it is not full of detail."""


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
    as small as it will be there, or, of a clip, as large as it will be made. Of a clip, the first
    frame is the cover. There, less than that is taken by what can be made smaller: the rest is a
    reserve for crops, and a small version that survives more.

    About 200 of the bytes go to the header and the file names of what is carried.
    """
    from iicnet_cli.engines import open_file_engine
    from iicnet_cli.media.cover_sizes import as_sent
    from iicnet_cli.media.stills import read_still
    from iicnet_cli.media.video_reader import is_video, open_frames

    name = engine_for(destination)
    if name not in FILE_ENGINES:
        raise UsageError(f"--for {destination} carries no bytes", hint="add --for file")
    with input_paths([cover]) as (path,):
        is_clip = is_video(path)
        if is_clip:
            with open_frames(path, frames=1) as frames:
                pixels = next(frames)
        else:
            pixels = read_still(path).pixels
    engine = open_file_engine(name)
    writers = [engine.writer_for(destination, None)]
    arrives_exact = writers[0].arrives_exact
    if arrives_exact:
        writers = [engine.writer_for(destination, psnr) for psnr in PSNRS]
    is_enlarged = is_clip and not arrives_exact
    pixels = as_sent(pixels, writers[0].longest_side, is_enlarged=is_enlarged)
    # "at 40 dB", "for signal": without the preposition.
    named = {writer.limit.split(" ", 1)[1]: writer for writer in writers}
    sizes = {limit: writer.capacity(pixels) for limit, writer in named.items()}
    spared = {limit: writer.spared_capacity(pixels) for limit, writer in named.items()}
    small = {limit: writer.small_version_capacity(pixels) for limit, writer in named.items()}
    height, width = pixels.shape[:2]
    if as_json:
        print_json(
            {
                "file": str(cover),
                "engine": engine.name,
                "width": width,
                "height": height,
                "bytes": sizes,
                "spared_bytes": spared,
                "small_version_bytes": small,
            }
        )
        return
    typer.echo(f"{cover}: {width}x{height}")
    for limit, size in sizes.items():
        _print_size(limit, size, GOOD if arrives_exact else SMALL)
        if spared[limit] < size:
            typer.echo(
                f"{limit}: clips and photos take {spared[limit]} of them at most, so that they "
                f"survive a crop, beside a small version of {small[limit]}"
            )


def _print_size(limit: str, size: int, like: Examples) -> None:
    seconds, photos = 8 * size / like.bits_a_second, size / like.photo_bytes
    typer.echo(
        f"{limit}: {size} bytes, about {seconds:.1f} s of {like.clip} at "
        f"{like.bits_a_second / 1e6:g} Mbit/s or {photos:.1f} photos of "
        f"{like.photo_bytes / 1000:g} kB"
    )
