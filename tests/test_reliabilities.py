"""Noise and reliabilities."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from iicnet_cli.engines.jpegproof.reliabilities import (
    NoiseShape,
    count_distances,
    distances_to_even,
    find_lost_blocks,
    fit_noise,
    likelihood_ratios,
)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def fitted(scaled: NDArray[np.float64]) -> NoiseShape:
    (seen,) = count_distances(scaled.astype(np.float32), np.zeros(len(scaled), np.intp), 1)
    return fit_noise(seen)


@pytest.mark.parametrize("deviation", [0.05, 0.19, 0.32])
def test_gaussian_noise_is_recognised(deviation: float, rng: np.random.Generator) -> None:
    scaled = rng.integers(-5, 6, 4000) + rng.normal(0, deviation, 4000)
    wrong = fitted(scaled).probabilities[32:].sum()
    true = (np.abs(rng.normal(0, deviation, 100_000)) > 0.5).mean()
    assert wrong == pytest.approx(true, rel=0.4, abs=0.006)


def test_uniform_noise_within_half_a_spacing_makes_few_errors(rng: np.random.Generator) -> None:
    scaled = rng.integers(-5, 6, 4000) + rng.uniform(-0.42, 0.42, 4000)
    assert fitted(scaled).probabilities[32:].sum() < 0.02


def test_signs_and_sizes_of_ratios(rng: np.random.Generator) -> None:
    noise = fitted(rng.integers(0, 9, 999) + rng.normal(0, 0.15, 999))
    values = np.array([0.0, 0.3, 0.5, 0.9, 3.0, -2.1], np.float32)
    distances = distances_to_even(values)
    classes = np.zeros(6, np.intp)
    table = noise.probabilities[None]
    ratios = likelihood_ratios(distances, table, classes, np.zeros(6))
    assert np.sign(ratios).tolist() in ([1, 1, s, -1, -1, 1] for s in (-1, 0, 1))
    assert abs(ratios[0]) > abs(ratios[1]) > abs(ratios[2])
    assert not likelihood_ratios(distances, table, classes, np.ones(6)).any()


def test_lost_blocks_are_found(rng: np.random.Generator) -> None:
    scaled = rng.integers(-3, 4, (20, 20, 16)) + rng.normal(0, 0.1, (20, 20, 16))
    scaled[3:8, 3:8] = rng.normal(0, 0.02, (5, 5, 16))  # smooth
    scaled[12:17, 12:17] = rng.uniform(-3, 3, (5, 5, 16))  # off the lattice
    noise = np.repeat(fitted(scaled.ravel()).probabilities[None, None], 16, 1)
    classes = np.zeros(scaled.shape, np.intp)
    lost = find_lost_blocks(scaled.astype(np.float32), noise, classes, np.full(16, 0.5)) > 0.5
    assert lost[4:7, 3:8].all()
    assert lost[12:17, 12:17].all()
    assert 40 <= lost.sum() <= 50 + 8
