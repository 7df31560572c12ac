"""Measure the bundled models over folders of photos and clips, as a Markdown table (make bench).

Every figure is measured on PNGs that were written and read back. Beside each model stands what
people can do without a network, on the same pictures in the same run (see ``baselines.py``). The
paper's figures stand there too; they were measured on other pictures, so they show the scale and
settle nothing.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from baselines import Figures, codec_for, mean, measure_codec, measure_lsb
from numpy.typing import NDArray

from iicnet_cli import __version__
from iicnet_cli.api import Converter
from iicnet_cli.errors import ExitCode, IICNetError
from iicnet_cli.evaluation import Evaluation, Row, evaluate, items_of
from iicnet_cli.inference.runner import Runner
from iicnet_cli.pictures.arrays import crop, pad, padding_to
from iicnet_cli.tasks import task_named
from iicnet_cli.zoo import Checkpoint, available, find
from iicnet_cli.zoo.registry import bundled_folder

ROOT = Path(__file__).resolve().parents[1]
MEDIA = ROOT / "examples" / "media"

Pixels = NDArray[np.uint8]

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
"""Embedding and restored PSNR in the paper (Tables 1 to 5), dB; of dual the mean of its zooms."""

PAPER_STEPS = {("video-9", 3): (37.07, 36.30), ("video-9", 5): (36.74, 36.07)}
"""The same for clips of which one frame of 3 or of 5 is taken."""

EXPLAINED = {
    "video": "whole groups of consecutive frames of each clip",
    "stereo": "each pair",
    "dual": "each photo at zoom 2, 4 and 8",
    "layers": "each cut-out before each photo",
    "stego": "each photo is the cover once, the next ones of its size are hidden",
    "grayscale": "each photo",
    "rescale": "each photo",
}

COLUMNS = (
    "model",
    "data",
    "PNGs",
    "embed dB",
    "restored dB",
    "hidden dB",
    "embed SSIM",
    "restored SSIM",
    "network alone: embed / restored / hidden dB",
    "parameters",
    "MB",
    "paper: embed / restored dB",
)

BASELINE_COLUMNS = (
    "low-bit codec: embed / restored / hidden dB",
    "4-bit LSB: embed / restored / hidden dB",
)


@dataclasses.dataclass(frozen=True)
class Baselines:
    """What the same pictures give without a network; the columns are in :mod:`baselines`.

    Attributes:
        codec: one entry for each PNG; None where its pictures do not fit.
        lsb: likewise; None where the embedding is smaller than the pictures, or grey.
        codec_name: what the hidden pictures were compressed with.
    """

    codec: tuple[Figures | None, ...]
    lsb: tuple[Figures | None, ...]
    codec_name: str

    def cells(self) -> list[str]:
        """Their part of the row of the table."""
        return [_cell(mean(self.codec)), _cell(mean(self.lsb))]

    def record(self) -> dict[str, Any]:
        """The same for JSON, with every PNG."""
        return {
            "codec_name": self.codec_name,
            **{
                name: {
                    "mean": _fields(mean(rows)),
                    "rows": [_fields(row) for row in rows],
                }
                for name, rows in (("codec", self.codec), ("lsb", self.lsb))
            },
        }


def _cell(figures: Figures | Row | None) -> str:
    if figures is None:
        return "-"
    values = (figures.embed_psnr, figures.restored_psnr, figures.hidden_psnr)
    return " / ".join("-" if value is None else f"{value:.2f}" for value in values)


def _fields(figures: Figures | None) -> dict[str, Any] | None:
    return None if figures is None else dataclasses.asdict(figures)


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One model over one folder; ``alone`` without the enhancement layer."""

    checkpoint: Checkpoint
    evaluation: Evaluation
    alone: Evaluation
    parameters: int
    baselines: Baselines | None = None

    @property
    def paper(self) -> tuple[float, float] | None:
        """The paper's figures for this model and step, if it has them."""
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
            f"{average.embed_ssim:.4f}",
            f"{average.restored_ssim:.4f}",
            _cell(self.alone.mean),
            f"{self.parameters:,}",
            f"{self.checkpoint.size / 1e6:.2f}",
            *(self.baselines.cells() if self.baselines else []),
            f"{self.paper[0]:.2f} / {self.paper[1]:.2f}" if self.paper else "-",
        ]

    def record(self) -> dict[str, Any]:
        """The same for JSON, with every PNG."""
        return {
            **dataclasses.asdict(self.evaluation),
            "mean": dataclasses.asdict(self.evaluation.mean),
            "network_alone": dataclasses.asdict(self.alone.mean),
            "weights_sha256": self.checkpoint.config.weights_sha256,
            "parameters": self.parameters,
            "bytes": self.checkpoint.size,
            "baselines": self.baselines.record() if self.baselines else None,
            "paper": dict(zip(("embed_psnr", "restored_psnr"), self.paper, strict=True))
            if self.paper
            else None,
        }


def bundled() -> list[Checkpoint]:
    """The checkpoints that come with iicnet."""
    return [c for c in available() if c.folder.is_relative_to(bundled_folder())]


def measure(
    checkpoints: Sequence[Checkpoint],
    folders: Mapping[str, Path],
    *,
    step: int,
    converter: Converter,
    limit: int | None = None,
    baselines: bool = True,
) -> Iterator[Measurement]:
    """Measure one checkpoint after the other over the folder of its task, or of photos."""
    for checkpoint in checkpoints:
        video = checkpoint.config.task == "video"
        folder = folders.get(checkpoint.config.task, folders["photos"])
        taken = step if video else 1
        evaluation, alone = (
            _evaluated(checkpoint, folder, converter, taken, limit, enhance=enhance)
            for enhance in (True, False)
        )
        net = checkpoint.load()
        parameters = sum(p.numel() for p in net.parameters())
        beside = None
        if baselines:
            runner = Runner(net, converter.device.device)
            beside = without_network(checkpoint, folder, evaluation.rows, taken, runner)
        yield Measurement(checkpoint, evaluation, alone, parameters, beside)


def _evaluated(
    checkpoint: Checkpoint,
    folder: Path,
    converter: Converter,
    step: int,
    limit: int | None,
    *,
    enhance: bool,
) -> Evaluation:
    """One checkpoint over one folder, told line by line."""
    rows = []
    for row in evaluate(
        checkpoint, folder, converter=converter, step=step, limit=limit, enhance=enhance
    ):
        rows.append(row)
        print(
            f"{checkpoint.name}{'' if enhance else ' alone'}, {row.name}: embedding "
            f"{row.embed_psnr:.2f} dB, restored {row.restored_psnr:.2f} dB",
            file=sys.stderr,
        )
    return Evaluation(checkpoint.name, shown(folder), step, tuple(rows))


def without_network(
    checkpoint: Checkpoint, folder: Path, rows: Sequence[Row], step: int, runner: Runner
) -> Baselines:
    """The baselines on the pictures of an evaluation, each PNG at the network's embedding dB."""
    images = checkpoint.config.network.images
    task = task_named(checkpoint.config.task)
    codec = codec_for(task.name)
    coded, plain = [], []
    with items_of(checkpoint, folder, step=step, limit=len(rows)) as items:
        for item, row in zip(items, rows, strict=True):
            groups = []
            for group in task.open(item.inputs, images, item.options).groups():
                reference = reference_of(group.images, runner)
                beside = measure_codec(reference, group.images, row.embed_psnr, codec)
                full = images > 1 and reference.shape == group.images.shape[1:]
                groups.append((beside, measure_lsb(group.images) if full else None))
            coded.append(mean(beside for beside, _ in groups))
            plain.append(mean(beside for _, beside in groups))
            print(
                f"{checkpoint.name}, {row.name}: low-bit {codec.name} (embed / restored / hidden) "
                f"{_cell(coded[-1])} dB, 4-bit LSB {_cell(plain[-1])} dB",
                file=sys.stderr,
            )
    return Baselines(tuple(coded), tuple(plain), codec.name)


def reference_of(images: Pixels, runner: Runner) -> Pixels:
    """What the embedding of (K, H, W, C) of any size should look like: (H_e, W_e, C_e) uint8."""
    height, width = images.shape[1:3]
    padded = pad(images, padding_to(width, height, runner.config.multiple))
    scale = runner.scale
    reference: Pixels = crop(
        runner.reference(padded)[None], -(-width // scale), -(-height // scale)
    )[0]
    return reference


def shown(folder: Path) -> str:
    """A folder's name for the table: its place in this project, or just its own name."""
    folder = folder.resolve()
    return folder.relative_to(ROOT).as_posix() if folder.is_relative_to(ROOT) else folder.name


def table(measurements: Sequence[Measurement]) -> str:
    """The Markdown table."""
    columns = list(COLUMNS)
    if any(m.baselines for m in measurements):
        columns[-1:-1] = BASELINE_COLUMNS
    rows = [columns, ["---"] * 2 + ["---:"] * (len(columns) - 2)]
    rows += [m.cells() for m in measurements]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def explanation(measurements: Sequence[Measurement]) -> str:
    """What the figures were measured on."""
    lines = []
    for data, step in dict.fromkeys((m.evaluation.data, m.evaluation.step) for m in measurements):
        taken = "" if step == 1 else f", one frame of {step} taken"
        for task, what in EXPLAINED.items():
            names = dict.fromkeys(
                row.name
                for m in measurements
                if (m.evaluation.data, m.evaluation.step) == (data, step)
                and m.checkpoint.config.task == task
                for row in m.evaluation.rows
            )
            if names:
                lines.append(f"{task} on {data} ({', '.join(names)}): {what}{taken}.")
    codecs = {m.baselines.codec_name: None for m in measurements if m.baselines}
    if codecs:
        lines.append(
            f"low-bit codec: the hidden pictures as {' or '.join(codecs)} in the low bits of the "
            "cover, in the best quality that fits at the model's embed dB or above; the restored "
            "cover is the PNG itself. 4-bit LSB: the high bits of the hidden pictures, of more "
            "than one reduced in size, in the low bits of the cover. What any change to the PNG "
            "does to the codec's pictures: robustness.py."
        )
    lines.append(
        "restored: mean of all pictures, cover or reference included, as in the paper; hidden: "
        "without it. network alone: without the enhancement layer in the low bits. The paper's "
        "figures are for its own networks on other pictures."
    )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status."""
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
        "--model", action="append", metavar="NAME", help="repeatable; all bundled ones by default"
    )
    parser.add_argument(
        "--limit", type=int, metavar="N", help="at most so many PNGs a model, evenly chosen"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument(
        "--no-baselines", action="store_true", help="leave out what can be done without a network"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there too")
    options = parser.parse_args(arguments)
    if options.limit is not None and options.limit < 1:
        parser.error("--limit must be 1 or more")
    converter = Converter(device=options.device)
    try:
        checkpoints = [find(name) for name in options.model] if options.model else bundled()
        if not checkpoints:
            print("quality: there are no bundled models", file=sys.stderr)
            return ExitCode.NO_MODEL
        measurements = list(
            measure(
                checkpoints,
                {
                    "photos": options.photos,
                    "video": options.clips,
                    "stereo": options.stereo,
                    "layers": options.layers,
                },
                step=options.step,
                converter=converter,
                limit=options.limit,
                baselines=not options.no_baselines,
            )
        )
    except IICNetError as error:
        print(f"quality: {error}", file=sys.stderr)
        return error.exit_code
    print(table(measurements))
    print()
    print(explanation(measurements))
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
