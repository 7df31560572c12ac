"""What encoding a group will cost and give, estimated from windows of its pictures."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from iicnet_cli.engines.base import EncodingEstimate
from iicnet_cli.engines.network import estimate
from iicnet_cli.engines.network.encoder import EncoderSettings, encode_group
from iicnet_cli.engines.network.estimate import estimate_group
from iicnet_cli.engines.network.search import Search
from iicnet_cli.engines.network.sliced_encoder import restored_pictures
from iicnet_cli.inference.runner import Runner
from iicnet_cli.pictures.arrays import Pixels
from iicnet_cli.pictures.metrics import cap_psnr, psnr
from tests.engine_helpers import floyd_steinberg, group_of, mark_of, small_network, small_runner

SETTINGS = EncoderSettings()


def encode(runner: Runner, images: Pixels, settings: EncoderSettings) -> EncodingEstimate:
    """What encoding really gives, without its time."""
    encoded = encode_group(runner, images, mark_of(len(images)), settings)
    restored = restored_pictures(runner, encoded.mark, encoded.pixels, images)
    file = io.BytesIO()
    Image.fromarray(encoded.pixels).save(file, "PNG")
    psnrs = [cap_psnr(psnr(a, b)) for a, b in zip(images, restored, strict=True)]
    return EncodingEstimate(
        tiles=len(runner.tiles(*images.shape[1:3])),
        seconds=0,
        bytes=len(file.getvalue()),
        embed_psnr=psnr(encoded.pixels, runner.reference(images)),
        restored_psnr=float(np.mean(psnrs)),
    )


@pytest.mark.parametrize("adds_layer", [True, False])
def test_small_pictures_are_estimated_from_the_whole(adds_layer: bool) -> None:
    images, settings = group_of(2, 64, 96), EncoderSettings(adds_layer)
    expected = estimate_group(small_runner(), images, 0, settings)
    found = encode(small_runner(), images, settings)
    # Only the fields of the mark differ.
    assert expected.tiles == found.tiles == 1
    assert expected.bytes == pytest.approx(found.bytes, rel=0.01)
    assert expected.embed_psnr == pytest.approx(found.embed_psnr, abs=0.05)
    assert expected.restored_psnr == pytest.approx(found.restored_psnr, abs=0.05)
    assert expected.seconds > 0


@pytest.mark.parametrize("half_size", [False, True])
def test_windows_stand_for_a_large_picture(
    monkeypatch: pytest.MonkeyPatch, half_size: bool
) -> None:
    monkeypatch.setattr(estimate, "WINDOW_SIDE", 64)
    net = small_network(half_size=half_size)
    runner = Runner(net, noise_shaping=floyd_steinberg(), memory=1)
    images = group_of(2, 160, 256)
    expected = estimate_group(runner, images, 0, SETTINGS)
    found = encode(runner, images, SETTINGS)
    assert expected.tiles == found.tiles > 1
    assert expected.embed_psnr == pytest.approx(found.embed_psnr, abs=1.5)
    assert expected.restored_psnr == pytest.approx(found.restored_psnr, abs=1.5)
    assert expected.bytes == pytest.approx(found.bytes, rel=0.15)


def test_the_layer_is_estimated() -> None:
    images = group_of(2, 64, 96)
    layered, plain = (
        estimate_group(small_runner(), images, 0, EncoderSettings(each)) for each in (True, False)
    )
    assert layered.restored_psnr > plain.restored_psnr + 1


def test_motion_takes_room_from_the_layer() -> None:
    images = group_of(2, 64, 96)
    still, moving = (estimate_group(small_runner(), images, n, SETTINGS) for n in (0, 1000))
    assert moving.restored_psnr < still.restored_psnr


def test_windows_with_another_static_share_than_the_whole_are_corrected_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(estimate, "WINDOW_SIDE", 64)
    images = group_of(2, 96, 192)
    images[1, :, :128] = images[0, :, :128]
    settings = EncoderSettings(adds_layer=False)
    expected = estimate_group(small_runner(), images, 0, settings)
    found = encode(small_runner(), images, settings)
    assert expected.embed_psnr == pytest.approx(found.embed_psnr, abs=1.5)


def test_searching_takes_longer() -> None:
    images = group_of(2, 48, 48)
    settings = EncoderSettings(adds_layer=False)
    without, searching = (
        estimate_group(small_runner(), images, 0, settings, search).seconds
        for search in (None, Search(1000))
    )
    assert searching > 5 * without
