"""``iicnet evaluate``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers import Run, done
from tests.samples import moving


def test_evaluate_stego_and_video(run: Run, photos: list[Path], tmp_path: Path) -> None:
    result = run("evaluate", photos[0].parent, "-m", "stego-2", "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert [row["name"] for row in report["rows"]] == ["cover", "one", "three", "two"]
    mean = np.mean([row["embed_psnr"] for row in report["rows"]])
    assert report["mean"]["embed_psnr"] == pytest.approx(mean)

    made = run("embed", photos[0], photos[1], "-o", tmp_path / "o.png", "--json")
    assert report["rows"][0]["embed_psnr"] == json.loads(made.stdout)["embed_psnr"]

    folder = tmp_path / "clips" / "walk"
    folder.mkdir(parents=True)
    for i, frame in enumerate(moving(11, 48, 64)):
        Image.fromarray(frame).save(folder / f"{i:03d}.png")
    result = run("evaluate", folder.parent, "-m", "video-5", "-q")
    assert result.exit_code == 0, result.output
    assert "walk" in result.stdout
    assert "mean" in result.stdout
    assert run("evaluate", tmp_path / "none", "-m", "video-5").exit_code == 2


def test_rows_are_kept_for_shards_and_later_runs(
    run: Run, photos: list[Path], tmp_path: Path
) -> None:
    rows = tmp_path / "rows"
    evaluate = ("evaluate", photos[0].parent, "-m", "stego-2", "--out-dir", rows, "--json")
    result = done(run(*evaluate, "--shard", "1/2"))
    assert [row["name"] for row in json.loads(result.stdout)["rows"]] == ["cover", "three"]
    kept = rows / "000000-cover.json"
    content = json.loads(kept.read_text())
    content["record"]["embed_psnr"] = 99.0
    kept.write_text(json.dumps(content))

    result = done(run(*evaluate))
    found = json.loads(result.stdout)["rows"]
    assert [row["name"] for row in found] == ["cover", "one", "three", "two"]
    assert found[0]["embed_psnr"] == 99.0  # not measured again
    assert len(list(rows.iterdir())) == 4

    photos[1].unlink()  # "one" is hidden in "cover", which is another row now
    found = json.loads(done(run(*evaluate)).stdout)["rows"]
    assert [row["name"] for row in found] == ["cover", "three", "two"]
    assert found[0]["embed_psnr"] < 60
    result = run("evaluate", photos[0].parent, "-m", "stego-2", "--on", "ray")
    assert (result.exit_code, "--out-dir" in result.stderr) == (2, True)
