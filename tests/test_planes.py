"""Grey planes in octaves, and local means."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from iicnet_cli.motion.planes import box_mean, downscale_to_grey
from tests.conftest import natural


@pytest.mark.parametrize("octave", [0, 1, 2])
def test_grey_octaves_are_means_of_squares_and_channels(octave: int) -> None:
    images = np.stack([natural(24, 32, seed) for seed in range(2)])
    size = 2**octave
    blocks = images.reshape(2, 24 // size, size, 32 // size, size, 3)
    planes = downscale_to_grey(images, octave)
    assert planes.shape == (2, 1, 24 // size, 32 // size)
    np.testing.assert_allclose(planes[:, 0], blocks.mean(axis=(2, 4, 5)), rtol=1e-5)


def test_box_means_end_at_the_borders() -> None:
    planes = torch.arange(20.0).reshape(1, 1, 4, 5)
    means = box_mean(planes, 3)
    assert means.shape == planes.shape
    torch.testing.assert_close(means[0, 0, 1, 1], planes[0, 0, :3, :3].mean())
    torch.testing.assert_close(means[0, 0, 0, 0], planes[0, 0, :2, :2].mean())


@pytest.mark.parametrize("size", [(2, 3), (9, 20)])
def test_box_means_of_many_planes(size: tuple[int, int]) -> None:
    planes = torch.arange(6.0 * size[0] * size[1]).sin().reshape(3, 2, *size)
    means = box_mean(planes, 7)
    for y in range(size[0]):
        for x in range(size[1]):
            square = planes[:, :, max(y - 3, 0) : y + 4, max(x - 3, 0) : x + 4]
            torch.testing.assert_close(
                means[:, :, y, x], square.mean(dim=(2, 3)), rtol=0, atol=1e-5
            )
