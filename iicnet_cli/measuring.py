"""What embeddings and restored pictures are worth, gathered group by group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from iicnet_cli.errors import QualityError
from iicnet_cli.options import EmbedOptions
from iicnet_cli.pictures.arrays import Pixels
from iicnet_cli.pictures.metrics import (
    cap_psnr,
    flat_error,
    mse_to_psnr,
    psnr,
    psnr_to_mse,
    ssim,
)
from iicnet_cli.reports import EmbedReport, PictureQuality

_TARGET_TOLERANCE = 0.1
"""A target that is missed by less than this many dB is not mentioned: writing the mark costs some.
"""


class QualityMeter:
    """Collects the quality of the embedding and of each restored picture of every group.

    Args:
        with_ssim: measure SSIM and errors in flat areas, too; pictures then need 11 pixels or more
            to each side.
    """

    def __init__(self, with_ssim: bool) -> None:
        self._with_ssim = with_ssim
        self._groups: list[list[_Compared]] = []

    def add(self, embedding: Pixels, reference: Pixels, restored: Pixels, images: Pixels) -> None:
        """Compare one group.

        Args:
            embedding: (H_e, W_e, C_e) uint8.
            reference: what the embedding should look like, of the same shape.
            restored: (K, H, W, C) uint8.
            images: the originals, of the same shape.
        """
        pairs = [(embedding, reference), *zip(restored, images, strict=True)]
        self._groups.append([_compare(a, b, self._with_ssim) for a, b in pairs])

    def pictures(self, names: Sequence[str]) -> list[PictureQuality]:
        """Quality over all groups: the embedding first, then the restored pictures.

        Args:
            names: of the K pictures of a group, the reference first.
        """
        of_pictures = zip(("embedding", *names), zip(*self._groups, strict=True), strict=True)
        return [_over_all(name, compared) for name, compared in of_pictures]


class FileMeter:
    """Collects the quality of embeddings and of restored pictures of any sizes, one by one.

    Args:
        with_ssim: measure SSIM and errors in flat areas, too.
    """

    def __init__(self, with_ssim: bool) -> None:
        self._with_ssim = with_ssim
        self._embeddings: list[_Compared] = []
        self._restored: list[_Compared] = []

    def add_embedding(self, embedding: Pixels, cover: Pixels) -> None:
        """Compare an embedding with what it should look like, (H, W, 3) or (H, W) uint8."""
        self._embeddings.append(_compare(embedding, cover, self._with_ssim))

    def add(self, restored: Pixels, original: Pixels) -> None:
        """Compare a restored picture (H, W, 3) uint8 with its original."""
        self._restored.append(_compare(restored, original, self._with_ssim))

    def pictures(self, names: Sequence[str]) -> list[PictureQuality]:
        """The embedding, the mean of several; then each restored picture, the reference first.

        Args:
            names: of the pictures; the frames of a clip are numbered instead.
        """
        embedding = _over_all("embedding", self._embeddings)
        if len(names) == len(self._restored):
            order, labels = list(range(len(names))), list(names)
        else:
            order = list(range(len(self._restored)))
            order.insert(0, order.pop(len(order) // 2))
            labels = [f"picture {i + 1}" for i in range(len(self._restored))]
        return [embedding, *(_over_all(labels[i], [self._restored[i]]) for i in order)]


class _Compared(NamedTuple):
    """A picture beside its original; the last two only where SSIM is measured."""

    psnr: float
    ssim: float | None
    flat_error: float | None


def _compare(a: Pixels, b: Pixels, with_ssim: bool) -> _Compared:
    if not with_ssim:
        return _Compared(cap_psnr(psnr(a, b)), None, None)
    return _Compared(cap_psnr(psnr(a, b)), ssim(a, b), flat_error(a, b))


def _over_all(name: str, compared: Sequence[_Compared]) -> PictureQuality:
    """Mean PSNR and SSIM, and the largest error in flat areas."""
    ssims = [each.ssim for each in compared if each.ssim is not None]
    flat_errors = [each.flat_error for each in compared if each.flat_error is not None]
    return PictureQuality(
        name,
        float(np.mean([each.psnr for each in compared])),
        float(np.mean(ssims)) if ssims else None,
        max(flat_errors, default=None),
    )


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


def mean_gain(gains: Sequence[float | None]) -> float | None:
    """The mean gain of searches in dB; ``None`` if nothing was searched for."""
    known = [gain for gain in gains if gain is not None]
    return float(np.mean(known)) if known else None
