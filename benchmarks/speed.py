"""Time and memory of both passes: bundled models, the paper's networks, and a plain yardstick.

Each row runs in a process of its own, on generated pictures in memory, without files; seconds are
the median of several runs. A name alone is a bundled model. `paper/NAME` is the paper's network of
that size (random weights: its speed does not depend on them) run by this project; `bf16/` and
`compiled/` before either are `--precision bf16` and `--compile`; `plain/NAME` is the paper's
network run as such code usually is: in PyTorch's default memory layout, the whole picture at once
(without gradients, whose record does not fit into 24 GB at 480p). GFLOP/s are of the convolutions,
2 for each multiplication; their share is of the fastest fp32 3x3 convolution that the machine was
seen to do in the same run.
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

if TYPE_CHECKING:
    import torch

    from iicnet_cli.network import IICNet

SIZES = {"480p": (480, 854), "1080p": (1080, 1920), "4K": (2160, 3840)}
MODELS = ("plain/video-5", "paper/video-5", "video-5", "plain/stego-3", "paper/stego-3", "stego-3")
PAPER = {"plain", "paper"}
"""Kinds of the paper's networks; measured at the smallest size and once, unless asked for."""
KINDS = {*PAPER, "bf16", "compiled"}

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


@dataclasses.dataclass(frozen=True)
class Row:
    """One network at one size; ``embed_flops`` is for all pictures of one embedding."""

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
        """Of both passes."""
        return self.embed_seconds + self.restore_seconds

    @property
    def gigaflops(self) -> float:
        """Per second, over both passes."""
        return 2 * self.flops / self.seconds / 1e9


def parsed(model: str) -> tuple[set[str], str]:
    """Kinds and name of a row."""
    *kinds, name = model.split("/")
    return set(kinds), name


def build(model: str) -> IICNet:
    """The network of a bundled model, or the paper's of as many images."""
    from iicnet_cli.network import IICNet, IICNetConfig
    from iicnet_cli.zoo import find

    kinds, name = parsed(model)
    if not kinds & PAPER:
        return find(name).load()
    return IICNet(IICNetConfig.paper(int(name.rpartition("-")[2]))).eval()


def passes(
    model: str, device: torch.device, height: int, width: int, memory: int | None
) -> tuple[Callable[[], object], Callable[[], object], IICNet]:
    """Functions that embed and restore once, on pictures made here; and the network."""
    import numpy as np
    import torch

    from iicnet_cli.inference.runner import Runner
    from iicnet_cli.network.pixels import to_pixels, to_tensor

    kinds, _ = parsed(model)
    net = build(model)
    pictures = np.random.default_rng(0).integers(
        0, 256, (net.config.images, height, width, 3), dtype=np.uint8
    )
    if "plain" in kinds:
        net.to(device)
        images = to_tensor(pictures[None], device).contiguous()
        shown = net.reference(images)

        @torch.no_grad()
        def embed() -> object:
            return to_pixels(net(images))

        @torch.no_grad()
        def restore() -> object:
            return to_pixels(net.inverse(shown))

        return embed, restore, net
    runner = Runner(
        net,
        device,
        memory=memory,
        compiled="compiled" in kinds,
        precision="bf16" if "bf16" in kinds else "fp32",
    )
    embedding = runner.reference(pictures)
    if device.type == "cuda":
        torch.cuda.synchronize()
    return lambda: runner.embed(pictures), lambda: runner.restore(embedding), net


def measure(model: str, size: str, device: str, repeats: int, memory: int | None) -> Row:
    """One row, in this process."""
    import resource

    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from iicnet_cli.inference.device import choose_device

    height, width = SIZES[size]
    embed, restore, net = passes(model, choose_device(device).device, height, width, memory)
    # What is compiled is so in the first run.
    warming = repeats > 1 or "compiled" in parsed(model)[0]
    seconds: dict[Callable[[], object], list[float]] = {embed: [], restore: []}
    for run in range(repeats + warming):
        for call, times in seconds.items():
            began = time.perf_counter()
            call()
            if run or not warming:
                times.append(time.perf_counter() - began)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024
    )
    if device.startswith("cuda"):
        peak = torch.cuda.max_memory_allocated()
    side = 32
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        device_of = next(net.parameters()).device
        net(torch.zeros(1, net.config.images, net.config.channels, side, side, device=device_of))
    return Row(
        model=model,
        size=size,
        device=device,
        threads=torch.get_num_threads(),
        parameters=sum(p.numel() for p in net.parameters()),
        embed_seconds=statistics.median(seconds[embed]),
        restore_seconds=statistics.median(seconds[restore]),
        peak_bytes=peak,
        flops=counter.get_total_flops() * height * width // side**2,
    )


def convolution_peak(device: str, seconds: float = 2.0) -> float:
    """GFLOP/s of the fastest of some 3x3 convolutions, each run for so many seconds."""
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
    """A row of the table; ``yardsticks`` are the seconds of the plain networks by name, size."""
    plain = yardsticks.get((parsed(row.model)[1], row.size))
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


def size_of(text: str) -> int | None:
    """Bytes of a size as the command line takes it."""
    from iicnet_cli.cli.console import parse_memory
    from iicnet_cli.errors import UsageError

    try:
        return parse_memory(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--model",
        action="append",
        metavar="NAME",
        help="a bundled model or paper/NAME, either behind bf16/ or compiled/ or both; or "
        "plain/NAME; repeatable; by default " + ", ".join(MODELS),
    )
    parser.add_argument(
        "--size",
        action="append",
        choices=SIZES,
        help="repeatable; by default 480p, and 1080p and 4K for bundled models too",
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--memory",
        type=size_of,
        metavar="SIZE",
        help="for the tensors of one tile, as of `iicnet embed`",
    )
    parser.add_argument("--json", action="store_true", help="a line of JSON for each row")
    parser.add_argument("--row", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.row:
        model, size = options.row
        row = measure(model, size, options.device, options.repeats, options.memory)
        print(json.dumps(dataclasses.asdict(row)))
        return 0

    for model in options.model or ():
        kinds, _ = parsed(model)
        if kinds - KINDS or ("plain" in kinds and len(kinds) > 1):
            parser.error(f"no such kind of network: {model}")
    peak = convolution_peak(options.device)
    if options.json:
        print(json.dumps({"convolution_peak_gigaflops": peak, "device": options.device}))
    else:
        print(" | ".join(["", *COLUMNS, ""]).strip())
        print(" | ".join(["", "---", "---:", "---", *["---:"] * 6, ""]).strip())
    yardsticks: dict[tuple[str, str], float] = {}
    failed, threads = False, 0
    for model in options.model or MODELS:
        kinds, name = parsed(model)
        slow = bool(kinds & PAPER)
        for size in options.size or (["480p"] if slow else SIZES):
            command = [sys.executable, __file__, "--row", model, size]
            # On a GPU the first run of a process is mostly start-up, and no row takes long.
            repeats = 1 if slow and not options.device.startswith("cuda") else options.repeats
            command += ["--device", options.device, "--repeats", str(repeats)]
            if options.memory:
                command += ["--memory", str(options.memory)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
            if done.returncode:
                print(f"speed: {model} at {size} failed ({done.returncode})", file=sys.stderr)
                failed = True
                continue
            row = Row(**json.loads(done.stdout))
            threads = row.threads
            if "plain" in kinds:
                yardsticks[name, size] = row.seconds
            if options.json:
                record = dataclasses.asdict(row) | {"gigaflops": row.gigaflops}
                print(json.dumps(record), flush=True)
            else:
                print(" | ".join(["", *cells(row, peak, yardsticks), ""]).strip(), flush=True)
    if not options.json:
        print(f"\nFastest convolution seen: {peak:.0f} GFLOP/s, {threads} threads.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
