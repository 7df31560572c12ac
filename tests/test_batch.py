"""Many inputs in one call."""

from __future__ import annotations

import json
from pathlib import Path

from tests.helpers import Run, done, write_clip
from tests.samples import moving


def test_batch_goes_on_after_a_bad_file(run: Run, tmp_path: Path) -> None:
    clips = [write_clip(tmp_path / f"{i}.mkv", moving(5, 32, 32, i)) for i in range(2)]
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"no clip")
    previews = tmp_path / "previews"
    result = run("embed", clips[0], bad, clips[1], "--out-dir", previews, "--json", "--effort", 0)
    assert result.exit_code == 1
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line.get("exit_code") for line in lines] == [None, 1, None]
    assert [Path(line["input"]).name for line in lines] == ["0.mkv", "bad.mp4", "1.mkv"]
    assert "1 of 3 failed" in result.stderr
    assert sorted(p.name for p in previews.iterdir()) == ["0.png", "1.png"]

    (previews / "x.png").write_bytes(b"no png")
    result = run("restore", *sorted(previews.iterdir()), "--out-dir", tmp_path / "clips")
    assert result.exit_code == 3
    assert sorted(p.name for p in (tmp_path / "clips").iterdir()) == [
        "0-restored.mkv",
        "1-restored.mkv",
    ]
    done(run("restore", previews / "0.png", previews / "1.png"))
    assert (previews / "1-restored.mkv").exists()


def test_batch_errors(run: Run, photos: list[Path], tmp_path: Path) -> None:
    twin = tmp_path / "cover.png"
    twin.write_bytes(photos[1].read_bytes())
    gray = ("--task", "grayscale")
    for arguments, words in [
        ((photos[0], twin, *gray, "--out-dir", tmp_path / "o"), "both become"),
        ((photos[1], *gray, "--out-dir", photos[1].parent), "overwritten"),
        ((photos[0], *gray), "-o FILE"),
        ((photos[0], *gray, "-o", tmp_path / "a.png", "--out-dir", tmp_path), "-o FILE"),
        ((*photos[:2], *gray, "-o", tmp_path / "a.png"), "--out-dir"),
        ((photos[0], *gray, "--out-dir", photos[1]), "not a folder"),
    ]:
        result = run("embed", *arguments)
        assert result.exit_code == 2, (arguments, result.output)
        assert words in result.stderr
