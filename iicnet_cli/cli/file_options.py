"""Options of the engines that carry files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

ForOption = Annotated[
    Literal["edits", "file"],
    typer.Option(
        "--for",
        help="Where the PNG will go. edits: it may be cropped or drawn on; the network. file: it "
        "arrives as it is, as by mail or cloud; then it holds whole clips with sound, and photos "
        "often byte for byte.",
    ),
]
ExactOption = Annotated[
    bool,
    typer.Option(
        "--exact",
        help="--for file: write nothing unless what is hidden fits byte for byte. The cover itself "
        "is also exact where there is room.",
    ),
]
AttachOption = Annotated[
    list[Path] | None,
    typer.Option(help="--for file: carry this file, too, byte for byte; repeatable."),
]
PasswordOption = Annotated[
    bool,
    typer.Option(
        "--password",
        help="Encrypt what a PNG of --for file carries. Ask for the password, or take it from the "
        "environment variable IICNET_PASSWORD. It hides the content, not that there is something.",
    ),
]
