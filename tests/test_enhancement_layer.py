"""The enhancement layer: planning, coding and adding it."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from iicnet_cli.engines.network import enhancement_layer
from iicnet_cli.engines.network.enhancement_layer import (
    LayerPlan,
    add_layer,
    layer_unavailable_reason,
    slice_rows,
)
from iicnet_cli.engines.network.layer_planner import plan_layer
from iicnet_cli.pictures.arrays import (
    FRACTION,
    FixedPoint,
    PixelArray,
    from_fixed_point,
    to_fixed_point,
)
from tests.engine_helpers import group_of


def blurred(wanted: PixelArray) -> FixedPoint:
    """Pictures as a network might restore them: without their finest vertical detail."""
    restored = to_fixed_point(wanted)
    restored[:, 1:] = (restored[:, 1:] + restored[:, :-1]) // 2
    return restored


def encode_plan(plan: LayerPlan, restored: FixedPoint, max_size: int) -> bytes:
    """A layer of one slice."""
    return plan.header + plan.encode_slice(0, restored, max_size - len(plan.header))


def encode_layer(wanted: PixelArray, restored: FixedPoint, max_size: int) -> bytes:
    """A layer of one slice; empty where there is nothing to gain."""
    plan = plan_layer(wanted, restored, max_size)
    return b"" if plan is None else encode_plan(plan, restored, max_size)


def error(restored: FixedPoint, wanted: PixelArray) -> float:
    """Mean squared error of pictures after they are rounded."""
    return float(np.square(from_fixed_point(restored, wanted.dtype).astype(float) - wanted).mean())


def error_with(layer: bytes, restored: FixedPoint, wanted: PixelArray) -> float:
    """Mean squared error after a layer was added to a copy of the restored pictures."""
    better = restored.copy()
    add_layer(layer, better)
    return error(better, wanted)


# ------------------------------------------------------------------------------------- encoding


@settings(max_examples=8, deadline=None)
@given(
    count=st.integers(1, 4),
    height=st.integers(40, 90),
    width=st.integers(40, 90),
    size=st.integers(600, 4000),
    signed=st.booleans(),
)
def test_a_layer_fits_its_size_and_reduces_the_error(
    count: int, height: int, width: int, size: int, signed: bool
) -> None:
    wanted: PixelArray = group_of(count, height, width, seed=0)
    if signed:
        wanted = wanted.astype(np.int16) * 2 - 200
    restored = blurred(wanted)
    before = restored.copy()
    layer = encode_layer(wanted, restored, size)
    assert 0 < len(layer) <= size
    assert np.array_equal(restored, before)
    assert error_with(layer, restored, wanted) < error(restored, wanted)


def test_more_bytes_reduce_the_error_further() -> None:
    wanted = group_of(2, 64, 96, seed=0)
    restored = blurred(wanted)
    errors = [
        error_with(encode_layer(wanted, restored, size), restored, wanted)
        for size in (800, 2400, 7000)
    ]
    assert errors[0] > errors[1] > errors[2]


def test_thorough_coding_reduces_the_error_further() -> None:
    wanted = group_of(2, 64, 96, seed=0)
    restored = blurred(wanted)
    ratios = []
    for size in (1500, 2200, 2900):
        plan = plan_layer(wanted, restored, size)
        assert plan is not None
        usual, thorough = (
            encode_plan(dataclasses.replace(plan, thorough=each), restored, size)
            for each in (False, True)
        )
        ratios.append(error_with(thorough, restored, wanted) / error_with(usual, restored, wanted))
    # Qualities come in steps, so a single size may be better served by the usual speed.
    assert np.mean(ratios) < 0.99


@pytest.mark.parametrize(("count", "height"), [(2, 8200), (1, 16_400)])
def test_what_is_too_tall_for_one_file_is_coded_in_several(count: int, height: int) -> None:
    # No file has more than 16384 rows; a single picture that has more is coded in bands.
    wanted = np.full((count, height, 8, 3), 100, np.uint8)
    wanted[:, -40:] = group_of(count, 40, 8, seed=0)
    restored = to_fixed_point(wanted)
    restored[:, -40:] = 100 * FRACTION
    layer = encode_layer(wanted, restored, 20_000)
    assert layer.count(b"ftypavif") == 2
    assert len(layer) <= 20_000
    assert error_with(layer, restored, wanted) < error(restored, wanted) / 4


@pytest.mark.parametrize(
    ("shape", "size"), [((2, 64, 64, 3), 300), ((2, 64, 64, 1), 5000), ((1, 16, 16_400, 3), 5000)]
)
def test_there_is_no_plan_without_room_or_for_unfit_pictures(
    shape: tuple[int, ...], size: int
) -> None:
    wanted = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    assert plan_layer(wanted, blurred(wanted), size) is None


def test_small_differences_are_multiplied_before_they_are_coded() -> None:
    """The codec rounds to whole 8-bit values, which is as much as a good network leaves."""
    wanted = group_of(2, 64, 96, seed=0)
    exact = to_fixed_point(wanted)
    base = to_fixed_point(from_fixed_point(exact + (blurred(wanted) - exact) // 6, np.uint8))
    assert 0.5 < error(base, wanted) < 4
    plan = plan_layer(wanted, base, 5000)
    assert plan is not None and plan.gain > 1
    plain = dataclasses.replace(plan, gain=1.0)
    errors = [error_with(encode_plan(each, base, 5000), base, wanted) for each in (plan, plain)]
    assert errors[0] < 0.85 * errors[1]


def test_large_differences_are_coded_as_they_are() -> None:
    wanted = group_of(2, 64, 64, seed=0)
    restored = to_fixed_point(np.full_like(wanted, 128))
    plan = plan_layer(wanted, restored, 20_000)
    assert plan is not None and plan.gain == 1
    assert error_with(encode_plan(plan, restored, 20_000), restored, wanted) < 20


def test_each_picture_gets_the_divisor_that_leaves_the_least_error() -> None:
    """Divisors exceed the gain; the best one of a picture depends on how well it was restored."""
    wanted = group_of(3, 64, 96, seed=0)
    base = blurred(wanted)
    base[0] += (to_fixed_point(wanted[0]) - base[0]) // 2
    plan = plan_layer(wanted, base, 3000)
    assert plan is not None and plan.corrected == [0, 1, 2]
    layer = encode_plan(plan, base, 3000)
    start = len(plan.header)
    divisors = list(layer[start : start + 3])
    assert all(divisor > 16 * plan.gain for divisor in divisors)
    assert divisors[0] > max(divisors[1:])

    def error_at(divisors: list[int]) -> float:
        changed = layer[:start] + bytes(divisors) + layer[start + 3 :]
        return error_with(changed, base, wanted)

    least = error_at(divisors)
    assert least < error_at(3 * [round(16 * plan.gain)])
    for k in range(3):
        for change in (-3, 3):
            others = list(divisors)
            others[k] += change
            assert error_at(others) > least


def test_pictures_that_are_restored_well_are_left_out() -> None:
    wanted = group_of(3, 64, 80, seed=0)
    restored = blurred(wanted)
    restored[1] = to_fixed_point(wanted[1])
    layer = encode_layer(wanted, restored, 5000)
    assert layer[:2] == b"\x00\x05"
    better = restored.copy()
    add_layer(layer, better)
    assert np.array_equal(restored[1], better[1])
    for k in (0, 2):
        assert error(better[k], wanted[k]) < error(restored[k], wanted[k])


def test_the_correction_is_what_the_layer_adds() -> None:
    wanted = group_of(2, 48, 64, seed=0)
    restored = blurred(wanted)
    plan = plan_layer(wanted, restored, 3000)
    assert plan is not None
    better = restored.copy()
    add_layer(encode_plan(plan, restored, 3000), better)
    assert np.array_equal(restored + plan.correction(restored, 3000), better)


def test_the_reduction_that_a_plan_expects_is_about_right() -> None:
    wanted = group_of(2, 64, 96, seed=0)
    restored = blurred(wanted)
    plan = plan_layer(wanted, restored, 3000)
    assert plan is not None
    layer = encode_plan(plan, restored, 3000)
    reduction = error(restored, wanted) - error_with(layer, restored, wanted)
    assert plan.mse_reduction == pytest.approx(reduction, rel=0.2)


def test_why_there_is_no_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = group_of(2, 16, 16)
    assert layer_unavailable_reason(pictures) is None
    monkeypatch.setattr(enhancement_layer, "MAX_PICTURE_BYTES", pictures.nbytes - 1)
    assert "too large" in (layer_unavailable_reason(pictures) or "")
    monkeypatch.setattr("PIL.features.check", lambda feature: False)
    assert "AVIF" in (layer_unavailable_reason(pictures) or "")


# --------------------------------------------------------------------------------------- slices


@given(height=st.integers(16, 400), data=st.data())
def test_slices_cover_a_picture_once(height: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, -(-height // 16)))
    rows = slice_rows(height, count)
    assert len(rows) == count
    assert rows[0].start == 0 and rows[-1].stop == height
    assert all(each.start < each.stop for each in rows)
    for above, below in pairwise(rows):
        assert above.stop == below.start and above.stop % 16 == 0


@settings(max_examples=5, deadline=None)
@given(
    count=st.integers(1, 4),
    height=st.integers(64, 100),
    first=st.integers(0, 3),
    spare=st.integers(0, 200),
)
def test_slices_are_coded_one_by_one_within_their_sizes(
    count: int, height: int, first: int, spare: int
) -> None:
    wanted = group_of(2, height, 48, seed=0)
    restored = blurred(wanted)
    plan = plan_layer(wanted, restored, 6000, count)
    assert plan is not None
    plan = dataclasses.replace(plan, first=first % count)
    layer = plan.header
    for i in plan.order:
        max_size = plan.sizes[i] + 400
        min_size = plan.sizes[i] + spare
        part = plan.encode_slice(i, restored[:, plan.rows(i)], max_size, min_size)
        assert min_size <= len(part) <= max_size
        layer += part
    # What follows the last slice is ignored.
    assert error_with(layer + b"more", restored, wanted) < error(restored, wanted) / 2


def test_a_slice_without_room_is_padding_and_corrects_nothing() -> None:
    wanted = group_of(2, 96, 70, seed=0)
    restored = blurred(wanted)
    plan = plan_layer(wanted, restored, 9000, 2)
    assert plan is not None
    layer = plan.header + plan.encode_slice(0, restored[:, plan.rows(0)], 100, 90)
    assert len(layer) == len(plan.header) + 90
    layer += plan.encode_slice(1, restored[:, plan.rows(1)], 9000)
    better = restored.copy()
    add_layer(layer, better)
    assert np.array_equal(better[:, :48], restored[:, :48])
    assert error(better[:, 48:], wanted[:, 48:]) < error(restored[:, 48:], wanted[:, 48:])


# ------------------------------------------------------------------------- layers from elsewhere


@cache
def red_file(height: int, width: int) -> bytes:
    """An AVIF in plain red."""
    file = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(file, "AVIF")
    return file.getvalue()


def red_part(height: int, width: int, divisors: Sequence[int] = (16, 16)) -> bytes:
    """A part of a layer that adds red."""
    data = red_file(height, width)
    return bytes(divisors) + len(data).to_bytes(4, "big") + data


def red_layer(
    height: int,
    width: int,
    corrected: int = 3,
    divisors: Sequence[int] = (16, 16),
    count: int = 1,
    first: int = 0,
) -> bytes:
    """A layer with one part; ``corrected`` is the bit mask of the pictures."""
    used = divisors[: (corrected & 3).bit_count()]
    header = corrected.to_bytes(2, "big") + bytes([count, first])
    return header + red_part(height, width, used)


@pytest.mark.parametrize(
    ("divisors", "values"), [((16, 16), (127, 127)), ((64, 24), (31.75, 84.625))]
)
def test_a_layer_is_added_with_its_divisors(
    divisors: tuple[int, int], values: tuple[float, float]
) -> None:
    restored = np.zeros((2, 64, 64, 3), np.int16)
    add_layer(red_layer(128, 64, divisors=divisors), restored)
    for picture, value in zip(restored, values, strict=True):
        assert np.abs(picture[..., 0] / FRACTION - value).max() <= 2
        pixels = from_fixed_point(picture, np.uint8)
        assert np.abs(pixels[..., 0] - value).max() <= 2
        assert picture[..., 1:].max() < 0 and not pixels[..., 1:].any()


@pytest.mark.parametrize("divisor", [0, 15])
def test_a_divisor_below_one_leaves_a_picture_as_it_is(divisor: int) -> None:
    restored = np.zeros((2, 64, 64, 3), np.int16)
    add_layer(red_layer(128, 64, divisors=(divisor, 16)), restored)
    assert not restored[0].any() and restored[1].all()


def test_fractions_of_restored_pictures_and_of_the_layer_add_up() -> None:
    wanted = group_of(1, 64, 64, seed=0)
    restored = to_fixed_point(wanted) - FRACTION // 2
    assert error(restored, wanted) == 0
    # Red gets 8 levels more, green and blue as much less.
    add_layer(red_layer(64, 64, corrected=1, divisors=(255,)), restored)
    assert error(restored[..., :1], wanted[..., :1].clip(0, 247) + 8) < 1


def test_slices_follow_each_other_from_the_first_one_on() -> None:
    absent = bytes(2 + 4)
    padding_only = bytes([16, 16]) + (30).to_bytes(4, "big") + bytes(30)
    layer = red_layer(2 * 16, 64, count=4, first=2) + absent + padding_only + red_part(2 * 16, 64)
    restored = np.zeros((2, 64, 64, 3), np.int16)
    add_layer(layer, restored)
    corrected = np.any(restored[..., 0], axis=(0, 2))
    # Slices 2, 3, 0, 1 in this order; 3 is absent and 0 is padding.
    assert corrected[32:48].all() and corrected[16:32].all()
    assert not corrected[:16].any() and not corrected[48:].any()


@pytest.mark.parametrize(
    "layer",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\xff", id="one byte"),
        pytest.param(bytes(100), id="zeros"),
        pytest.param(
            b"\x00\x03\x01\x00\x10\x10\xff\xff\xff\xff" + b"\x01" * 50, id="length too large"
        ),
        pytest.param(red_layer(64, 64), id="wrong height"),
        pytest.param(red_layer(128, 65), id="wrong width"),
        pytest.param(red_layer(128, 64)[:200], id="cut"),
        pytest.param(red_layer(128, 64, corrected=1), id="file of two, mask of one"),
        pytest.param(red_layer(128, 64, corrected=0), id="no picture"),
        pytest.param(red_layer(128, 64, corrected=12), id="pictures that are not there"),
        pytest.param(red_layer(128, 64, divisors=(0, 15)), id="no usable divisor"),
        pytest.param(red_layer(128, 64, count=0), id="no slices"),
        pytest.param(red_layer(128, 64, count=5), id="too many slices"),
        pytest.param(red_layer(128, 64, first=1), id="first slice out of range"),
        pytest.param(red_layer(128, 64)[:4], id="header only"),
    ],
)
def test_an_invalid_layer_adds_nothing(layer: bytes) -> None:
    restored = to_fixed_point(group_of(2, 64, 64))
    before = restored.copy()
    add_layer(layer, restored)
    assert np.array_equal(restored, before)


def test_a_decompression_bomb_adds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = red_layer(128, 64)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    restored = to_fixed_point(group_of(2, 64, 64))
    before = restored.copy()
    add_layer(layer, restored)
    assert np.array_equal(restored, before)


@cache
def sample_layer() -> bytes:
    wanted = group_of(2, 48, 56, seed=0)
    return encode_layer(wanted, blurred(wanted), 4000)


@settings(max_examples=60, deadline=None)
@given(changes=st.dictionaries(st.integers(0, 9999), st.integers(0, 255), min_size=1, max_size=8))
def test_damaged_bytes_do_not_raise(changes: dict[int, int]) -> None:
    data = bytearray(sample_layer())
    for place, value in changes.items():
        data[place % len(data)] = value
    add_layer(bytes(data), to_fixed_point(group_of(2, 48, 56)))
