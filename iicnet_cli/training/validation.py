"""Quality of a network on the held-out samples of a training run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from iicnet_cli.engines.network.static_region import copy_static_region
from iicnet_cli.network import IICNet
from iicnet_cli.network.pixels import to_levels, to_pixels, to_rounding_residual, to_tensor
from iicnet_cli.pictures.arrays import PixelArray
from iicnet_cli.pictures.metrics import cap_psnr, psnr
from iicnet_cli.quantize.error_diffusion import rounded
from iicnet_cli.quantize.lattice import NoiseShapingFilter, UnroundedEmbedding


@torch.inference_mode()
def measure(
    net: IICNet,
    samples: Sequence[PixelArray],
    device: torch.device,
    noise_shaping: NoiseShapingFilter | None = None,
) -> tuple[float, float]:
    """Embed and restore the samples, rounding the embeddings to 8 bits in between.

    Args:
        net: the network to measure, on ``device``.
        samples: (K, H, W, 3) each, the reference first.
        device: where to compute.
        noise_shaping: the filter of the rounding; plain rounding by default.

    Returns:
        The mean PSNR of the embeddings, and that of all restored pictures, in dB.
    """
    embedding_psnrs, restored_psnrs = [], []
    for sample in samples:
        images = to_tensor(sample[None], device)
        unrounded = net(images)
        reference = to_pixels(net.reference(images))[0]
        pixels, residual = to_pixels(unrounded)[0], to_rounding_residual(unrounded)[0]
        region = copy_static_region(sample, UnroundedEmbedding(pixels, residual))
        mask = region.mask(*pixels.shape[:2]) if region else None
        embedding = rounded(pixels, residual, noise_shaping, kept=mask)
        restored = to_levels(net.inverse(to_tensor(embedding[None], device)))[0]
        if region:
            region.put(restored, embedding)
        embedding_psnrs.append(cap_psnr(psnr(embedding, reference)))
        restored_psnrs += [cap_psnr(psnr(a, b)) for a, b in zip(restored, sample, strict=True)]
    return float(np.mean(embedding_psnrs)), float(np.mean(restored_psnrs))
