"""Files to samplers, and samplers to batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from iicnet_cli.errors import TrainingError
from iicnet_cli.training.data import batches, load_cutouts, load_data, load_pairs
from iicnet_cli.training.distributed import Team
from iicnet_cli.training.recipe import Stage
from iicnet_cli.training.samplers import LayersSampler, StereoSampler, VideoSampler
from tests.samples import natural
from tests.training_helpers import tiny_data, tiny_recipe, write_pan

TWO_STAGES = (Stage(until=0.5, crop=16, batch=2), Stage(until=1, crop=24, batch=2))


def test_held_out_files_are_never_drawn(tmp_path: Path) -> None:
    for i in range(10):
        Image.new("RGB", (48, 48), (i, 0, 0)).save(tmp_path / f"{i}.png")
    (tmp_path / "broken.jpg").write_text("no picture")
    sampler, held_out = load_data(tiny_recipe(), [tmp_path])
    held = {int(image[0, 0, 0]) for sample in held_out for image in sample}
    drawn = {
        int(image[0, 0, 0])
        for seed in range(200)
        for image in sampler.sample(np.random.default_rng(seed), 16)
    }
    assert len(held) == 2
    assert len(drawn) == 8
    assert not held & drawn


def test_clips_and_photos_for_synthetic_motion_are_read(tmp_path: Path) -> None:
    for i in range(2):
        write_pan(tmp_path / f"{i}.mkv", 5, 40, 48, i)
    write_pan(tmp_path / "short.mkv", 2, 40, 48, 9)
    Image.fromarray(natural(100, 100, 9)).save(tmp_path / "photo.png")
    Image.fromarray(natural(60, 60, 9)).save(tmp_path / "small.png")
    for synthetic, photos in ((0.35, 1), (0.0, 0)):
        recipe = tiny_recipe("video", 3, synthetic=synthetic)
        sampler, held_out = load_data(recipe, [tmp_path])
        assert isinstance(sampler, VideoSampler)
        assert (len(sampler.clips), len(sampler.photos)) == (1, photos)
        assert {sample.shape for sample in held_out} == {(3, 16, 16, 3)}


def test_stereo_pairs_are_told_apart_from_photos(tmp_path: Path) -> None:
    for i in range(4):
        for side in ("left", "right"):
            Image.fromarray(natural(40, 60, i)).save(tmp_path / f"{i}_{side}.png")
    Image.fromarray(natural(120, 120, 9)).save(tmp_path / "photo.png")
    assert [name for name, _ in load_pairs([tmp_path], smallest=32)] == [
        f"{i}_left" for i in range(4)
    ]
    sampler, held_out = load_data(tiny_recipe("stereo", crop=32), [tmp_path])
    assert isinstance(sampler, StereoSampler)
    assert (len(sampler.pairs), len(sampler.photos)) == (3, 1)
    assert {sample.shape for sample in held_out} == {(2, 32, 32, 3)}


def test_cutouts_are_told_apart_from_backgrounds(tmp_path: Path) -> None:
    for i in range(3):
        cutout = np.dstack([natural(40, 40, i), np.zeros((40, 40), np.uint8)])
        cutout[10:30, 10:30, 3] = 255
        Image.fromarray(cutout).save(tmp_path / f"cut{i}.webp", lossless=True)
        Image.fromarray(natural(48, 48, i)).save(tmp_path / f"back{i}.png")
    assert [name for name, _ in load_cutouts([tmp_path])] == ["cut0.webp", "cut1.webp", "cut2.webp"]
    sampler, held_out = load_data(tiny_recipe("layers", 3, crop=32), [tmp_path])
    assert isinstance(sampler, LayersSampler)
    assert (len(sampler.cutouts), len(sampler.photos)) == (2, 3)
    assert {sample.shape for sample in held_out} == {(3, 32, 32, 3)}


@pytest.mark.parametrize(
    ("task", "images"),
    [("video", 3), ("stereo", 2), ("dual", 2), ("layers", 3), ("stego", 2), ("grayscale", 1)],
)
def test_too_little_data_is_an_error(tmp_path: Path, task: str, images: int) -> None:
    Image.fromarray(natural(120, 120, 9)).save(tmp_path / "photo.png")
    with pytest.raises(TrainingError, match="too little data"):
        load_data(tiny_recipe(task, images, crop=32), [tmp_path])


def test_batches_depend_on_seed_and_step_only() -> None:
    recipe, sampler = tiny_recipe(stages=TWO_STAGES), tiny_data().sampler

    def take(step: int, count: int) -> list[np.ndarray]:
        feed = batches(sampler, recipe, step, lambda step: step / 10)
        taken = [next(feed) for _ in range(count)]
        feed.close()
        return taken

    whole = take(0, 8)
    assert all(np.array_equal(a, b) for a, b in zip(whole[3:], take(3, 5), strict=True))
    assert [batch.shape[2] for batch in whole] == [16] * 5 + [24] * 3


def test_processes_share_a_batch() -> None:
    recipe, sampler = tiny_recipe(), tiny_data().sampler

    def first(team: Team) -> np.ndarray:
        feed = batches(sampler, recipe, 0, lambda step: 0.0, team)
        batch = next(feed)
        feed.close()
        return batch

    parts = [first(Team(rank, 2)) for rank in range(2)]
    assert np.array_equal(np.concatenate(parts), first(Team()))


def test_an_error_while_sampling_reaches_the_caller() -> None:
    class Broken:
        def sample(self, rng: np.random.Generator, crop: int) -> np.ndarray:
            raise TrainingError("broken")

    feed = batches(Broken(), tiny_recipe(), 0, lambda step: 0.0)
    with pytest.raises(TrainingError, match="broken"):
        next(feed)
