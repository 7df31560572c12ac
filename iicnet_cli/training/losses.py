"""The loss functions: section 3.2 of the paper, the same with explicit weights, and PSNR itself.

All take float images in 0..1. The terms of the paper, equations (10) to (13), are sums over the
pixels of a picture and means over the batch, as in the authors' code, so their balance depends on
the crop. By Parseval's theorem the frequency term is the squared error of the embedding times about
half the number of pixels. :func:`explicit_loss` states the balance with means instead, and
:func:`psnr_loss` states it in dB.
"""

from __future__ import annotations

import torch
from torch import Tensor

from iicnet_cli.training.rate_proxy import rate_proxy
from iicnet_cli.training.recipe import LossConfig

_CHARBONNIER_EPSILON = 1e-6
_ROUNDING_MSE = 1 / (12 * 255**2)
"""Mean squared error that rounding to 8 bits adds to a picture in 0..1."""


def embedding_loss(embedding: Tensor, reference: Tensor) -> Tensor:
    """L_emb, equation (10): squared error of (B, C, H, W), summed over a picture."""
    return (embedding - reference).square().sum(dim=(1, 2, 3)).mean()


def frequency_loss(embedding: Tensor, reference: Tensor) -> Tensor:
    """L_freq, equation (11): squared error of the one-sided Fourier transforms of (B, C, H, W)."""
    difference = torch.fft.rfft2(embedding - reference)
    return torch.view_as_real(difference).square().sum(dim=(1, 2, 3, 4)).mean()


def restored_loss(restored: Tensor, images: Tensor) -> Tensor:
    """L_res, equation (12): smooth L1 of (B, K, C, H, W), summed over a picture, mean over K."""
    return charbonnier(restored, images).sum(dim=(2, 3, 4)).mean()


def charbonnier(x: Tensor, y: Tensor) -> Tensor:
    """Return sqrt((x - y)^2 + 1e-6) for each element, the paper's differentiable L1."""
    return ((x - y).square() + _CHARBONNIER_EPSILON).sqrt()


def explicit_loss(
    embedding: Tensor, reference: Tensor, restored: Tensor, images: Tensor, config: LossConfig
) -> Tensor:
    """Return the weighted sum of the embedding's MSE and the restored pictures' mean smooth L1."""
    return (
        config.embedding * (embedding - reference).square().mean()
        + config.restored * charbonnier(restored, images).mean()
    )


def psnr_loss(
    embedding: Tensor, reference: Tensor, restored: Tensor, images: Tensor, config: LossConfig
) -> Tensor:
    """Return the weighted geometric mean of the RMS errors of embedding and restored pictures.

    Its logarithm is the weighted mean of the PSNRs, so a dB of one is traded for dB of the other.
    Both errors include that of rounding to 8 bits. The result is a mean over the batch.

    - The error of the restored pictures is the mean of their K errors, so that pictures that are
      restored well count less; with ``config.restored_mean = "psnr"`` it is the geometric mean,
      which is the mean of their PSNRs.
    - An embedding above ``config.embedding_psnr_cap`` dB counts as one of just that PSNR.
    - With ``config.layer_threshold`` the squared error of a restored picture is replaced by its
      cost beside an enhancement layer, :func:`~iicnet_cli.training.rate_proxy.rate_proxy`.
    """
    embedding_mse = (embedding - reference).square().mean(dim=(1, 2, 3))
    embedding_error = (embedding_mse + _ROUNDING_MSE).sqrt()
    if config.embedding_psnr_cap is not None:
        embedding_error = embedding_error.clamp(min=10 ** (-config.embedding_psnr_cap / 20))
    restored_mse = rate_proxy(restored - images, config.layer_threshold)
    restored_error = (restored_mse + _ROUNDING_MSE).sqrt()
    if config.restored_mean == "error":
        restored_error = restored_error.mean(dim=1, keepdim=True)
    logs = config.embedding * embedding_error.log()
    logs = logs + config.restored * restored_error.log().mean(dim=1)
    return (logs / (config.embedding + config.restored)).exp().mean()


def total_loss(
    embedding: Tensor, reference: Tensor, restored: Tensor, images: Tensor, config: LossConfig
) -> Tensor:
    """Return L_total, equation (13), in the form and with the weights of ``config``.

    Args:
        embedding: (B, C_e, H_e, W_e), before rounding.
        reference: the picture that the embedding should look like, of the same shape.
        restored: (B, K, C, H, W).
        images: the pictures to restore, of the same shape.
        config: form and weights.

    Returns:
        A scalar.
    """
    if config.form == "explicit":
        return explicit_loss(embedding, reference, restored, images, config)
    if config.form == "psnr":
        return psnr_loss(embedding, reference, restored, images, config)
    return (
        config.embedding * embedding_loss(embedding, reference)
        + config.frequency * frequency_loss(embedding, reference)
        + config.restored * restored_loss(restored, images)
    )
