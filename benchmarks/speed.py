"""Time and memory of both passes: bundled models, the paper's networks, and a plain yardstick.

Each row runs in a process of its own, on generated pictures in memory; seconds are the median of
several runs. The name of a row says what is measured:

* ``NAME``: a bundled model.
* ``paper/NAME``: the paper's network of that size, run by this project. Its weights are random, for
  its speed does not depend on them.
* ``bf16/`` and ``compiled/`` before either: with ``--precision bf16`` and ``--compile``.
* ``plain/NAME``: the paper's network run as such code usually is, in PyTorch's default memory
  layout and the whole picture at once; but without gradients, whose record does not fit into 24 GB
  at 480p.

GFLOP/s are those of the convolutions, and each multiplication counts as 2. They are compared with
the fastest fp32 3x3 convolution that the machine does in the same run.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tables import table_head, table_row

if TYPE_CHECKING:
    import torch

    from iicnet_cli.network import IICNet

SIZES = {"480p": (480, 854), "1080p": (1080, 1920), "4K": (2160, 3840)}
"""Height and width in pixels of each size."""
MODELS = ("plain/video-5", "paper/video-5", "video-5", "plain/stego-3", "paper/stego-3", "stego-3")
"""Names of the rows that are measured unless others are asked for."""
PAPER = {"plain", "paper"}
"""Kinds of rows that run the paper's networks. On a CPU they are slow, so they run once, and by
default at the smallest size only."""
KINDS = {*PAPER, "bf16", "compiled"}
"""All kinds of rows: what may stand before the name of a model."""

COLUMNS = (
    "network",
    "parameters",
    "pictures",
    "embed s",
    "restore s",
    "times as fast",
    "peak memory, MB",
    "GFLOP/s",
    "of peak",
)
"""Titles of the table's columns."""


@dataclasses.dataclass(frozen=True)
class Row:
    """One network at one size.

    Attributes:
        model: name of the row.
        size: a key of ``SIZES``.
        device: as asked for.
        threads: number of threads of PyTorch.
        parameters: number of the network's weights.
        embed_seconds: of the embedding pass.
        restore_seconds: of the restoring pass.
        peak_bytes: most memory that the process used; on CUDA, that its tensors took.
        flops: of one pass over all pictures of one embedding.
    """

    model: str
    size: str
    device: str
    threads: int
    parameters: int
    embed_seconds: float
    restore_seconds: float
    peak_bytes: int
    flops: int

    @property
    def seconds(self) -> float:
        """Seconds of both passes together."""
        return self.embed_seconds + self.restore_seconds

    @property
    def gigaflops(self) -> float:
        """GFLOP/s over both passes."""
        return 2 * self.flops / self.seconds / 1e9


def split_name(model: str) -> tuple[set[str], str]:
    """The kinds of a row, and the name of its model.

    >>> split_name("paper/video-5")
    ({'paper'}, 'video-5')
    """
    *kinds, name = model.split("/")
    return set(kinds), name


def build(model: str) -> IICNet:
    """The network of a bundled model, or the paper's for as many pictures."""
    from iicnet_cli.network import IICNet, IICNetConfig
    from iicnet_cli.zoo import find

    kinds, name = split_name(model)
    if not kinds & PAPER:
        return find(name).load()
    return IICNet(IICNetConfig.paper(int(name.rpartition("-")[2]))).eval()


def passes(
    model: str, device: torch.device, height: int, width: int, memory: int | None
) -> tuple[Callable[[], object], Callable[[], object], IICNet]:
    """Functions that embed and restore once, on pictures of noise; and the network."""
    import numpy as np
    import torch

    from iicnet_cli.inference.runner import Runner
    from iicnet_cli.network.pixels import to_pixels, to_tensor

    kinds, _ = split_name(model)
    net = build(model)
    pictures = np.random.default_rng(0).integers(
        0, 256, (net.config.images, height, width, 3), dtype=np.uint8
    )
    if "plain" in kinds:
        net.to(device)
        images = to_tensor(pictures[None], device).contiguous()
        embedding = net.reference(images)

        @torch.no_grad()
        def embed() -> object:
            return to_pixels(net(images))

        @torch.no_grad()
        def restore() -> object:
            return to_pixels(net.inverse(embedding))

        return embed, restore, net
    runner = Runner(
        net,
        device,
        memory=memory,
        compiled="compiled" in kinds,
        precision="bf16" if "bf16" in kinds else "fp32",
    )
    reference = runner.reference(pictures)
    if device.type == "cuda":
        torch.cuda.synchronize()
    return lambda: runner.embed(pictures), lambda: runner.restore(reference), net


def measure(model: str, size: str, device: str, repeats: int, memory: int | None) -> Row:
    """Measure one row in this process.

    Args:
        model: name of the row.
        size: a key of ``SIZES``.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        repeats: number of runs that count. With 2 or more, another one comes before them.
        memory: bytes for the tensors of one tile; ``None`` for the default.
    """
    import torch

    from iicnet_cli.inference.device import choose_device

    height, width = SIZES[size]
    embed, restore, net = passes(model, choose_device(device).device, height, width, memory)
    # Compiling happens in the first run.
    warms_up = repeats > 1 or "compiled" in split_name(model)[0]
    embed_seconds, restore_seconds = _median_seconds((embed, restore), repeats, warms_up)
    return Row(
        model=model,
        size=size,
        device=device,
        threads=torch.get_num_threads(),
        parameters=sum(p.numel() for p in net.parameters()),
        embed_seconds=embed_seconds,
        restore_seconds=restore_seconds,
        peak_bytes=_peak_bytes(device),
        flops=_flops(net, height, width),
    )


def _median_seconds(
    calls: Sequence[Callable[[], object]], repeats: int, warms_up: bool
) -> list[float]:
    """Median time of each of some functions, which are called in turn."""
    seconds: list[list[float]] = [[] for _ in calls]
    for run in range(repeats + warms_up):
        for call, times in zip(calls, seconds, strict=True):
            began = time.perf_counter()
            call()
            if run or not warms_up:
                times.append(time.perf_counter() - began)
    return [statistics.median(times) for times in seconds]


def _peak_bytes(device: str) -> int:
    """Most memory that this process has used so far."""
    import resource

    import torch

    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated()
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _flops(net: IICNet, height: int, width: int) -> int:
    """Floating-point operations of one pass over pictures of this size."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    side = 32
    device = next(net.parameters()).device
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        net(torch.zeros(1, net.config.images, net.config.channels, side, side, device=device))
    flops: int = counter.get_total_flops()
    return flops * height * width // side**2


def convolution_peak(device: str, seconds: float = 2.0) -> float:
    """GFLOP/s of the fastest of some 3x3 convolutions, each repeated for ``seconds``."""
    import torch

    from iicnet_cli.inference.device import choose_device

    chosen = choose_device(device).device
    best = 0.0
    with torch.inference_mode():
        for channels in (32, 64, 128):
            layer = torch.nn.Conv2d(channels, channels, 3, padding=1)
            layer = layer.to(chosen, memory_format=torch.channels_last)  # type: ignore[call-overload]
            x = torch.rand(1, channels, 240, 427, device=chosen)
            x = x.to(memory_format=torch.channels_last)
            flops = 2 * 9 * channels**2 * x.shape[2] * x.shape[3]
            end = time.perf_counter() + seconds
            while (began := time.perf_counter()) < end:
                layer(x)
                if chosen.type == "cuda":
                    torch.cuda.synchronize()
                best = max(best, flops / (time.perf_counter() - began) / 1e9)
    return best


def cells(row: Row, peak: float, yardsticks: dict[tuple[str, str], float]) -> list[str]:
    """A row of the table.

    Args:
        row: the figures.
        peak: GFLOP/s of the fastest convolution.
        yardsticks: seconds of the plain networks by name and size.
    """
    plain = yardsticks.get((split_name(row.model)[1], row.size))
    return [
        row.model,
        f"{row.parameters / 1e6:.2f} M",
        row.size,
        f"{row.embed_seconds:.2f}",
        f"{row.restore_seconds:.2f}",
        f"{plain / row.seconds:.1f}" if plain else "-",
        f"{row.peak_bytes / 1e6:.0f}",
        f"{row.gigaflops:.0f}",
        f"{100 * row.gigaflops / peak:.0f} %",
    ]


def memory_size(text: str) -> int | None:
    """Bytes of a size as the command line takes it."""
    from iicnet_cli.cli.console import parse_memory
    from iicnet_cli.errors import UsageError

    try:
        return parse_memory(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def row_name(text: str) -> str:
    """The name of a row, checked."""
    kinds, _ = split_name(text)
    if kinds - KINDS or ("plain" in kinds and len(kinds) > 1):
        raise argparse.ArgumentTypeError(f"no such kind of network: {text}")
    return text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--model",
        action="append",
        type=row_name,
        metavar="NAME",
        help="a bundled model or paper/NAME, either behind bf16/ or compiled/ or both; or "
        "plain/NAME; may be repeated; by default " + ", ".join(MODELS),
    )
    parser.add_argument(
        "--size",
        action="append",
        choices=SIZES,
        help="may be repeated; by default 480p, and 1080p and 4K for bundled models, too",
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--memory",
        type=memory_size,
        metavar="SIZE",
        help="for the tensors of one tile, as of `iicnet embed`",
    )
    parser.add_argument("--json", action="store_true", help="print a line of JSON for each row")
    parser.add_argument("--row", nargs=2, help=argparse.SUPPRESS)
    return parser


def measure_in_process(model: str, size: str, options: argparse.Namespace) -> Row | None:
    """Measure one row in a process of its own; ``None`` if that failed."""
    runs_once = split_name(model)[0] & PAPER and not options.device.startswith("cuda")
    command = [sys.executable, __file__, "--row", model, size, "--device", options.device]
    command += ["--repeats", "1" if runs_once else str(options.repeats)]
    if options.memory:
        command += ["--memory", str(options.memory)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        print(f"speed: {model} at {size} failed ({done.returncode})", file=sys.stderr)
        return None
    return Row(**json.loads(done.stdout))


def measure_all(options: argparse.Namespace) -> bool:
    """Measure and print all rows; returns whether none failed."""
    peak = convolution_peak(options.device)
    if options.json:
        print(json.dumps({"convolution_peak_gigaflops": peak, "device": options.device}))
    else:
        print(table_head(COLUMNS, text_columns=(0, 2)))
    yardsticks: dict[tuple[str, str], float] = {}
    failed, threads = False, 0
    for model in options.model or MODELS:
        kinds, name = split_name(model)
        for size in options.size or (["480p"] if kinds & PAPER else SIZES):
            row = measure_in_process(model, size, options)
            if row is None:
                failed = True
                continue
            threads = row.threads
            if "plain" in kinds:
                yardsticks[name, size] = row.seconds
            if options.json:
                record = dataclasses.asdict(row) | {"gigaflops": row.gigaflops}
                print(json.dumps(record), flush=True)
            else:
                print(table_row(cells(row, peak, yardsticks)), flush=True)
    if not options.json:
        print(f"\nFastest convolution seen: {peak:.0f} GFLOP/s, {threads} threads.")
    return not failed


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; returns the exit status."""
    options = _parser().parse_args(arguments)
    if options.row:
        model, size = options.row
        row = measure(model, size, options.device, options.repeats, options.memory)
        print(json.dumps(dataclasses.asdict(row)))
        return 0
    return 0 if measure_all(options) else 1


if __name__ == "__main__":
    sys.exit(main())
