"""Settings and weights of the authors' code: same keys, same numbers, nothing else accepted."""

from __future__ import annotations

import pytest
import torch

from iicnet_cli.errors import ModelError
from iicnet_cli.network.iicnet import IICNet
from iicnet_cli.network.official import PUBLISHED_SETTINGS, convert_state_dict, published_task
from tests.official_checkpoints import assert_same, official_net, with_blocks
from tests.reference_official import SETTINGS, OfficialNet


def test_every_published_setting_is_known() -> None:
    assert list(PUBLISHED_SETTINGS) == list(SETTINGS)
    for name, config in PUBLISHED_SETTINGS.items():
        setting = SETTINGS[name]
        assert config.images == setting.num_of_frames
        assert config.blocks == setting.block_num
        assert config.embedding_channels == setting.out_nc
        assert config.half_size == bool(setting.down)
    assert {published_task(name) for name in PUBLISHED_SETTINGS} == {
        "video", "stereo", "dual", "layers", "stego", "grayscale", "rescale",
    }  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED_SETTINGS)
def test_published_keys_and_shapes_fit(name: str) -> None:
    ours = IICNet(PUBLISHED_SETTINGS[name])
    ours.load_state_dict(convert_state_dict(OfficialNet(SETTINGS[name]).state_dict(), ours.config))


@pytest.mark.parametrize("name", PUBLISHED_SETTINGS)
def test_converted_weights_compute_the_same(name: str) -> None:
    theirs = official_net(name, 3)
    ours = IICNet(with_blocks(PUBLISHED_SETTINGS[name], 3)).eval().requires_grad_(False)
    ours.load_state_dict(convert_state_dict(theirs.state_dict(), ours.config))
    assert_same(theirs, ours)


def test_keys_of_distributed_training_have_a_prefix() -> None:
    config = with_blocks(PUBLISHED_SETTINGS["paper/stereo"], 1)
    state = official_net("paper/stereo", 1).state_dict()
    plain = convert_state_dict(state, config)
    prefixed = convert_state_dict({f"module.{k}": v for k, v in state.items()}, config)
    assert plain.keys() == prefixed.keys()
    assert all(torch.equal(plain[key], prefixed[key]) for key in plain)


def test_tensors_that_do_not_fit_are_named() -> None:
    config = with_blocks(PUBLISHED_SETTINGS["paper/video-3-half"], 1)
    state = official_net("paper/video-3-half", 1).state_dict()
    key = "2.operations.0.G.conv3.weight"
    with pytest.raises(ModelError, match=f"'{key}' is missing"):
        convert_state_dict({k: v for k, v in state.items() if k != key}, config)
    with pytest.raises(ModelError, match=f"'{key}' has the shape \\(1, 1, 3, 3\\), not"):
        convert_state_dict({**state, key: torch.zeros(1, 1, 3, 3)}, config)
    with pytest.raises(ModelError, match=r"'2\.extra' has no place"):
        convert_state_dict({**state, "2.extra": torch.zeros(1)}, config)
    haar = "1.operations.0.haar_weights"
    with pytest.raises(ModelError, match="Haar"):
        convert_state_dict({**state, haar: -state[haar]}, config)
