"""Clips and stereo pairs made from photos."""

from __future__ import annotations

import numpy as np

from iicnet_cli.training.synthetic_motion import moving_photos, stereo_photos
from tests.samples import natural
from tests.training_helpers import find_disparity


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_moving_photos_move_steadily() -> None:
    y, x = np.mgrid[0:240, 0:240]
    photo = np.stack([y, x, 0 * x], axis=-1).astype(np.uint8)
    shifts = []
    for seed in range(40):
        clip = moving_photos([photo], 3, 32, rng(seed)).astype(float)
        assert clip.shape == (3, 32, 32, 3)
        first, middle, last = clip[:, 8:24, 8:24, :2]
        if np.ptp(middle, axis=(0, 1)).max() > 18:  # the outline of an occluder is in the way
            continue
        before, after = middle - first, last - middle
        assert np.abs(before - after).max() <= 2.1
        assert np.ptp(before, axis=(0, 1)).max() < 4  # zoom and rotation are slow
        shifts.append(np.abs(before).max())
    assert len(shifts) > 15 and np.mean(shifts) < 3


def test_occluders_move_fast() -> None:
    white, black = (np.full((240, 240, 3), value, np.uint8) for value in (255, 0))
    changes = []
    for seed in range(40):
        first, middle, _ = moving_photos([white, black], 3, 32, rng(seed)).astype(float).mean(-1)
        changes.append(np.abs(middle - first).mean())
    # In a quarter of the clips an occluder can be seen.
    assert sum(change > 10 for change in changes) > 4


def test_moving_photos_stay_inside_small_photos() -> None:
    generator = rng(0)
    photo = natural(40, 36, 0)
    for _ in range(10):
        clip = moving_photos([photo], 9, 64, generator)
        assert clip.shape == (9, 64, 64, 3)
        assert clip.std() > 1


def test_synthetic_stereo_has_small_and_large_disparities() -> None:
    photo = natural(200, 200, 1)
    found = [find_disparity(*stereo_photos([photo], 64, rng(seed))) for seed in range(40)]
    assert sum(0 <= d <= 3 for d in found) > 5
    assert sum(6 <= d <= 20 for d in found) > 5


def test_half_of_the_right_views_have_other_colours() -> None:
    grey = np.full((200, 200, 3), 128, np.uint8)
    rights = [stereo_photos([grey], 32, rng(seed))[1] for seed in range(60)]
    changed = sum(bool((right != 128).any()) for right in rights)
    assert 20 < changed < 40


def test_nearer_objects_are_further_left_in_the_right_view() -> None:
    photos = [np.full((240, 240, 3), value, np.uint8) for value in (255, 0)]
    found = []
    for seed in range(300):
        views = stereo_photos(photos, 64, rng(seed))[..., 0].astype(float)
        # 1 inside the nearer outline, if the corner shows the plane behind it.
        near = np.abs(views - views[:, :1, :1]) / 255
        is_inside = not near[:, :, [0, -1]].any() and near.max(axis=(1, 2)).min() > 0.8
        if is_inside:
            columns = (near * np.arange(64)).sum(axis=(1, 2)) / near.sum(axis=(1, 2))
            found.append(columns[0] - columns[1])
    assert len(found) > 10
    assert np.median(found) > 4
    # A third plane, of the colour of the first, may hide a part of the second in one view only.
    assert np.mean(np.array(found) > -2) > 0.8
