"""Haar wavelets and pixel shuffle."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from iicnet_cli.network.downscaling import InvertibleDownscaling
from tests.networks import (
    assert_close,
    assert_inverts,
    batch_sizes,
    even_sizes,
    few_examples,
    random,
)


@few_examples
@given(height=even_sizes, width=even_sizes, batch=batch_sizes, images=st.integers(1, 5))
@pytest.mark.parametrize("kind", ["haar", "pixel_shuffle"])
@pytest.mark.parametrize("order", ["image", "band"])
@pytest.mark.parametrize("channels", [1, 3])
def test_downscaling_inverts(
    kind: str, order: str, channels: int, height: int, width: int, batch: int, images: int
) -> None:
    module = InvertibleDownscaling(images, channels, kind, order).double()  # type: ignore[arg-type]
    total = images * channels
    x = random(batch, total, height, width)
    y = random(batch, 4 * total, height // 2, width // 2)
    assert module(x).shape == y.shape
    assert_inverts(module, x, y)


def test_haar_on_one_cell() -> None:
    a, b, c, d = 1.0, 2.0, 4.0, 8.0
    cell = torch.tensor([[[[a, b], [c, d]]]])
    bands = InvertibleDownscaling(1, 1)(cell).flatten()
    expected = [a + b + c + d, a - b + c - d, a + b - c - d, a - b - c + d]
    torch.testing.assert_close(4 * bands, torch.tensor(expected))


@pytest.mark.parametrize("kind", ["haar", "pixel_shuffle"])
def test_channel_orders(kind: str) -> None:
    x = random(1, 6, 2, 2)  # two images of three channels
    by_image = InvertibleDownscaling(2, 3, kind, "image").double()(x)  # type: ignore[arg-type]
    by_band = InvertibleDownscaling(2, 3, kind, "band").double()(x)  # type: ignore[arg-type]
    assert_close(by_image.unflatten(1, (2, 4, 3)).transpose(1, 2), by_band.unflatten(1, (4, 2, 3)))
    alone = InvertibleDownscaling(1, 3, kind).double()(x[:, 3:])  # type: ignore[arg-type]
    assert_close(by_image[:, 12:], alone)
    mean = x.mean(dim=(2, 3), keepdim=True)
    assert_close(by_band[:, :6], mean if kind == "haar" else x[:, :, :1, :1])


@pytest.mark.parametrize("size", [(7, 8), (8, 7)])
def test_odd_sizes_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="even"):
        InvertibleDownscaling(1, 3)(torch.rand(1, 3, *size))
