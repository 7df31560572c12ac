"""Embeddings that carry their own enhancement layer, rounded slice by slice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import DTypeLike

from iicnet_cli.engines.network import enhancement_layer, sliced_encoder
from iicnet_cli.engines.network.enhancement_layer import LayerPlan
from iicnet_cli.engines.network.residual_codec import USUAL_SPEED
from iicnet_cli.engines.network.sliced_encoder import (
    LayerRequest,
    encode_with_layer,
    first_slice,
    layer_capacity,
    restored_pictures,
)
from iicnet_cli.inference.runner import Passes, Runner, Tick, ignore_tick
from iicnet_cli.payload.mark_pixels import read_mark
from iicnet_cli.pictures.arrays import (
    FRACTION,
    FixedPoint,
    PixelArray,
    Pixels,
    from_fixed_point,
    pad,
    padding_to,
    to_fixed_point,
)
from iicnet_cli.pictures.metrics import mse, mse_to_psnr, psnr
from iicnet_cli.quantize.lattice import UnroundedEmbedding
from iicnet_cli.zoo import find
from tests.engine_helpers import group_of, layer_bits, mark_of, small_runner


@dataclass
class Encoding:
    """Pictures that are encoded by a network, and what comes of them."""

    passes: Passes
    wanted: Pixels
    motion: bytes = b""
    bits: int | None = None
    shares: list[float] = field(default_factory=list)

    @cached_property
    def padded(self) -> Pixels:
        height, width = self.wanted.shape[1:3]
        return pad(self.wanted, padding_to(width, height, self.passes.config.multiple))

    @cached_property
    def reference(self) -> Pixels:
        return self.passes.reference(self.padded)

    @cached_property
    def request(self) -> LayerRequest:
        embedding = self.passes.embed(self.padded)
        mark = mark_of(len(self.wanted), motion=self.motion)
        mse = embedding.mse(self.reference)
        return LayerRequest(self.passes, self.wanted, mark, embedding, mse, tick=self.shares.append)

    def __post_init__(self) -> None:
        self.mark, self.pixels = encode_with_layer(self.request, self.bits)

    @property
    def slices(self) -> int:
        """Number of slices of the layer."""
        return self.mark.enhancement[2]

    @property
    def base_error(self) -> float:
        """Mean squared error of what is restored without the layer."""
        bare = restored_pictures(self.passes, self.request.mark, self.pixels, self.wanted)
        return mse(bare, self.wanted)

    @property
    def error(self) -> float:
        """Mean squared error of what is restored with the layer."""
        restored = restored_pictures(self.passes, self.mark, self.pixels, self.wanted)
        return mse(restored, self.wanted)

    @property
    def total_psnr(self) -> float:
        return psnr(self.pixels, self.reference) + mse_to_psnr(self.error)


class RecordingPasses:
    """A runner that remembers which rows were restored."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self.config, self.noise_shaping = runner.config, runner.noise_shaping
        self.scale, self.reference, self.embed = runner.scale, runner.reference, runner.embed
        self.restored: list[slice | None] = []

    def restore_fixed_point(
        self,
        embedding: Pixels | UnroundedEmbedding,
        dtype: DTypeLike = np.uint8,
        rows: slice | None = None,
        tick: Tick = ignore_tick,
    ) -> FixedPoint:
        self.restored.append(rows)
        return self._runner.restore_fixed_point(embedding, dtype, rows, tick)

    def restore_areas(
        self, embedding: UnroundedEmbedding, dtype: DTypeLike, areas: Sequence[slice]
    ) -> list[FixedPoint]:
        return [self.restore_fixed_point(embedding, dtype, rows) for rows in areas]

    def restore(
        self, embedding: Pixels, dtype: DTypeLike = np.uint8, tick: Tick = ignore_tick
    ) -> PixelArray:
        return self._runner.restore(embedding, dtype, tick)


class NoisyPasses(RecordingPasses):
    """A network that restores the originals with white noise, whatever the embedding is."""

    def __init__(self, runner: Runner, originals: Pixels, noise: float) -> None:
        super().__init__(runner)
        rng = np.random.default_rng(0)
        errors = FRACTION * noise * rng.standard_normal(originals.shape)
        self._restored = (to_fixed_point(originals) + errors).astype(np.int16)

    def restore_fixed_point(
        self,
        embedding: Pixels | UnroundedEmbedding,
        dtype: DTypeLike = np.uint8,
        rows: slice | None = None,
        tick: Tick = ignore_tick,
    ) -> FixedPoint:
        return self._restored[:, rows or slice(None)].copy()

    def restore(
        self, embedding: Pixels, dtype: DTypeLike = np.uint8, tick: Tick = ignore_tick
    ) -> PixelArray:
        return from_fixed_point(self._restored, dtype)


@pytest.mark.parametrize(
    ("half_size", "images", "height", "width", "motion"),
    [
        pytest.param(False, 2, 97, 190, b"", id="odd height"),
        pytest.param(False, 2, 112, 195, bytes(900), id="odd width and motion"),
        pytest.param(True, 3, 196, 382, b"", id="half size"),
    ],
)
def test_the_embedding_carries_the_layer_of_its_own_slices(
    half_size: bool, images: int, height: int, width: int, motion: bytes
) -> None:
    runner = small_runner(images, half_size=half_size)
    encoding = Encoding(runner, group_of(images, height, width), motion, bits=4)
    assert read_mark(encoding.pixels) == encoding.mark
    assert encoding.mark.motion == motion
    assert encoding.slices > 1
    assert encoding.error < 0.7 * encoding.base_error
    assert encoding.shares == sorted(encoding.shares) and encoding.shares[-1] == 1


def noisy_request(noise: float) -> LayerRequest:
    """Two pictures for a network that restores them with white noise of this deviation."""
    wanted = group_of(2, 64, 96)
    passes = NoisyPasses(small_runner(), wanted, noise)
    embedding = passes.embed(wanted)
    mse = embedding.mse(passes.reference(wanted))
    return LayerRequest(passes, wanted, mark_of(2), embedding, mse)


@pytest.mark.parametrize(
    ("noise", "embedding_mse", "has_layer"),
    [
        pytest.param(2.0, 25.0, True, id="fair embedding"),
        pytest.param(2.0, 0.0, False, id="embedding that rounding would harm"),
        pytest.param(0.5, 25.0, True, id="base layer that a layer just improves"),
        pytest.param(0.3, 25.0, False, id="good base layer"),
    ],
)
def test_a_layer_is_carried_only_where_it_gains_more_than_it_costs(
    noise: float, embedding_mse: float, has_layer: bool
) -> None:
    # White noise hardly compresses, so a layer gains only a little.
    request = noisy_request(noise)
    mark, pixels = encode_with_layer(replace(request, embedding_mse=embedding_mse))
    assert read_mark(pixels) == mark
    assert bool(mark.enhancement) == has_layer


def test_a_caller_who_asks_for_bits_gets_a_layer_whether_it_pays_or_not() -> None:
    request = noisy_request(2.0)
    assert encode_with_layer(replace(request, embedding_mse=0.0), 1)[0].enhancement


@pytest.mark.parametrize("is_compared", [False, True])
def test_a_harmful_layer_is_left_out_where_the_base_layer_is_good(
    monkeypatch: pytest.MonkeyPatch, is_compared: bool
) -> None:
    """Coding is made to fail. Only for a good base layer are both ways tried and compared."""
    encode_slice = LayerPlan.encode_slice

    def encode_the_opposite(
        plan: LayerPlan, index: int, restored: FixedPoint, max_size: int, *others: Any
    ) -> bytes:
        wanted = plan.wanted[:, plan.rows(index)].astype(np.int16)
        opposite = np.zeros_like(plan.wanted, np.int16)
        opposite[:, plan.rows(index)] = 2 * (restored // FRACTION) - wanted
        changed = replace(plan, wanted=opposite)
        return encode_slice(changed, index, restored, max_size, *others)

    monkeypatch.setattr(LayerPlan, "encode_slice", encode_the_opposite)
    monkeypatch.setattr(sliced_encoder, "UNCERTAIN_BASE_MSE", 1e9 if is_compared else 0)
    encoding = Encoding(small_runner(), group_of(2, 112, 192))
    assert (encoding.mark.enhancement == b"") == is_compared
    if not is_compared:
        assert encoding.slices > 1
        assert encoding.error > encoding.base_error


def test_each_slice_corrects_the_rounding_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    passes = RecordingPasses(small_runner())
    wanted = group_of(2, 144, 160)
    several = Encoding(passes, wanted, bits=6)
    # The whole is restored once from exact values, and then every rounded slice but the last.
    assert len(passes.restored) == several.slices
    monkeypatch.setattr(sliced_encoder, "MAX_SLICES", 1)
    one = Encoding(small_runner(), wanted, bits=6)
    assert one.slices == 1 and several.slices > 2
    assert abs(len(one.mark.enhancement) - len(several.mark.enhancement)) < 10
    assert several.error < 0.92 * one.error


def test_large_pictures_are_planned_from_samples_and_hardly_coded_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    speeds = []
    encode_parts = enhancement_layer.encode_parts

    def recording(*arguments: Any) -> list[bytes]:
        speeds.append(arguments[-1])
        return encode_parts(*arguments)

    monkeypatch.setattr(enhancement_layer, "encode_parts", recording)
    passes = RecordingPasses(small_runner())
    height = 480
    encoding = Encoding(passes, group_of(2, height, 544))
    assert encoding.slices == sliced_encoder.MAX_SLICES
    samples, slices = passes.restored[: encoding.slices], passes.restored[encoding.slices :]
    assert all(samples)
    assert sum(rows.stop - rows.start for rows in samples if rows) <= 0.25 * height
    assert len(slices) == encoding.slices
    layer = encoding.mark.enhancement
    assert len(layer.rstrip(b"\0")) > 0.9 * len(layer)
    assert encoding.error < 0.5 * encoding.base_error
    assert encoding.slices <= speeds.count(USUAL_SPEED) <= encoding.slices + 2


@pytest.mark.parametrize("bits", [1, 6])
def test_the_payload_has_as_many_bits_as_are_asked_for(bits: int) -> None:
    encoding = Encoding(small_runner(), group_of(2, 96, 96), bits=bits)
    assert read_mark(encoding.pixels) == encoding.mark
    assert layer_bits(encoding.mark) == bits
    size = len(encoding.mark.enhancement)
    assert size == layer_capacity(encoding.pixels, encoding.request.mark, bits)
    assert 8 * size / (96 * 96) == pytest.approx(bits, abs=0.15)


def test_neither_more_nor_fewer_bits_would_pay() -> None:
    """In the sum of both PSNRs, about: the number is chosen by estimates."""
    runner, wanted = small_runner(), group_of(2, 96, 96)
    usual = Encoding(runner, wanted)
    bits = layer_bits(usual.mark)
    assert 1 < bits < 6
    others = [Encoding(runner, wanted, bits=n) for n in (bits - 1, bits + 1)]
    assert usual.total_psnr > max(other.total_psnr for other in others) - 1


def test_motion_takes_its_share_of_the_capacity() -> None:
    runner, wanted = small_runner(), group_of(2, 96, 96)
    still, moving = (Encoding(runner, wanted, bytes(n), bits=3) for n in (0, 1000))
    assert len(moving.mark.enhancement) == len(still.mark.enhancement) - 1000


def test_pictures_without_room_for_a_layer_get_none() -> None:
    encoding = Encoding(small_runner(), group_of(2, 30, 36), bits=4)
    assert encoding.mark.enhancement == b""
    assert read_mark(encoding.pixels) == encoding.mark


def test_slices_are_padded_where_the_layer_turns_out_short(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encode_slice = LayerPlan.encode_slice

    def encode_shorter(
        plan: LayerPlan, index: int, restored: FixedPoint, max_size: int, *others: Any
    ) -> bytes:
        min_size = others[0]
        return encode_slice(plan, index, restored, max(min_size, max_size // 3), *others)

    monkeypatch.setattr(LayerPlan, "encode_slice", encode_shorter)
    encoding = Encoding(small_runner(), group_of(2, 112, 192), bits=4)
    assert encoding.slices > 1
    assert read_mark(encoding.pixels) == encoding.mark
    assert encoding.error < encoding.base_error


amounts = st.integers(0, 5000)


@given(st.lists(st.tuples(amounts, amounts), min_size=1, max_size=12))
def test_from_the_first_slice_on_there_is_always_enough_to_carry(
    slices: list[tuple[int, int]],
) -> None:
    """No slice has to be rounded before the bytes that it carries are known."""
    sizes, samples = map(list, zip(*slices, strict=True))
    assume(any(sizes) and any(samples))
    first = first_slice(sizes, samples)
    rooms = [sum(sizes) * count / sum(samples) for count in samples]
    reserve = 0.0
    for i in range(first, first + len(sizes)):
        # The bytes of one slice are carried by the next one, or by those after it.
        reserve += sizes[i % len(sizes)] - rooms[(i + 1) % len(sizes)]
        assert reserve > -1e-6


@pytest.mark.slow
@pytest.mark.usefixtures("bundled_weights")
@pytest.mark.parametrize("name", ["layers-2", "stego-2", "rescale"])
def test_neither_more_nor_fewer_bits_would_pay_with_bundled_weights(name: str) -> None:
    checkpoint = find(name)
    runner = Runner(checkpoint.load(), noise_shaping=checkpoint.noise_shaping)
    wanted = group_of(runner.config.images, 192, 256, seed=0)
    usual = Encoding(runner, wanted)
    bits = layer_bits(usual.mark)
    assert bits
    others = [Encoding(runner, wanted, bits=n) for n in (bits - 1, bits + 1) if 0 < n <= 6]
    assert usual.total_psnr > max(other.total_psnr for other in others) - 0.3
