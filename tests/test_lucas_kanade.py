"""Dense flow from coarse to fine."""

from __future__ import annotations

import torch

from iicnet_cli.motion.lucas_kanade import estimate_flow
from iicnet_cli.motion.planes import downscale_to_grey
from tests.conftest import natural


def test_a_shift_is_found_from_a_distant_start() -> None:
    scene = natural(160, 200, 3)[None]
    frames = downscale_to_grey(scene[:, 20:140, 20:180], 0)
    predictors = downscale_to_grey(scene[:, 17:137, 25:185], 0)
    flow = estimate_flow(predictors, frames, torch.tensor([[0.0, 0.0]]))
    assert flow.shape == (1, 2, 60, 80)
    inner = flow[0, :, 10:-10, 10:-10].flatten(1).median(dim=1).values
    torch.testing.assert_close(inner, torch.tensor([3.0, -5.0]), atol=0.1, rtol=0)


def test_flat_pictures_keep_the_start() -> None:
    flat = torch.full((1, 1, 80, 80), 100.0)
    flow = estimate_flow(flat, flat, torch.tensor([[2.0, -4.0]]))
    torch.testing.assert_close(flow[0, :, 20, 20], torch.tensor([2.0, -4.0]))
