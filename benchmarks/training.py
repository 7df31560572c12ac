"""Short training runs that differ in one thing each, as a Markdown table.

All start from random weights with the same seed, so from the same pictures in the same order, and
take the same number of steps; what a step costs stands beside. See docs/notebook/training.md for
the figures that the bundled recipes came from. After few steps another seed makes as much
difference as most changes do (150 steps: 2.4 dB): compare with several (--seed).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from iicnet_cli.errors import ExitCode, IICNetError
from iicnet_cli.inference.device import choose_device
from iicnet_cli.pictures.arrays import PixelArray
from iicnet_cli.training.data import build_samplers
from iicnet_cli.training.loop import Budget, measure, train
from iicnet_cli.training.pack import unpacked
from iicnet_cli.training.recipe import Recipe
from iicnet_cli.training.samplers import Sampler

BASE: dict[str, Any] = {
    "name": "base",
    "task": "stego",
    "stages": [{"until": 1.0, "crop": 64, "batch": 4}],
    "network": {"images": 3, "blocks": 8, "width": 32},
}

DATA = BASE | {"stages": [{"until": 1.0, "crop": 160, "batch": 1}]}
"""What all draw from: photos that hold this crop, the size of the held-out ones."""

CASES: dict[str, dict[str, Any]] = {
    "base: 8 blocks, width 32, depth 1, batch 4, Muon 5e-3": {},
    "width 16": {"network": {"width": 16}},
    "width 48": {"network": {"width": 48}},
    "4 blocks": {"network": {"blocks": 4}},
    "12 blocks": {"network": {"blocks": 12}},
    "4 blocks, width 64": {"network": {"blocks": 4, "width": 64}},
    "depth 0": {"network": {"depth": 0}},
    "depth 2": {"network": {"depth": 2}},
    "dense subnets, growth 16": {"network": {"subnet": "dense", "width": 16}},
    "no mixing": {"network": {"mixing": False}},
    "batch 2": {"stages": [{"until": 1.0, "crop": 64, "batch": 2}]},
    "batch 8": {"stages": [{"until": 1.0, "crop": 64, "batch": 8}]},
    "crop 96": {"stages": [{"until": 1.0, "crop": 96, "batch": 4}]},
    "learning rate 2.5e-3": {"learning_rate": 2.5e-3},
    "learning rate 1e-2": {"learning_rate": 1e-2},
    "weight decay 0.1": {"weight_decay": 0.1},
    "EMA 0.99": {"ema": 0.99},
    "loss: PSNR, 1 to 1.5": {"loss": {"form": "psnr", "embedding": 1.0, "restored": 1.5}},
    "loss: PSNR, 1 to 5": {"loss": {"form": "psnr", "embedding": 1.0, "restored": 5.0}},
    "weight of the embedding 6": {"loss": {"embedding": 6.0}},
    "weight of the embedding 20": {"loss": {"embedding": 20.0}},
}
"""Each is the base with these fields of the recipe changed."""

COLUMNS = ("change", "parameters", "CPU s / step", "embed dB", "restored dB", "sum", "gain")


@dataclasses.dataclass(frozen=True)
class Row:
    """One run; dB on held-out crops after rounding."""

    change: str
    parameters: int
    steps: int
    cpu_seconds: float
    embed_psnr: float
    restored_psnr: float

    @property
    def total(self) -> float:
        """Both PSNRs together, dB."""
        return self.embed_psnr + self.restored_psnr


def changed(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """The base with some fields changed, those of its tables one by one."""
    result = dict(base)
    for key, value in change.items():
        nested = isinstance(value, Mapping)
        result[key] = changed(base.get(key, {}), value) if nested else value
    return result


def run(
    change: str,
    sampler: Sampler,
    held_out: list[PixelArray],
    *,
    steps: int,
    seed: int,
    device: str,
) -> Row:
    """Train one case, and measure it on held-out crops (K, H, W, 3).

    Raises:
        TrainingError: the loss is not finite.
    """
    recipe = Recipe.model_validate(changed(BASE, CASES[change]) | {"seed": seed})
    chosen = choose_device(device).device
    with tempfile.TemporaryDirectory() as scratch:
        begin = time.process_time()
        outcome = train(
            recipe,
            sampler,
            held_out,
            Budget(steps, None),
            Path(scratch),
            device=chosen,
            evaluate_every=steps + 1,
        )
        seconds = time.process_time() - begin
    embed, restored = measure(outcome.net, held_out, chosen)
    parameters = sum(p.numel() for p in outcome.net.parameters())
    return Row(change, parameters, outcome.steps, seconds, embed, restored)


def cells(row: Row, base: Row | None) -> list[str]:
    """A row of the table, beside the base's."""
    return [
        row.change,
        f"{row.parameters:,}",
        f"{row.cpu_seconds / row.steps:.2f}",
        f"{row.embed_psnr:.2f}",
        f"{row.restored_psnr:.2f}",
        f"{row.total:.2f}",
        f"{row.total - base.total:+.2f}" if base else "-",
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "-d", "--data", type=Path, action="append", required=True, help="photos; repeatable"
    )
    parser.add_argument("--steps", type=int, default=300, help="of each run (default 300)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--case",
        action="append",
        choices=list(CASES),
        metavar="CHANGE",
        help="repeatable; all by default, in the order of the table",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there too")
    options = parser.parse_args(arguments)
    if options.steps < 1:
        parser.error("--steps must be 1 or more")
    rows: list[Row] = []
    try:
        with unpacked(options.data) as folders:
            sampler, held_out = build_samplers(Recipe.model_validate(DATA), folders)
            print(f"| {' | '.join(COLUMNS)} |")
            print(f"|{'|'.join(['---', *['---:'] * (len(COLUMNS) - 1)])}|")
            for change in options.case or CASES:
                row = run(
                    change,
                    sampler,
                    held_out,
                    steps=options.steps,
                    seed=options.seed,
                    device=options.device,
                )
                rows.append(row)
                base = next((r for r in rows if not CASES[r.change]), None)
                print(f"| {' | '.join(cells(row, base))} |", flush=True)
    except IICNetError as error:
        print(f"training: {error}", file=sys.stderr)
        return error.exit_code
    if options.json:
        record = [dataclasses.asdict(row) for row in rows]
        options.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(main())
