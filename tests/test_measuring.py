"""The quality of embeddings and restored pictures, and what is said of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from iicnet_cli import EmbedOptions, QualityError
from iicnet_cli.measuring import QualityMeter, check_quality, missed_targets
from iicnet_cli.pictures.metrics import psnr, ssim
from iicnet_cli.reports import EmbedReport
from tests.samples import Pixels, natural
from tests.test_reports import REPORT


def changed(picture: Pixels, by: int) -> Pixels:
    return picture ^ np.uint8(by)


@pytest.mark.parametrize("with_ssim", [False, True])
def test_qualities_are_means_over_the_groups(with_ssim: bool) -> None:
    meter = QualityMeter(with_ssim)
    first, second = (np.stack([natural(32, 40, i), natural(32, 40, i + 1)]) for i in (0, 4))
    for group, by in ((first, 1), (second, 4)):
        restored = group.copy()
        restored[1] = changed(group[1], by)
        meter.add(changed(group[0], 2), group[0], restored, group)
    embedding, cover, hidden = meter.pictures(["cover", "hidden"])
    assert [each.name for each in (embedding, cover, hidden)] == ["embedding", "cover", "hidden"]
    expected = [psnr(changed(group[1], by), group[1]) for group, by in ((first, 1), (second, 4))]
    assert hidden.psnr == pytest.approx(np.mean(expected))
    assert cover.psnr == 100  # equal pictures count as 100 dB
    assert embedding.psnr == pytest.approx(psnr(changed(first[0], 2), first[0]))
    if with_ssim:
        assert cover.ssim == pytest.approx(1)
        assert embedding.ssim == pytest.approx(
            np.mean([ssim(changed(group[0], 2), group[0]) for group in (first, second)])
        )
    else:
        assert hidden.ssim is None


@pytest.mark.parametrize("min_psnr", [None, 20, 37.9])
def test_quality_above_the_minimum_is_accepted(min_psnr: float | None) -> None:
    check_quality(REPORT, min_psnr)


@pytest.mark.parametrize("min_psnr", [38.2, 45])
def test_the_worse_of_embedding_and_restored_pictures_decides(min_psnr: float) -> None:
    with pytest.raises(QualityError, match=r"embedding 38\.50 dB, restored 38\.00 dB"):
        check_quality(REPORT, min_psnr)


def notes(report: EmbedReport = REPORT, **targets: float) -> tuple[str, ...]:
    return missed_targets(report, EmbedOptions(effort=2, **targets))  # type: ignore[arg-type]


def test_a_missed_target_is_said() -> None:
    (note,) = notes(target_embed_psnr=40)
    assert note == "the target of 40 dB for the embedding was not reached: 38.50 dB"
    (note,) = notes(target_restored_psnr=40)
    # The search holds the mean squared error of all pictures, which the worst decide.
    assert note.startswith("the target of 40 dB for the restored pictures was not reached: 36.39")


def test_a_target_that_is_nearly_reached_is_not_mentioned() -> None:
    assert notes() == ()
    assert notes(target_embed_psnr=38.55) == ()
    assert notes(target_restored_psnr=36.45) == ()


def test_without_measurement_nothing_is_said() -> None:
    unmeasured = replace(REPORT, embedding=None, restored=())
    assert notes(unmeasured, target_embed_psnr=70) == ()
    check_quality(unmeasured, 70)
