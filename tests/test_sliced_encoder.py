"""An embedding that carries its own enhancement layer, rounded strip by strip."""

from __future__ import annotations

import math
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iicnet_cli.engines.network import enhancement_layer as enhancement
from iicnet_cli.engines.network import sliced_encoder as strips
from iicnet_cli.engines.network.enhancement_layer import Plan, add
from iicnet_cli.engines.network.sliced_encoder import enhanced
from iicnet_cli.inference.runner import Runner
from iicnet_cli.payload.mark import Mark, read_mark
from iicnet_cli.pictures.arrays import from_fixed_point, pad, padding_to
from iicnet_cli.pictures.metrics import mse_to_psnr, psnr
from iicnet_cli.quantize.lattice import unrounded_mse
from iicnet_cli.quantize.trellis_codes import CODED
from iicnet_cli.zoo import find
from tests.conftest import natural


@cache
def runner_of(name: str) -> Runner:
    checkpoint = find(name)
    return Runner(checkpoint.load(), feedback=checkpoint.noise_shaping)


class Made:
    """What became of some pictures."""

    def __init__(
        self, name: str, height: int, width: int, motion: bytes = b"", bits: int | None = None
    ) -> None:
        runner = runner_of(name)
        count = runner.config.images
        self.wanted = np.stack([natural(height, width, seed) for seed in range(count)])
        padding = padding_to(width, height, runner.config.multiple)
        padded = pad(self.wanted, padding)
        embedding, remainder = runner.embed_unrounded(padded)
        reference = runner.reference(padded)

        def restore(pixels: np.ndarray, rest: np.ndarray | None, rows: slice) -> np.ndarray:
            self.restored.append(rows)
            return runner.restore_fixed_point(pixels, np.uint8, rest, rows)[:, :, :width]

        self.restored: list[slice] = []
        self.shares: list[float] = []
        mark = Mark(task=5, model=1, images=count, valid=count, motion=motion)
        self.mark, self.pixels = enhanced(
            mark,
            self.wanted,
            embedding,
            remainder,
            runner.feedback,
            restore,
            unrounded_mse(embedding, remainder, reference),
            tick=self.shares.append,
            bits=bits,
        )
        self.embed_psnr = psnr(self.pixels, reference)
        self.base = runner.restore(self.pixels)[:, :height, :width]
        better = runner.restore_fixed_point(self.pixels)[:, :height, :width]
        add(self.mark.enhancement, better)
        self.better = from_fixed_point(better, np.uint8)

    def error(self, restored: np.ndarray) -> float:
        return float(np.square(restored.astype(float) - self.wanted).mean())


@pytest.mark.parametrize(
    ("name", "height", "width", "motion"),
    [
        ("stego-5", 192, 250, b""),
        ("stego-5", 201, 256, bytes(900)),
        ("video-3-half", 390, 402, b""),
    ],
)
def test_the_picture_carries_the_layer_of_its_strips(
    name: str, height: int, width: int, motion: bytes
) -> None:
    made = Made(name, height, width, motion)
    assert read_mark(made.pixels) == made.mark
    assert made.mark.motion == motion
    assert made.mark.enhancement[2] > 1
    assert made.error(made.better) < 0.8 * made.error(made.base)
    assert made.shares == sorted(made.shares) and made.shares[-1] == 1


@pytest.mark.parametrize(("left", "taken"), [(0.99, False), (0.8, True)])
def test_a_layer_is_to_gain_what_it_costs(
    monkeypatch: pytest.MonkeyPatch, left: float, taken: bool
) -> None:
    def restored_error(mark: Mark, *_: object) -> float:
        return left if mark.enhancement else 1.0

    monkeypatch.setattr(strips, "restored_error", restored_error)
    # The embedding loses 0.3 dB by a layer in one strip.
    assert bool(Made("layers-3", 96, 96).mark.enhancement) == taken


def test_a_strip_tells_of_the_rounding_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    several = Made("stego-5", 288, 384, bits=3)
    monkeypatch.setattr(strips, "_MOST", 1)
    one = Made("stego-5", 288, 384, bits=3)
    assert one.mark.enhancement[2] == 1 and several.mark.enhancement[2] > 2
    assert abs(len(one.mark.enhancement) - len(several.mark.enhancement)) < 10
    assert several.error(several.better) < 0.98 * one.error(one.better)
    # Of all strips but one what is added was seen with its rounding.
    assert len(several.restored) == several.mark.enhancement[2]


@pytest.mark.parametrize("bits", [1, 6])
def test_so_many_bits_to_a_pixel_as_are_asked_for(bits: int) -> None:
    made = Made("stego-5", 128, 160, bits=bits)
    assert read_mark(made.pixels) == made.mark
    assert made.mark.depth - CODED == bits
    assert 8 * len(made.mark.enhancement) / (128 * 160) == pytest.approx(bits, abs=0.15)


@pytest.mark.parametrize("name", ["layers-2", "stego-2", "rescale"])
def test_fewer_bits_would_not_pay(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """In the sum of both PSNRs, from whatever number of bits fewer were looked for."""

    def total(made: Made) -> float:
        return made.embed_psnr + mse_to_psnr(made.error(made.better))

    monkeypatch.setattr(strips, "_DENSITIES", {math.inf: 5})
    usual = Made(name, 192, 256)
    bits = usual.mark.depth - CODED
    assert usual.mark.enhancement and 0 < bits <= 5
    others = [Made(name, 192, 256, bits=n) for n in (bits - 1, bits + 1) if 0 < n <= 5]
    assert total(usual) > max(map(total, others)) - 0.3


def test_motion_takes_its_share_of_the_room() -> None:
    plain, moving = (Made("stego-5", 160, 160, bytes(n)) for n in (0, 2000))
    assert len(moving.mark.enhancement) == len(plain.mark.enhancement) - 2000


amounts = st.integers(0, 5000)


@given(st.lists(st.tuples(amounts, amounts), min_size=1, max_size=12))
def test_there_is_always_enough_to_write(strips_of: list[tuple[int, int]]) -> None:
    """From the right strip on no strip waits for bytes that are not yet there."""
    sizes, samples = map(list, zip(*strips_of, strict=True))
    if not (any(sizes) and any(samples)):
        return
    first = strips._first(sizes, samples)
    rooms = [sum(sizes) * count / sum(samples) for count in samples]
    there = 0.0
    for i in range(first, first + len(sizes)):
        # What a strip made of the layer is written into the next one, or in those after it.
        there += sizes[i % len(sizes)] - rooms[(i + 1) % len(sizes)]
        assert there > -1e-6


def test_what_a_strip_needs_is_filled_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the layer turns out shorter than planned, zeros stand for the rest."""
    real = Plan.coded

    def short(plan: Plan, strip: int, restored: np.ndarray, size: int, least: int = 0) -> bytes:
        return real(plan, strip, restored, max(least, size // 3), least)

    monkeypatch.setattr(Plan, "coded", short)
    made = Made("stego-5", 192, 256)
    assert read_mark(made.pixels) == made.mark
    assert made.error(made.better) < made.error(made.base)


def test_strips_of_a_picture_are_all_of_it() -> None:
    for height in range(16, 400, 7):
        for count in range(1, -(-height // 16) + 1):
            found = enhancement.strips(height, count)
            assert found[0].start == 0 and found[-1].stop == height
            for a, b in pairwise(found):
                assert a.stop == b.start and a.stop % 16 == 0 and a.start < a.stop
