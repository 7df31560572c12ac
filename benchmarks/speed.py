"""Time and memory of both passes of the bundled models, as a Markdown table.

Each row runs in a process of its own, on generated pictures; the time is the median of several
runs of the network over uint8 pictures in memory, without reading and writing files.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence

SIZES = {"480p": (480, 854), "1080p": (1080, 1920), "4K": (2160, 3840)}


def measure(model: str, size: str, device: str, repeats: int) -> dict[str, float | int | str]:
    """Run one row in this process."""
    import resource

    import numpy as np
    import torch

    from iicnet_cli.inference.device import choose_device
    from iicnet_cli.inference.runner import Runner
    from iicnet_cli.zoo import find

    height, width = SIZES[size]
    runner = Runner(find(model).load(), choose_device(device).device)
    images = np.random.default_rng(0).integers(
        0, 256, (runner.config.images, height, width, 3), dtype=np.uint8
    )
    embedding = runner.embed(images)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024
    )
    seconds: dict[str, list[float]] = {"embed": [], "restore": []}
    for _ in range(repeats):
        began = time.perf_counter()
        runner.embed(images)
        middle = time.perf_counter()
        runner.restore(embedding)
        seconds["embed"].append(middle - began)
        seconds["restore"].append(time.perf_counter() - middle)
    return {
        "model": model,
        "size": size,
        "device": device,
        "threads": torch.get_num_threads(),
        "embed_seconds": statistics.median(seconds["embed"]),
        "restore_seconds": statistics.median(seconds["restore"]),
        "peak_bytes": peak,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", action="append", metavar="NAME", help="repeatable")
    parser.add_argument("--size", action="append", choices=SIZES, help="repeatable; 480p, 1080p")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="a line of JSON for each row")
    parser.add_argument("--row", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.row:
        model, size = options.row
        print(json.dumps(measure(model, size, options.device, options.repeats)))
        return 0
    if not options.json:
        print("| model | pictures | threads | embed s | restore s | peak memory, MB |")
        print("| --- | --- | ---: | ---: | ---: | ---: |")
    for model in options.model or ["stego-2", "stego-3", "video-5", "video-9"]:
        for size in options.size or ["480p", "1080p"]:
            command = [sys.executable, __file__, "--row", model, size]
            command += ["--device", options.device, "--repeats", str(options.repeats)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
            if done.returncode:
                return done.returncode
            if options.json:
                print(done.stdout, end="")
                continue
            row = json.loads(done.stdout)
            print(
                f"| {model} | {size} | {row['threads']} | {row['embed_seconds']:.2f} | "
                f"{row['restore_seconds']:.2f} | {row['peak_bytes'] / 1e6:.0f} |",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
