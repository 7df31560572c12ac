"""The description of a network."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from iicnet_cli.network.config import IICNetConfig


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"images": 0}, "images"),
        ({"images": 17}, "images"),
        ({"images": 2, "chanels": 3}, "chanels"),
        ({"images": 2, "channels": 4}, "channels"),
        ({"images": 2, "subnet": "cube"}, "subnet"),
        ({"images": 2, "half_size": True, "downscaling": "none"}, "half_size"),
        ({"images": 2, "downscaling_conv": True, "downscaling": "none"}, "downscaling_conv"),
        ({"images": 2, "detail": {}}, "detail needs half_size"),
        ({"images": 2, "channels": 1, "embedding_channels": 3}, "averaged"),
        ({"images": 1, "downscaling": "none"}, "split"),
    ],
)
def test_config_errors(fields: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        IICNetConfig.model_validate(fields)


def test_config_numbers() -> None:
    config = IICNetConfig.paper(5, half_size=True)
    assert (config.multiple, config.image_channels, config.working_channels) == (2, 15, 60)
    assert (config.split, config.squeezed_channels) == (12, 3)
    assert IICNetConfig.paper(3, half_size=True, channel_order="band").split == 9
    compact = IICNetConfig.compact(5)
    assert (compact.multiple, compact.working_channels) == (2, 60)
    assert (compact.split, compact.squeezed_channels) == (12, 12)
    assert IICNetConfig.model_validate_json(config.model_dump_json()) == config


def test_detail_layers_double_the_multiple() -> None:
    config = IICNetConfig.compact(3, half_size=True, detail={})
    assert (config.multiple, config.downscaling_factor, config.squeezed_channels) == (4, 2, 12)
