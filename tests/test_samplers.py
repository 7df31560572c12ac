"""The samplers of all tasks: pictures of one sample belong together, and the reference is first."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from iicnet_cli.errors import TrainingError
from iicnet_cli.tasks.dual import dual_views
from iicnet_cli.training.samplers import (
    DualSampler,
    LayersSampler,
    StegoSampler,
    StereoSampler,
    VideoSampler,
)
from tests.samples import Pixels, natural
from tests.training_helpers import find_disparity


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_stego_samples_are_different_photos() -> None:
    photos = [np.full((20, 30, 3), i, np.uint8) for i in range(5)]
    for seed in range(20):
        sample = StegoSampler(photos, 3).sample(rng(seed), 16)
        assert sample.shape == (3, 16, 16, 3)
        assert len({int(image[0, 0, 0]) for image in sample}) == 3


def test_video_samples_keep_the_order_of_time_and_put_the_middle_first() -> None:
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


def test_video_samples_have_their_motion_compensated() -> None:
    scene = natural(110, 180, 2)
    clip = np.stack([scene[t : t + 80, 9 * t : 9 * t + 110] for t in range(7)])
    sampler = VideoSampler([clip], [], 5, (1,), 0.0)
    remaining = []
    for seed in range(5):
        sample = sampler.sample(rng(seed), 32).astype(float)
        assert sample.shape == (5, 32, 32, 3)
        remaining.append(np.abs(sample[1:] - sample[0]).mean())
    # What comes in from beyond the border cannot be predicted.
    assert np.median(remaining) < 0.1 * np.abs(np.diff(clip.astype(float), axis=0)).mean()


def test_clips_that_move_are_drawn_more_often() -> None:
    still = np.full((9, 40, 40, 3), 10, np.uint8)
    moving = rng(0).integers(100, 200, (9, 40, 40, 3), dtype=np.uint8)
    sampler = VideoSampler([still, moving], [], 3, (1,), 0.0)
    drawn = [sampler.sample(rng(i), 32).max() > 50 for i in range(100)]
    assert 75 < sum(drawn) < 100


def test_clips_that_are_too_short_are_left_out() -> None:
    clips = [np.zeros((frames, 20, 20, 3), np.uint8) for frames in (4, 5, 6)]
    assert len(VideoSampler(clips, [], 5, (1,), 0.0).clips) == 2
    with pytest.raises(TrainingError, match="no clip of 7 frames"):
        VideoSampler(clips, [], 7, (1,), 0.0)


def test_synthetic_stereo_samples_are_pairs_of_one_scene() -> None:
    sampler = StereoSampler([], [natural(200, 200, 1)], 1.0)
    samples = [sampler.sample(rng(seed), 48) for seed in range(8)]
    assert {sample.shape for sample in samples} == {(2, 48, 48, 3)}
    assert len({find_disparity(*sample) for sample in samples}) > 3


def test_stereo_pairs_keep_their_disparity_when_they_are_mirrored() -> None:
    scene = natural(90, 140, 2)
    pair = np.stack([scene[:, 6:126], scene[:, 13:133]])  # shifted by 7 to the left
    sampler = StereoSampler([pair], [], 0.0)
    samples = [sampler.sample(rng(seed), 40) for seed in range(12)]
    assert {find_disparity(*sample) for sample in samples} == {7}
    assert len({sample.tobytes() for sample in samples}) == 12
    crops = {pair[0, y : y + 40, x : x + 40].tobytes() for y in range(51) for x in range(81)}
    unmirrored = sum(sample[0].tobytes() in crops for sample in samples)
    assert 0 < unmirrored < 12


@pytest.mark.parametrize("zoom", [2, 4])
def test_dual_samples_are_crops_of_both_views_of_one_window(zoom: int) -> None:
    photo = natural(18 * zoom, 24 * zoom, 4)
    small, _ = dual_views(photo, zoom)
    crop = 16
    sampler = DualSampler([photo], (zoom, 64), crop)
    found = set()
    for seed in range(40):
        sample = sampler.sample(rng(seed), crop)
        assert sample.shape == (2, crop, crop, 3)
        (normal, zoomed), turn = max(
            ((turned, turn) for turn, turned in enumerate(turns(sample))),
            key=lambda turned: find_part(turned[0][0], small) is not None,
        )
        y, x = find_part(normal, small) or pytest.fail("no part of the photo made smaller")
        detail = find_part(zoomed, photo) or pytest.fail("no part of the photo")
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


def find_part(part: Pixels, whole: Pixels) -> tuple[int, int] | None:
    """Row and column of the first place where ``part`` is in ``whole``."""
    windows = sliding_window_view(whole, part.shape)[:, :, 0]
    places = np.argwhere((windows == part).all(axis=(2, 3, 4)))
    return (int(places[0][0]), int(places[0][1])) if len(places) else None


def test_dual_sample_of_a_whole_photo() -> None:
    photo = natural(64, 64, 4)
    views = np.stack(dual_views(photo, 4))
    sample = DualSampler([photo], (4,), 16).sample(rng(1), 16)
    assert any(np.array_equal(turned, views) for turned in turns(sample))


def test_dual_needs_large_photos() -> None:
    with pytest.raises(TrainingError, match="no photo of 64 pixels"):
        DualSampler([natural(63, 200, 4)], (2, 4), 32)


@pytest.mark.parametrize("images", [2, 3])
def test_layers_agree_with_their_composite(images: int) -> None:
    red = np.zeros((30, 40, 4), np.uint8)
    red[5:25, 10:30] = (255, 0, 0, 255)
    green = np.full((80, 80, 3), (0, 255, 0), np.uint8)
    sampler = LayersSampler([red], [green], images)
    shares = []
    for seed in range(40):
        sample = sampler.sample(rng(seed), 32)
        assert sample.shape == (images, 32, 32, 3)
        composite, background = sample[:2]
        assert np.array_equal(background, np.broadcast_to(green[0, 0], background.shape))
        front = (composite == (255, 0, 0)).all(-1)
        shares.append(front.mean())
        if images == 3:
            assert np.array_equal(sample[2][front], composite[front])
    assert 0.02 < np.mean(shares) < 0.9
