"""Measure the bundled models over folders of photos and clips, as a Markdown table (make bench).

Every figure is measured on PNGs that were written and read back. The paper's figures stand beside
them; they were measured on other pictures, so they show the scale and settle nothing.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from iicnet_cli import __version__
from iicnet_cli.api import Converter
from iicnet_cli.errors import ExitCode, IICNetError
from iicnet_cli.evaluation import Evaluation, evaluate
from iicnet_cli.zoo import Checkpoint, available, find
from iicnet_cli.zoo.registry import bundled_folder

ROOT = Path(__file__).resolve().parents[1]
MEDIA = ROOT / "examples" / "media"

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
    "parameters",
    "MB",
    "paper: embed / restored dB",
)


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One model over one folder."""

    checkpoint: Checkpoint
    evaluation: Evaluation
    parameters: int

    def cells(self) -> list[str]:
        """The row of the table."""
        mean = self.evaluation.mean
        hidden = "-" if mean.hidden_psnr is None else f"{mean.hidden_psnr:.2f}"
        paper = PAPER.get(self.checkpoint.name)
        return [
            self.checkpoint.name,
            self.evaluation.data,
            str(len(self.evaluation.rows)),
            f"{mean.embed_psnr:.2f}",
            f"{mean.restored_psnr:.2f}",
            hidden,
            f"{mean.embed_ssim:.4f}",
            f"{mean.restored_ssim:.4f}",
            f"{self.parameters:,}",
            f"{self.checkpoint.size / 1e6:.2f}",
            f"{paper[0]:.2f} / {paper[1]:.2f}" if paper else "-",
        ]

    def record(self) -> dict[str, Any]:
        """The same for JSON, with every PNG."""
        paper = PAPER.get(self.checkpoint.name)
        return {
            **dataclasses.asdict(self.evaluation),
            "mean": dataclasses.asdict(self.evaluation.mean),
            "weights_sha256": self.checkpoint.config.weights_sha256,
            "parameters": self.parameters,
            "bytes": self.checkpoint.size,
            "paper": {"embed_psnr": paper[0], "restored_psnr": paper[1]} if paper else None,
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
) -> Iterator[Measurement]:
    """Measure one checkpoint after the other over the folder of its task, or of photos."""
    for checkpoint in checkpoints:
        video = checkpoint.config.task == "video"
        folder = folders.get(checkpoint.config.task, folders["photos"])
        rows = []
        for row in evaluate(
            checkpoint, folder, converter=converter, step=step if video else 1
        ):
            rows.append(row)
            print(
                f"{checkpoint.name}, {row.name}: embedding {row.embed_psnr:.2f} dB, restored "
                f"{row.restored_psnr:.2f} dB",
                file=sys.stderr,
            )
        parameters = sum(p.numel() for p in checkpoint.load().parameters())
        evaluation = Evaluation(checkpoint.name, shown(folder), step if video else 1, tuple(rows))
        yield Measurement(checkpoint, evaluation, parameters)


def shown(folder: Path) -> str:
    """A folder's name for the table: its place in this project, or just its own name."""
    folder = folder.resolve()
    return folder.relative_to(ROOT).as_posix() if folder.is_relative_to(ROOT) else folder.name


def table(measurements: Sequence[Measurement]) -> str:
    """The Markdown table."""
    rows = [list(COLUMNS), ["---"] * 2 + ["---:"] * (len(COLUMNS) - 2)]
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
    lines.append(
        "restored: mean of all pictures, cover or reference included, as in the paper; hidden: "
        "without it. The paper's figures are for its own networks on other pictures."
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
        parser.add_argument(
            f"--{name}", type=Path, default=MEDIA, metavar="FOLDER", help=help_text
        )
    parser.add_argument("--step", type=int, default=1, help="clips: take every n-th frame")
    parser.add_argument(
        "--model", action="append", metavar="NAME", help="repeatable; all bundled ones by default"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there too")
    options = parser.parse_args(arguments)
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
