"""Options of the engines that carry files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ForOption = Annotated[
    str,
    typer.Option(
        "--for",
        help="Where the picture will go. edits: it may be cropped or drawn on; the network. file: "
        "it arrives as it is, as by mail or cloud; then it holds whole clips with sound, and "
        "photos often byte for byte. jpeg:QUALITY: it survives JPEG of this quality, 60 to 100, "
        "and better ones; jpeg is jpeg:75. signal, signal-high, telegram, telegram-large, "
        "whatsapp, x: what these services do to photos, as far as that is known; the picture is "
        "made in their size. What has to survive JPEG holds one photo, some small ones, or a short "
        "clip with sound, and may be written as .jpg.",
        metavar="DESTINATION",
    ),
]
ExactOption = Annotated[
    bool,
    typer.Option(
        "--exact",
        help="Not --for edits: write nothing unless what is hidden fits byte for byte. With --for "
        "file, the cover itself is also exact where there is room.",
    ),
]
AttachOption = Annotated[
    list[Path] | None,
    typer.Option(help="Not --for edits: carry this file, too, byte for byte; repeatable."),
]
PasswordOption = Annotated[
    bool,
    typer.Option(
        "--password",
        help="Not --for edits: encrypt what is carried. Ask for the password, or take it from the "
        "environment variable IICNET_PASSWORD. It hides the content, not that there is something.",
    ),
]
