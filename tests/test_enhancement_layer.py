"""The enhancement layer: what the network restores wrong, coded into some low bits."""

from __future__ import annotations

import bisect
import dataclasses
import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from iicnet_cli.engines.network import enhancement_layer, residual_codec, sliced_encoder
from iicnet_cli.engines.network.enhancement_layer import LayerPlan, add_layer, plan_layer
from iicnet_cli.engines.network.residual_codec import best_quality
from iicnet_cli.payload.mark import read_mark
from iicnet_cli.pictures.arrays import FRACTION, from_fixed_point, to_fixed_point
from iicnet_cli.pictures.metrics import psnr
from tests.helpers import Run, done, save
from tests.samples import natural


def pictures(count: int, height: int, width: int) -> np.ndarray:
    return np.stack([natural(height, width, seed) for seed in range(count)])


def worse(wanted: np.ndarray) -> np.ndarray:
    """As a network restores, in parts of a level: fine detail is gone, by several levels."""
    blurred = to_fixed_point(wanted)
    blurred[:, 1:] = (blurred[:, 1:] + blurred[:, :-1]) // 2
    return blurred


def encoded(
    wanted: np.ndarray, restored: np.ndarray, size: int, *, thorough: bool = False
) -> bytes:
    """A layer in one strip; nothing where there is nothing to gain."""
    plan = plan_layer(wanted, restored, size)
    if plan is None:
        return b""
    plan = dataclasses.replace(plan, thorough=thorough)
    return plan.header + plan.encode_slice(0, restored, size - len(plan.header))


def error(restored: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.square(from_fixed_point(restored, wanted.dtype).astype(float) - wanted).mean())


@settings(max_examples=12, deadline=None)
@given(
    count=st.integers(1, 4),
    height=st.integers(40, 90),
    width=st.integers(40, 90),
    size=st.integers(600, 4000),
    signed=st.booleans(),
)
def test_a_layer_fits_and_brings_pictures_nearer(
    count: int, height: int, width: int, size: int, signed: bool
) -> None:
    wanted = pictures(count, height, width)
    if signed:
        wanted = wanted.astype(np.int16) * 2 - 200
    restored = worse(wanted)
    before = restored.copy()
    layer = encoded(wanted, restored, size)
    assert 0 < len(layer) <= size
    assert np.array_equal(restored, before)
    add_layer(layer, restored)
    assert error(restored, wanted) < error(before, wanted)


def test_more_bytes_are_worth_more() -> None:
    wanted = pictures(2, 96, 128)
    errors = []
    for size in (800, 3000, 12000):
        restored = worse(wanted)
        add_layer(encoded(wanted, restored, size), restored)
        errors.append(error(restored, wanted))
    assert errors[0] > errors[1] > errors[2]


def test_time_is_worth_bytes() -> None:
    wanted = pictures(2, 64, 80)
    ratios = []
    for size in range(1500, 6000, 1000):
        errors = []
        for thorough in (False, True):
            restored = worse(wanted)
            add_layer(encoded(wanted, restored, size, thorough=thorough), restored)
            errors.append(error(restored, wanted))
        ratios.append(errors[1] / errors[0])
    # Qualities come in steps, so it is not so of every size.
    assert np.mean(ratios) < 0.99


def test_large_pictures_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enhancement_layer, "MAX_AVIF_PIXELS", 2000)
    wanted = pictures(3, 70, 90)
    restored = worse(wanted)
    before = error(restored, wanted)
    layer = encoded(wanted, restored, 20_000)
    assert layer.count(b"ftypavif") == 3 * 4  # rows of 22
    assert len(layer) <= 20_000
    add_layer(layer, restored)
    assert error(restored, wanted) < before / 4


def test_nothing_where_there_is_no_room() -> None:
    wanted = pictures(2, 64, 64)
    assert encoded(wanted, worse(wanted), 300) == b""


def test_small_differences_are_told_finely(monkeypatch: pytest.MonkeyPatch) -> None:
    """The codec rounds to whole levels, which is as much as a good network leaves."""
    wanted = pictures(2, 96, 128)
    base = to_fixed_point(
        from_fixed_point(
            to_fixed_point(wanted) + (worse(wanted) - to_fixed_point(wanted)) // 6, np.uint8
        )
    )
    assert 0.5 < error(base, wanted) < 4
    left = []
    for gains in ((1.0,), enhancement_layer.GAINS):
        monkeypatch.setattr(enhancement_layer, "GAINS", gains)
        plan = plan_layer(wanted, base, 9000)
        assert plan is not None and plan.gain in gains
        restored = base.copy()
        add_layer(encoded(wanted, restored, 9000), restored)
        left.append((plan.gain, error(restored, wanted)))
    assert left[0][0] == 1
    assert left[1][0] > 1
    assert left[1][1] < 0.8 * left[0][1]


def test_no_gain_where_differences_are_large() -> None:
    wanted = pictures(2, 64, 64)
    restored = to_fixed_point(np.full_like(wanted, 128))
    plan = plan_layer(wanted, restored, 20_000)
    assert plan is not None and plan.gain == 1
    add_layer(encoded(wanted, restored, 20_000), restored)
    assert error(restored, wanted) < 20


def test_what_is_decoded_is_divided_by_what_leaves_least() -> None:
    """By more than the gain, for each picture; two of these are restored equally well."""
    wanted = pictures(3, 96, 128)
    base = worse(wanted)
    base[0] += (to_fixed_point(wanted[0]) - base[0]) // 2
    plan = plan_layer(wanted, base, 6000)
    assert plan is not None and plan.corrected == [0, 1, 2]
    head, layer = len(plan.header), encoded(wanted, base, 6000)
    divisors = list(layer[head : head + 3])
    assert all(divisor > 16 * plan.gain for divisor in divisors)
    assert divisors[0] > max(divisors[1:])

    def left(divisors: list[int]) -> float:
        restored = base.copy()
        add_layer(layer[:head] + bytes(divisors) + layer[head + 3 :], restored)
        return error(restored, wanted)

    least = left(divisors)
    assert least < 0.99 * left(3 * [round(16 * plan.gain)])
    for k in range(3):
        for change in (-2, 2):
            others = list(divisors)
            others[k] += change
            assert left(others) > least


def red(height: int, width: int, divisors: Sequence[int] = (16, 16), least: int = 0) -> bytes:
    """A part of a layer."""
    file = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(file, "AVIF")
    data = file.getvalue().ljust(least - 4 - len(divisors), b"\0")
    return bytes(divisors) + len(data).to_bytes(4, "big") + data


def avif(
    height: int,
    width: int,
    held: int = 3,
    divisors: Sequence[int] = (16, 16),
    count: int = 1,
    first: int = 0,
) -> bytes:
    of_two = divisors[: (held & 3).bit_count()]
    return held.to_bytes(2, "big") + bytes([count, first]) + red(height, width, of_two)


@pytest.mark.parametrize(
    ("divisors", "levels"), [((16, 16), (127, 127)), ((64, 24), (31.75, 84.625))]
)
def test_a_layer_from_elsewhere_is_added(
    divisors: tuple[int, int], levels: tuple[float, float]
) -> None:
    restored = np.zeros((2, 64, 64, 3), np.int16)
    add_layer(avif(128, 64, divisors=divisors), restored)
    for picture, level in zip(restored, levels, strict=True):
        assert np.abs(picture[..., 0] / FRACTION - level).max() <= 2
        pixels = from_fixed_point(picture, np.uint8)
        assert np.abs(pixels[..., 0] - level).max() <= 2
        assert picture[..., 1:].max() < 0 and not pixels[..., 1:].any()


@pytest.mark.parametrize("divisor", [0, 15])
def test_a_picture_of_a_part_may_get_nothing(divisor: int) -> None:
    restored = np.zeros((2, 64, 64, 3), np.int16)
    add_layer(avif(128, 64, divisors=(divisor, 16)), restored)
    assert not restored[0].any() and restored[1].all()


def test_parts_of_a_level_add_up() -> None:
    """A layer tells less than a level where the network restores less than a level too."""
    wanted = pictures(1, 64, 64)
    restored = to_fixed_point(wanted) - FRACTION // 2
    assert error(restored, wanted) == 0
    layer = avif(64, 64, held=1, divisors=(255,))  # red by 8 levels, the others less by as much
    add_layer(layer, restored)
    assert error(restored[..., :1], wanted[..., :1].clip(0, 247) + 8) < 1


def test_strips_follow_each_other_from_the_first() -> None:
    nothing = bytes(2 + 4)
    zeros = bytes([16, 16]) + len(b"\0" * 30).to_bytes(4, "big") + bytes(30)
    layer = avif(2 * 16, 64, count=4, first=2) + nothing + zeros + red(2 * 16, 64)
    restored = np.zeros((2, 64, 64, 3), np.int16)
    add_layer(layer, restored)
    told = restored[..., 0].any(axis=(0, 2))
    assert told[32:48].all() and told[16:32].all()  # the third, and behind fourth and first
    assert not told[:16].any() and not told[48:].any()


@settings(max_examples=12, deadline=None)
@given(
    count=st.integers(1, 4),
    height=st.integers(64, 130),
    first=st.integers(0, 3),
    spare=st.integers(0, 200),
)
def test_strips_are_coded_one_by_one(count: int, height: int, first: int, spare: int) -> None:
    wanted = pictures(2, height, 70)
    restored = worse(wanted)
    plan = plan_layer(wanted, restored, 9000, count)
    assert plan is not None
    plan = dataclasses.replace(plan, first=first % count)
    layer = plan.header
    for i in plan.order:
        size = plan.sizes[i] + 400
        part = plan.encode_slice(i, restored[:, plan.rows(i)], size, plan.sizes[i] + spare)
        assert plan.sizes[i] + spare <= len(part) <= size
        layer += part
    before = error(restored, wanted)
    add_layer(layer + b"something else", restored)
    assert error(restored, wanted) < before / 2


@given(
    sizes=st.lists(st.integers(1, 10**6), min_size=1, max_size=101).map(sorted),
    size=st.integers(-10, 10**6 + 10),
    guess=st.integers(0, 100),
)
def test_the_best_quality_that_fits_is_found(sizes: list[int], size: int, guess: int) -> None:
    tried: list[int] = []

    def needed(quality: int) -> int:
        tried.append(quality)
        return sizes[quality]

    best = best_quality(needed, size, len(sizes), guess % len(sizes))
    assert best == bisect.bisect_right(sizes, size) - 1
    assert len(tried) == len(set(tried))


def test_a_strip_that_does_not_fit_is_left_out() -> None:
    wanted = pictures(2, 96, 70)
    restored = worse(wanted)
    plan = plan_layer(wanted, restored, 9000, 2)
    assert plan is not None
    layer = plan.header + plan.encode_slice(0, restored[:, plan.rows(0)], 100, 90)
    assert len(layer) == len(plan.header) + 90
    layer += plan.encode_slice(1, restored[:, plan.rows(1)], 9000)
    before = restored.copy()
    add_layer(layer, restored)
    assert np.array_equal(restored[:, :48], before[:, :48])
    assert error(restored[:, 48:], wanted[:, 48:]) < error(before[:, 48:], wanted[:, 48:])


@pytest.mark.parametrize(
    "layer",
    [
        b"",
        b"\xff",
        bytes(100),
        b"\x00\x03\x01\x00\x10\x10\xff\xff\xff\xff" + b"\x01" * 50,
        avif(64, 64),
        avif(128, 65),
        avif(128, 64)[:200],
        avif(128, 64, held=1),
        avif(128, 64, held=0),
        avif(128, 64, held=12),
        avif(128, 64, divisors=(0, 15)),
        avif(128, 64, count=0),
        avif(128, 64, count=5),
        avif(128, 64, first=1),
        avif(128, 64)[:4],
    ],
    ids=[
        *("empty", "one byte", "zeros", "longer than it is", "height", "width", "cut"),
        *("of one", "of none", "of others", "no divisors", "no strips"),
        *("too many strips", "no first", "no head"),
    ],
)
def test_a_layer_that_does_not_fit_adds_nothing(layer: bytes) -> None:
    restored = to_fixed_point(pictures(2, 64, 64))
    before = restored.copy()
    add_layer(layer, restored)
    assert np.array_equal(restored, before)


def test_a_bomb_adds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    restored = to_fixed_point(pictures(2, 64, 64))
    before = restored.copy()
    add_layer(avif(128, 64), restored)
    assert np.array_equal(restored, before)


LAYER = encoded(pictures(2, 48, 56), worse(pictures(2, 48, 56)), 4000)


@settings(max_examples=100, deadline=None)
@given(
    places=st.lists(st.integers(0, len(LAYER) - 1), min_size=1, max_size=8),
    values=st.lists(st.integers(0, 255), min_size=8, max_size=8),
)
def test_flipped_bytes_of_a_layer_do_not_raise(places: list[int], values: list[int]) -> None:
    data = bytearray(LAYER)
    for place, value in zip(places, values, strict=False):
        data[place] = value
    add_layer(bytes(data), to_fixed_point(pictures(2, 48, 56)))


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    files = [tmp_path / f"{i}.png" for i in range(3)]
    for seed, file in enumerate(files):
        Image.fromarray(natural(96, 112, seed)).save(file)
    return files


def test_embed_gains_at_little_cost(run: Run, photos: list[Path], tmp_path: Path) -> None:
    reports = []
    for flag in ("--enhance", "--no-enhance"):
        out = tmp_path / f"{flag}.png"
        reports.append(json.loads(done(run("embed", *photos, "-o", out, flag, "--json")).stdout))
        told = json.loads(done(run("info", out, "--json")).stdout)
        assert ("enhancement_layer" in told) == (flag == "--enhance")
    layered, plain = reports
    cost = plain["embed_psnr"] - layered["embed_psnr"]
    assert cost < 0.3
    assert layered["restored_psnr"] > plain["restored_psnr"] + max(0.5, 5 * cost)


def test_what_is_restored_well_is_not_in_the_layer() -> None:
    wanted = pictures(3, 64, 80)
    restored = worse(wanted)
    restored[1] = to_fixed_point(wanted[1])
    layer = encoded(wanted, restored, 5000)
    assert layer[:2] == b"\x00\x05"
    before = restored.copy()
    add_layer(layer, restored)
    assert np.array_equal(restored[1], before[1])
    for k in (0, 2):
        assert error(restored[k], wanted[k]) < error(before[k], wanted[k])


@pytest.mark.parametrize("good", [1e9, 0])
def test_a_layer_that_does_harm_is_left_out(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, good: float
) -> None:
    def harmful(
        plan: LayerPlan, index: int, restored: np.ndarray, max_size: int, min_size: int = 0
    ) -> bytes:
        height, width = restored.shape[1:3]
        count = len(plan.corrected)
        return red(count * height, width, count * [16], min_size)

    monkeypatch.setattr(LayerPlan, "encode_slice", harmful)
    monkeypatch.setattr(sliced_encoder, "UNCERTAIN_BASE_MSE", good)
    # So large that the layer has two slices.
    photos = [save(tmp_path / f"{seed}.png", natural(160, 200, seed)) for seed in range(3)]
    out = tmp_path / "out.png"
    done(run("embed", *photos, "-o", out, "--no-verify"))
    # Only a good base layer is worth the time to look.
    assert ("enhancement_layer" in json.loads(done(run("info", out, "--json")).stdout)) == (
        not good
    )


def test_dry_run_tells_of_the_layer(run: Run, photos: list[Path], tmp_path: Path) -> None:
    command = ("embed", *photos, "-o", tmp_path / "out.png", "--dry-run", "--json")
    layered, plain = (
        json.loads(done(run(*command, *flag)).stdout) for flag in ([], ["--no-enhance"])
    )
    assert layered["restored_psnr"] > plain["restored_psnr"]


def test_altered_pixels_lose_the_layer_only(run: Run, photos: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    done(run("embed", *photos, "-o", out))
    with Image.open(out) as image:
        pixels = np.array(image)
    mark = read_mark(pixels)
    assert mark is not None and mark.enhancement
    pasted = pixels.copy()
    pasted[60:80, :30] = 0
    Image.fromarray(pasted).save(tmp_path / "pasted.png")
    found = read_mark(pasted)
    assert found is not None and found == dataclasses.replace(mark, enhancement=b"")
    folders = {name: tmp_path / f"from {name}" for name in ("out", "pasted")}
    for name, folder in folders.items():
        done(run("restore", tmp_path / f"{name}.png", "-o", folder))
    held = int.from_bytes(mark.enhancement[:2], "big")
    assert held >> 1
    for k, (wanted, *files) in enumerate(
        zip(photos, *(sorted(f.iterdir()) for f in folders.values()), strict=True)
    ):
        original, intact, altered = (np.asarray(Image.open(file))[:40] for file in (wanted, *files))
        if held >> k & 1:
            assert psnr(intact, original) > psnr(altered, original) > psnr(intact, original) - 4
        else:
            assert np.array_equal(intact, altered)


def test_without_avif_there_is_no_layer_and_it_is_said(
    run: Run, photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layered = tmp_path / "layered.png"
    done(run("embed", *photos, "-o", layered))
    monkeypatch.setattr(residual_codec.features, "check", lambda feature: feature != "avif")
    report = json.loads(done(run("embed", *photos, "-o", tmp_path / "out.png", "--json")).stdout)
    assert "AVIF" in " ".join(report["notes"])
    assert "enhancement_layer" not in json.loads(
        done(run("info", tmp_path / "out.png", "--json")).stdout
    )
    result = done(run("restore", layered, "-o", tmp_path / "back"))
    assert "AVIF" in result.stderr


def test_too_large_pictures_have_none_and_it_is_said(
    run: Run, photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enhancement_layer, "MAX_PICTURE_BYTES", 3 * 96 * 112 * 3 - 1)
    command = ("embed", *photos, "-o", tmp_path / "out.png", "--json")
    report = json.loads(done(run(*command)).stdout)
    assert "too large" in " ".join(report["notes"])
    assert "enhancement_layer" not in json.loads(
        done(run("info", tmp_path / "out.png", "--json")).stdout
    )


def test_small_pictures_have_none(run: Run, tmp_path: Path) -> None:
    files = [tmp_path / "a.png", tmp_path / "b.png"]
    for seed, file in enumerate(files):
        Image.fromarray(natural(30, 36, seed)).save(file)
    done(run("embed", *files, "-o", tmp_path / "out.png"))
    with Image.open(tmp_path / "out.png") as image:
        mark = read_mark(np.asarray(image))
    assert mark is not None and mark.enhancement == b""
