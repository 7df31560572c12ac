"""Quality of the bundled models over folders of photos and clips, as a Markdown table (make bench).

Every figure is measured on PNGs that were written and read back. Beside each model stands what
people can do without a network, on the same pictures in the same run (see ``baselines.py``), and
what the paper reports. The paper's figures are of other pictures: they show the scale, no more.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from evaluation_data import MEDIA, bundled_checkpoints, display_name
from tables import table_head, table_row
from without_network import METHODS, Baselines, figures_cell, measure_without_network

from iicnet_cli import Converter, EmbedOptions, __version__
from iicnet_cli.engines.base import Computing
from iicnet_cli.engines.network.network_engine import NetworkEngine
from iicnet_cli.errors import ExitCode, IICNetError, UsageError
from iicnet_cli.evaluation import Evaluation, Row, evaluate
from iicnet_cli.zoo import Checkpoint, find

PAPER = {
    "video-5": (38.90, 41.73),
    "video-7": (38.16, 38.79),
    "video-9": (37.91, 36.70),
    "video-3-half": (37.59, 36.91),
    "video-5-half": (36.69, 33.98),
    "stereo": (37.5, (44.9 + 38.4) / 2),
    "dual": (
        (38.25 + 38.44 + 38.36) / 3,
        (50.17 + 43.46 + 49.12 + 43.66 + 48.85 + 43.58) / 6,
    ),
    "layers-3": (45.31, (52.71 + 44.59 + 44.92) / 3),
    "layers-2": (47.35, (60.23 + 43.72) / 2),
    "stego-2": (38.59, 48.60),
    "stego-3": (37.04, 42.88),
    "stego-4": (36.18, 39.88),
    "stego-5": (35.64, 37.94),
}
"""PSNR of the embedding and of the restored pictures in the paper (Tables 1 to 5), in dB; for the
dual view the mean over its zooms."""

PAPER_STEPS = {("video-9", 3): (37.07, 36.30), ("video-9", 5): (36.74, 36.07)}
"""The paper's PSNRs for clips of which every third or fifth frame is taken, by model and step."""

EXPLAINED = {
    "video": "whole groups of consecutive frames of each clip",
    "stereo": "each pair",
    "dual": "each photo at zoom 2, 4 and 8",
    "layers": "each cut-out before each photo",
    "stego": "each photo is the cover once, the next ones of its size are hidden",
    "grayscale": "each photo",
    "rescale": "each photo",
}
"""Which pictures each task is measured on."""

COLUMNS = (
    "model",
    "data",
    "PNGs",
    "embed dB",
    "restored dB",
    "hidden dB",
    "worst: embed / restored dB",
    "embed SSIM",
    "restored SSIM",
    "flat error",
    "network alone: embed / restored / hidden dB",
    "parameters",
    "MB",
    "paper: embed / restored dB",
    "ahead of the paper",
)
"""Titles of the table's columns, without those of the baselines."""

BASELINE_COLUMNS = (
    "--for file: embed / restored / hidden dB",
    "low-bit codec: embed / restored / hidden dB",
    "4-bit LSB: embed / restored / hidden dB",
)
"""Titles of the columns of the baselines, which stand before those of the paper."""
_PAPER_COLUMNS = 2
"""So many columns at the end compare with the paper."""


@dataclass(frozen=True)
class Measurement:
    """One model over one folder.

    Attributes:
        checkpoint: the model.
        evaluation: its figures.
        alone: its figures without the enhancement layer.
        parameters: number of its weights.
        baselines: what the same pictures give without a network, as far as that was measured.
    """

    checkpoint: Checkpoint
    evaluation: Evaluation
    alone: Evaluation
    parameters: int
    baselines: Baselines = field(default_factory=Baselines)

    @property
    def paper(self) -> tuple[float, float] | None:
        """The paper's figures for this model and step, if it has any."""
        name, step = self.checkpoint.name, self.evaluation.step
        return PAPER.get(name) if step == 1 else PAPER_STEPS.get((name, step))

    def cells(self) -> list[str]:
        """The row of the table."""
        average = self.evaluation.mean
        hidden = "-" if average.hidden_psnr is None else f"{average.hidden_psnr:.2f}"
        return [
            self.checkpoint.name,
            self.evaluation.data,
            str(len(self.evaluation.rows)),
            f"{average.embed_psnr:.2f}",
            f"{average.restored_psnr:.2f}",
            hidden,
            self._worst(),
            f"{average.embed_ssim:.4f}",
            f"{average.restored_ssim:.4f}",
            f"{average.embed_flat_error:.1f}",
            figures_cell(self.alone.mean),
            f"{self.parameters:,}",
            f"{self.checkpoint.size / 1e6:.2f}",
            *self.baselines.cells(),
            f"{self.paper[0]:.2f} / {self.paper[1]:.2f}" if self.paper else "-",
            self._ahead(),
        ]

    def _worst(self) -> str:
        """The lowest PSNRs of any PNG, which may be two different ones."""
        rows = self.evaluation.rows
        embed, restored = (
            min(figures)
            for figures in zip(*((r.embed_psnr, r.restored_psnr) for r in rows), strict=True)
        )
        return f"{embed:.2f} / {restored:.2f}"

    def _ahead(self) -> str:
        """How many PNGs have both figures above the paper's."""
        if self.paper is None:
            return "-"
        rows = self.evaluation.rows
        embed, restored = self.paper
        count = sum(row.embed_psnr > embed and row.restored_psnr > restored for row in rows)
        return f"{count} of {len(rows)}"

    def record(self) -> dict[str, Any]:
        """The same for JSON, with every PNG."""
        return {
            **asdict(self.evaluation),
            "mean": asdict(self.evaluation.mean),
            "network_alone": asdict(self.alone.mean),
            "weights_sha256": self.checkpoint.config.weights_sha256,
            "parameters": self.parameters,
            "bytes": self.checkpoint.size,
            "baselines": self.baselines.record(),
            "paper": dict(zip(("embed_psnr", "restored_psnr"), self.paper, strict=True))
            if self.paper
            else None,
        }


@dataclass(frozen=True)
class Plan:
    """What to measure models on.

    Attributes:
        folders: evaluation data by task; ``photos`` for tasks that are not in it.
        step: take every n-th frame of clips.
        limit: make at most this many PNGs for each model, evenly chosen; ``None`` for all.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        methods: what is measured: ``network``, and those of ``METHODS``.
        groups: of each clip, measure the methods on at most so many groups, evenly chosen.
        earlier: records of an earlier run by model, which give what is not measured.
    """

    folders: Mapping[str, Path]
    step: int = 1
    limit: int | None = None
    device: str = "auto"
    methods: frozenset[str] = frozenset({"network", *METHODS})
    groups: int | None = None
    earlier: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def folder_for(self, checkpoint: Checkpoint) -> Path:
        """The evaluation data for a model."""
        return self.folders.get(checkpoint.config.task, self.folders["photos"])

    def step_for(self, checkpoint: Checkpoint) -> int:
        """The step between frames; 1 for tasks other than clips."""
        return self.step if checkpoint.config.task == "video" else 1


def measure(checkpoint: Checkpoint, plan: Plan, converter: Converter) -> Measurement:
    """Measure one model.

    Raises:
        UsageError: figures of the network are needed that are neither measured nor known.
    """
    options = EmbedOptions(step=plan.step_for(checkpoint))
    record = plan.earlier.get(checkpoint.name)
    if "network" in plan.methods:
        evaluation, alone = (
            _evaluate(checkpoint, plan, converter, replace(options, enhance=enhance))
            for enhance in (True, False)
        )
    elif record is not None:
        evaluation, alone = _evaluations_in(record)
    else:
        raise UsageError(
            f"{checkpoint.name} is in no earlier run", hint="add --only network, or --earlier FILE"
        )
    engine = NetworkEngine(checkpoint, Computing(device=plan.device))
    baselines = Baselines.from_record((record or {}).get("baselines"))
    if plan.methods - {"network"}:
        baselines = baselines | measure_without_network(
            evaluation,
            checkpoint,
            plan.folder_for(checkpoint),
            engine,
            plan.methods,
            limit=plan.limit,
            groups=plan.groups,
        )
    parameters = sum(p.numel() for p in engine.runner.net.parameters())
    return Measurement(checkpoint, evaluation, alone, parameters, baselines)


def _evaluations_in(record: Mapping[str, Any]) -> tuple[Evaluation, Evaluation]:
    """The figures of a network with and without the enhancement layer, from another run."""
    rows = tuple(Row(**row) for row in record["rows"])
    alone = (Row(**record["network_alone"]),)
    name, data, step = record["model"], record["data"], record["step"]
    return Evaluation(name, data, step, rows), Evaluation(name, data, step, alone)


def _evaluate(
    checkpoint: Checkpoint, plan: Plan, converter: Converter, options: EmbedOptions
) -> Evaluation:
    """Evaluate one model, and tell about each PNG on stderr."""
    folder = plan.folder_for(checkpoint)
    rows = []
    for row in evaluate(checkpoint, folder, converter=converter, options=options, limit=plan.limit):
        rows.append(row)
        print(
            f"{checkpoint.name}{'' if options.enhance else ' alone'}, {row.name}: embedding "
            f"{row.embed_psnr:.2f} dB, restored {row.restored_psnr:.2f} dB",
            file=sys.stderr,
        )
    return Evaluation(checkpoint.name, display_name(folder), options.step, tuple(rows))


def table(measurements: Sequence[Measurement]) -> str:
    """The Markdown table."""
    before, after = COLUMNS[:-_PAPER_COLUMNS], COLUMNS[-_PAPER_COLUMNS:]
    columns = [*before, *BASELINE_COLUMNS, *after]
    rows = [table_row(measurement.cells()) for measurement in measurements]
    return "\n".join([table_head(columns, text_columns=(0, 1)), *rows])


def explanation(measurements: Sequence[Measurement]) -> str:
    """What the figures were measured on, and what they mean."""
    lines = _data_lines(measurements)
    codecs = {m.baselines.codec_name: None for m in measurements if m.baselines.codec}
    if any(m.baselines.file for m in measurements):
        lines.append(
            "--for file: all pictures, as PNGs, in the low bits of the cover, held at the model's "
            "embed dB; of a clip, each group in one PNG."
        )
    if codecs:
        lines.append(
            f"low-bit codec: the hidden pictures as {' or '.join(codecs)} in the low bits of the "
            "cover, in the best quality that fits at the model's embed dB or above; the restored "
            "cover is the PNG itself. 4-bit LSB: the high bits of the hidden pictures, of more "
            "than one reduced in size, in the low bits of the cover. What any change to the PNG "
            "does to the codec's pictures: survival.py."
        )
    lines.append(
        "restored: mean of all pictures, cover or reference included, as in the paper; hidden: "
        "without it. network alone: without the enhancement layer in the low bits. worst: the "
        "lowest figure of any PNG. flat error: the largest error of the embedding in flat areas, "
        "in 8-bit steps, the mean over the PNGs. The paper's figures are for its own networks on "
        "other pictures; ahead of the paper: PNGs with both figures above them."
    )
    return "\n".join(lines)


def _data_lines(measurements: Sequence[Measurement]) -> list[str]:
    """A line for each task and folder: the PNGs that were made."""
    names: dict[tuple[str, int, str], dict[str, None]] = {}
    for measurement in measurements:
        evaluation, task = measurement.evaluation, measurement.checkpoint.config.task
        of_data = names.setdefault((evaluation.data, evaluation.step, task), {})
        of_data.update(dict.fromkeys(row.name for row in evaluation.rows))
    lines = []
    for data, step in dict.fromkeys((data, step) for data, step, _ in names):
        taken = "" if step == 1 else f", one frame of {step} taken"
        for task, what in EXPLAINED.items():
            if (data, step, task) in names:
                lines.append(
                    f"{task} on {data} ({', '.join(names[data, step, task])}): {what}{taken}."
                )
    return lines


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    for name, help_text in (
        ("photos", "for stego, dual, grayscale and rescale"),
        ("clips", "for video"),
        ("stereo", "pairs NAME_left and NAME_right, MPOs"),
        ("layers", "cut-outs and photos, also in sub-folders cutouts and backgrounds"),
    ):
        parser.add_argument(f"--{name}", type=Path, default=MEDIA, metavar="FOLDER", help=help_text)
    parser.add_argument("--step", type=int, default=1, help="clips: take every n-th frame")
    parser.add_argument(
        "--model",
        action="append",
        metavar="NAME",
        help="may be repeated; by default all bundled models",
    )
    parser.add_argument(
        "--limit", type=int, metavar="N", help="make at most N PNGs for each model, evenly chosen"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument(
        "--only",
        action="append",
        choices=("network", *METHODS),
        help="measure only this; may be repeated. Without network, --earlier is needed",
    )
    parser.add_argument(
        "--groups",
        type=int,
        metavar="N",
        help="of each clip, measure what needs no network on at most N groups, evenly chosen",
    )
    parser.add_argument(
        "--earlier", type=Path, metavar="FILE", help="take what is not measured from this --json"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there, too")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; returns the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if min(options.limit or 1, options.groups or 1) < 1 or 0 in (options.limit, options.groups):
        parser.error("--limit and --groups must be 1 or more")
    earlier = json.loads(options.earlier.read_text("utf-8"))["models"] if options.earlier else []
    plan = Plan(
        folders={
            "photos": options.photos,
            "video": options.clips,
            "stereo": options.stereo,
            "layers": options.layers,
        },
        step=options.step,
        limit=options.limit,
        device=options.device,
        methods=frozenset(options.only or ("network", *METHODS)),
        groups=options.groups,
        earlier={record["model"]: record for record in earlier},
    )
    converter = Converter(device=plan.device)
    try:
        names = options.model
        checkpoints = [find(name) for name in names] if names else bundled_checkpoints()
        if not checkpoints:
            print("quality: there are no bundled models", file=sys.stderr)
            return ExitCode.NO_MODEL
        measurements = [measure(checkpoint, plan, converter) for checkpoint in checkpoints]
    except IICNetError as error:
        print(f"quality: {error}", file=sys.stderr)
        return error.exit_code
    print(table(measurements), explanation(measurements), sep="\n\n")
    if options.json:
        record = {
            "version": __version__,
            "device": str(converter.device.device),
            "models": [m.record() for m in measurements],
        }
        options.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(main())
