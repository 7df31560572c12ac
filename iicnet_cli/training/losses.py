"""Losses of section 3.2, equations (10) to (13), their explicit-weight form, and PSNR itself.

All take float images in 0..1. The terms of the paper are sums over the pixels of a picture and
means over the batch, as its code has them; so their balance depends on the crop: the frequency
term is, by Parseval's theorem, the embedding's squared error times about half the number of
pixels. ``explicit_loss`` says the balance directly, with means; ``psnr_loss`` says it in dB.
"""

from __future__ import annotations

import torch
from torch import Tensor

from iicnet_cli.training.rate_proxy import cost
from iicnet_cli.training.recipe import LossConfig

_EPSILON = 1e-6
_ROUNDING = 1 / (12 * 255**2)
"""Mean squared error of rounding to 8 bits."""


def embedding_loss(embedding: Tensor, reference: Tensor) -> Tensor:
    """L_emb, equation (10): squared error of (B, C, H, W), summed over a picture."""
    return (embedding - reference).square().sum(dim=(1, 2, 3)).mean()


def frequency_loss(embedding: Tensor, reference: Tensor) -> Tensor:
    """L_freq, equation (11): squared error of the one-sided Fourier transforms (B, C, H, W)."""
    difference = torch.fft.rfft2(embedding - reference)
    return torch.view_as_real(difference).square().sum(dim=(1, 2, 3, 4)).mean()


def restored_loss(restored: Tensor, images: Tensor) -> Tensor:
    """L_res, equation (12): smooth L1 of (B, K, C, H, W), summed over a picture, mean over K."""
    return charbonnier(restored, images).sum(dim=(2, 3, 4)).mean()


def charbonnier(x: Tensor, y: Tensor) -> Tensor:
    """sqrt((x - y)^2 + 1e-6), element by element: the differentiable L1 that the paper uses."""
    return ((x - y).square() + _EPSILON).sqrt()


def explicit_loss(
    embedding: Tensor, reference: Tensor, restored: Tensor, images: Tensor, config: LossConfig
) -> Tensor:
    """Weighted mean squared error of the embedding and mean Charbonnier of the restored."""
    return (
        config.embedding * (embedding - reference).square().mean()
        + config.restored * charbonnier(restored, images).mean()
    )


def psnr_loss(
    embedding: Tensor, reference: Tensor, restored: Tensor, images: Tensor, config: LossConfig
) -> Tensor:
    """Weighted geometric mean of the errors of embedding and restored: in effect, their dB.

    Both are root mean squared errors, with that of rounding to 8 bits; of the restored ones it is
    the mean over the K pictures, so that those which are restored well count less, or, if
    ``config.mean_of`` says so, the geometric mean, which is that of their dB. An embedding that is
    better than ``config.enough`` dB counts as just that. With ``config.mended`` the error
    of a restored picture is what it costs beside an enhancement layer. Mean over the batch.
    """
    shown = ((embedding - reference).square().mean(dim=(1, 2, 3)) + _ROUNDING).sqrt()
    if config.enough is not None:
        shown = shown.clamp(min=10 ** (-config.enough / 20))
    back = (cost(restored - images, config.mended) + _ROUNDING).sqrt()
    if config.mean_of == "errors":
        back = back.mean(dim=1, keepdim=True)
    logs = config.embedding * shown.log() + config.restored * back.log().mean(dim=1)
    return (logs / (config.embedding + config.restored)).exp().mean()


def total_loss(
    embedding: Tensor, reference: Tensor, restored: Tensor, images: Tensor, config: LossConfig
) -> Tensor:
    """L_total, equation (13), in the form that ``config`` names."""
    if config.form == "explicit":
        return explicit_loss(embedding, reference, restored, images, config)
    if config.form == "psnr":
        return psnr_loss(embedding, reference, restored, images, config)
    return (
        config.embedding * embedding_loss(embedding, reference)
        + config.frequency * frequency_loss(embedding, reference)
        + config.restored * restored_loss(restored, images)
    )
