"""An embedding that carries its own enhancement layer, rounded slice by slice."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from iicnet_cli.engines.network import sliced_encoder
from iicnet_cli.engines.network.enhancement_layer import LayerPlan, add_layer, slice_rows
from iicnet_cli.engines.network.sliced_encoder import (
    LayerRequest,
    encode_with_layer,
    first_slice,
    layer_capacity,
)
from iicnet_cli.payload.mark import Mark, read_mark
from iicnet_cli.pictures.arrays import PixelArray, from_fixed_point, pad, padding_to
from iicnet_cli.pictures.metrics import mse, mse_to_psnr, psnr
from tests.runners import runner_of
from tests.samples import natural


class Made:
    """What became of some pictures."""

    def __init__(
        self, name: str, height: int, width: int, motion: bytes = b"", bits: int | None = None
    ) -> None:
        runner = runner_of(name)
        count = runner.config.images
        self.wanted = np.stack([natural(height, width, seed) for seed in range(count)])
        padded = pad(self.wanted, padding_to(width, height, runner.config.multiple))
        embedding, reference = runner.embed(padded), runner.reference(padded)
        self.shares: list[float] = []
        request = LayerRequest(
            runner,
            self.wanted,
            Mark(task=5, model=1, images=count, valid=count, motion=motion),
            embedding,
            embedding.mse(reference),
            tick=self.shares.append,
        )
        self.capacity = layer_capacity(embedding.pixels, request.mark, bits) if bits else 0
        self.mark, self.pixels = encode_with_layer(request, bits)
        self.embed_psnr = psnr(self.pixels, reference)
        self.base: PixelArray = runner.restore(self.pixels)[:, :height, :width]
        better = runner.restore_fixed_point(self.pixels)[:, :height, :width]
        add_layer(self.mark.enhancement, better)
        self.better = from_fixed_point(better, np.uint8)

    @property
    def base_error(self) -> float:
        return mse(self.wanted, self.base)

    @property
    def error(self) -> float:
        """Mean squared error of the pictures with their layer."""
        return mse(self.wanted, self.better)

    @property
    def slices(self) -> int:
        return self.mark.enhancement[2]


@pytest.mark.parametrize(
    ("name", "height", "width", "motion"),
    [
        ("stego-5", 144, 176, b""),
        ("stego-5", 153, 180, bytes(900)),
        ("video-3-half", 290, 306, b"moves"),
    ],
)
def test_the_embedding_carries_the_layer_of_its_slices(
    name: str, height: int, width: int, motion: bytes
) -> None:
    made = Made(name, height, width, motion, bits=4)
    assert read_mark(made.pixels) == made.mark
    assert made.mark.motion == motion
    assert made.slices > 1
    assert made.error < made.base_error
    assert made.shares == sorted(made.shares) and made.shares[-1] == 1


@pytest.mark.parametrize(("left", "taken"), [(99, False), (80, True)])
def test_a_layer_has_to_gain_what_it_costs(
    monkeypatch: pytest.MonkeyPatch, left: int, taken: bool
) -> None:
    def restored(passes: object, mark: Mark, embedding: object, wanted: PixelArray) -> PixelArray:
        """Wrong by 100 throughout, or by less with a layer."""
        return wanted.astype(np.int16) + (left if mark.enhancement else 100)

    monkeypatch.setattr(sliced_encoder, "restored_pictures", restored)
    assert bool(Made("layers-3", 96, 96).mark.enhancement) == taken


def test_the_layer_corrects_the_rounding_of_the_slice_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    several = Made("stego-5", 208, 256, bits=3)
    monkeypatch.setattr(sliced_encoder, "MAX_SLICES", 1)
    one = Made("stego-5", 208, 256, bits=3)
    assert one.slices == 1 and several.slices > 2
    assert abs(len(one.mark.enhancement) - len(several.mark.enhancement)) < 10
    assert several.error < one.error


@pytest.mark.parametrize("bits", [1, 6])
def test_a_layer_takes_the_bits_that_are_asked_for(bits: int) -> None:
    made = Made("stego-5", 96, 112, bits=bits)
    assert read_mark(made.pixels) == made.mark
    assert len(made.mark.enhancement) == made.capacity
    assert 8 * len(made.mark.enhancement) / (96 * 112) == pytest.approx(bits, abs=0.25)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["layers-2", "stego-3"])
def test_neither_fewer_nor_more_bits_would_pay(name: str) -> None:
    """In the sum of both PSNRs, about: the choice is made from an estimate."""

    def total(made: Made) -> float:
        return made.embed_psnr + mse_to_psnr(made.error)

    usual = Made(name, 128, 160)
    assert usual.mark.enhancement
    others = [Made(name, 128, 160, bits=bits) for bits in range(1, 6)]
    bits = [len(other.mark.enhancement) for other in others].index(len(usual.mark.enhancement))
    near = [others[i] for i in (bits - 1, bits + 1) if 0 <= i < len(others)]
    assert total(usual) > max(map(total, near)) - 0.4


def test_motion_takes_its_share_of_the_capacity() -> None:
    plain, moving = (Made("stego-5", 96, 112, bytes(n), bits=3) for n in (0, 1000))
    assert len(moving.mark.enhancement) == len(plain.mark.enhancement) - 1000


byte_counts = st.integers(0, 5000)


@given(st.lists(st.tuples(byte_counts, byte_counts), min_size=1, max_size=12))
def test_from_the_first_slice_on_there_is_always_enough_to_write(
    slices: list[tuple[int, int]],
) -> None:
    sizes, samples = map(list, zip(*slices, strict=True))
    assume(any(sizes) and any(samples))
    first = first_slice(sizes, samples)
    rooms = [sum(sizes) * count / sum(samples) for count in samples]
    available = 0.0
    for i in range(first, first + len(sizes)):
        # The part of the layer for one slice is written into the next, or into those after it.
        available += sizes[i % len(sizes)] - rooms[(i + 1) % len(sizes)]
        assert available > -1e-6


def test_what_a_slice_needs_is_filled_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the layer turns out shorter than planned, zeros stand for the rest."""
    encode_slice = LayerPlan.encode_slice

    def short(
        plan: LayerPlan, index: int, restored: PixelArray, max_size: int, min_size: int = 0
    ) -> bytes:
        return encode_slice(plan, index, restored, max(min_size, max_size // 3), min_size)

    monkeypatch.setattr(LayerPlan, "encode_slice", short)
    made = Made("stego-5", 144, 176)
    assert read_mark(made.pixels) == made.mark
    assert made.error < made.base_error


def test_slices_of_a_picture_are_all_of_it() -> None:
    for height in range(16, 400, 7):
        for count in range(1, -(-height // 16) + 1):
            found = slice_rows(height, count)
            assert found[0].start == 0 and found[-1].stop == height
            for a, b in pairwise(found):
                assert a.stop == b.start and a.stop % 16 == 0 and a.start < a.stop
