"""Stereo pairs and stereo clips."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from iicnet_cli.container.embedding_file import read_header
from iicnet_cli.errors import ExitCode
from iicnet_cli.media.stereo_layouts import anaglyph, join, split
from iicnet_cli.media.video_reader import open_frames, probe
from iicnet_cli.media.video_writer import open_writer
from iicnet_cli.pictures.metrics import psnr
from iicnet_cli.tasks import task_named
from tests.helpers import QUICK, Run, alike, done, frames_of, pixels, save, strip, write_clip
from tests.media_samples import H264, declare_stereo, moving_pattern
from tests.samples import Pixels, moving, natural


@pytest.fixture
def views() -> tuple[Pixels, Pixels]:
    scene = natural(50, 100, 1)
    return scene[:, 4:85].copy(), scene[:, 10:91].copy()


def test_stereo_pair_in_two_files(run: Run, views: tuple[Pixels, Pixels], tmp_path: Path) -> None:
    left, right = (
        save(tmp_path / name, view) for name, view in zip(("a.png", "b.bmp"), views, strict=True)
    )
    out = tmp_path / "out.png"
    report = json.loads(
        done(run("embed", left, right, "--task", "stereo", "-o", out, "--json")).stdout
    )
    assert (report["task"], report["model"]) == ("stereo", "stereo")
    assert [p["name"] for p in report["restored"]] == ["a.png", "b.bmp"]
    assert report["embed_psnr"] > 25
    done(run("restore", out))
    folder = tmp_path / "out-restored"
    assert sorted(p.name for p in folder.iterdir()) == ["a.png", "b.png"]
    assert pixels(folder / "a.png").shape == (50, 81, 3)
    assert psnr(pixels(folder / "b.png"), views[1]) == pytest.approx(report["restored"][1]["psnr"])


@pytest.mark.parametrize("layout", ["side-by-side", "top-bottom", "cross-eyed"])
def test_stereo_layouts_in_and_out(
    run: Run, views: tuple[Pixels, Pixels], tmp_path: Path, layout: str
) -> None:
    source = save(tmp_path / "pair.png", join(*views, layout))
    out = tmp_path / "out.png"
    result = done(run("embed", source, *QUICK, "--layout", layout, "-o", out))
    assert "task: stereo" in result.stderr
    assert pixels(out).shape == (50, 82, 3)
    done(run("restore", out, "-o", tmp_path / "both"))
    done(run("restore", out, "-o", tmp_path / "joined.png", "--layout", layout))
    both = [pixels(tmp_path / "both" / f"pair-{view}.png") for view in ("left", "right")]
    joined = split(pixels(tmp_path / "joined.png"), layout)
    assert np.array_equal(np.stack(both), np.stack(joined))
    assert alike(both[0], views[0])


def test_mpo_is_stereo_and_comes_back_as_one(
    run: Run, views: tuple[Pixels, Pixels], tmp_path: Path
) -> None:
    source = tmp_path / "pair.mpo"
    left, right = map(Image.fromarray, views)
    left.save(source, format="MPO", save_all=True, append_images=[right], quality=95)
    out, back = tmp_path / "out.png", tmp_path / "back.mpo"
    assert "task: stereo" in done(run("embed", source, *QUICK, "-o", out)).stderr
    done(run("restore", out, "-o", back))
    with Image.open(back) as image:
        assert (image.format, image.n_frames, image.size) == ("MPO", 2, (81, 50))
    done(run("restore", out, "-o", tmp_path / "red.png", "--layout", "anaglyph"))
    done(run("restore", out, "-o", tmp_path / "two"))
    two = [pixels(tmp_path / "two" / f"pair-{view}.png") for view in ("left", "right")]
    assert np.array_equal(pixels(tmp_path / "red.png"), anaglyph(*two))


def test_stereo_clip(run: Run, tmp_path: Path) -> None:
    left, right = moving(5, 32, 48, 1), moving(5, 32, 48, 2)
    both = np.concatenate([left, right], axis=2)
    source = write_clip(tmp_path / "sbs.mkv", both)
    out = tmp_path / "out.png"
    report = json.loads(
        done(run("embed", source, *QUICK, "--layout", "side-by-side", "-o", out, "--json")).stdout
    )
    assert (report["images"], report["embeddings"], report["width"]) == (10, 5, 48)
    done(run("restore", out))
    back = tmp_path / "out-restored.mkv"
    assert probe(back).fps == probe(source).fps
    restored = frames_of(back)
    assert restored.shape == both.shape
    assert alike(restored[:, :, :48], left)
    done(run("restore", out, "-o", tmp_path / "eyes"))
    assert np.array_equal(frames_of(tmp_path / "eyes" / "right.mkv"), restored[:, :, 48:])

    files = [write_clip(tmp_path / f"{i}.mkv", clip) for i, clip in enumerate((left, right))]
    done(run("embed", *files, *QUICK, "--task", "stereo", "-o", tmp_path / "two.png"))
    assert pixels(tmp_path / "two.png").tobytes() == pixels(out).tobytes()
    strip(tmp_path / "two.png")
    done(run("restore", tmp_path / "two.png", "-o", tmp_path / "stripped.mkv"))
    assert np.array_equal(frames_of(tmp_path / "stripped.mkv"), restored)


@pytest.mark.parametrize(
    ("suffix", "mode", "layout"),
    [
        ("mkv", "left_right", "side-by-side"),
        ("mkv", "right_left", "cross-eyed"),
        ("mp4", "top_bottom", "top-bottom"),
    ],
)
def test_a_layout_that_a_clip_declares_needs_not_be_named(
    run: Run, tmp_path: Path, suffix: str, mode: str, layout: str
) -> None:
    pattern = moving_pattern(0.3, "10", "96x64")
    source = declare_stereo(tmp_path / f"a.{suffix}", mode, *pattern, *H264)
    out = tmp_path / "out.png"
    embedded = done(run("embed", source, *QUICK, "--task", "stereo", "-o", out))
    assert f"its views lie {layout}, as the file says" in embedded.stderr
    named = tmp_path / "named.png"
    again = done(run("embed", source, *QUICK, "--layout", layout, "-o", named))
    assert "as the file says" not in again.stderr
    assert pixels(named).tobytes() == pixels(out).tobytes()
    for header in (read_header(out), read_header(named)):
        assert header is not None and header.options["layout"] == layout
    plain = done(run("embed", source, *QUICK, "-o", tmp_path / "plain.png"))
    assert f"a stereo clip, says the file: its views lie {layout}; --task stereo" in plain.stderr


def test_a_layout_that_cannot_be_read_is_told(run: Run, tmp_path: Path) -> None:
    source = declare_stereo(tmp_path / "a.mkv", "checkerboard_lr", *moving_pattern(0.1), *H264)
    result = run("embed", source, "--task", "stereo", "-o", tmp_path / "out.png")
    assert result.exit_code == ExitCode.USAGE
    assert "its views lie as a checkerboard, which cannot be read" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    plain = done(run("embed", source, *QUICK, "-o", tmp_path / "plain.png"))
    assert "its views lie as a checkerboard\n" in plain.stderr


def test_stereo_clip_keeps_its_times(run: Run, tmp_path: Path) -> None:
    times = [0.0, 0.04, 0.12, 0.16, 0.30]
    source, out = tmp_path / "tb.mkv", tmp_path / "out.png"
    with open_writer(source, 48, 64, Fraction(25), timestamps=times) as writer:
        for frame in moving(5, 64, 48):
            writer.add(frame)
    embedded = done(run("embed", source, *QUICK, "--layout", "top-bottom", "-o", out))
    assert "variable" not in embedded.stderr
    done(run("restore", out))
    done(run("restore", out, "-o", tmp_path / "eyes"))
    for path in (tmp_path / "out-restored.mkv", tmp_path / "eyes" / "right.mkv"):
        with open_frames(path) as frames:
            assert len(list(frames)) == 5
            assert frames.timestamps == pytest.approx(times, abs=2e-3), path
    lost = done(run("restore", out, "-o", tmp_path / "back.avi"))
    assert "variable frame rate is not kept" in lost.stderr


def test_pictures_of_a_stereo_clip_are_counted_alike(
    run: Run, views: tuple[Pixels, Pixels], tmp_path: Path
) -> None:
    clip = write_clip(tmp_path / "sbs.mkv", moving(3, 32, 64))
    pair = save(tmp_path / "pair.png", join(*views, "side-by-side"))
    for source, count in ((clip, 6), (pair, 2)):
        out = tmp_path / f"{source.stem}-embedded.png"
        done(run("embed", source, *QUICK, "--layout", "side-by-side", "-o", out))
        header = read_header(out)
        assert header is not None
        assert task_named("stereo").pictures_in(header) == count
        assert json.loads(done(run("restore", out, "--json")).stdout)["images"] == count
