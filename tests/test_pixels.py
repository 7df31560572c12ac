"""8-bit pictures to tensors and back."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from iicnet_cli.network.coupling import ResidualNet
from iicnet_cli.network.pixels import (
    channels_last,
    tensor_to_fixed_point,
    to_pixels,
    to_rounding_residual,
    to_signed_pixels,
    to_tensor,
)
from iicnet_cli.pictures.arrays import FRACTION, from_fixed_point
from tests.conftest import natural

values_and_beyond = st.lists(st.floats(-300, 600, width=32), min_size=1, max_size=30)


def as_image(values: list[float]) -> torch.Tensor:
    """Sample values as a tensor of one row, (1, 1, 1, n)."""
    return torch.tensor(values).reshape(1, 1, 1, -1) / 255


def test_pictures_round_trip_with_channels_next_to_each_other() -> None:
    pictures = np.stack([natural(10, 14, seed) for seed in range(3)])
    tensor = to_tensor(pictures)
    assert tensor.shape == (3, 3, 10, 14)
    assert tensor.is_contiguous(memory_format=torch.channels_last)
    assert np.array_equal(to_pixels(tensor), pictures)
    groups = to_tensor(pictures[None])
    assert groups.shape == (1, 3, 3, 10, 14)
    stacked = torch.cat(groups.unbind(1), dim=1)
    assert stacked.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(groups[0], tensor)
    assert np.array_equal(to_pixels(groups)[0], pictures)


def test_read_only_arrays_are_copied() -> None:
    picture = natural(4, 6, 0)[None]
    picture.flags.writeable = False
    assert np.array_equal(to_pixels(to_tensor(picture)), picture)


@given(values_and_beyond)
def test_pixels_and_rounding_residual_are_the_exact_value(values: list[float]) -> None:
    image = as_image(values)
    exact = (image * 255).double().numpy().reshape(-1)
    pixels = to_pixels(image).astype(float).reshape(-1)
    residual = to_rounding_residual(image).astype(float).reshape(-1) / 256
    inside = (exact > -0.49) & (exact < 255.49)
    assert np.abs(pixels + residual - exact)[inside].max(initial=0) <= 1 / 256 + 1e-4
    assert (residual[exact < -1] == -0.5).all() and (residual[exact > 256] == 127 / 256).all()


@given(values_and_beyond)
def test_signed_pixels_are_not_clamped(values: list[float]) -> None:
    image = as_image(values)
    signed = to_signed_pixels(image)
    assert np.array_equal(signed.clip(0, 255), to_pixels(image))
    assert np.abs(signed.reshape(-1) - (image * 255).numpy().reshape(-1)).max() <= 0.5


@given(st.lists(st.floats(-600, 600, width=32), min_size=1, max_size=30))
def test_fixed_point_rounds_as_the_tensor_does(values: list[float]) -> None:
    image = as_image(values)
    clamped = tensor_to_fixed_point(image, clamped=True)
    assert np.array_equal(from_fixed_point(clamped, np.uint8), to_pixels(image))
    free = tensor_to_fixed_point(image, clamped=False)
    signed = to_signed_pixels(image.clamp(-512 / 255, 512 / 255))
    assert np.array_equal(from_fixed_point(free, np.int16), signed)
    assert free.min() >= -512 * FRACTION and free.max() <= 512 * FRACTION


def test_halves_are_rounded_up() -> None:
    # 255 times these values is exact in floating point.
    image = torch.tensor([-1.5, -0.5, 0.5, 1.5]).reshape(1, 1, 1, 4)
    assert to_signed_pixels(image).reshape(-1).tolist() == [-382, -127, 128, 383]


def test_channels_last_keeps_the_weights() -> None:
    net = ResidualNet(3, 6)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    assert channels_last(net) is net
    assert net.body[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
