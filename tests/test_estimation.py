"""Estimation of motion fields: zooms, moving objects, uncovered background, noise."""

from __future__ import annotations

import numpy as np
import pytest

from iicnet_cli.motion import estimation
from iicnet_cli.motion.estimation import choose_grid, choose_octave, estimate_motion
from iicnet_cli.motion.field import VECTOR_UNITS_PER_PIXEL, MotionField
from iicnet_cli.motion.lifting import subtract_prediction
from iicnet_cli.motion.phase_correlation import MIN_SIDE
from iicnet_cli.motion.warping import warp
from iicnet_cli.pictures.metrics import psnr
from tests.conftest import Pixels, natural
from tests.motion_samples import uncovering, zooming


def assert_nearer_to_the_reference(images: Pixels, motion: MotionField, decibels: float) -> None:
    """Each picture with its prediction subtracted must be this much nearer to the reference."""
    compensated = subtract_prediction(images, motion)
    for frame, difference in zip(images[1:], compensated[1:], strict=True):
        assert psnr(difference, compensated[0]) > psnr(frame, images[0]) + decibels


@pytest.mark.parametrize(("height", "width"), [(120, 160), (330, 400)])
def test_a_zoom_is_found(height: int, width: int) -> None:
    images = zooming(3, height, width)
    motion = estimate_motion(images)
    assert motion is not None
    assert_nearer_to_the_reference(images, motion, 6)


def test_a_zoom_is_found_in_five_frames() -> None:
    images = zooming(5, 120, 160)
    motion = estimate_motion(images)
    assert motion is not None
    assert_nearer_to_the_reference(images, motion, 6)


def test_noise_does_not_make_vectors_differ() -> None:
    scene = natural(250, 330, 4)
    rng = np.random.default_rng(0)
    noisy = [
        (scene[3 * t : 3 * t + 240, :320].astype(float) + rng.normal(0, 6, (240, 320, 3)))
        for t in (1, 0, 2)
    ]
    motion = estimate_motion(np.stack(noisy).clip(0, 255).astype(np.uint8))
    assert motion is not None
    inner = motion.vectors[:, 0, 1:-1, 1:-1]
    expected = np.array([[-3, 0], [3, 0]]) * VECTOR_UNITS_PER_PIXEL
    assert np.abs(np.median(inner, axis=(1, 2)) - expected).max() <= 1
    changes = np.count_nonzero(np.diff(inner, axis=2).any(axis=-1))
    assert changes < 0.05 * inner[..., 0].size


def test_the_grid_is_coarser_where_vectors_take_too_many_bytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images = zooming(3, 240, 320)
    usual = estimate_motion(images)
    monkeypatch.setattr(estimation, "MIN_SAMPLES_PER_FIELD_BYTE", 10**9)
    coarse = estimate_motion(images)
    assert usual is not None and coarse is not None
    rows, columns = usual.blend_weights.shape[1:]
    assert coarse.blend_weights.shape[1:] == (round(rows / 1.5), round(columns / 1.5))
    assert_nearer_to_the_reference(images, coarse, 6)


def test_a_moving_object_is_followed() -> None:
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


@pytest.fixture(scope="module")
def uncovered() -> tuple[Pixels, MotionField]:
    """Pictures in which an object uncovers its background, and their motion."""
    images = uncovering()
    motion = estimate_motion(images)
    assert motion is not None
    return images, motion


def test_what_the_reference_hides_comes_from_the_neighbour(
    uncovered: tuple[Pixels, MotionField],
) -> None:
    images, motion = uncovered
    # The first frame shows what the second does to the right of the object, the last frame what the
    # fourth does to the left of it.
    assert motion.blend_weights[[0, 3]].any() and not motion.blend_weights[[1, 2]].any()
    alone = MotionField(motion.vectors, np.zeros_like(motion.blend_weights))
    for k, columns in ((1, slice(204, 216)), (4, slice(104, 116))):
        area = (slice(48, 112), columns)
        with_neighbour, without = (
            np.abs(subtract_prediction(images, m)[k][area] - images[0][area].astype(float)).mean()
            for m in (motion, alone)
        )
        assert with_neighbour < 0.5 * without


def test_unused_vectors_are_dropped(uncovered: tuple[Pixels, MotionField]) -> None:
    _, motion = uncovered
    assert not motion.vectors[[1, 2], 1].any()
    # In the other frames only vectors around cells that use the neighbour are kept.
    for vectors, weights in zip(
        motion.vectors[[0, 3], 1], motion.blend_weights[[0, 3]], strict=True
    ):
        columns = np.flatnonzero(weights.any(axis=0))
        assert vectors.any()
        assert not vectors[:, : columns[0] - 1].any()


def test_frames_that_do_not_come_nearer_stay() -> None:
    assert estimate_motion(np.stack([natural(100, 120, 0)] * 3)) is None
    assert estimate_motion(np.full((3, 80, 80, 3), 7, np.uint8)) is None
    scene = natural(100, 140, 1)
    motion = estimate_motion(np.stack([scene[:, :120], scene[:, :120], scene[:, 7:127]]))
    assert motion is not None
    assert not motion.vectors[0].any()
    inner = motion.vectors[1, 0][:, :-1] / VECTOR_UNITS_PER_PIXEL
    assert np.abs(inner - (0, 7)).max() < 0.6


def test_small_pictures_and_single_pictures_stay() -> None:
    scene = natural(MIN_SIDE - 1, 100, 0)
    assert estimate_motion(np.stack([scene[:, :80], scene[:, 9:89]])) is None
    assert estimate_motion(natural(100, 100, 0)[None]) is None


@pytest.mark.parametrize(
    ("size", "octave", "grid"),
    [
        ((64, 80), 0, (4, 5)),
        ((300, 480), 0, (19, 30)),
        ((600, 800), 1, (38, 50)),
        ((1080, 1920), 2, (34, 60)),
    ],
)
def test_larger_pictures_have_larger_cells(
    size: tuple[int, int], octave: int, grid: tuple[int, int]
) -> None:
    assert choose_octave(*size) == octave
    assert choose_grid(5, *size, octave) == grid
    pairs = choose_grid(2, *size, octave)
    assert all(abs(a - 2 * b) <= 1 for a, b in zip(pairs, grid, strict=True))
    assert choose_grid(5, 3, 3, octave) == (1, 1)
