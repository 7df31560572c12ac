"""AVIF as the codec of differences between original and restored pictures."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from iicnet_cli.engines.network.residual_codec import (
    MAX_LEVEL,
    MAX_QUALITY,
    QUICK_SPEED,
    SIZE_AT_SPEED,
    SLOW_SPEED,
    USUAL_SPEED,
    ZERO_VALUE,
    codec_unavailable_reason,
    decode_difference,
    difference_table,
    encode_difference,
    missing_difference,
    quality_of_level,
)
from iicnet_cli.pictures.arrays import FRACTION, to_fixed_point
from tests.engine_helpers import group_of

WANTED = group_of(2, 48, 64)


def blurred() -> np.ndarray:
    """The wanted pictures without their finest vertical detail, in fixed point."""
    restored = to_fixed_point(WANTED)
    restored[:, 1:] = (restored[:, 1:] + restored[:, :-1]) // 2
    return restored


@pytest.mark.parametrize("gain", [1.0, 3.0])
def test_a_difference_survives_the_best_quality(gain: float) -> None:
    restored = blurred()
    data = encode_difference(WANTED, restored, gain, MAX_QUALITY, QUICK_SPEED)
    decoded = decode_difference(data, WANTED.shape)
    assert decoded is not None
    missing = missing_difference(WANTED, restored)
    remaining = (missing - difference_table(gain)[decoded]) / FRACTION
    # Differences beyond what 8 bits hold at this gain are clipped.
    unclipped = np.abs(missing) < FRACTION * 120 / gain
    assert np.sqrt(np.square(remaining[unclipped]).mean()) < 1.5 / gain


def test_a_better_quality_takes_more_bytes() -> None:
    sizes = [
        len(encode_difference(WANTED, blurred(), 1.0, quality, QUICK_SPEED))
        for quality in (20, 60, 95)
    ]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[2] / 2


@pytest.mark.parametrize("speed", [USUAL_SPEED, SLOW_SPEED])
def test_slower_files_have_about_the_expected_size(speed: int) -> None:
    quick, slower = (
        len(encode_difference(WANTED, blurred(), 1.0, 70, each)) for each in (QUICK_SPEED, speed)
    )
    assert slower == pytest.approx(SIZE_AT_SPEED[speed] * quick, rel=0.15)


def test_each_level_of_the_codec_changes_the_file() -> None:
    qualities = [quality_of_level(level) for level in range(MAX_LEVEL + 1)]
    assert (qualities[0], qualities[-1]) == (0, MAX_QUALITY)
    some = [
        encode_difference(WANTED, blurred(), 1.0, quality, QUICK_SPEED)
        for quality in qualities[20:36]
    ]
    assert len(set(some)) == len(some)


def test_slower_coding_leaves_a_smaller_error_for_its_bytes() -> None:
    missing = missing_difference(WANTED, blurred()) / FRACTION
    costs = []
    for speed in (USUAL_SPEED, SLOW_SPEED):
        cost = 1.0
        for quality in (50, 70, 90):
            data = encode_difference(WANTED, blurred(), 1.0, quality, speed)
            decoded = decode_difference(data, WANTED.shape)
            assert decoded is not None
            remaining = missing - difference_table(1.0)[decoded] / FRACTION
            cost *= len(data) * float(np.square(remaining).mean())
        costs.append(cost)
    assert costs[1] < costs[0]


def test_the_zero_value_is_no_difference() -> None:
    table = difference_table(2.5)
    assert table[ZERO_VALUE] == 0
    assert table[ZERO_VALUE + 5] == 2 * FRACTION == -table[ZERO_VALUE - 5]


@pytest.mark.parametrize("data", [b"", b"\0" * 40, b"not an AVIF"])
def test_other_data_are_not_decoded(data: bytes) -> None:
    assert decode_difference(data, WANTED.shape) is None


def test_files_of_another_size_or_format_are_not_decoded() -> None:
    data = encode_difference(WANTED, blurred(), 1.0, 50, QUICK_SPEED)
    assert decode_difference(data, (2, 48, 63, 3)) is None
    assert decode_difference(data, (3, 48, 64, 3)) is None
    assert decode_difference(data[: len(data) // 2], WANTED.shape) is None
    png = io.BytesIO()
    Image.fromarray(WANTED.reshape(96, 64, 3)).save(png, "PNG")
    assert decode_difference(png.getvalue(), WANTED.shape) is None


def test_a_decompression_bomb_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode_difference(WANTED, blurred(), 1.0, 50, QUICK_SPEED)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert decode_difference(data, WANTED.shape) is None


def test_a_missing_codec_has_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    assert codec_unavailable_reason() is None
    monkeypatch.setattr("PIL.features.check", lambda feature: feature != "avif")
    assert "AVIF" in (codec_unavailable_reason() or "")
