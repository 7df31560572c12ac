"""Pictures and embeddings in memory: arrays and Pillow images in and out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from iicnet_cli import Converter, EmbedOptions, MediaError, UsageError, embedding_info
from iicnet_cli.pictures.metrics import psnr
from tests.samples import natural

FAST = EmbedOptions(effort=0, verify=False)


@pytest.fixture(scope="module")
def converter() -> Converter:
    return Converter()


def test_arrays_come_back_in_order_at_their_own_sizes(converter: Converter) -> None:
    cover, hidden = natural(48, 64, seed=0), natural(40, 32, seed=1)
    embedding = converter.embed_images([cover, hidden], options=FAST)
    assert embedding.size == (64, 48)
    restored = converter.restore_images(embedding)
    assert [picture.shape for picture in restored] == [cover.shape, hidden.shape]
    assert all(picture.dtype == np.uint8 for picture in restored)
    assert psnr(restored[0], cover) > 15


def test_pillow_images_are_taken(converter: Converter) -> None:
    arrays = [natural(48, 64, seed=seed) for seed in range(2)]
    by_arrays = converter.embed_images(arrays, options=FAST)
    by_images = converter.embed_images([Image.fromarray(a) for a in arrays], options=FAST)
    assert np.array_equal(np.asarray(by_arrays), np.asarray(by_images))


def test_restores_like_the_file(converter: Converter, tmp_path: Path) -> None:
    arrays = [natural(48, 64, seed=seed) for seed in range(2)]
    embedding = converter.embed_images(arrays, options=FAST)
    path = tmp_path / "saved.png"
    embedding.save(path, pnginfo=embedding_info(embedding))
    report = converter.restore(path, tmp_path / "restored")
    assert report.found_by == "header"
    assert report.altered is False
    from_memory = converter.restore_images(embedding)
    from_file = converter.restore_images(path)
    from_bytes = converter.restore_images(path.read_bytes())
    for name, *pictures in zip(report.outputs, from_memory, from_file, from_bytes, strict=True):
        written = np.asarray(Image.open(name))
        assert all(np.array_equal(written, picture) for picture in pictures)


def test_frames_of_several_groups_make_an_animation(converter: Converter, tmp_path: Path) -> None:
    frames = [natural(32, 40, seed=seed) for seed in range(7)]
    embedding = converter.embed_images(frames, task="video", options=FAST)
    assert embedding.n_frames == 2  # type: ignore[attr-defined]
    assert len(converter.restore_images(embedding)) == 7
    embedding.save(tmp_path / "clip.png", save_all=True, pnginfo=embedding_info(embedding))
    report = converter.restore(tmp_path / "clip.png", tmp_path / "frames")
    assert report.altered is False
    assert report.images == 7


def test_without_its_header_the_mark_restores(converter: Converter, tmp_path: Path) -> None:
    arrays = [natural(48, 64, seed=seed) for seed in range(2)]
    embedding = converter.embed_images(arrays, options=FAST)
    embedding.save(tmp_path / "bare.png")
    report = converter.restore(tmp_path / "bare.png", tmp_path / "restored")
    assert report.found_by == "mark"


def test_one_picture_needs_a_task(converter: Converter) -> None:
    with pytest.raises(UsageError, match="cannot tell the task"):
        converter.embed_images([natural(32, 32, seed=0)], options=FAST)


@pytest.mark.parametrize(
    "picture",
    [
        Image.new("CMYK", (32, 32)),
        np.zeros((32, 32, 3), np.float64),
        np.zeros((32, 32, 2), np.uint8),
        np.zeros((0, 0, 3), np.uint8),
        "picture.png",
    ],
    ids=["CMYK", "float", "two channels", "empty", "a path"],
)
def test_a_picture_that_a_png_cannot_hold_is_refused(
    converter: Converter, picture: Image.Image | NDArray[Any]
) -> None:
    with pytest.raises(MediaError, match="picture 2 cannot be written as a PNG"):
        converter.embed_images([natural(32, 32, seed=0), picture], options=FAST)


@pytest.mark.parametrize("source", [None, 7, np.zeros((32, 32, 3), np.uint8)])
def test_only_pngs_are_restored(converter: Converter, source: object) -> None:
    with pytest.raises(UsageError, match="cannot restore from"):
        converter.restore_images(source)  # type: ignore[arg-type]
