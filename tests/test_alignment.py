"""Alignment: shifts that are found, and what embedding and restoring make of them."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from iicnet_cli.alignment import SMALLEST_SIDE, aligned, find_shifts, shifted, unshifted
from iicnet_cli.container import Motion, read_header
from iicnet_cli.container.motion import STEPS
from iicnet_cli.metrics import psnr
from tests.conftest import Aligning, Run, done, frames_of, natural, pan, rewrite_header

ALIGNMENTS = pytest.mark.parametrize("alignment", ["shift", "motion"])
shift = st.tuples(st.integers(-400, 400), st.integers(-400, 400))


@settings(deadline=None)
@given(st.lists(shift, max_size=4), st.integers(1, 40), st.integers(1, 40))
def test_shifting_is_undone(shifts: list[tuple[int, int]], height: int, width: int) -> None:
    rng = np.random.default_rng(height)
    images = rng.integers(0, 256, (len(shifts) + 1, height, width, 3), dtype=np.uint8)
    there = shifted(images, shifts)
    assert np.array_equal(there[0], images[0])
    assert np.array_equal(unshifted(there, shifts), images)
    assert shifted(images, ()) is images


@settings(deadline=None, max_examples=30)
@given(
    st.integers(SMALLEST_SIDE, 500),
    st.integers(SMALLEST_SIDE, 500),
    st.floats(-0.4, 0.4),
    st.floats(-0.4, 0.4),
    st.integers(0, 99),
)
def test_a_shift_is_found(height: int, width: int, y: float, x: float, seed: int) -> None:
    image = natural(height, width, seed)
    away = (round(y * height), round(x * width))
    pair = np.stack([image, np.roll(image, away, axis=(0, 1))])
    assert find_shifts(pair) == (((-away[0], -away[1]),) if any(away) else ())
    assert np.array_equal(aligned(pair), np.stack([image, image]))


def test_a_pan_is_found_beside_new_content() -> None:
    clip = pan(5, 120, 200, 17)[[2, 0, 1, 3, 4]]
    assert find_shifts(clip) == ((0, -34), (0, -17), (0, 17), (0, 34))


def test_what_does_not_lie_on_the_reference_stays() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (6, 100, 120, 3), dtype=np.uint8)
    assert find_shifts(noise) == ()
    assert find_shifts(np.stack([natural(100, 120, 0)] * 3)) == ()
    assert find_shifts(np.full((3, 80, 80, 3), 7, np.uint8)) == ()
    one_moved = np.stack([noise[0], noise[1], np.roll(noise[0], 5, axis=1)])
    assert find_shifts(one_moved) == ((0, 0), (0, -5))


def test_small_pictures_stay() -> None:
    image = natural(SMALLEST_SIDE - 1, 100, 0)
    assert find_shifts(np.stack([image, np.roll(image, 9, axis=1)])) == ()


@ALIGNMENTS
@pytest.mark.parametrize("model", ["video-5", "video-3-half"])
def test_frames_come_back_in_place(
    run: Run, aligning: Aligning, panning: Path, tmp_path: Path, model: str, alignment: str
) -> None:
    out = tmp_path / "out.png"
    report = json.loads(
        done(
            run("embed", panning, "-o", out, "--model", aligning(model, alignment), "--json")
        ).stdout
    )
    header = read_header(out)
    assert header is not None
    kept, other = (
        (header.shifts, header.motion) if alignment == "shift" else (header.motion, header.shifts)
    )
    assert kept is not None and other is None
    assert len(kept) == report["embeddings"] > 1  # the last group is not full

    wanted = frames_of(panning)
    done(run("restore", out, "-o", tmp_path / "back.mkv"))
    back = frames_of(tmp_path / "back.mkv")
    assert all(psnr(a, b) > 18 for a, b in zip(back, wanted, strict=True))
    assert np.mean([psnr(a, b) for a, b in zip(back, wanted, strict=True)]) > 24

    with Image.open(out) as image:
        image.save(tmp_path / "stripped.png", pnginfo=PngInfo(), save_all=True)
    assert read_header(tmp_path / "stripped.png") is None
    done(run("restore", tmp_path / "stripped.png", "-o", tmp_path / "again.mkv"))
    again = frames_of(tmp_path / "again.mkv")
    assert np.array_equal(again[: len(back)], back)


def test_shifts_are_kept_and_told(
    run: Run, aligning: Aligning, panning: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.png"
    done(run("embed", panning, "-o", out, "--model", aligning("video-5", "shift")))
    header = read_header(out)
    assert header is not None and header.shifts is not None
    middle = len(header.shifts[0]) // 2
    assert header.shifts[0][middle - 1 : middle + 1] == [(0, -12), (0, 12)]
    farthest = 12 * max(middle, len(header.shifts[0]) - middle)
    assert f"up to {farthest} pixels" in done(run("info", out)).stdout
    assert json.loads(done(run("info", out, "--json")).stdout)["shifts"][0] == [
        list(shift) for shift in header.shifts[0]
    ]


@ALIGNMENTS
def test_alignment_helps_and_can_be_left_out(
    run: Run, aligning: Aligning, panning: Path, tmp_path: Path, alignment: str
) -> None:
    model = aligning("video-5", alignment)
    reports = []
    for flag in ("--align", "--no-align"):
        out = tmp_path / f"{flag}.png"
        command = ("embed", panning, "-o", out, "--frames", "5", "--model", model, flag)
        reports.append(json.loads(done(run(*command, "--json")).stdout))
    with_it, without = reports
    assert with_it["embed_psnr"] + with_it["restored_psnr"] > 1 + (
        without["embed_psnr"] + without["restored_psnr"]
    )
    header = read_header(tmp_path / "--no-align.png")
    assert header is not None and header.shifts is None and header.motion is None


@pytest.fixture
def pair(tmp_path: Path) -> list[Path]:
    """Left and right view of a plane, 16 pixels apart."""
    scene = natural(90, 160, 1)
    views = [tmp_path / "pair_left.png", tmp_path / "pair_right.png"]
    for view, at in zip(views, (3, 19), strict=True):
        Image.fromarray(scene[:, at : at + 130]).save(view)
    return views


@ALIGNMENTS
def test_stereo_pairs_are_aligned(
    run: Run, aligning: Aligning, pair: list[Path], tmp_path: Path, alignment: str
) -> None:
    out = tmp_path / "out.png"
    model = aligning("stereo", alignment)
    command = ("embed", *pair, "--task", "stereo", "--model", model, "-o", out, "--json")
    report = json.loads(done(run(*command)).stdout)
    header = read_header(out)
    assert header is not None
    if alignment == "shift":
        assert header.shifts == [[(0, 16)]] and header.motion is None
        assert "up to 16 pixels" in done(run("info", out)).stdout
    else:
        assert header.motion is not None and header.shifts is None
        motion = Motion.from_bytes(base64.b64decode(header.motion[0]), 1)
        assert motion is not None and not motion.shares.any()
        assert np.median(motion.vectors[0, 0], axis=(0, 1)) == pytest.approx((0, 16 * STEPS))
    done(run("restore", out, "-o", tmp_path / "back"))
    for view, wanted in zip(pair, report["restored"], strict=True):
        with Image.open(view) as original, Image.open(tmp_path / "back" / view.name) as back:
            assert psnr(np.asarray(original), np.asarray(back)) == pytest.approx(wanted["psnr"])


def test_tasks_that_do_not_move_refuse_the_flag(
    run: Run, photos: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "out.png"
    result = run("embed", *photos[:2], "--task", "stego", "--no-align", "-o", out)
    assert result.exit_code == 2 and "no use for --align" in result.output
    assert not out.exists()


def test_shifts_that_do_not_fit_are_left_out(
    run: Run, aligning: Aligning, panning: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.png"
    model = aligning("video-5", "shift")
    done(run("embed", panning, "-o", out, "--frames", "5", "--model", model))
    rewrite_header(out, shifts=[[(0, 5)]])
    assert "up to 5 pixels" in done(run("info", out)).stdout
    done(run("restore", out, "-o", tmp_path / "back.mkv"))
    assert len(frames_of(tmp_path / "back.mkv")) == 5


@ALIGNMENTS
def test_evaluate_with_and_without(
    run: Run, aligning: Aligning, panning: Path, alignment: str
) -> None:
    model = aligning("video-5", alignment)
    sums = []
    for flag in ("--align", "--no-align"):
        command = ("evaluate", panning.parent, "-m", model, "--json", flag)
        mean = json.loads(done(run(*command)).stdout)["mean"]
        sums.append(mean["embed_psnr"] + mean["restored_psnr"])
    assert sums[0] > sums[1] + 1


def test_shifts_of_a_pair_that_do_not_fit_are_left_out(
    run: Run, aligning: Aligning, pair: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "out.png"
    done(run("embed", *pair, "--task", "stereo", "--model", aligning("stereo", "shift"), "-o", out))
    rewrite_header(out, shifts=[[(0, 5), (0, 6)]])
    done(run("restore", out, "-o", tmp_path / "back"))
    with Image.open(pair[1]) as original, Image.open(tmp_path / "back" / pair[1].name) as back:
        assert psnr(np.asarray(original), np.asarray(back)) > 25  # by those of the mark


@ALIGNMENTS
def test_evaluate_pairs_with_and_without(
    run: Run, aligning: Aligning, pair: list[Path], alignment: str
) -> None:
    sums = []
    for flag in ("--align", "--no-align"):
        command = ("evaluate", pair[0].parent, "-m", aligning("stereo", alignment), "--json", flag)
        mean = json.loads(done(run(*command)).stdout)["mean"]
        sums.append(mean["embed_psnr"] + mean["restored_psnr"])
    assert sums[0] > sums[1] + 0.5
