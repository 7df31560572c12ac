"""Scenes: whole frames whose motion is found before the training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from iicnet_cli.motion.estimation import estimate_motion
from iicnet_cli.motion.lifting import subtract_prediction
from iicnet_cli.training import scenes
from iicnet_cli.training.samplers import VideoSampler
from iicnet_cli.training.scenes import compensate_scenes, draw_scenes, encode_motion
from tests.samples import natural


@pytest.fixture(scope="module")
def sampler() -> VideoSampler:
    scene = natural(100, 160, 2)
    clip = np.stack([scene[t : t + 70, 5 * t : 5 * t + 96] for t in range(9)])
    return VideoSampler([clip], [], 3, (1, 2), 0.0)


def test_the_same_scenes_are_drawn_each_time_and_none_twice(sampler: VideoSampler) -> None:
    drawn = list(draw_scenes(sampler, ["clip.mkv"], 30))
    names = [scene.name for scene in drawn]
    assert len(set(names)) == len(names) < 30
    assert [scene.name for scene in draw_scenes(sampler, ["clip.mkv"], 30)] == names
    for scene in drawn:
        times = [int(t) for t in scene.name.name.split("-")]
        assert np.array_equal(scene.frames, sampler.clips[0][times])


def test_samples_are_cut_from_compensated_scenes(sampler: VideoSampler) -> None:
    scene = next(draw_scenes(sampler, ["clip.mkv"], 1))
    compensated = compensate_scenes([scene], [])
    expected = subtract_prediction(scene.frames, estimate_motion(scene.frames))
    assert np.array_equal(compensated[0], expected)
    of_scenes = VideoSampler(sampler.clips, [], 3, (1, 2), 0.0)
    of_scenes.scenes = compensated
    sample = of_scenes.sample(np.random.default_rng(1), 70)
    crops = [expected[:, :, x : x + 70] for x in range(27)]
    assert any(np.array_equal(sample, c) or np.array_equal(sample[:, :, ::-1], c) for c in crops)


def test_motion_in_a_file_is_not_searched_again(
    sampler: VideoSampler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = next(draw_scenes(sampler, ["clip.mkv"], 1))
    expected = compensate_scenes([scene], [])
    path = (tmp_path / scene.name).with_name(scene.name.name + ".motion")
    path.parent.mkdir()
    path.write_bytes(encode_motion(scene))

    def fail(frames: object) -> None:
        raise AssertionError("motion was searched though a file holds it")

    monkeypatch.setattr(scenes, "estimate_motion", fail)
    assert np.array_equal(compensate_scenes([scene], [tmp_path]), expected)
