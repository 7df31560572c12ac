"""Motion: vectors that are found, what is undone, and how they are kept."""

from __future__ import annotations

import base64
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from iicnet_cli.container.png_reader import read_header
from iicnet_cli.motion import estimation as motion_module
from iicnet_cli.motion.estimation import (
    add_prediction,
    estimate_motion,
    neighbours,
    subtract_prediction,
    warp,
)
from iicnet_cli.motion.field import STEPS, MotionField
from iicnet_cli.motion.phase_correlation import SMALLEST_SIDE
from iicnet_cli.payload.mark_pixels import payload_capacity, read_mark, write_mark
from iicnet_cli.pictures.metrics import psnr
from iicnet_cli.tasks.task import reference_first
from tests.conftest import Pixels, Run, done, frames_of, natural, rewrite_header


def motions(frames: int, farthest: int = 400) -> st.SearchStrategy[MotionField]:
    return st.builds(
        lambda rows, columns, seed: MotionField(
            np.random.default_rng(seed)
            .integers(-farthest, farthest + 1, (frames, 2, rows, columns, 2))
            .astype(np.int16),
            np.random.default_rng(seed).integers(0, 3, (frames, rows, columns), dtype=np.uint8),
        ),
        st.integers(1, 6),
        st.integers(1, 6),
        st.integers(0, 999),
    )


@settings(deadline=None)
@given(st.integers(2, 5).flatmap(motions), st.integers(1, 70), st.integers(1, 70))
def test_compensation_is_undone_whatever_the_vectors(
    motion: MotionField, height: int, width: int
) -> None:
    rng = np.random.default_rng(height)
    shape = (len(motion.vectors) + 1, height, width, 3)
    images = rng.integers(0, 256, shape, dtype=np.uint8)
    levels = subtract_prediction(images, motion)
    assert np.array_equal(levels[0], images[0])
    assert np.array_equal(add_prediction(levels, motion), images)
    assert subtract_prediction(images, None) is images
    assert np.array_equal(add_prediction(images, None), images)


@settings(deadline=None)
@given(st.integers(1, 15).flatmap(lambda n: motions(n, 30_000)))
def test_bytes_round_trip(motion: MotionField) -> None:
    data = motion.to_bytes()
    again = MotionField.from_bytes(data, len(motion.vectors))
    assert again is not None
    assert np.array_equal(again.vectors, motion.vectors)
    assert np.array_equal(again.shares, motion.shares)
    assert MotionField.from_bytes(data, len(motion.vectors) + 1) is None
    assert MotionField.from_bytes(data[:-1], len(motion.vectors)) is None


@given(st.binary(max_size=60))
def test_bytes_of_strangers(data: bytes) -> None:
    motion = MotionField.from_bytes(data, 4)
    assert motion is None or len(motion.vectors) == len(motion.shares) == 4


def test_shares_above_one_are_none() -> None:
    still = np.zeros((1, 2, 3, 3, 2), np.int16)
    assert MotionField.from_bytes(MotionField(still, np.full((1, 3, 3), 2, np.uint8)).to_bytes(), 1)
    assert not MotionField.from_bytes(
        MotionField(still, np.full((1, 3, 3), 3, np.uint8)).to_bytes(), 1
    )


def test_vectors_that_would_fill_the_memory_are_none() -> None:
    shape = (1, 700, 700)
    huge = MotionField(
        np.zeros((1, 2, 700, 700, 2), np.int16), np.zeros(shape, np.uint8)
    ).to_bytes()
    assert len(huge) < 10_000
    assert MotionField.from_bytes(huge, 1) is None


@pytest.mark.parametrize(("y", "x"), [(3, -5), (-40, 700), (0, 1), (300, 0)])
def test_whole_pixels_are_taken_from_where_the_vector_points(y: int, x: int) -> None:
    image = natural(330, 150, 3)
    vectors = np.full((4, 2, 2), (STEPS * y, STEPS * x), np.int16)
    rows = (np.arange(330) + y).clip(0, 329)
    columns = (np.arange(150) + x).clip(0, 149)
    assert np.array_equal(warp(image, vectors), image[np.ix_(rows, columns)])


def test_vectors_are_interpolated_between_the_centres_of_their_cells() -> None:
    ramp = np.broadcast_to(np.arange(200, dtype=np.uint8)[:, None, None], (200, 40, 3)).copy()
    vectors = np.zeros((2, 1, 2), np.int16)
    vectors[1, 0, 0] = 10 * STEPS
    moved = warp(ramp, vectors)[:, 0, 0].astype(float) - np.arange(200)
    expected = (10 * (np.arange(200) + 0.5 - 50) / 100).clip(0, 10)
    assert np.abs(moved - expected)[:185].max() <= 0.51


def zooming(frames: int, height: int, width: int) -> Pixels:
    """(frames, height, width, 3): a camera that comes nearer, the middle frame first."""
    scene = Image.fromarray(natural(2 * height, 2 * width, 5))
    clip = []
    for t in range(frames):
        zoom = 1.4 + 0.06 * (t - frames // 2)
        w, h = 2 * width / zoom, 2 * height / zoom
        box = (width - w / 2, height - h / 2, width + w / 2, height + h / 2)
        clip.append(np.asarray(scene.resize((width, height), Image.Resampling.BICUBIC, box)))
    order = [frames // 2, *(t for t in range(frames) if t != frames // 2)]
    return np.stack(clip)[order]


@pytest.mark.parametrize(("height", "width"), [(120, 160), (330, 400)])
def test_a_zoom_is_found(height: int, width: int) -> None:
    images = zooming(5, height, width)
    motion = estimate_motion(images)
    assert motion is not None
    levels = subtract_prediction(images, motion)
    for frame, still in zip(images[1:], levels[1:], strict=True):
        assert psnr(still, levels[0]) > psnr(frame, images[0]) + 6


def test_noise_is_not_taken_for_motion() -> None:
    """A vector that leaves hardly less is not worth its bits."""
    scene = natural(250, 330, 4)
    rng = np.random.default_rng(0)
    noisy = [
        (scene[3 * t : 3 * t + 240, :320].astype(float) + rng.normal(0, 6, (240, 320, 3)))
        for t in (1, 0, 2)
    ]
    motion = estimate_motion(np.stack(noisy).clip(0, 255).astype(np.uint8))
    assert motion is not None
    inner = motion.vectors[:, 0, 1:-1, 1:-1]
    assert np.abs(np.median(inner, axis=(1, 2)) - [[-3 * STEPS, 0], [3 * STEPS, 0]]).max() <= 1
    changes = np.count_nonzero(np.diff(inner, axis=2).any(axis=-1))
    assert changes < 0.05 * inner[..., 0].size


def test_dear_vectors_are_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    images = zooming(3, 240, 320)
    usual = estimate_motion(images)
    monkeypatch.setattr(motion_module, "_DEAR", 10**9)
    fewer = estimate_motion(images)
    assert usual is not None and fewer is not None
    rows, columns = usual.shares.shape[1:]
    assert fewer.shares.shape[1:] == (round(rows / 1.5), round(columns / 1.5))
    levels = subtract_prediction(images, fewer)
    for frame, still in zip(images[1:], levels[1:], strict=True):
        assert psnr(still, levels[0]) > psnr(frame, images[0]) + 6


def test_what_moves_on_its_own_is_followed() -> None:
    still = natural(240, 320, 1)
    thing = natural(64, 80, 9)
    images = np.stack([still, still])
    images[0, 90:154, 120:200] = thing
    images[1, 90:154, 134:214] = thing
    motion = estimate_motion(images)
    assert motion is not None
    moved = warp(images[0], motion.vectors[0, 0])
    inside = (slice(98, 146), slice(142, 206))
    assert psnr(moved[inside], images[1][inside]) > 30
    assert psnr(moved, images[1]) > psnr(images[0], images[1]) + 6


@pytest.mark.parametrize(
    ("frames", "expected"),
    [(2, [0]), (3, [0, 0]), (5, [2, 0, 0, 3]), (6, [2, 3, 0, 0, 4]), (7, [2, 3, 0, 0, 4, 5])],
)
def test_neighbours_are_nearer_to_the_reference(frames: int, expected: list[int]) -> None:
    assert neighbours(frames) == expected
    times = reference_first(frames)
    for time, near in zip(times[1:], neighbours(frames), strict=True):
        assert abs(times[near] - time) == 1
        assert abs(times[near] - times[0]) == abs(time - times[0]) - 1


def uncovering() -> Pixels:
    """(5, 160, 320, 3): something moves 20 pixels a frame across what it hides."""
    behind, thing = natural(160, 320, 1), natural(96, 120, 9)
    clip = np.stack([behind] * 5)
    for t in range(5):
        clip[t, 32:128, 60 + 20 * t : 180 + 20 * t] = thing
    return clip[reference_first(5)]


def test_what_the_reference_hides_comes_from_the_neighbour() -> None:
    images = uncovering()
    motion = estimate_motion(images)
    assert motion is not None
    # Right of it the first frame shows what the second does too, left of it the last one.
    assert motion.shares[[0, 3]].any() and not motion.shares[[1, 2]].any()
    alone = MotionField(motion.vectors, np.zeros_like(motion.shares))
    for k, columns in ((1, slice(204, 216)), (4, slice(104, 116))):
        cell = (slice(48, 112), columns)
        with_neighbour, without = (
            np.abs(subtract_prediction(images, m)[k][cell] - images[0][cell].astype(float)).mean()
            for m in (motion, alone)
        )
        assert with_neighbour < 0.5 * without


def test_vectors_of_no_use_are_not_kept() -> None:
    motion = estimate_motion(uncovering())
    assert motion is not None
    assert not motion.vectors[[1, 2], 1].any()
    # Of the others, only those around cells that have a share of the neighbour.
    for vectors, shares in zip(motion.vectors[[0, 3], 1], motion.shares[[0, 3]], strict=True):
        columns = np.flatnonzero(shares.any(axis=0))
        assert vectors.any()
        assert not vectors[:, : columns[0] - 1].any()


def test_what_does_not_come_nearer_stays() -> None:
    assert estimate_motion(np.stack([natural(100, 120, 0)] * 3)) is None
    assert estimate_motion(np.full((3, 80, 80, 3), 7, np.uint8)) is None
    scene = natural(100, 140, 1)
    motion = estimate_motion(np.stack([scene[:, :120], scene[:, :120], scene[:, 7:127]]))
    assert motion is not None
    assert not motion.vectors[0].any()
    inner = motion.vectors[1, 0][:, :-1] / STEPS
    assert np.abs(inner - (0, 7)).max() < 0.6


def test_small_pictures_stay() -> None:
    scene = natural(SMALLEST_SIDE - 1, 100, 0)
    assert estimate_motion(np.stack([scene[:, :80], scene[:, 9:89]])) is None


def test_motion_is_kept_and_told(run: Run, panning: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    done(run("embed", panning, "-o", out))
    header = read_header(out)
    assert header is not None and header.motion is not None
    motion = MotionField.from_bytes(base64.b64decode(header.motion[0]), header.images - 1)
    assert motion is not None
    middle = header.images // 2
    before, after = np.median(motion.vectors[middle - 1 : middle + 1, 0], axis=(1, 2)) / STEPS
    assert before == pytest.approx((0, -12), abs=0.5)
    assert after == pytest.approx((0, 12), abs=0.5)
    moving = sum(map(bool, header.motion))
    assert moving > 1
    assert f"of {moving} of {len(header.motion)} groups" in done(run("info", out)).stdout


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"nonsense",
        MotionField(np.ones((2, 2, 3, 3, 2), np.int16), np.zeros((2, 3, 3), np.uint8)).to_bytes(),
    ],
)
def test_motion_that_does_not_fit_is_left_out(
    run: Run, panning: Path, tmp_path: Path, bad: bytes
) -> None:
    out = tmp_path / "out.png"
    done(run("embed", panning, "-o", out, "--frames", "5"))
    rewrite_header(out, motion=[base64.b64encode(bad).decode()])
    done(run("restore", out, "-o", tmp_path / "back.mkv"))
    back = frames_of(tmp_path / "back.mkv")
    assert len(back) == 5
    moved = psnr(back[0], frames_of(panning)[0])
    # What the header has not, the mark has; what it has wrong is not believed.
    assert moved > 20 if bad == b"" else moved < 20


def test_motion_takes_a_sample_for_each_bit(run: Run, panning: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    done(run("embed", panning, "-o", out, "--frames", "5"))
    with Image.open(out) as image:
        mark = read_mark(np.asarray(image))
    header = read_header(out)
    assert mark is not None and header is not None and header.motion is not None
    assert mark.motion == base64.b64decode(header.motion[0])
    pixels = natural(480, 640, 0)
    assert len(mark.motion) < payload_capacity(pixels.shape)
    moving = dataclasses.replace(mark, static_region_bytes=b"", enhancement=b"")
    change = write_mark(pixels, moving).astype(int) - pixels
    assert np.abs(change).max() == 1
    assert np.count_nonzero(change) < 0.6 * 8 * len(moving.to_bytes())


@pytest.mark.parametrize("model", ["video-5", "video-3-half"])
def test_frames_come_back_in_place(run: Run, panning: Path, tmp_path: Path, model: str) -> None:
    out = tmp_path / "out.png"
    report = json.loads(done(run("embed", panning, "-o", out, "--model", model, "--json")).stdout)
    header = read_header(out)
    assert header is not None and header.motion is not None
    assert len(header.motion) == report["embeddings"] > 1  # the last group is not full

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


def test_compensation_helps_and_can_be_left_out(run: Run, panning: Path, tmp_path: Path) -> None:
    reports = []
    for flag in ("--align", "--no-align"):
        out = tmp_path / f"{flag}.png"
        command = ("embed", panning, "-o", out, "--frames", "5", flag)
        reports.append(json.loads(done(run(*command, "--json")).stdout))
    with_it, without = reports
    assert with_it["embed_psnr"] + with_it["restored_psnr"] > 1 + (
        without["embed_psnr"] + without["restored_psnr"]
    )
    header = read_header(tmp_path / "--no-align.png")
    assert header is not None and header.motion is None


@pytest.fixture
def pair(tmp_path: Path) -> list[Path]:
    """Left and right view of a plane, 16 pixels apart."""
    scene = natural(90, 160, 1)
    views = [tmp_path / "pair_left.png", tmp_path / "pair_right.png"]
    for view, at in zip(views, (3, 19), strict=True):
        Image.fromarray(scene[:, at : at + 130]).save(view)
    return views


def test_disparities_are_compensated(run: Run, pair: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    command = ("embed", *pair, "--task", "stereo", "-o", out, "--json")
    report = json.loads(done(run(*command)).stdout)
    header = read_header(out)
    assert header is not None and header.motion is not None
    motion = MotionField.from_bytes(base64.b64decode(header.motion[0]), 1)
    assert motion is not None and not motion.shares.any()
    assert np.median(motion.vectors[0, 0], axis=(0, 1)) == pytest.approx((0, 16 * STEPS), abs=1)
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


def test_evaluate_with_and_without(run: Run, panning: Path) -> None:
    sums = []
    for flag in ("--align", "--no-align"):
        command = ("evaluate", panning.parent, "-m", "video-5", "--json", flag)
        mean = json.loads(done(run(*command)).stdout)["mean"]
        sums.append(mean["embed_psnr"] + mean["restored_psnr"])
    assert sums[0] > sums[1] + 1


def test_evaluate_pairs_with_and_without(run: Run, pair: list[Path]) -> None:
    sums = []
    for flag in ("--align", "--no-align"):
        command = ("evaluate", pair[0].parent, "-m", "stereo", "--json", flag)
        mean = json.loads(done(run(*command)).stdout)["mean"]
        sums.append(mean["embed_psnr"] + mean["restored_psnr"])
    assert sums[0] > sums[1] + 0.5
