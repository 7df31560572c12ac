"""The engine `lowbits` on the pictures that a network was measured on.

The pictures of each PNG are written as PNGs, embedded by `iicnet`'s own functions at the network's
embedding dB, restored and compared. Pictures that came as JPEGs would fit byte for byte more often
than these.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from baselines import Figures
from PIL import Image

from iicnet_cli import Converter, EmbedOptions
from iicnet_cli.media.video_reader import open_frames
from iicnet_cli.pictures.arrays import Pixels
from iicnet_cli.pictures.metrics import cap_psnr, psnr
from iicnet_cli.tasks.task import in_time


def measure_file_engine(
    images: Pixels, task: str, embed_psnr: float, *, half: bool = False
) -> Figures:
    """Hide pictures as the engine `lowbits` does, restore them, and measure.

    Args:
        images: (K, H, W, 3), the reference first.
        task: name of the task.
        embed_psnr: dB that the PNG is to have beside the reference.
        half: the PNG of a clip has half its width and height.
    """
    # Without a floor of quality, a clip stays in one embedding.
    options = EmbedOptions(engine="lowbits", target_embed_psnr=embed_psnr, half=half, min_psnr=1.0)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        frames = folder / "pictures"
        frames.mkdir()
        pictures = images[in_time(len(images))] if task == "video" else images
        paths = [frames / f"{i}.png" for i in range(len(pictures))]
        for path, picture in zip(paths, pictures, strict=True):
            Image.fromarray(picture).save(path, compress_level=1)
        inputs = [frames] if task == "video" else paths
        png = folder / "embedding.png"
        report = Converter().embed(inputs, png, task=task, options=options)
        assert report.embed_psnr is not None
        if report.embeddings > 1:
            raise ValueError(f"{len(images)} pictures make {report.embeddings} embeddings")
        if task != "video":
            values = [picture.psnr for picture in report.restored]
        else:
            Converter().restore(png, folder / "restored.mkv")
            with open_frames(folder / "restored.mkv") as restored:
                pairs = zip(restored, pictures, strict=True)
                values = [cap_psnr(psnr(mine, original)) for mine, original in pairs]
            values.insert(0, values.pop(len(values) // 2))
    return Figures(
        embed_psnr=report.embed_psnr,
        restored_psnr=float(np.mean(values)),
        hidden_psnr=float(np.mean(values[1:])) if len(values) > 1 else None,
    )
