"""Training samples: what belongs together stays together, and the reference comes first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image

from iicnet_cli.errors import TrainingError
from iicnet_cli.motion.estimation import estimate_motion
from iicnet_cli.motion.lifting import subtract_prediction
from iicnet_cli.network.config import IICNetConfig
from iicnet_cli.tasks.dual import dual_views
from iicnet_cli.training.data import build_samplers, load_cutouts, load_pairs
from iicnet_cli.training.recipe import Recipe, Stage
from iicnet_cli.training.samplers import (
    DualSampler,
    LayersSampler,
    StegoSampler,
    StereoSampler,
    VideoSampler,
)
from iicnet_cli.training.scenes import compensated_scenes, drawn_scenes
from iicnet_cli.training.synthetic_motion import moving_photos, stereo_photos
from tests.conftest import Pixels, natural


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_stego_samples_are_different_photos() -> None:
    photos = [np.full((20, 30, 3), i, np.uint8) for i in range(5)]
    for seed in range(20):
        sample = StegoSampler(photos, 3).sample(rng(seed), 16)
        assert sample.shape == (3, 16, 16, 3)
        assert len({int(image[0, 0, 0]) for image in sample}) == 3


def test_video_samples_keep_time_and_put_the_middle_first() -> None:
    clip = np.stack([np.full((20, 30, 3), 10 * t, np.uint8) for t in range(20)])
    sampler = VideoSampler([clip], [], 5, (1, 2), 0.0)
    strides = set()
    for seed in range(40):
        sample = sampler.sample(rng(seed), 16)
        middle, *others = (int(frame[0, 0, 0]) for frame in sample)
        times = [*others[:2], middle, *others[2:]]
        steps = set(np.diff(times))
        assert len(steps) == 1
        strides |= steps
    assert strides == {10, 20, -10, -20}


def test_video_samples_without_their_motion() -> None:
    scene = natural(150, 260, 2)
    clip = np.stack([scene[t : t + 120, 9 * t : 9 * t + 160] for t in range(9)])
    sampler = VideoSampler([clip], [], 5, (1,), 0.0)
    left = []
    for seed in range(12):
        sample = sampler.sample(rng(seed), 48).astype(float)
        assert sample.shape == (5, 48, 48, 3)
        left.append(np.abs(sample[1:] - sample[0]).mean())
    # What comes in from beyond the border stays.
    assert np.median(left) < 0.1 * np.abs(np.diff(clip.astype(float), axis=0)).mean()


def test_samples_without_their_motion_are_those_of_embedding() -> None:
    """A crop as large as the frames sees as much of them as embedding does."""
    scene = natural(150, 260, 2)
    clip = np.stack([scene[t : t + 120, 5 * t : 5 * t + 120] for t in range(3)])
    sample = VideoSampler([clip], [], 3, (1,), 0.0).sample(rng(1), 120)
    differences = []
    for order in ([1, 0, 2], [1, 2, 0]):
        expected = subtract_prediction(clip[order], estimate_motion(clip[order])).astype(int)
        for mirrored in (expected, expected[:, :, ::-1]):
            differences.append(np.abs(sample - mirrored).mean())
    assert min(differences) < 0.5
    assert sorted(differences)[1] > 1


def test_scenes_are_whole_frames_without_their_motion() -> None:
    scene = natural(150, 260, 2)
    clip = np.stack([scene[t : t + 120, 5 * t : 5 * t + 160] for t in range(9)])
    sampler = VideoSampler([clip], [], 3, (1, 2), 0.0)
    drawn = list(drawn_scenes(sampler, ["clip.mkv"], 30))
    assert len({s.name for s in drawn}) == len(drawn) < 30
    assert [s.name for s in drawn_scenes(sampler, ["clip.mkv"], 30)] == [s.name for s in drawn]
    one = drawn[0]
    times = [int(t) for t in one.name.name.split("-")]
    assert np.array_equal(one.frames, clip[times])

    sampler.scenes = compensated_scenes(iter(drawn[:1]), [])
    expected = subtract_prediction(one.frames, estimate_motion(one.frames))
    whole = sampler.sample(rng(1), 120)
    places = [expected[:, :, x : x + 120] for x in range(41)]
    assert any(np.array_equal(whole, p) or np.array_equal(whole[:, :, ::-1], p) for p in places)


def test_moving_photos_move_steadily() -> None:
    y, x = np.mgrid[0:240, 0:240]
    photo = np.stack([y, x, 0 * x], axis=-1).astype(np.uint8)
    moved = []
    for seed in range(40):
        clip = moving_photos([photo], 3, 32, rng(seed)).astype(float)
        assert clip.shape == (3, 32, 32, 3)
        first, middle, last = clip[:, 8:24, 8:24, :2]
        if np.ptp(middle, axis=(0, 1)).max() > 18:  # an occluder's outline is in the way
            continue
        there, back = middle - first, last - middle
        assert np.abs(there - back).max() <= 2.1
        assert np.ptp(there, axis=(0, 1)).max() < 4  # zoom and rotation are slow
        moved.append(np.abs(there).max())
    assert len(moved) > 15 and np.mean(moved) < 3


def test_occluders_move_fast() -> None:
    white, black = (np.full((240, 240, 3), level, np.uint8) for level in (255, 0))
    seen = []
    for seed in range(40):
        first, middle, _ = moving_photos([white, black], 3, 32, rng(seed)).astype(float).mean(-1)
        seen.append(np.abs(middle - first).mean())
    assert sum(change > 10 for change in seen) > 4  # a quarter has an occluder that can be seen


def test_moving_photos_stay_inside_small_photos() -> None:
    generator = rng(0)
    photo = natural(40, 36, 0)
    for _ in range(10):
        clip = moving_photos([photo], 9, 64, generator)
        assert clip.shape == (9, 64, 64, 3)
        assert clip.std() > 1


def test_clips_that_move_are_drawn_more_often() -> None:
    still = np.full((9, 40, 40, 3), 10, np.uint8)
    moving = rng(0).integers(100, 200, (9, 40, 40, 3), dtype=np.uint8)
    sampler = VideoSampler([still, moving], [], 3, (1,), 0.0)
    drawn = [sampler.sample(rng(i), 32).max() > 50 for i in range(100)]
    assert 75 < sum(drawn) < 100


def disparity(left: Pixels, right: Pixels) -> int:
    """The shift d for which left[x] is most like right[x - d], over the middle rows."""
    width = left.shape[1]
    a, b = left.astype(float), right.astype(float)
    errors = {
        d: np.abs(a[:, max(0, d) : width + min(0, d)] - b[:, max(0, -d) : width - max(0, d)]).mean()
        for d in range(-20, 21)
    }
    return min(errors, key=errors.__getitem__)


def test_synthetic_stereo_has_disparities_around_the_aligned_plane() -> None:
    photo = natural(200, 200, 1)
    found = [disparity(*stereo_photos([photo], 64, rng(seed))) for seed in range(40)]
    assert sum(abs(d) <= 2 for d in found) > 20
    assert max(map(abs, found)) > 5


def test_what_is_nearer_in_synthetic_stereo_is_further_left_in_the_right_view() -> None:
    levels = [np.full((240, 240, 3), level, np.uint8) for level in (255, 0)]
    found = []
    for seed in range(200):
        views = stereo_photos(levels, 64, rng(seed))[..., 0].astype(float)
        near = np.abs(views - views[0, 0, 0]) / 255  # 1 in the outline, where the corner is behind
        if near.any() and not near[:, :, [0, -1]].any():
            columns = (near * np.arange(64)).sum(axis=(1, 2)) / near.sum(axis=(1, 2))
            found.append(round(columns[0] - columns[1]))
    assert len(found) > 10
    assert min(found) >= -1 and max(found) > 5


def test_disparities_of_synthetic_stereo_are_compensated() -> None:
    photos = [natural(300, 300, 1)]
    sampler = StereoSampler([], photos, 1.0)
    views = np.stack([sampler.sample(rng(seed), 64) for seed in range(20)]).astype(int)
    assert views.shape == (20, 2, 64, 64, 3)
    before = np.stack([stereo_photos(photos, 64, rng(seed)) for seed in range(20)]).astype(int)
    left, unmoved = (np.abs(pairs[:, 1] - pairs[:, 0]).mean() for pairs in (views, before))
    assert left < 0.5 * unmoved


@pytest.mark.parametrize(("side", "left"), [(60, 7), (90, 0)])
def test_stereo_is_compensated_and_mirrored(side: int, left: int) -> None:
    scene = natural(side, 140, 2)
    pair = np.stack([scene[:, 6:126], scene[:, 13:133]])  # shifted by 7 to the left
    sampler = StereoSampler([pair], [], 0.0)
    samples = [sampler.sample(rng(seed), 40) for seed in range(12)]
    found = [disparity(*sample) for sample in samples]
    if left:  # below 64 pixels no motion is looked for
        assert set(found) == {left}
    else:  # a crop with what comes in at the border tells nothing
        assert found.count(0) >= 9
    assert len({sample.tobytes() for sample in samples}) == 12


@pytest.mark.parametrize("zoom", [2, 4])
def test_dual_is_a_view_and_its_centre(zoom: int) -> None:
    """Wherever the crop is: both views are of one window, and are turned alike."""
    photo = natural(18 * zoom, 24 * zoom, 4)
    small, _ = dual_views(photo, zoom)
    crop = 16
    sampler = DualSampler([photo], (zoom, 64), crop)
    found = set()
    for seed in range(40):
        sample = sampler.sample(rng(seed), crop)
        assert sample.shape == (2, crop, crop, 3)
        (normal, zoomed), turn = max(
            ((sample_turned, turn) for turn, sample_turned in enumerate(turns(sample))),
            key=lambda turned: place(turned[0][0], small) is not None,
        )
        y, x = place(normal, small) or pytest.fail("no part of the photo made smaller")
        detail = place(zoomed, photo) or pytest.fail("no part of the photo")
        for at, there, length in zip((y, x), detail, small.shape[:2], strict=True):
            assert there in {
                zoom * start + (zoom - 1) * window // 2 + at - start
                for window in range(crop, length + 1)
                for start in range(length - window + 1)
                if start <= at <= start + window - crop
            }
        found.add((turn, y, x))
    assert len({turn for turn, _, _ in found}) == 8
    assert len(found) > 20


def turns(pair: Pixels) -> Iterator[Pixels]:
    for mirrored in (pair, pair[:, :, ::-1]):
        for quarter in range(4):
            yield np.rot90(mirrored, quarter, axes=(1, 2))


def place(part: Pixels, whole: Pixels) -> tuple[int, int] | None:
    windows = sliding_window_view(whole, part.shape)[:, :, 0]
    places = np.argwhere((windows == part).all(axis=(2, 3, 4)))
    return (int(places[0][0]), int(places[0][1])) if len(places) else None


def test_dual_of_a_whole_photo() -> None:
    photo = natural(64, 64, 4)
    views = np.stack(dual_views(photo, 4))
    sample = DualSampler([photo], (4,), 16).sample(rng(1), 16)
    assert any(np.array_equal(turned, views) for turned in turns(sample))


def test_dual_needs_large_photos() -> None:
    with pytest.raises(TrainingError, match="no photo of 64 pixels"):
        DualSampler([natural(63, 200, 4)], (2, 4), 32)


@pytest.mark.parametrize("images", [2, 3])
def test_layers_are_what_their_composite_was_made_of(images: int) -> None:
    red = np.zeros((30, 40, 4), np.uint8)
    red[5:25, 10:30] = (255, 0, 0, 255)
    green = np.full((80, 80, 3), (0, 255, 0), np.uint8)
    sampler = LayersSampler([red], [green], images)
    shares = []
    for seed in range(40):
        sample = sampler.sample(rng(seed), 32)
        assert sample.shape == (images, 32, 32, 3)
        composed, background = sample[:2]
        assert np.array_equal(background, np.broadcast_to(green[0, 0], background.shape))
        front = (composed == (255, 0, 0)).all(-1)
        shares.append(front.mean())
        if images == 3:
            assert np.array_equal(sample[2][front], composed[front])
    assert 0.02 < np.mean(shares) < 0.9


def recipe(task: str, images: int) -> Recipe:
    return Recipe(
        name="test",
        task=task,  # type: ignore[arg-type]
        network=IICNetConfig.compact(images, embedding_channels=1 if images == 1 else 3),
        stages=(Stage(until=1, crop=32, batch=1),),
    )


def test_stereo_pairs_and_photos_are_told_apart(tmp_path: Path) -> None:
    for i in range(4):
        for side in ("left", "right"):
            Image.fromarray(natural(40, 60, i)).save(tmp_path / f"{i}_{side}.png")
    Image.fromarray(natural(120, 120, 9)).save(tmp_path / "photo.png")
    assert [name for name, _ in load_pairs([tmp_path], smallest=32)] == [
        f"{i}_left" for i in range(4)
    ]
    sampler, held_out = build_samplers(recipe("stereo", 2), [tmp_path])
    assert isinstance(sampler, StereoSampler)
    assert (len(sampler.pairs), len(sampler.photos)) == (2 * 3, 1)  # mirrored, too
    assert {sample.shape for sample in held_out} == {(2, 32, 32, 3)}


def test_cutouts_and_backgrounds_are_told_apart(tmp_path: Path) -> None:
    for i in range(3):
        front = np.dstack([natural(40, 40, i), np.zeros((40, 40), np.uint8)])
        front[10:30, 10:30, 3] = 255
        Image.fromarray(front).save(tmp_path / f"cut{i}.webp", lossless=True)
        Image.fromarray(natural(48, 48, i)).save(tmp_path / f"back{i}.png")
    assert [name for name, _ in load_cutouts([tmp_path])] == ["cut0.webp", "cut1.webp", "cut2.webp"]
    sampler, held_out = build_samplers(recipe("layers", 3), [tmp_path])
    assert isinstance(sampler, LayersSampler)
    assert (len(sampler.cutouts), len(sampler.photos)) == (2, 3)
    assert {sample.shape for sample in held_out} == {(3, 32, 32, 3)}


@pytest.mark.parametrize(
    ("task", "images"),
    [("video", 3), ("stereo", 2), ("dual", 2), ("layers", 3), ("stego", 2), ("grayscale", 1)],
)
def test_too_little_data_is_said(tmp_path: Path, task: str, images: int) -> None:
    Image.fromarray(natural(120, 120, 9)).save(tmp_path / "photo.png")
    asked = recipe(task, images)
    with pytest.raises(TrainingError, match="too little data"):
        build_samplers(asked, [tmp_path])
