"""Options that several commands have."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Annotated

import typer

from iicnet_cli.options import Precision
from iicnet_cli.pictures.limits import DEFAULT_MAX_PIXELS, LARGEST_MAX_PIXELS, MAX_PIXELS_VARIABLE

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


def _set_max_pixels(value: int | None) -> int | None:
    if value is not None:
        # Worker processes inherit it.
        os.environ[MAX_PIXELS_VARIABLE] = str(value)
    return value


MaxPixelsOption = Annotated[
    int | None,
    typer.Option(
        "--max-pixels",
        help="Refuse files whose pictures have more pixels than this together, by default "
        f"{DEFAULT_MAX_PIXELS}. Many more take much memory.",
        min=1,
        max=LARGEST_MAX_PIXELS,
        callback=_set_max_pixels,
        metavar="N",
    ),
]
CompileOption = Annotated[
    bool,
    typer.Option(
        "--compile",
        help="Let PyTorch compile the network first, which takes half a minute or more. For long "
        "clips on a GPU: in fp32 on a CPU the network is faster without it. Needs a C++ compiler.",
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

JobsOption = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        help="Many inputs: work on this many at the same time, each with its share of the cores. "
        "By default as many as there are cores, and 2 GiB of free memory for each; --memory is for "
        "each of them.",
        min=1,
        envvar="IICNET_JOBS",
        show_envvar=True,
        metavar="N",
    ),
]
ShardOption = Annotated[
    str | None,
    typer.Option(
        "--shard",
        help="Many inputs: take the I-th of N equal parts, 1/N to N/N; for job arrays.",
        metavar="I/N",
    ),
]
SkipOption = Annotated[
    bool,
    typer.Option(
        "--skip-existing", help="Many inputs: leave out those whose output is there and complete."
    ),
]
OnOption = Annotated[
    str | None,
    typer.Option(
        "--on",
        help="Many inputs: work on the machines of a Ray cluster, ray or ray://HEAD:PORT. The same "
        "command, given again, goes on where it was interrupted. Needs iicnet[ray].",
        metavar="CLUSTER",
    ),
]


@dataclass(frozen=True)
class Sharing:
    """How many inputs are shared out; the fields are the options above."""

    jobs: int | None = None
    shard: str | None = None
    skip_existing: bool = False
    on: str | None = None

    @property
    def is_for_many(self) -> bool:
        """Whether an option was given that has no sense for one output."""
        return self.shard is not None or self.on is not None or self.skip_existing
