"""Reports of embedding."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from iicnet_cli.reports import EmbedReport, PictureQuality

REPORT = EmbedReport(
    output=Path("out.png"),
    task="stego",
    model="stego-3",
    embeddings=1,
    images=3,
    width=96,
    height=64,
    bytes=1000,
    seconds=1.0,
    embedding=PictureQuality("embedding", 38.5),
    restored=(
        PictureQuality("cover", 44.0),
        PictureQuality("one", 34.0),
        PictureQuality("two", 36.0),
    ),
)


def test_psnrs_are_means_with_and_without_the_reference() -> None:
    assert REPORT.embed_psnr == 38.5
    assert REPORT.restored_psnr == pytest.approx(38)
    assert REPORT.hidden_psnr == pytest.approx(35)


def test_without_verification_there_are_none() -> None:
    report = replace(REPORT, embedding=None, restored=())
    assert (report.embed_psnr, report.restored_psnr, report.hidden_psnr) == (None, None, None)


def test_a_single_picture_hides_nothing() -> None:
    assert replace(REPORT, restored=REPORT.restored[:1]).hidden_psnr is None
