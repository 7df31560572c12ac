"""Dense flow from coarse to fine by the method of Lucas and Kanade (1981)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from iicnet_cli.motion.planes import box_mean
from iicnet_cli.motion.warping import displace

_MIN_OCTAVE_SIDE = 48
"""An octave is halved once more while its shorter side has at least this many pixels."""
_ITERATIONS = 3
"""Each octave is searched in this many iterations."""
_MAX_STEP = 2
"""One iteration changes a flow component by at most this many pixels of its octave."""
_GRADIENT_WINDOW = 7
"""Products of gradients are averaged over squares with sides of this many points of the flow."""
_FLOW_WINDOW = 3
"""The flow is averaged over squares with sides of this many points after each iteration."""
_REGULARISATION = 4.0
"""Added to the mean squared gradients, in squared sample values; bounds the flow of flat areas."""


def estimate_flow(predictors: Tensor, frames: Tensor, starts: Tensor) -> Tensor:
    """Find the displacement from each pixel of a frame to its content in a predictor.

    Args:
        predictors: (B, 1, H, W), 0..255, the pictures that are sampled.
        frames: (B, 1, H, W), 0..255, the pictures that are approximated.
        starts: (B, 2), displacements to start from, pixels of the frames, as (down, right).

    Returns:
        (B, 2, H / 2, W / 2): displacements in pixels of the frames, at every second pixel.
    """
    octaves = [(predictors, frames)]
    while min(octaves[-1][1].shape[-2:]) >= _MIN_OCTAVE_SIDE:
        predictors, frames = (F.avg_pool2d(x, 2) for x in octaves[-1])
        octaves.append((predictors, frames))
    flow: Tensor = (starts / 2 ** len(octaves))[:, :, None, None]
    for predictors, frames in reversed(octaves):
        height, width = frames.shape[-2:]
        flow = 2 * F.interpolate(flow, size=(height // 2, width // 2), mode="bilinear")
        for _ in range(_ITERATIONS):
            step = _solve_step(predictors, frames, flow)
            flow = box_mean(flow + step.clamp(-_MAX_STEP, _MAX_STEP), _FLOW_WINDOW)
    return flow


def _solve_step(predictors: Tensor, frames: Tensor, flow: Tensor) -> Tensor:
    """Solve the regularised least squares of one iteration, for each point of the flow."""
    warped = displace(predictors, F.interpolate(flow, size=frames.shape[-2:], mode="bilinear"))
    dy, dx = torch.gradient(warped, dim=(2, 3))
    error = frames - warped
    products = torch.cat((dy * dy, dx * dx, dy * dx, dy * error, dx * error), dim=1)
    means = box_mean(F.avg_pool2d(products, 2), _GRADIENT_WINDOW)
    yy, xx, yx, y, x = means.tensor_split(5, dim=1)
    yy, xx = yy + _REGULARISATION, xx + _REGULARISATION
    return torch.cat((xx * y - yx * x, yy * x - yx * y), dim=1) / (yy * xx - yx * yx)
