"""The real command line on real files with the bundled weights."""

from __future__ import annotations

import dataclasses
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
from PIL.PngImagePlugin import PngInfo

from iicnet_cli import __version__
from iicnet_cli.container.png_reader import read_header
from iicnet_cli.errors import ExitCode, MediaError
from iicnet_cli.media.video import open_frames, open_writer, probe
from iicnet_cli.payload.embedding_reader import EmbeddingReader
from iicnet_cli.payload.mark_pixels import read_mark, write_mark
from iicnet_cli.pictures.metrics import psnr
from tests.conftest import Run, frames_of, moving, natural


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def strip(source: Path, target: Path) -> None:
    """What a site does that keeps the pixels only."""
    with Image.open(source) as image:
        image.convert("RGB").save(target, pnginfo=PngInfo())


# --- stego ---------------------------------------------------------------------------------


def test_stego_round_trip_needs_no_flag(run: Run, photos: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    result = run("embed", *photos[:3], "-o", out)
    assert result.exit_code == 0, result.output
    assert "dB" in result.stderr
    assert "stego" in result.stderr
    assert result.stdout == ""
    with Image.open(out) as image:
        assert (image.format, image.mode, image.size) == ("PNG", "RGB", (96, 64))
        assert getattr(image, "n_frames", 1) == 1

    result = run("restore", out)
    assert result.exit_code == 0, result.output
    folder = tmp_path / "out-restored"
    assert sorted(p.name for p in folder.iterdir()) == ["cover.png", "one.png", "two.png"]
    assert psnr(pixels(out), pixels(photos[0])) > 28
    for path in photos[:3]:
        assert psnr(pixels(folder / f"{path.stem}.png"), pixels(path)) > 24


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


def test_secrets_of_other_sizes_come_back_at_their_own(
    run: Run, photos: list[Path], tmp_path: Path
) -> None:
    odd = tmp_path / "odd.png"
    Image.fromarray(natural(75, 51, 9)).save(odd)
    result = run("embed", photos[0], odd, "-o", tmp_path / "out.png")
    assert result.exit_code == 0, result.output
    assert "51x75 is fitted to cover.jpg's 96x64" in result.stderr
    run("restore", tmp_path / "out.png", "-o", tmp_path / "back")
    assert pixels(tmp_path / "back" / "odd.png").shape == (75, 51, 3)


@pytest.mark.parametrize(("width", "height"), [(16, 16), (17, 16), (33, 47), (64, 21)])
def test_any_size_from_16_pixels_up(run: Run, tmp_path: Path, width: int, height: int) -> None:
    paths = []
    for i in range(2):
        paths.append(tmp_path / f"{i}.png")
        Image.fromarray(natural(height, width, i)).save(paths[-1])
    result = run("embed", *paths, "-o", tmp_path / "out.png")
    assert result.exit_code == 0, result.output
    assert pixels(tmp_path / "out.png").shape == (height + height % 2, width + width % 2, 3)
    assert run("restore", tmp_path / "out.png", "-o", tmp_path / "back").exit_code == 0
    for i in range(2):
        assert pixels(tmp_path / "back" / f"{i}.png").shape == (height, width, 3)


def test_same_names_do_not_overwrite_each_other(
    run: Run, photos: list[Path], tmp_path: Path
) -> None:
    other = tmp_path / "other" / "cover.png"
    other.parent.mkdir()
    Image.fromarray(natural(64, 96, 5)).save(other)
    run("embed", photos[0], other, "-o", tmp_path / "out.png")
    run("restore", tmp_path / "out.png", "-o", tmp_path / "back")
    names = sorted(p.name for p in (tmp_path / "back").iterdir())
    assert names == ["cover-2.png", "cover.png"]


def test_a_dot_in_a_name_is_not_a_suffix(run: Run, photos: list[Path], tmp_path: Path) -> None:
    run("embed", *photos[:2], "-o", tmp_path / "at 10.30.15.png")
    result = run("restore", tmp_path / "at 10.30.15.png")
    assert result.exit_code == 0, result.output
    assert sorted(p.name for p in (tmp_path / "at 10.30.15-restored").iterdir()) == [
        "cover.png",
        "one.png",
    ]


def test_restored_to_one_name_is_refused_first(
    run: Run, photos: list[Path], tmp_path: Path
) -> None:
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        run("embed", *photos[:2], "-o", tmp_path / folder / "out.png")
    pngs = [tmp_path / folder / "out.png" for folder in ("x", "y")]
    result = run("restore", *pngs, "--out-dir", tmp_path / "back", "-y")
    assert result.exit_code == ExitCode.USAGE
    assert "same name" in result.stderr
    assert not (tmp_path / "back").exists()
    assert run("restore", *pngs).exit_code == 0
    assert (tmp_path / "y" / "out-restored" / "one.png").exists()


def test_restored_after_the_chunks_were_stripped(
    run: Run, photos: list[Path], tmp_path: Path
) -> None:
    run("embed", *photos[:3], "-o", tmp_path / "out.png")
    run("restore", tmp_path / "out.png", "-o", tmp_path / "intact")
    strip(tmp_path / "out.png", tmp_path / "stripped.png")
    assert read_header(tmp_path / "stripped.png") is None
    result = run("restore", tmp_path / "stripped.png", "-o", tmp_path / "back")
    assert result.exit_code == 0, result.output
    assert "mark" in result.stderr
    pairs = [("cover", "cover"), ("one", "hidden-1"), ("two", "hidden-2")]
    for name, generic in pairs:
        a = pixels(tmp_path / "intact" / f"{name}.png")
        assert np.array_equal(a, pixels(tmp_path / "back" / f"{generic}.png"))
    info = json.loads(run("info", tmp_path / "stripped.png", "--json").stdout)
    assert (info["task"], info["images"], info["found_by"]) == ("stego", 3, "mark")


def test_a_mark_of_a_model_that_is_not_here(run: Run, photos: list[Path], tmp_path: Path) -> None:
    run("embed", *photos[:2], "-o", tmp_path / "out.png")
    levels = pixels(tmp_path / "out.png")
    mark = read_mark(levels)
    assert mark is not None
    other = dataclasses.replace(mark, model=mark.model ^ 1)
    Image.fromarray(write_mark(levels, other)).save(tmp_path / "other.png")
    result = run("restore", tmp_path / "other.png")
    assert result.exit_code == ExitCode.NO_MODEL
    assert "its mark names a model that is not here" in result.stderr
    assert run("restore", tmp_path / "other.png", "--model", "stego-2").exit_code == 0


def test_altered_pixels_are_said_and_told_by_the_exit_status(
    run: Run, photos: list[Path], tmp_path: Path
) -> None:
    run("embed", *photos[:2], "-o", tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as image:
        altered = np.array(image)
        header = image.info["iicnet"]
    altered[20:30, 20:30] = 0
    chunks = PngInfo()
    chunks.add_itxt("iicnet", header)
    Image.fromarray(altered).save(tmp_path / "altered.png", pnginfo=chunks)
    result = run("restore", tmp_path / "altered.png", "-o", tmp_path / "back")
    assert result.exit_code == ExitCode.NOT_EMBEDDING
    assert "altered" in result.stderr
    assert (tmp_path / "back" / "one.png").exists()
    assert run("info", tmp_path / "altered.png").exit_code == ExitCode.NOT_EMBEDDING

    with Image.open(tmp_path / "out.png") as image:
        image.resize((48, 32)).save(tmp_path / "small.png", pnginfo=chunks)
    result = run("restore", tmp_path / "small.png", "-o", tmp_path / "nothing")
    assert result.exit_code == ExitCode.NOT_EMBEDDING
    assert "resized or cropped" in result.stderr
    assert not (tmp_path / "nothing").exists()


def test_cropped_and_grey_pngs_with_a_model_given(
    run: Run, photos: list[Path], tmp_path: Path
) -> None:
    run("embed", *photos[:2], "-o", tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as image:
        image.crop((0, 0, 51, 43)).save(tmp_path / "crop.png")
        image.convert("L").save(tmp_path / "grey.png")
    refused = run("restore", tmp_path / "crop.png")
    assert refused.exit_code == ExitCode.NOT_EMBEDDING
    result = run("restore", tmp_path / "crop.png", "-o", tmp_path / "back", "--model", "stego-2")
    assert result.exit_code == 0, result.output
    hidden = pixels(tmp_path / "back" / "hidden-1.png")
    assert hidden.shape == (43, 51, 3)
    assert psnr(hidden[:16, :16], pixels(photos[1])[:16, :16]) > 22
    result = run("restore", tmp_path / "grey.png", "-o", tmp_path / "g", "--model", "stego-2")
    assert result.exit_code == ExitCode.NOT_EMBEDDING
    assert "grey" in result.stderr


def test_jpeg_of_an_embedding_is_a_clear_error(
    run: Run, photos: list[Path], tmp_path: Path
) -> None:
    run("embed", *photos[:2], "-o", tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as image:
        image.save(tmp_path / "sent.jpg", quality=90)
        Image.open(tmp_path / "sent.jpg").save(tmp_path / "sent.png")
    for name in ("sent.jpg", "sent.png"):
        result = run("restore", tmp_path / name, "-o", tmp_path / "back")
        assert result.exit_code == ExitCode.NOT_EMBEDDING
        assert len(result.stderr.strip().splitlines()) == 1
    result = run("restore", tmp_path / "sent.png", "-o", tmp_path / "back", "--model", "stego-2")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "back" / "hidden-1.png").exists()


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
    assert psnr(pixels(tmp_path / "back" / "alpha.png"), black) > 24


# --- video ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("model", "worst"), [("video-5", 27), ("video-9", 22)])
def test_clip_round_trip(run: Run, clip: Path, tmp_path: Path, model: str, worst: float) -> None:
    out = tmp_path / "preview.png"
    result = run("embed", clip, "-o", out, "--model", model)
    assert result.exit_code == 0, result.output
    assert "sound is not carried" in result.stderr
    images = int(model[-1])
    with Image.open(out) as image:
        assert image.n_frames == -(-12 // images)
        assert image.info["duration"] == pytest.approx(1001 / 30 * images, abs=1)
    result = run("restore", out)
    assert result.exit_code == 0, result.output
    back = tmp_path / "preview-restored.mkv"
    original, restored = frames_of(clip), frames_of(back)
    assert original.shape == restored.shape == (12, 64, 96, 3)
    assert probe(back).fps == Fraction(30000, 1001)
    for a, b in zip(original, restored, strict=True):
        assert psnr(a, b) > worst


def test_restored_clip_by_suffix(run: Run, clip: Path, tmp_path: Path) -> None:
    run("embed", clip, "-o", tmp_path / "p.png")
    assert run("restore", tmp_path / "p.png", "-o", tmp_path / "frames").exit_code == 0
    names = sorted(p.name for p in (tmp_path / "frames").iterdir())
    assert names == [f"{i:05d}.png" for i in range(12)]
    exact = np.stack([pixels(tmp_path / "frames" / name) for name in names])
    for name in ("a.mkv", "a.avi", "a.webp", "a.png"):
        assert run("restore", tmp_path / "p.png", "-o", tmp_path / name).exit_code == 0
        assert np.array_equal(frames_of(tmp_path / name), exact), name
    for name in ("a.mp4", "a.gif"):
        assert run("restore", tmp_path / "p.png", "-o", tmp_path / name).exit_code == 0
        assert len(frames_of(tmp_path / name)) == 12
    result = run("restore", tmp_path / "p.png", "-o", tmp_path / "a.xyz")
    assert result.exit_code != 0
    assert not (tmp_path / "a.xyz").exists()


def test_part_of_a_clip(run: Run, clip: Path, tmp_path: Path) -> None:
    cases = [
        (("--frames", 3), [0, 1, 2]),
        (("--step", 3), [0, 3, 6, 9]),
        (("--start", "0.1", "--frames", 4), [3, 4, 5, 6]),
        (("--end", "0:00.15"), [0, 1, 2, 3, 4]),
    ]
    original = frames_of(clip)
    for i, (options, expected) in enumerate(cases):
        out = tmp_path / f"{i}.png"
        result = run("embed", clip, "-o", out, *options)
        assert result.exit_code == 0, result.output
        run("restore", out, "-o", tmp_path / f"{i}.mkv")
        restored = frames_of(tmp_path / f"{i}.mkv")
        assert len(restored) == len(expected), options
        for frame, index in zip(restored, expected, strict=True):
            assert psnr(frame, original[index]) == max(psnr(frame, f) for f in original)
    header = read_header(tmp_path / "1.png")
    assert header is not None
    assert header.frame_rate == Fraction(10000, 1001)
    assert run("embed", clip, "-o", tmp_path / "x.png", "--start", "9").exit_code != 0
    assert run("embed", clip, "-o", tmp_path / "x.png", "--start", "soon").exit_code == 2
    assert not (tmp_path / "x.png").exists()


def test_folder_of_frames_and_a_single_frame(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for i, frame in enumerate(moving(7, 48, 64)):
        Image.fromarray(frame).save(folder / f"f{i + 5}.png")  # f5 ... f11: natural order
    assert run("embed", folder, "-o", tmp_path / "p.png").exit_code == 0
    run("restore", tmp_path / "p.png", "-o", tmp_path / "back")
    assert len(list((tmp_path / "back").iterdir())) == 7
    for i, frame in enumerate(moving(7, 48, 64)):
        assert psnr(pixels(tmp_path / "back" / f"f{i + 5}.png"), frame) > 22
    result = run("embed", folder, "-o", tmp_path / "one.png", "--frames", 1)
    assert result.exit_code == 0, result.output
    run("restore", tmp_path / "one.png", "-o", tmp_path / "one.mkv")
    assert len(frames_of(tmp_path / "one.mkv")) == 1


def test_stripped_clip_keeps_count_and_rate(run: Run, clip: Path, tmp_path: Path) -> None:
    run("embed", clip, "-o", tmp_path / "p.png", "--frames", 4)
    strip(tmp_path / "p.png", tmp_path / "s.png")
    result = run("restore", tmp_path / "s.png", "-o", tmp_path / "s.mkv")
    assert result.exit_code == 0, result.output
    assert len(frames_of(tmp_path / "s.mkv")) == 4
    assert probe(tmp_path / "s.mkv").fps == Fraction(30000, 1001)


def test_variable_frame_rate_comes_back(run: Run, tmp_path: Path) -> None:
    times = [0.0, 0.04, 0.12, 0.16, 0.30, 0.34]
    with open_writer(tmp_path / "v.mkv", 64, 48, Fraction(25), timestamps=times) as writer:
        for frame in moving(6, 48, 64):
            writer.add(frame)
    result = run("embed", tmp_path / "v.mkv", "-o", tmp_path / "v.png")
    assert result.exit_code == 0, result.output
    run("restore", tmp_path / "v.png", "-o", tmp_path / "back.mkv")
    with open_frames(tmp_path / "back.mkv") as frames:
        assert len(list(frames)) == 6
        assert frames.timestamps == pytest.approx(times, abs=2e-3)


def with_header(source: Path, target: Path, **changes: object) -> None:
    """The same pixels with another header, as a newer program or a stranger may write it."""
    with Image.open(source) as image:
        image.load()  # the chunk stands after the pixels
        header = json.loads(image.info["iicnet"]) | changes
        chunks = PngInfo()
        chunks.add_itxt("iicnet", json.dumps(header))
        image.save(target, pnginfo=chunks)


def test_headers_from_strangers(run: Run, clip: Path, tmp_path: Path) -> None:
    run("embed", clip, "-o", tmp_path / "p.png", "--frames", 5)
    cases: list[tuple[dict[str, object], int, str]] = [
        ({"timestamps": [0.0, 1.0]}, 0, ""),
        ({"frames": 99}, 0, ""),
        ({"future": {"x": 1}, "version": "1.9"}, 0, ""),
        ({"version": "2.0"}, 3, "upgrade"),
        ({"task": "hologram"}, 3, "upgrade"),
        ({"width": -1}, 3, ""),
        ({"weights_sha256": "0" * 64}, 4, "other weights"),
        ({"weights_sha256": "0" * 64, "model": "mine"}, 4, "not here"),
    ]
    for i, (changes, status, words) in enumerate(cases):
        with_header(tmp_path / "p.png", tmp_path / f"{i}.png", **changes)
        result = run("restore", tmp_path / f"{i}.png", "-o", tmp_path / f"{i}.mkv")
        assert result.exit_code == status, (changes, result.output)
        assert words in result.stderr
        assert status or "5 frames restored" in result.stderr
        assert (tmp_path / f"{i}.mkv").exists() == (status == 0)


# --- rules of behaviour --------------------------------------------------------------------


def test_embedding_and_restoring_repeat_byte_for_byte(
    run: Run, photos: list[Path], clip: Path, tmp_path: Path
) -> None:
    def digest(path: Path) -> str:
        return hashlib.sha256(path.read_bytes()).hexdigest()

    for inputs in (photos[:3], [clip]):
        run("embed", *inputs, "-o", tmp_path / "a.png", "-y")
        run("embed", *inputs, "-o", tmp_path / "b.png", "-y")
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

    embed = Runner.embed_unrounded
    calls = count()

    def second_fails(self: Runner, *arguments: Any) -> tuple[np.ndarray, np.ndarray]:
        if next(calls):
            raise MediaError("clip.mkv: is damaged")
        return embed(self, *arguments)

    monkeypatch.setattr(Runner, "embed_with_remainder", second_fails)
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
    assert "cannot be written" in result.stderr
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


def test_restore_and_info_errors(run: Run, photos: list[Path], tmp_path: Path) -> None:
    plain = tmp_path / "plain.png"
    Image.fromarray(natural(40, 40, 0)).save(plain)
    broken = tmp_path / "broken.png"
    run("embed", *photos[:2], "-o", tmp_path / "ok.png")
    broken.write_bytes((tmp_path / "ok.png").read_bytes()[:900])
    for name in ("restore", "info"):
        for path in (plain, broken, photos[0]):
            result = run(name, path)
            assert result.exit_code == ExitCode.NOT_EMBEDDING, (name, path, result.output)
        assert run(name, tmp_path / "none.png").exit_code == ExitCode.FAILURE
    result = run("restore", tmp_path / "ok.png", "-o", tmp_path / "file.png")
    assert result.exit_code == ExitCode.USAGE
    assert "folder" in result.stderr


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
    result = run("embed", "-", "-o", tmp_path / "q.png", input=source.read_bytes())
    assert result.exit_code == 0, result.output
    assert "task: video" in result.stderr
    nameless = tmp_path / "clip.part"
    source.rename(nameless)
    result = run("embed", nameless, "--layout", "side-by-side", "-o", tmp_path / "s.png")
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


def test_info_reads_stdin(run: Run, photos: list[Path], tmp_path: Path) -> None:
    run("embed", *photos[:2], "-o", tmp_path / "out.png")
    result = run("info", "-", "--json", input=(tmp_path / "out.png").read_bytes())
    assert result.exit_code == 0, result.output
    info = json.loads(result.stdout)
    assert (info["file"], info["task"], info["pixels"]) == ("-", "stego", "intact")
    result = run("info", "-", input=photos[0].read_bytes())
    assert result.exit_code == ExitCode.NOT_EMBEDDING
    assert run("info", "-", input=b"").exit_code == ExitCode.USAGE


def test_restored_to_stdout(run: Run, photos: list[Path], tmp_path: Path) -> None:
    run("embed", photos[0], "--task", "grayscale", "-o", tmp_path / "grey.png")
    run("restore", tmp_path / "grey.png", "-o", tmp_path / "back.png")
    command = [sys.executable, "-m", "iicnet_cli", "restore", tmp_path / "grey.png", "-o", "-"]
    piped = subprocess.run(command, capture_output=True, check=True, cwd=tmp_path)
    with Image.open(io.BytesIO(piped.stdout)) as image:
        assert np.array_equal(np.asarray(image), pixels(tmp_path / "back.png"))
    assert not (tmp_path / "-").exists()
    run("embed", *photos[:2], "-o", tmp_path / "two.png")
    refused = run("restore", tmp_path / "two.png", "-o", "-")
    assert refused.exit_code == ExitCode.USAGE
    assert "too many for stdout" in refused.stderr
    refused = run("restore", tmp_path / "two.png", "--layout", "anaglyph")
    assert refused.exit_code == ExitCode.USAGE
    assert "no use for --layout" in refused.stderr


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


def test_help_version_and_info_load_no_torch(run: Run, photos: list[Path], tmp_path: Path) -> None:
    run("embed", *photos[:2], "-o", tmp_path / "out.png")
    strip(tmp_path / "out.png", tmp_path / "stripped.png")
    program = (
        "import sys; from iicnet_cli.cli import app\n"
        "try: app(sys.argv[1:])\n"
        "except SystemExit as e: assert not e.code, e.code\n"
        "assert 'torch' not in sys.modules"
    )
    for arguments in (
        ["--help"],
        ["--version"],
        ["embed", "--help"],
        ["train", "--help"],
        ["models", "list"],
        ["info", str(tmp_path / "out.png")],
        ["info", str(tmp_path / "stripped.png")],
    ):
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (arguments, done.stderr)
    assert __version__ in run("--version").stdout


def test_talk_goes_to_stderr_and_quiet_says_nothing(
    run: Run, photos: list[Path], tmp_path: Path
) -> None:
    result = run("embed", *photos[:2], "-o", tmp_path / "out.png", "-q")
    assert (result.exit_code, result.output) == (0, "")
    result = run("restore", tmp_path / "out.png", "-q")
    assert (result.exit_code, result.output) == (0, "")
    result = run("info", tmp_path / "out.png")
    assert "stego-2" in result.stdout
    assert result.stderr == ""


def test_debug_shows_the_traceback(run: Run, photos: list[Path], tmp_path: Path) -> None:
    arguments = ("embed", photos[0], "missing.png", "-o", tmp_path / "x.png")
    assert "Traceback" not in run(*arguments).output
    environment = os.environ | {"NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "iicnet_cli", *map(str, arguments), "--debug"],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert "Traceback" in done.stderr
    assert done.returncode != 0


def test_animated_png_is_seen_by_any_reader(run: Run, clip: Path, tmp_path: Path) -> None:
    run("embed", clip, "-o", tmp_path / "p.png")
    with EmbeddingReader(tmp_path / "p.png") as reader:
        embeddings = list(reader)
        assert reader.verify() is True
    original = frames_of(clip)
    for group, embedding in enumerate(embeddings[:2]):
        assert psnr(embedding, original[5 * group + 2]) > 28


# --- models, evaluation --------------------------------------------------------------------

BUNDLED = [
    "dual", "grayscale", "layers-2", "layers-3", "rescale", "stego-2", "stego-3", "stego-4",
    "stego-5", "stereo", "video-3-half", "video-5", "video-5-half", "video-7", "video-9",
]  # fmt: skip


def test_models_list_path_verify(run: Run) -> None:
    listed = [json.loads(line) for line in run("models", "list", "--json").stdout.splitlines()]
    names = [model["name"] for model in listed]
    assert names == BUNDLED
    for model in listed:
        assert model["bytes"] < 2e6
        folder = Path(run("models", "path", model["name"]).stdout.strip())
        assert {p.name for p in folder.iterdir()} == {
            "README.md",
            "config.json",
            "golden",
            "model.safetensors",
            "recipe.toml",
        }
    result = run("models", "verify")
    assert result.exit_code == 0, result.output
    assert result.stdout.count(" ok ") == len(BUNDLED)
    assert run("models", "path", "nope").exit_code == ExitCode.NO_MODEL


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


def test_ctrl_c_is_one_line_and_130(
    run: Run, photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from iicnet_cli.inference.runner import Runner

    def interrupted(self: Runner, *_: object) -> np.ndarray:
        raise KeyboardInterrupt

    monkeypatch.setattr(Runner, "embed_with_remainder", interrupted)
    result = run("embed", *photos[:2], "-o", tmp_path / "out.png")
    assert result.exit_code == ExitCode.INTERRUPTED
    assert result.stderr.strip() == "iicnet: interrupted"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["photos"]


def test_memory_budget_changes_nothing(run: Run, tmp_path: Path) -> None:
    paths = []
    for i in range(2):
        paths.append(tmp_path / f"{i}.png")
        Image.fromarray(natural(250, 420, i)).save(paths[-1])
    for name, budget in (("a", "1M"), ("b", "4G")):
        result = run("embed", *paths, "-o", tmp_path / f"{name}.png", "--memory", budget)
        assert result.exit_code == 0, result.output
    difference = np.abs(
        pixels(tmp_path / "a.png").astype(int) - pixels(tmp_path / "b.png").astype(int)
    )
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-3
