"""Quality of a network on the held-out samples of a training run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from iicnet_cli.engines.network.encoder import EncoderSettings, encode_group
from iicnet_cli.engines.network.sliced_encoder import restored_pictures
from iicnet_cli.inference.runner import Runner
from iicnet_cli.network import IICNet
from iicnet_cli.payload.mark import Mark
from iicnet_cli.pictures.arrays import PixelArray
from iicnet_cli.pictures.metrics import cap_psnr, psnr
from iicnet_cli.quantize.lattice import NoiseShapingFilter


def measure(
    net: IICNet,
    samples: Sequence[PixelArray],
    device: torch.device,
    noise_shaping: NoiseShapingFilter | None = None,
) -> tuple[float, float]:
    """Embed the samples as ``embed --effort 0`` does, and restore them.

    Args:
        net: the network to measure, on ``device``; it is left in evaluation mode.
        samples: (K, H, W, 3) each, the reference first.
        device: where to compute.
        noise_shaping: the filter of the rounding; plain rounding by default.

    Returns:
        The mean PSNR of the embeddings, and that of all restored pictures, in dB.
    """
    runner = Runner(net, device, noise_shaping=noise_shaping)
    embedding_psnrs, restored_psnrs = [], []
    for sample in samples:
        mark = Mark.for_measuring(len(sample))
        encoded = encode_group(runner, sample, mark, EncoderSettings(adds_layer=False))
        restored = restored_pictures(runner, encoded.mark, encoded.pixels, sample)
        embedding_psnrs.append(cap_psnr(psnr(encoded.pixels, runner.reference(sample))))
        restored_psnrs += [cap_psnr(psnr(a, b)) for a, b in zip(restored, sample, strict=True)]
    return float(np.mean(embedding_psnrs)), float(np.mean(restored_psnrs))
