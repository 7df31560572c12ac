"""``iicnet embed``: what it says, writes and refuses."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from iicnet_cli.container.embedding_file import read_header
from iicnet_cli.errors import ExitCode, MediaError
from iicnet_cli.media.video_writer import open_writer
from iicnet_cli.pictures.metrics import psnr
from tests.helpers import QUICK, Run, alike, done, pixels, save
from tests.samples import moving, natural


def test_told_quality_is_that_of_the_written_file(
    run: Run, photos: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "out.png"
    result = run("embed", *photos[:2], "-o", out, "--json")
    report = json.loads(result.stdout)
    run("restore", out, "-o", tmp_path / "back")
    assert report["embed_psnr"] == pytest.approx(psnr(pixels(out), pixels(photos[0])))
    cover, hidden = (
        psnr(pixels(tmp_path / "back" / f"{p.stem}.png"), pixels(p)) for p in photos[:2]
    )
    assert report["hidden_psnr"] == pytest.approx(hidden)
    assert report["restored_psnr"] == pytest.approx((cover + hidden) / 2)
    assert report["bytes"] == out.stat().st_size
    assert (report["task"], report["model"]) == ("stego", "stego-2")


def test_alpha_and_orientation_are_converted_and_said(
    run: Run, photos: list[Path], tmp_path: Path
) -> None:
    rgba = np.dstack([natural(64, 96, 3), np.full((64, 96), 128, np.uint8)])
    Image.fromarray(rgba).save(tmp_path / "alpha.png")
    turned = Image.fromarray(natural(96, 64, 4))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    result = run(
        "embed",
        photos[0],
        tmp_path / "alpha.png",
        tmp_path / "turned.jpg",
        "-o",
        tmp_path / "out.png",
        "--background",
        "#000000",
    )
    assert result.exit_code == 0, result.output
    assert "alpha.png: " in result.stderr
    assert "turned.jpg: " in result.stderr
    assert "fitted" not in result.stderr
    run("restore", tmp_path / "out.png", "-o", tmp_path / "back")
    black = np.rint(rgba[..., :3] * (128 / 255)).astype(np.uint8)
    assert alike(pixels(tmp_path / "back" / "alpha.png"), black)


def test_embedding_and_restoring_repeat_byte_for_byte(
    run: Run, photos: list[Path], clip: Path, tmp_path: Path
) -> None:
    def digest(path: Path) -> str:
        return hashlib.sha256(path.read_bytes()).hexdigest()

    for inputs in (photos[:2], [clip, "--frames", 6]):
        for name in ("a.png", "b.png"):
            done(run("embed", *inputs, "-o", tmp_path / name, "-y", "--no-verify"))
        assert digest(tmp_path / "a.png") == digest(tmp_path / "b.png")
    for name in ("a", "b"):
        run("restore", tmp_path / f"{name}.png", "-o", tmp_path / name)
    frames = sorted((tmp_path / "a").iterdir())
    assert frames
    for path in frames:
        assert digest(path) == digest(tmp_path / "b" / path.name)


def test_outputs_are_not_overwritten_without_y(
    run: Run, photos: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "out.png"
    out.write_text("mine")
    result = run("embed", *photos[:2], "-o", out)
    assert result.exit_code == ExitCode.FAILURE
    assert "-y" in result.stderr
    assert out.read_text() == "mine"
    assert run("embed", *photos[:2], "-o", out, "-y").exit_code == 0
    (tmp_path / "out-restored").mkdir()
    (tmp_path / "out-restored" / "one.png").write_text("mine")
    assert run("restore", out).exit_code == ExitCode.FAILURE
    assert [p.name for p in (tmp_path / "out-restored").iterdir()] == ["one.png"]
    assert run("restore", out, "-y").exit_code == 0


def test_failing_midway_leaves_nothing_and_what_was_to_be_overwritten(
    run: Run, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from iicnet_cli.inference.runner import Runner

    embed = Runner.embed
    calls = count()

    def second_fails(self: Runner, *arguments: Any) -> Any:
        if next(calls):
            raise MediaError("clip.mkv: is damaged")
        return embed(self, *arguments)

    monkeypatch.setattr(Runner, "embed", second_fails)
    (tmp_path / "old.png").write_text("mine")
    for name in ("new.png", "old.png"):
        calls = count()
        result = run("embed", clip, "-o", tmp_path / name, "-y", "-q")
        assert result.exit_code == ExitCode.FAILURE
        assert result.stderr.strip().splitlines() == ["iicnet: clip.mkv: is damaged"]
    assert [p.name for p in tmp_path.iterdir()] == ["old.png"]
    assert (tmp_path / "old.png").read_text() == "mine"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes")
def test_a_named_pipe_is_refused_not_overwritten(
    run: Run, photos: list[Path], tmp_path: Path
) -> None:
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    result = run("embed", *photos[:2], "-o", pipe, "-y", "-q")
    assert result.exit_code == ExitCode.FAILURE
    assert len(result.stderr.strip().splitlines()) == 1
    assert "is no regular file" in result.stderr
    assert pipe.is_fifo()


def test_min_psnr_writes_nothing_below(run: Run, photos: list[Path], tmp_path: Path) -> None:
    result = run("embed", *photos[:2], "-o", tmp_path / "out.png", "--min-psnr", 90)
    assert result.exit_code == ExitCode.FAILURE
    assert "nothing was written" in result.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["photos"]
    assert run("embed", *photos[:2], "-o", tmp_path / "o.png", "--min-psnr", 15).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("{photo}", "-o", "x.png"), 2, "cannot tell the task from one photo"),
        (("{photo}", "{photo}", "-o", "x.jpg"), 2, "must be a PNG"),
        (("{photo}", "{photo}", "-o", "x.png", "--task", "stereoo"), 2, "no task 'stereoo'"),
        (("{photo}", "{photo}", "-o", "x.png", "--model", "nope"), 4, "no model 'nope'"),
        (("{photo}", "{photo}", "-o", "x.png", "--model", "video-5"), 2, "made for video"),
        (("{photo}", "{photo}", "-o", "x.png", "--model", "stego-3"), 2, "takes 3 photos"),
        (("{photo}", "missing.jpg", "-o", "x.png"), 1, "missing.jpg"),
        (("{photo}", "{text}", "-o", "x.png"), 1, "notes.jpg"),
        (("{photo}", "{photo}", "-o", "no/such/x.png"), 1, "folder"),
        (("{photo}", "{photo}", "-o", "x.png", "--device", "gpu"), 2, "no device"),
        (("{photo}", "{photo}", "-o", "x.png", "--memory", "much"), 2, "memory"),
        (("{photo}", "{photo}", "-o", "x.png", "--background", "blurple"), 2, "no colour"),
        (("-o", "x.png"), 2, "Missing argument"),
        (("{photo}", "{photo}"), 2, "say where to write"),
        (
            ("{photo}", "{photo}", "-o", "x.png", "--frames", "2"),
            2,
            "stego has no use for --frames",
        ),
        (("{photo}", "-o", "x.png", "--task", "dual", "--zoom", "8"), 2, "too small for zoom 8"),
        (("{tiny}", "{tiny}", "-o", "x.png"), 2, "15x20 pixels are too small"),
        (("{photo}", "{photo}", "-o", "x.png", "--target-embed-psnr", "40"), 2, "--effort"),
        (("{photo}", "{photo}", "--dry-run", "--target-embed-psnr", "40"), 2, "--effort"),
        (("{photo}", "{photo}", "--dry-run", "--precision", "tf32"), 2, "tf32"),
        (("{text}", "-o", "x.png", "--task", "video"), 1, "notes.jpg"),
    ],
)
def test_embed_errors(
    run: Run,
    photos: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    status: int,
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    text = tmp_path / "notes.jpg"
    text.write_text("not a picture")
    tiny = tmp_path / "tiny.png"
    Image.fromarray(natural(20, 15, 0)).save(tiny)
    given = [a.format(photo=photos[0], text=text, tiny=tiny) for a in arguments]
    result = run("embed", *given)
    assert result.exit_code == status, result.output
    assert words in result.stderr
    assert "Traceback" not in result.output
    assert not list(tmp_path.glob("x*"))
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("{a}", "--task", "stereo"), "--layout"),
        (("{a}", "{b}", "{a}", "--task", "stereo"), "3 files"),
        (("{a}", "{small}", "--task", "stereo"), "one size"),
        (("{a}", "--layout", "diagonal"), "no layout"),
        (("{a}", "{b}", "--layout", "top-bottom"), "one file"),
        (("{a}", "--task", "dual"), "--zoom"),
        (("{a}", "{b}", "--zoom", "2"), "dual needs"),
        (("{small}", "--zoom", "8"), "too small"),
        (("{a}", "--task", "layers"), "layers needs"),
        (("{a}", "{small}", "--task", "layers"), "one size"),
        (("{a}",), "cannot tell the task"),
        (("{a}",) * 6, "5 photos"),
    ],
)
def test_clear_errors(run: Run, tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    files = {
        "a": save(tmp_path / "a.png", natural(64, 64, 1)),
        "b": save(tmp_path / "b.png", natural(64, 64, 2)),
        "small": save(tmp_path / "small.png", natural(40, 40, 3)),
    }
    result = run("embed", *(a.format(**files) for a in arguments), "-o", tmp_path / "out.png")
    assert result.exit_code == 2, result.output
    assert words in result.stderr
    assert not (tmp_path / "out.png").exists()


def test_pipes(photos: list[Path], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "iicnet_cli"]
    made = subprocess.run(
        [*command, "embed", "-", photos[1], "-o", "-"],
        stdin=photos[0].open("rb"),
        capture_output=True,
        check=True,
    )
    assert Image.open(io.BytesIO(made.stdout)).format == "PNG"
    back = subprocess.run(
        [*command, "restore", "-", "-o", tmp_path / "back"],
        input=made.stdout,
        capture_output=True,
        check=False,
    )
    assert back.returncode == 0, back.stderr
    assert back.stdout == b""
    assert sorted(p.name for p in (tmp_path / "back").iterdir()) == ["one.png", "stdin.png"]


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm", ".avi", ".gif"])
def test_a_clip_from_stdin_is_known(run: Run, tmp_path: Path, suffix: str) -> None:
    source = tmp_path / f"clip{suffix}"
    with open_writer(source, 64, 48, Fraction(25)) as writer:
        for frame in moving(5, 48, 64):
            writer.add(frame)
    result = run("embed", "-", *QUICK, "-o", tmp_path / "q.png", input=source.read_bytes())
    assert result.exit_code == 0, result.output
    assert "task: video" in result.stderr
    nameless = tmp_path / "clip.part"
    source.rename(nameless)
    result = run("embed", nameless, *QUICK, "--layout", "side-by-side", "-o", tmp_path / "s.png")
    assert result.exit_code == 0, result.output
    header = read_header(tmp_path / "s.png")
    assert header is not None
    assert header.frames == 5


def test_a_photo_from_stdin_is_no_clip(run: Run, photos: list[Path], tmp_path: Path) -> None:
    for kind in ("avif", "jpeg", "webp", "png"):
        file = io.BytesIO()
        Image.open(photos[0]).save(file, kind)
        result = run("embed", "-", "-o", tmp_path / "q.png", input=file.getvalue())
        assert result.exit_code == ExitCode.USAGE
        assert "cannot tell the task from one photo" in result.stderr


@pytest.mark.skipif(os.name == "nt", reason="Windows ends a process without asking it")
def test_a_termination_signal_leaves_no_temporary_file(photos: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    command = [sys.executable, "-m", "iicnet_cli", "embed", *photos[:2], "--effort", "10"]
    process = subprocess.Popen([*command, "-o", out / "x.png"], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while not list(out.iterdir()) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert list(out.iterdir())
        process.terminate()
        assert process.wait(120) == 128 + signal.SIGTERM
    finally:
        process.kill()
    assert list(out.iterdir()) == []


def test_the_memory_budget_changes_next_to_nothing(run: Run, tmp_path: Path) -> None:
    paths = [save(tmp_path / f"{i}.png", natural(120, 160, i)) for i in range(2)]
    for name, budget in (("tiles", "1K"), ("whole", "4G")):
        done(run("embed", *paths, *QUICK, "-o", tmp_path / f"{name}.png", "--memory", budget))
    # Another order of additions may change some roundings, by one.
    tiled, whole = pixels(tmp_path / "tiles.png"), pixels(tmp_path / "whole.png")
    assert np.abs(tiled.astype(int) - whole).max() <= 1
    assert psnr(tiled, whole) > 60


def test_dry_run_writes_nothing(run: Run, photos: list[Path], tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    estimate = json.loads(done(run("embed", *photos[:2], "--dry-run", "--json")).stdout)
    assert sorted(tmp_path.rglob("*")) == before
    output = tmp_path / "x.png"
    report = json.loads(done(run("embed", *photos[:2], "-o", output, "--json")).stdout)
    for field in ("task", "model", "images", "width", "height", "embeddings", "guessed"):
        assert estimate[field] == report[field], field
    assert estimate["seconds"] > 0
    # What is not known is null.
    assert set(report) <= set(estimate)
    assert estimate["hidden_psnr"] is None


def test_dry_run_of_a_clip_in_words(run: Run, clip: Path) -> None:
    result = done(run("embed", clip, "--dry-run", "--effort", 2))
    assert "96x64 with video-5, 3 embeddings, about 0.0 MB" in result.stdout
    assert "without what the search gains" in result.stdout


def test_dry_run_of_many_inputs_has_a_line_for_each(
    run: Run, photos: list[Path], tmp_path: Path
) -> None:
    folder = tmp_path / "o"
    options = ("--task", "grayscale", "--out-dir", folder, "--dry-run", "--json")
    result = done(run("embed", *photos[:2], *options))
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert [record["input"] for record in records] == [str(photo) for photo in photos[:2]]
    assert {record["model"] for record in records} == {"grayscale"}
    assert not folder.exists()


def test_dry_run_needs_inputs_that_exist(run: Run, tmp_path: Path) -> None:
    result = run("embed", tmp_path / "none.mp4", "--dry-run")
    assert result.exit_code != 0
    assert "none.mp4" in result.output


def test_a_missing_codec_is_said_when_embedding_and_restoring(
    run: Run, photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layered, plain = tmp_path / "layered.png", tmp_path / "plain.png"
    done(run("embed", *photos[:2], "-o", layered))
    assert "enhancement_layer" in json.loads(done(run("info", layered, "--json")).stdout)
    monkeypatch.setattr("PIL.features.check", lambda feature: feature != "avif")
    report = json.loads(done(run("embed", *photos[:2], "-o", plain, "--json")).stdout)
    assert "AVIF" in " ".join(report["notes"])
    assert "enhancement_layer" not in json.loads(done(run("info", plain, "--json")).stdout)
    assert "AVIF" in done(run("restore", layered, "-o", tmp_path / "back")).stderr


def test_an_input_is_not_overwritten(run: Run, photos: list[Path]) -> None:
    before = photos[0].read_bytes()
    result = run("embed", *photos[:2], "-o", photos[0], "-y")
    assert result.exit_code == ExitCode.USAGE
    assert "is an input" in result.stderr
    assert photos[0].read_bytes() == before
