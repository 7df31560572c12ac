"""``embed --dry-run``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from iicnet_cli.engines.network.enhancement_layer import add
from iicnet_cli.engines.network.estimate import forecast
from iicnet_cli.engines.network.sliced_encoder import enhanced
from iicnet_cli.inference.runner import Runner
from iicnet_cli.payload.mark import Mark
from iicnet_cli.pictures.arrays import from_fixed_point
from iicnet_cli.quantize.lattice import unrounded_mse
from iicnet_cli.zoo import find
from tests.conftest import Run, natural


def test_dry_run_writes_nothing_and_tells_what_embed_gives(
    run: Run, photos: list[Path], tmp_path: Path
) -> None:
    before = sorted(tmp_path.rglob("*"))
    done = run("embed", *photos[:2], "--dry-run", "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert sorted(tmp_path.rglob("*")) == before
    written = json.loads(run("embed", *photos[:2], "-o", tmp_path / "x.png", "--json").stdout)
    for field in ("task", "model", "images", "width", "height", "embeddings", "guessed"):
        assert told[field] == written[field], field
    # Pictures this small are one window: only the mark and the header are missing.
    assert told["embed_psnr"] == pytest.approx(written["embed_psnr"], abs=0.1)
    assert told["restored_psnr"] == pytest.approx(written["restored_psnr"], abs=0.1)
    assert told["bytes"] == pytest.approx(written["bytes"], rel=0.1)
    assert told["seconds"] > 0


def test_dry_run_of_a_clip_in_words(run: Run, clip: Path) -> None:
    done = run("embed", clip, "--dry-run", "--effort", 2)
    assert done.exit_code == 0, done.output
    assert "96x64 with video-5, 3 embeddings, about 0.0 MB" in done.stdout
    assert "without what the search gains" in done.stdout


def test_dry_run_of_many_tells_each(run: Run, photos: list[Path], tmp_path: Path) -> None:
    done = run(
        "embed",
        *photos[:2],
        "--task",
        "grayscale",
        "--out-dir",
        tmp_path / "o",
        "--dry-run",
        "--json",
    )
    assert done.exit_code == 0, done.output
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [record["input"] for record in records] == [str(photo) for photo in photos[:2]]
    assert {record["model"] for record in records} == {"grayscale"}
    assert not (tmp_path / "o").exists()


def test_dry_run_needs_inputs_that_exist(run: Run, tmp_path: Path) -> None:
    done = run("embed", tmp_path / "none.mp4", "--dry-run")
    assert done.exit_code != 0
    assert "none.mp4" in done.output


def test_windows_stand_for_a_large_picture() -> None:
    images = natural(512, 960, 1)[None]
    checkpoint = find("rescale")
    runner = Runner(
        checkpoint.load(), torch.device("cpu"), feedback=checkpoint.noise_shaping, memory=1
    )
    told = forecast(runner, images)
    assert told.tiles == 2
    embedding, remainder = runner.embed_unrounded(images)
    mark, embedding = enhanced(
        Mark(task=0, model=0, images=1, valid=1),
        images,
        embedding,
        remainder,
        runner.feedback,
        lambda pixels, rest, rows: runner.restore_fixed_point(pixels, np.uint8, rest, rows),
        unrounded_mse(embedding, remainder, runner.reference(images)),
    )
    levels = runner.restore_fixed_point(embedding)
    add(mark.enhancement, levels)

    def psnr(a: np.ndarray, b: np.ndarray) -> float:  # type: ignore[type-arg]
        return float(-10 * np.log10(np.square(a / 255 - b / 255).mean()))

    assert told.embed_psnr == pytest.approx(psnr(embedding, runner.reference(images)), abs=1)
    restored = [psnr(a, b) for a, b in zip(from_fixed_point(levels, np.uint8), images, strict=True)]
    assert told.restored_psnr == pytest.approx(np.mean(restored), abs=1)


def test_searching_takes_longer() -> None:
    image = np.asarray(Image.fromarray(natural(64, 64, 1)))
    runner = Runner(find("stego-2").load(), torch.device("cpu"))
    images = np.stack([image, image[::-1]])
    assert forecast(runner, images, 100).seconds > 5 * forecast(runner, images).seconds
