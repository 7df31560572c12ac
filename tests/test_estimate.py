"""``embed --dry-run``."""

from __future__ import annotations

import itertools
import json
import time
from pathlib import Path

import numpy as np
import pytest

from iicnet_cli.engines.network.encoder import EncoderSettings, encode_group
from iicnet_cli.engines.network.estimate import WINDOW_SIDE, estimate_group
from iicnet_cli.engines.network.search import Search
from iicnet_cli.engines.network.sliced_encoder import restored_pictures
from iicnet_cli.inference.runner import Runner
from iicnet_cli.payload.mark import Mark
from iicnet_cli.pictures.metrics import psnr
from tests.helpers import Run
from tests.runners import runner_of
from tests.samples import natural


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
    done = run("embed", clip, "--frames", 6, "--dry-run", "--effort", 2)
    assert done.exit_code == 0, done.output
    assert "96x64 with video-5, 2 embeddings, about 0.0 MB" in done.stdout
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
    side = 2 * WINDOW_SIDE + 64
    images = np.stack([natural(side, side, seed) for seed in range(2)])
    whole = runner_of("stego-2")
    runner = Runner(whole.net, noise_shaping=whole.noise_shaping, memory=1)
    estimate = estimate_group(runner, images, 0, EncoderSettings())
    assert estimate.tiles == len(runner.tiles(side, side)) > 1
    encoded = encode_group(whole, images, Mark(task=0, model=0, images=2, valid=2))
    embed_psnr = psnr(encoded.pixels, whole.reference(images))
    assert estimate.embed_psnr == pytest.approx(embed_psnr, abs=1)
    restored = restored_pictures(whole, encoded.mark, encoded.pixels, images)
    psnrs = [psnr(a, b) for a, b in zip(restored, images, strict=True)]
    assert estimate.restored_psnr == pytest.approx(np.mean(psnrs), abs=1)


def test_longer_searches_are_estimated_to_take_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.stack([natural(64, 64, seed) for seed in range(2)])

    def seconds(search: Search | None) -> float:
        """With a clock that ticks each time that it is read."""
        monkeypatch.setattr(time, "perf_counter", itertools.count().__next__)
        return estimate_group(
            runner_of("stego-2"), images, 0, EncoderSettings(adds_layer=False), search
        ).seconds

    assert seconds(None) < seconds(Search(20)) < seconds(Search(100))
