"""Error diffusion: what the network sees least of, and bits in the parity of levels."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from iicnet_cli.network.pixels import to_pixels, to_rounding_residual, to_tensor
from iicnet_cli.network.quantization import Quantization
from iicnet_cli.quantize.error_diffusion import Rounding, rounded
from iicnet_cli.quantize.lattice import NEIGHBOURS, unrounded_mse
from iicnet_cli.zoo import find
from iicnet_cli.zoo.golden import fit_task_noise_shaping
from tests.conftest import natural


def exact(height: int, width: int, channels: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    levels = rng.integers(0, 256, (height, width, channels), np.uint8)
    return levels, rng.integers(-128, 128, levels.shape, np.int8)


@pytest.mark.parametrize("height", [5, 256, 300])
def test_error_of_exact_values(height: int) -> None:
    levels, rest = exact(height, 7, 3, 0)
    wanted, _ = exact(height, 7, 3, 1)
    error = np.square(levels + rest / 256 - wanted).mean()
    assert unrounded_mse(levels, rest, wanted) == pytest.approx(error)


def told(
    shape: tuple[int, ...], share: float, seed: int, most: int = 2
) -> tuple[np.ndarray, np.ndarray]:
    """Of a share of the samples a residue, of one or more bits."""
    rng = np.random.default_rng(seed)
    bits = np.where(rng.random(shape) < share, rng.integers(1, most + 1, shape), 0)
    return bits.astype(np.uint8), (rng.integers(0, 256, shape) % (1 << bits)).astype(np.uint8)


def one_by_one(
    levels: np.ndarray,
    rest: np.ndarray,
    feedback: np.ndarray,
    depths: np.ndarray,
    residues: np.ndarray,
) -> np.ndarray:
    """The same, said plainly: sample after sample, from left to right and top to bottom."""
    height, width, channels = levels.shape
    errors = np.zeros(levels.shape)
    out = np.zeros(levels.shape, np.uint8)
    for y in range(height):
        for x in range(width):
            for c in range(channels):
                value = levels[y, x, c] + rest[y, x, c] / 256
                for (dy, dx), square in zip(NEIGHBOURS, feedback, strict=True):
                    if y + dy >= 0 and 0 <= x + dx < width:
                        value += errors[y + dy, x + dx] @ square[:, c]
                step = 1 << int(depths[y, x, c])
                allowed = np.arange(int(residues[y, x, c]), 256, step)
                level = allowed[np.abs(allowed - value).argmin()]
                errors[y, x, c] = np.clip(level - value, -step / 2, step / 2)
                out[y, x, c] = level
    return out


def some_feedback(channels: int, seed: int) -> np.ndarray:
    feedback = np.random.default_rng(seed).uniform(-0.3, 0.3, (5, channels, channels))
    feedback[0] = np.triu(feedback[0], 1)
    return feedback.astype(np.float32)


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(1, 9),
    width=st.integers(3, 9),
    channels=st.sampled_from([1, 3]),
    share=st.floats(0, 1),
    seed=st.integers(0, 999),
)
def test_diagonals_are_as_one_by_one(
    height: int, width: int, channels: int, share: float, seed: int
) -> None:
    levels, rest = exact(height, width, channels, seed)
    where = told(levels.shape, share, seed)
    feedback = some_feedback(channels, seed)
    given_values = levels.copy(), rest.copy()
    found = rounded(levels, rest, feedback, *where)
    # Ties and last bits of sums may fall otherwise, and from there on all is another pattern.
    wanted = one_by_one(levels, rest, feedback, *where)
    assert np.array_equal(found, wanted)
    assert np.array_equal(levels, given_values[0]) and np.array_equal(rest, given_values[1])


@settings(max_examples=25, deadline=None)
@given(
    ends=st.lists(st.integers(1, 8), max_size=4),
    width=st.integers(3, 9),
    share=st.floats(0, 1),
    seed=st.integers(0, 999),
)
def test_rows_after_rows_are_as_all_at_once(
    ends: list[int], width: int, share: float, seed: int
) -> None:
    levels, rest = exact(9, width, 3, seed)
    depths, residues = told(levels.shape, share, seed)
    feedback = some_feedback(3, seed)
    rounding = Rounding(levels, rest, feedback)
    for top, bottom in pairwise([0, *sorted(set(ends)), 9]):
        rounding.rows(slice(top, bottom), depths[top:bottom], residues[top:bottom])
        assert np.array_equal(rounding.levels[bottom:], levels[bottom:])
    assert np.array_equal(rounding.levels, rounded(levels, rest, feedback, depths, residues))


def test_errors_are_not_fed_back_over_rows_that_are_missing() -> None:
    levels, rest = exact(12, 9, 3, 4)
    feedback = some_feedback(3, 4)
    free = (np.zeros((6, 9, 3), np.uint8),) * 2
    rounding = Rounding(levels, rest, feedback)
    rounding.rows(slice(6, 12), *free)
    rounding.rows(slice(0, 6), *free)
    for half in (slice(0, 6), slice(6, 12)):
        alone = rounded(levels[half], rest[half], feedback)
        assert np.array_equal(rounding.levels[half], alone)


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(1, 30),
    width=st.integers(3, 30),
    diffused=st.booleans(),
    share=st.floats(0, 1),
    seed=st.integers(0, 999),
)
def test_bits_are_there(height: int, width: int, diffused: bool, share: float, seed: int) -> None:
    levels, rest = exact(height, width, 3, seed)
    depths, residues = told(levels.shape, share, seed, most=3)
    found = rounded(levels, rest, some_feedback(3, seed) if diffused else None, depths, residues)
    assert np.array_equal(found & (1 << depths) - 1, residues)


def test_without_feedback_only_bits_change_levels_towards_the_value() -> None:
    levels, rest = exact(20, 30, 3, 1)
    depths, residues = told(levels.shape, 0.2, 2, most=1)
    change = rounded(levels, rest, None, depths, residues).astype(int) - levels
    assert not change[depths == 0].any()
    changed = (change != 0) & (levels > 0) & (levels < 255)
    assert np.count_nonzero(changed) > 100
    assert np.array_equal(change[changed], np.where(rest[changed] >= 0, 1, -1))


def test_zeros_are_no_feedback() -> None:
    levels, rest = exact(20, 30, 3, 3)
    rest[rest == -128] = 0  # a tie
    zeros = np.zeros((5, 3, 3), np.float32)
    assert np.array_equal(rounded(levels, rest, zeros), levels)


@pytest.mark.parametrize("name", ["stego-2", "layers-2", "video-5", "video-3-half", "grayscale"])
def test_the_network_restores_less_of_the_rounding(name: str) -> None:
    checkpoint = find(name)
    net = checkpoint.load()
    images = np.stack([natural(96, 128, seed) for seed in range(net.config.images)])
    with torch.inference_mode():
        values = net(to_tensor(images[None]))
        wanted = net.inverse(values)
        rounding = to_pixels(values)[0], to_rounding_residual(values)[0]
        errors, shown = [], []
        for feedback in (None, checkpoint.noise_shaping):
            embedding = to_tensor(rounded(*rounding, feedback)[None])
            errors.append((net.inverse(embedding) - wanted).square().mean().item())
            shown.append((embedding - values).square().mean().item())
    assert errors[1] < 0.75 * errors[0]
    assert shown[1] < 3 * shown[0]


def test_noise_of_training_is_as_the_errors_are() -> None:
    feedback = find("stego-2").noise_shaping
    levels, rest = exact(200, 200, 3, 5)
    levels = levels // 2 + 60  # away from the ends
    errors = rounded(levels, rest, feedback) - (levels + rest / 256)
    values = torch.rand(1, 3, 200, 200) / 2 + 0.25
    noise = 255 * (Quantization(noise_shaping=feedback).train()(values) - values)[0].permute(
        1, 2, 0
    )
    for y, x in ((0, 0), (0, 1), (1, 0), (1, 1), (2, 3)):
        made, found = (
            np.einsum("yxa,yxb->ab", n[: 200 - y, : 200 - x], n[y:, x:]) / 200**2
            for n in (noise.numpy(), errors)
        )
        np.testing.assert_allclose(made, found, atol=0.004)
    assert noise.square().mean() > 0.1  # 1/12 where nothing is diffused


@pytest.mark.parametrize("name", ["stego-3", "rescale"])
def test_bundled_feedback_is_that_of_the_weights(name: str) -> None:
    checkpoint = find(name)
    measured = fit_task_noise_shaping(checkpoint.load(), checkpoint.config.task)
    assert measured is not None and checkpoint.noise_shaping is not None
    np.testing.assert_allclose(checkpoint.noise_shaping, measured, atol=0.01)


def test_a_network_that_does_not_gain_has_none() -> None:
    # What it restores of an error is the same in all directions.
    from iicnet_cli.network import IICNet, IICNetConfig

    torch.manual_seed(0)
    net = IICNet(IICNetConfig.compact(2, blocks=1, width=4)).eval()
    feedback = fit_task_noise_shaping(net, "stego")
    assert feedback is None or feedback.shape == (5, 3, 3)
