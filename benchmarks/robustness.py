"""What survives damage to the PNG, as a Markdown table for each model.

The PNG of the network, and beside it the same pictures as a codec's bytes in the low bits of the
cover with the same embedding PSNR, are damaged in the same way and restored. Every damage starts
from the pixels of a PNG that was written and read back.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import json
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from baselines import (
    Carrier,
    Codec,
    DoesNotFitError,
    carrier_for,
    codec_for,
    hide,
    reveal,
    through_png,
)
from numpy.typing import NDArray
from PIL import Image
from quality import MEDIA, bundled, shown

from iicnet_cli import __version__
from iicnet_cli.engines.network.enhancement_layer import add
from iicnet_cli.engines.network.sliced_encoder import enhanced
from iicnet_cli.errors import ExitCode, IICNetError, UsageError
from iicnet_cli.evaluation import items_of
from iicnet_cli.inference.device import choose_device
from iicnet_cli.inference.runner import Runner
from iicnet_cli.media.stills import resize
from iicnet_cli.motion.estimation import estimate_motion
from iicnet_cli.motion.field import MotionField
from iicnet_cli.motion.lifting import add_prediction, subtract_prediction
from iicnet_cli.payload.mark import Mark, read_mark
from iicnet_cli.pictures.arrays import PixelArray, from_fixed_point
from iicnet_cli.pictures.metrics import cap_psnr, psnr
from iicnet_cli.quantize.lattice import unrounded_mse
from iicnet_cli.tasks import task_named
from iicnet_cli.zoo import Checkpoint, find

Pixels = NDArray[np.uint8]

TASKS = ("stego", "video")
COLUMNS = ("damage", "restored dB", "hidden dB", "codec: hidden dB")


# Damage


def square(height: int, width: int) -> tuple[slice, slice]:
    """The middle, a quarter of each side."""
    return (
        slice(height * 3 // 8, height * 5 // 8),
        slice(width * 3 // 8, width * 5 // 8),
    )


def nudge(pixels: Pixels) -> Pixels:
    """The first pixel of (H, W, 3) one level off."""
    out = pixels.copy()
    out[0, 0] ^= 1
    return out


def paste(pixels: Pixels) -> Pixels:
    """A yellow square over the middle of (H, W, 3)."""
    out = pixels.copy()
    out[square(*pixels.shape[:2])] = (250, 210, 40)
    return out


def noise(sigma: float, pixels: Pixels) -> Pixels:
    """Gaussian noise of ``sigma`` levels, the same in every call, rounded and clipped."""
    added = np.random.default_rng(0).normal(0, sigma, pixels.shape)
    return np.clip(np.rint(pixels + added), 0, 255).astype(np.uint8)


def encoded(kind: str, options: dict[str, Any], pixels: Pixels) -> Pixels:
    """(H, W, 3) as a lossy file, read back."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    with Image.open(file) as image:
        return np.array(image.convert("RGB"), np.uint8)


def halved(pixels: Pixels) -> Pixels:
    """(H, W, 3) at half its width and height, and enlarged again (Lanczos)."""
    height, width = pixels.shape[:2]
    return resize(resize(pixels, width // 2, height // 2), width, height)


@dataclasses.dataclass(frozen=True)
class Damage:
    """One row of the table.

    Attributes:
        name: of the row.
        change: what happens to (H, W, 3) uint8; the size stays.
        cut: pixels that are cut off each side, instead of ``change``.
        align: add rows and columns at the top left until the network's grid fits again.
        margin: pixels of the PNG around the square that are left out of the measurement beside
            the square; None if there is no square.
    """

    name: str
    change: Callable[[Pixels], Pixels] = np.copy
    cut: int = 0
    align: bool = False
    margin: int | None = None

    def apply(self, pixels: Pixels) -> Pixels:
        """The PNG (H, W, 3) as it arrives."""
        height, width = pixels.shape[:2]
        return self.change(pixels[self.cut : height - self.cut, self.cut : width - self.cut])


DAMAGES = (
    Damage("none"),
    Damage("one pixel changed by a level", nudge),
    Damage("cropped by 8 px", cut=8),
    Damage("cropped by 7 px", cut=7),
    Damage("cropped by 7 px, re-aligned", cut=7, align=True),
    Damage("square pasted over", paste, margin=0),
    Damage("square pasted over, from 16 px off", paste, margin=16),
    *(Damage(f"noise, sigma {sigma:g}", partial(noise, sigma)) for sigma in (0.5, 1, 2)),
    *(
        Damage(
            f"JPEG {quality}, {chroma}",
            partial(encoded, "JPEG", {"quality": quality, "subsampling": chroma}),
        )
        for chroma in ("4:4:4", "4:2:0")
        for quality in (98, 95, 90, 80)
    ),
    Damage("WebP 95", partial(encoded, "WEBP", {"quality": 95})),
    Damage("half size and back", halved),
)


# Measurement


@dataclasses.dataclass(frozen=True)
class Result:
    """One damage on one PNG, dB; ``codec_hidden_psnr`` None when the codec's pictures are lost."""

    restored_psnr: float
    hidden_psnr: float
    codec_hidden_psnr: float | None


@dataclasses.dataclass(frozen=True)
class Sheet:
    """One PNG with every damage.

    Attributes:
        name: of the pictures.
        embed_psnr: dB of the network's PNG, undamaged.
        codec_embed_psnr: dB of the codec's; None if the pictures do not fit.
        results: one for each of ``DAMAGES``.
    """

    name: str
    embed_psnr: float
    codec_embed_psnr: float | None
    results: tuple[Result, ...]


@dataclasses.dataclass(frozen=True)
class Survival:
    """One model over one folder."""

    model: str
    task: str
    data: str
    codec: str
    sheets: tuple[Sheet, ...]

    def table(self) -> str:
        """The Markdown table, under a line that says what it is."""
        embed = np.mean([sheet.embed_psnr for sheet in self.sheets])
        coded = [s.codec_embed_psnr for s in self.sheets if s.codec_embed_psnr is not None]
        beside = f"{np.mean(coded):.2f} dB" if coded else "which does not fit"
        rows = [list(COLUMNS), ["---", *["---:"] * (len(COLUMNS) - 1)]]
        for i, damage in enumerate(DAMAGES):
            rows.append([damage.name, *cells([sheet.results[i] for sheet in self.sheets])])
        return "\n".join(
            [
                f"**{self.model}**: embedding {embed:.2f} dB; {self.codec} in the low bits: "
                f"{beside}",
                "",
                *(f"| {' | '.join(row)} |" for row in rows),
            ]
        )

    def explanation(self) -> str:
        """What it was measured on."""
        what = "each photo is the cover once, the next ones of its size are hidden"
        if self.task == "video":
            what = "the first whole group of frames of each clip"
        names = ", ".join(sheet.name for sheet in self.sheets)
        return f"{self.model} on {self.data} ({names}): {what}."


def cells(results: Sequence[Result]) -> list[str]:
    """Means over the PNGs, and how many of the codec's are lost."""
    coded = [r.codec_hidden_psnr for r in results if r.codec_hidden_psnr is not None]
    codec = "lost"
    if coded:
        codec = f"{np.mean(coded):.2f}"
        if len(coded) < len(results):
            codec += f" ({len(results) - len(coded)} of {len(results)} lost)"
    return [
        f"{np.mean([r.restored_psnr for r in results]):.2f}",
        f"{np.mean([r.hidden_psnr for r in results]):.2f}",
        codec,
    ]


def groups(
    checkpoint: Checkpoint, folder: Path, limit: int | None
) -> Generator[tuple[str, Pixels, MotionField | None]]:
    """Name, pictures (K, H, W, 3) and motion of the first group of each PNG of evaluation data.

    The last row or column is cut off where the network's grid needs it.

    Raises:
        UsageError: the folder has none.
    """
    config = checkpoint.config
    task = task_named(config.task)
    with items_of(checkpoint, folder, limit=limit) as items:
        for item in items:
            job = task.open(item.inputs, config.network.images, item.options)
            with closing(job.groups()) as found:
                images = next(found).images
            height, width = (n - n % config.network.multiple for n in images.shape[1:3])
            images = images[:, :height, :width]
            motion = estimate_motion(images) if "align" in task.takes else None
            yield item.name, images, motion


def damaged(
    images: Pixels, motion: MotionField | None, name: str, runner: Runner, codec: Codec
) -> Sheet:
    """Every damage on the PNG made of (K, H, W, 3)."""
    reference = runner.reference(images)
    wanted = subtract_prediction(images, motion)
    embedding, remainder = runner.embed_unrounded(wanted)
    bare = Mark(
        task=0,
        model=0,
        images=len(images),
        valid=len(images),
        motion=motion.to_bytes() if motion else b"",
    )
    _, marked = enhanced(
        bare,
        wanted,
        embedding,
        remainder,
        runner.feedback,
        lambda pixels, rest, rows: runner.restore_fixed_point(pixels, np.int16, rest, rows),
        unrounded_mse(embedding, remainder, reference),
    )
    embedding = through_png(marked)
    embed_psnr = cap_psnr(psnr(embedding, reference))
    hidden = images if runner.scale > 1 else images[1:]
    carrier = carrier_for(reference, embed_psnr)
    stego, codec_embed_psnr = None, None
    try:
        payload = codec.largest(hidden, carrier.capacity(reference.size))
    except DoesNotFitError:
        pass
    else:
        stego = through_png(hide(reference, payload, carrier))
        codec_embed_psnr = cap_psnr(psnr(stego, reference))
    results = []
    for damage in DAMAGES:
        levels = restore(damage, damage.apply(embedding), runner)
        # Nobody tells where a cropped picture was, so nothing can be moved back in it.
        restored = add_prediction(levels, None if damage.cut else motion)
        seen = partial(visible, damage=damage, scale=runner.scale)
        quality = [
            cap_psnr(psnr(a, b)) for a, b in zip(seen(restored, cut=0), seen(images), strict=True)
        ]
        decoded = None if stego is None else revealed(damage.apply(stego), carrier, codec)
        coded = None
        if decoded is not None:
            # Of a smaller embedding the codec holds the reference too.
            count = len(images) - 1
            pairs = zip(seen(decoded[-count:]), seen(images[1:]), strict=True)
            coded = float(np.mean([cap_psnr(psnr(a, b)) for a, b in pairs]))
        results.append(Result(float(np.mean(quality)), float(np.mean(quality[1:])), coded))
    return Sheet(name, embed_psnr, codec_embed_psnr, tuple(results))


def restore(damage: Damage, received: Pixels, runner: Runner) -> PixelArray:
    """What a damaged PNG gives: (K, H, W, 3), of what is left of it."""
    scale = runner.scale
    multiple = runner.config.multiple // scale
    height, width = received.shape[:2]
    before = damage.cut % multiple if damage.align else 0
    after = (-(before + side) % multiple for side in (height, width))
    padded = np.pad(received, (*((before, n) for n in after), (0, 0)), mode="edge")
    y, x = (slice(scale * before, scale * (before + side)) for side in (height, width))
    levels = runner.restore_fixed_point(padded, np.int16)[:, y, x]
    mark = read_mark(received)
    if mark is not None:
        add(mark.enhancement, levels)
    return from_fixed_point(levels, np.int16)


def revealed(received: Pixels, carrier: Carrier, codec: Codec) -> Pixels | None:
    """What the codec makes of a damaged PNG: the hidden pictures, None if they are lost."""
    payload = reveal(received, carrier)
    return None if payload is None else codec.decode(payload)


def visible(images: Pixels, damage: Damage, scale: int, cut: int | None = None) -> Pixels:
    """(K, pixels, 3): what is measured of (K, H, W, 3).

    Args:
        images: originals or restored pictures.
        damage: says what is left out.
        scale: pixels of a picture to one of the PNG.
        cut: pixels of the PNG to leave out at each side; those of the damage by default.
    """
    cut = scale * (damage.cut if cut is None else cut)
    height, width = images.shape[1:3]
    mask = np.zeros((height, width), bool)
    mask[cut : height - cut, cut : width - cut] = True
    if damage.margin is not None:
        y, x = (
            slice(scale * (side.start - damage.margin), scale * (side.stop + damage.margin))
            for side in square(height // scale, width // scale)
        )
        mask[max(0, y.start) : y.stop, max(0, x.start) : x.stop] = False
    return images[:, mask]


def measure(checkpoint: Checkpoint, folder: Path, *, limit: int | None, device: str) -> Survival:
    """One model over the folder of its task.

    Raises:
        UsageError: the model is of another task, or the folder holds nothing for it.
    """
    task = checkpoint.config.task
    if task not in TASKS:
        raise UsageError(f"{checkpoint.name} is for {task}, not for {' or '.join(TASKS)}")
    runner = Runner(
        checkpoint.load(), choose_device(device).device, feedback=checkpoint.noise_shaping
    )
    codec = codec_for(task)
    sheets = []
    for name, images, motion in groups(checkpoint, folder, limit):
        sheets.append(damaged(images, motion, name, runner, codec))
        print(f"{checkpoint.name}, {name}: done", file=sys.stderr)
    return Survival(checkpoint.name, task, shown(folder), codec.name, tuple(sheets))


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--photos", type=Path, default=MEDIA, metavar="FOLDER", help="for stego")
    parser.add_argument("--clips", type=Path, default=MEDIA, metavar="FOLDER", help="for video")
    parser.add_argument(
        "--model",
        action="append",
        metavar="NAME",
        help="repeatable; all bundled ones of stego and video by default",
    )
    parser.add_argument(
        "--limit", type=int, metavar="N", help="at most so many PNGs a model, evenly chosen"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there too")
    options = parser.parse_args(arguments)
    if options.limit is not None and options.limit < 1:
        parser.error("--limit must be 1 or more")
    try:
        if options.model:
            checkpoints = [find(name) for name in options.model]
        else:
            checkpoints = [c for c in bundled() if c.config.task in TASKS]
        survivals = [
            measure(
                checkpoint,
                options.clips if checkpoint.config.task == "video" else options.photos,
                limit=options.limit,
                device=options.device,
            )
            for checkpoint in checkpoints
        ]
    except IICNetError as error:
        print(f"robustness: {error}", file=sys.stderr)
        return error.exit_code
    for survival in survivals:
        print(survival.table(), end="\n\n")
    for survival in survivals:
        print(survival.explanation())
    print(
        "restored: mean of all pictures, cover or reference included; hidden: without it. Of a "
        "cropped PNG what is left is measured, of one with a square what lies outside it. "
        "Re-aligned: a row and a column were added at the top left, so that the network's 2x2 "
        "grid fits again. lost: the codec's bytes fail their checksum."
    )
    if options.json:
        record = {
            "version": __version__,
            "damages": [damage.name for damage in DAMAGES],
            "models": [dataclasses.asdict(survival) for survival in survivals],
        }
        options.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(main())
