"""Options that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

from iicnet_cli.options import Precision

QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]
VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", help="Print more.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show a traceback on errors.")]
OverwriteOption = Annotated[bool, typer.Option("--yes", "-y", help="Overwrite existing outputs.")]
DeviceOption = Annotated[
    str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.", metavar="DEVICE")
]
MemoryOption = Annotated[
    str | None,
    typer.Option(
        "--memory",
        help="Memory for the network, such as 512M or 2G: larger pictures are cut into tiles, and "
        "as many groups of a clip are embedded at once as fit.",
        metavar="SIZE",
    ),
]
CompileOption = Annotated[
    bool,
    typer.Option(
        "--compile",
        help="Compile the network first. This takes half a minute or more, then the network is 5 "
        "to 20 % faster: for long clips. Needs a C++ compiler.",
    ),
]

PrecisionOption = Annotated[
    Precision,
    typer.Option(
        "--precision",
        help="Arithmetic of the network. tf32 (CUDA only) and bf16 are faster on GPUs, bf16 also "
        "on CPUs that have its instructions (others are far slower); both restore slightly worse.",
    ),
]
