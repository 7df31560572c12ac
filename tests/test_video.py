"""Clips in one picture."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from iicnet_cli.container.embedding_file import read_header
from iicnet_cli.media.video_reader import probe
from iicnet_cli.payload.embedding_reader import EmbeddingReader
from iicnet_cli.pictures.metrics import psnr
from tests.helpers import QUICK, Run, alike, done, frames_of, pixels, save, write_clip
from tests.samples import moving


def test_clip_round_trip(run: Run, clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "preview.png"
    result = run("embed", clip, "-o", out)
    assert result.exit_code == 0, result.output
    assert "sound is not carried" in result.stderr
    with Image.open(out) as image:
        assert image.n_frames == 3
        assert image.info["duration"] == pytest.approx(1001 / 30 * 5, abs=1)
    result = run("restore", out)
    assert result.exit_code == 0, result.output
    back = tmp_path / "preview-restored.mkv"
    original, restored = frames_of(clip), frames_of(back)
    assert original.shape == restored.shape == (12, 64, 96, 3)
    assert probe(back).fps == Fraction(30000, 1001)
    for a, b in zip(original, restored, strict=True):
        assert alike(a, b)


def test_restored_clip_by_suffix(run: Run, clip: Path, tmp_path: Path) -> None:
    run("embed", clip, *QUICK, "-o", tmp_path / "p.png")
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
        result = run("embed", clip, *QUICK, "-o", out, *options)
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
    assert run("embed", folder, *QUICK, "-o", tmp_path / "p.png").exit_code == 0
    run("restore", tmp_path / "p.png", "-o", tmp_path / "back")
    assert len(list((tmp_path / "back").iterdir())) == 7
    for i, frame in enumerate(moving(7, 48, 64)):
        assert alike(pixels(tmp_path / "back" / f"f{i + 5}.png"), frame)
    result = run("embed", folder, *QUICK, "-o", tmp_path / "one.png", "--frames", 1)
    assert result.exit_code == 0, result.output
    run("restore", tmp_path / "one.png", "-o", tmp_path / "one.mkv")
    assert len(frames_of(tmp_path / "one.mkv")) == 1


def test_animated_png_is_seen_by_any_reader(run: Run, clip: Path, tmp_path: Path) -> None:
    run("embed", clip, *QUICK, "-o", tmp_path / "p.png")
    with EmbeddingReader(tmp_path / "p.png") as reader:
        embeddings = list(reader)
        assert reader.verify() is True
    original = frames_of(clip)
    for group, embedding in enumerate(embeddings[:2]):
        assert alike(embedding, original[5 * group + 2])


def test_half_size_clip(run: Run, tmp_path: Path) -> None:
    frames = moving(7, 33, 48)
    source = write_clip(tmp_path / "clip.mkv", frames)
    out = tmp_path / "out.png"
    report = json.loads(done(run("embed", source, "--half", "-o", out, "--json")).stdout)
    assert (report["model"], report["embeddings"], report["images"]) == ("video-3-half", 3, 7)
    assert pixels(out).shape == (18, 24, 3)
    done(run("restore", out))
    restored = frames_of(tmp_path / "out-restored.mkv")
    assert restored.shape == frames.shape
    with Image.open(out) as image:
        image.save(tmp_path / "bare.png", save_all=True, pnginfo=PngInfo())
    done(run("restore", tmp_path / "bare.png"))
    assert np.array_equal(frames_of(tmp_path / "bare-restored.mkv"), restored)


def test_half_and_a_full_size_model_contradict_each_other(run: Run, tmp_path: Path) -> None:
    source = write_clip(tmp_path / "clip.mkv", moving(5, 32, 32))
    result = run("embed", source, "--half", "--model", "video-5", "-o", tmp_path / "out.png")
    assert result.exit_code == 2
    assert "full size" in result.stderr


def test_frames_come_back_under_their_names(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "shots"
    folder.mkdir()
    names = [f"IMG_{i}.png" for i in (9, 10, 11, 100, 101, 102)]
    for name, frame in zip(names, moving(6, 32, 48), strict=True):
        save(folder / name, frame)
    done(run("embed", folder, *QUICK, "-o", tmp_path / "out.png"))
    done(run("restore", tmp_path / "out.png", "-o", tmp_path / "back"))
    assert sorted(p.name for p in (tmp_path / "back").iterdir()) == sorted(names)
    assert alike(pixels(tmp_path / "back" / names[2]), pixels(folder / names[2]))
    done(run("embed", folder / "IMG_1*.png", *QUICK, "-o", tmp_path / "some.png"))
    done(run("restore", tmp_path / "some.png", "-o", tmp_path / "some"))
    assert len(list((tmp_path / "some").iterdir())) == 5


def test_motion_photo_is_a_clip(run: Run, tmp_path: Path) -> None:
    frames = moving(5, 48, 64)
    still, video = tmp_path / "still.jpg", write_clip(tmp_path / "video.mp4", frames)
    Image.fromarray(frames[2]).save(still)
    photo = tmp_path / "PXL_1.MP.jpg"
    photo.write_bytes(still.read_bytes() + video.read_bytes())
    out = tmp_path / "out.png"
    result = done(run("embed", photo, *QUICK, "-o", out))
    assert "task: video" in result.stderr and "motion photo" in result.stderr
    done(run("restore", out, "-o", tmp_path / "back.mkv"))
    assert frames_of(tmp_path / "back.mkv").shape == frames.shape

    done(run("embed", photo, still, *QUICK, "-o", tmp_path / "two.png"))
    with Image.open(tmp_path / "two.png") as image:
        assert image.size == (64, 48)
