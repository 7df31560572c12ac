"""Compare short training runs that differ in one setting each, as a Markdown table.

All runs have the same seed, so they see the same pictures in the same order, and take the same
number of steps. The table also gives the CPU time of a step. After few steps another seed makes as
much difference as most settings do (2.4 dB after 150 steps), so compare several seeds (--seed).
Figures of earlier runs are in docs/notebook/training.md.
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

from tables import table_head, table_row

from iicnet_cli.errors import ExitCode, IICNetError
from iicnet_cli.inference.device import choose_device
from iicnet_cli.training.data import TrainingData, load_data
from iicnet_cli.training.loop import train
from iicnet_cli.training.pack import unpacked
from iicnet_cli.training.plan import Budget, Compute, Hooks, TrainingPlan
from iicnet_cli.training.recipe import Recipe
from iicnet_cli.training.validation import measure

BASE: dict[str, Any] = {
    "name": "base",
    "task": "stego",
    "stages": [{"until": 1.0, "crop": 64, "batch": 4}],
    "network": {"images": 3, "blocks": 8, "width": 32},
}
"""The recipe of the first run; the others change one thing of it."""

DATA = BASE | {"stages": [{"until": 1.0, "crop": 160, "batch": 1}]}
"""The recipe that reads the data of all runs. Its crop is the size of the held-out samples."""

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
"""Fields of the base recipe that each run changes."""

COLUMNS = ("change", "parameters", "CPU s / step", "embed dB", "restored dB", "sum", "gain")
"""Titles of the table's columns."""


@dataclasses.dataclass(frozen=True)
class Row:
    """The figures of one run; PSNRs are in dB, of held-out crops after rounding."""

    change: str
    parameters: int
    steps: int
    cpu_seconds: float
    embed_psnr: float
    restored_psnr: float

    @property
    def total(self) -> float:
        """Sum of both PSNRs, in dB."""
        return self.embed_psnr + self.restored_psnr


def changed(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of the base with some fields changed; tables are merged field by field."""
    result = dict(base)
    for key, value in change.items():
        nested = isinstance(value, Mapping)
        result[key] = changed(base.get(key, {}), value) if nested else value
    return result


def run(change: str, data: TrainingData, *, steps: int, seed: int, device: str) -> Row:
    """Train one of the :data:`CASES`, and measure it on the held-out samples.

    Raises:
        TrainingError: the loss diverged.
    """
    recipe = Recipe.model_validate(changed(BASE, CASES[change]) | {"seed": seed})
    chosen = choose_device(device).device
    with tempfile.TemporaryDirectory() as scratch:
        begin = time.process_time()
        outcome = train(
            TrainingPlan(recipe),
            data,
            Path(scratch),
            Budget(steps),
            Compute(chosen),
            Hooks(evaluate_every=steps + 1),
        )
        seconds = time.process_time() - begin
    embed, restored = measure(outcome.net, data.held_out, chosen)
    parameters = sum(p.numel() for p in outcome.net.parameters())
    return Row(change, parameters, outcome.steps, seconds, embed, restored)


def cells(row: Row, base: Row | None) -> list[str]:
    """Format a row of the table, with its gain over the base."""
    return [
        row.change,
        f"{row.parameters:,}",
        f"{row.cpu_seconds / row.steps:.2f}",
        f"{row.embed_psnr:.2f}",
        f"{row.restored_psnr:.2f}",
        f"{row.total:.2f}",
        f"{row.total - base.total:+.2f}" if base else "-",
    ]


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "-d",
        "--data",
        type=Path,
        action="append",
        required=True,
        help="folder of photos; repeatable",
    )
    parser.add_argument("--steps", type=int, default=300, help="steps of each run (default 300)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--case",
        action="append",
        choices=list(CASES),
        metavar="CHANGE",
        help="run to make; repeatable, all by default",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="also write all figures to this file"
    )
    options = parser.parse_args(arguments)
    if options.steps < 1:
        parser.error("--steps must be 1 or more")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the chosen cases, print the table, and return the exit status."""
    options = parse(arguments)
    rows: list[Row] = []
    try:
        with unpacked(options.data) as folders:
            data = load_data(Recipe.model_validate(DATA), folders)
            print(table_head(COLUMNS))
            for change in options.case or CASES:
                row = run(
                    change,
                    data,
                    steps=options.steps,
                    seed=options.seed,
                    device=options.device,
                )
                rows.append(row)
                base = next((r for r in rows if not CASES[r.change]), None)
                print(table_row(cells(row, base)), flush=True)
    except IICNetError as error:
        print(f"training_runs: {error}", file=sys.stderr)
        return error.exit_code
    if options.json:
        record = [dataclasses.asdict(row) for row in rows]
        options.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(main())
