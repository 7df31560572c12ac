"""What embeddings and restored pictures are worth, gathered group by group."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from iicnet_cli.errors import QualityError
from iicnet_cli.options import EmbedOptions
from iicnet_cli.pictures.arrays import Pixels
from iicnet_cli.pictures.metrics import cap_psnr, mse_to_psnr, psnr, psnr_to_mse, ssim
from iicnet_cli.reports import EmbedReport, PictureQuality

_TARGET_TOLERANCE = 0.1
"""A target that is missed by less than this many dB is not mentioned: writing the mark costs some.
"""


class QualityMeter:
    """Collects the quality of the embedding and of each restored picture of every group.

    Args:
        with_ssim: measure SSIM, too; pictures then need 11 pixels or more to each side.
    """

    def __init__(self, with_ssim: bool) -> None:
        self._with_ssim = with_ssim
        self._psnr: list[list[float]] = []
        self._ssim: list[list[float]] = []

    def add(self, embedding: Pixels, reference: Pixels, restored: Pixels, images: Pixels) -> None:
        """Compare one group.

        Args:
            embedding: (H_e, W_e, C_e) uint8.
            reference: what the embedding should look like, of the same shape.
            restored: (K, H, W, C) uint8.
            images: the originals, of the same shape.
        """
        pairs = [(embedding, reference), *zip(restored, images, strict=True)]
        self._psnr.append([cap_psnr(psnr(a, b)) for a, b in pairs])
        if self._with_ssim:
            self._ssim.append([ssim(a, b) for a, b in pairs])

    def pictures(self, names: Sequence[str]) -> list[PictureQuality]:
        """Means over all groups: the embedding first, then the restored pictures.

        Args:
            names: of the K pictures of a group, the reference first.
        """
        psnrs = np.mean(self._psnr, axis=0).tolist()
        ssims = np.mean(self._ssim, axis=0).tolist() if self._ssim else [None] * len(psnrs)
        return [
            PictureQuality(*row) for row in zip(("embedding", *names), psnrs, ssims, strict=True)
        ]


class FileMeter:
    """Collects the quality of embeddings and of restored pictures of any sizes, one by one.

    Args:
        with_ssim: measure SSIM, too.
    """

    def __init__(self, with_ssim: bool) -> None:
        self._with_ssim = with_ssim
        self._embeddings: list[_Quality] = []
        self._restored: list[_Quality] = []

    def add_embedding(self, embedding: Pixels, cover: Pixels) -> None:
        """Compare an embedding with what it should look like, (H, W, 3) or (H, W) uint8."""
        self._embeddings.append(self._compare(embedding, cover))

    def add(self, restored: Pixels, original: Pixels) -> None:
        """Compare a restored picture (H, W, 3) uint8 with its original."""
        self._restored.append(self._compare(restored, original))

    def pictures(self, names: Sequence[str]) -> list[PictureQuality]:
        """The embedding, the mean of several; then each restored picture, the reference first.

        Args:
            names: of the pictures; the frames of a clip are numbered instead.
        """
        embedding = PictureQuality(
            "embedding",
            float(np.mean([each[0] for each in self._embeddings])),
            float(np.mean([each[1] for each in self._embeddings])) if self._with_ssim else None,
        )
        if len(names) == len(self._restored):
            order, labels = list(range(len(names))), list(names)
        else:
            order = list(range(len(self._restored)))
            order.insert(0, order.pop(len(order) // 2))
            labels = [f"picture {i + 1}" for i in range(len(self._restored))]
        return [embedding, *(PictureQuality(labels[i], *self._restored[i]) for i in order)]

    def _compare(self, a: Pixels, b: Pixels) -> _Quality:
        if a.ndim == 2:
            a, b = a[..., None], b[..., None]
        return cap_psnr(psnr(a, b)), ssim(a, b) if self._with_ssim else None


_Quality = tuple[float, float | None]


def check_quality(report: EmbedReport, min_psnr: float | None) -> None:
    """Refuse what is worth less than was asked for.

    Raises:
        QualityError: embedding or restored pictures are below ``min_psnr`` dB.
    """
    if min_psnr is None or report.embed_psnr is None or report.restored_psnr is None:
        return
    if min(report.embed_psnr, report.restored_psnr) < min_psnr:
        raise QualityError(
            f"nothing was written: embedding {report.embed_psnr:.2f} dB, restored "
            f"{report.restored_psnr:.2f} dB, but {min_psnr:g} dB was asked for",
        )


def missed_targets(report: EmbedReport, options: EmbedOptions) -> tuple[str, ...]:
    """Which target of the search was not reached, in words; as far as the file was measured."""
    if not report.restored or report.embed_psnr is None:
        return ()
    # The search holds the mean squared error over all pictures, not the mean of their PSNRs.
    errors = [psnr_to_mse(picture.psnr) for picture in report.restored]
    restored_psnr = mse_to_psnr(float(np.mean(errors)))
    return tuple(
        f"the target of {wanted:g} dB for the {what} was not reached: {reached:.2f} dB"
        for what, wanted, reached in (
            ("embedding", options.target_embed_psnr, report.embed_psnr),
            ("restored pictures", options.target_restored_psnr, restored_psnr),
        )
        if wanted is not None and reached < wanted - _TARGET_TOLERANCE
    )
