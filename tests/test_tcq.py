"""quantize/tcq.py: trellis-coded quantization of samples that carry a bit and a digit each."""

from __future__ import annotations

import numpy as np
import pytest

from iicnet_cli.pictures.arrays import Pixels
from iicnet_cli.quantize.tcq import (
    COLUMNS,
    MAX_BASE,
    SEGMENT,
    expected_mse,
    extract_syndrome,
    levels_and_digits,
)
from iicnet_cli.quantize.tcq_search import quantize


def message(bases: Pixels, rng: np.random.Generator) -> tuple[Pixels, Pixels]:
    """Random digits and bits for samples of these bases."""
    digits = (rng.integers(0, 1 << 16, len(bases)) % bases).astype(np.uint8)
    return digits, rng.integers(0, 2, len(bases), dtype=np.uint8)


def squared_error(a: Pixels, b: Pixels) -> float:
    return float(np.mean(np.square(a.astype(np.float64) - b)))


@pytest.mark.parametrize("count", [1, 7, SEGMENT, 3 * SEGMENT + 5])
def test_quantized_samples_carry_digits_and_bits_of_any_base(count: int) -> None:
    rng = np.random.default_rng(count)
    bases = rng.integers(1, MAX_BASE + 1, count, dtype=np.uint8)
    digits, bits = message(bases, rng)
    quantized = quantize(rng.integers(0, 256, count, dtype=np.uint8), bases, digits, bits)
    levels, found = levels_and_digits(quantized, bases)
    assert np.array_equal(found, digits)
    assert np.array_equal(extract_syndrome(levels), bits)


@pytest.mark.parametrize("value", [0, 1, 254, 255])
def test_values_at_the_ends_stay_within_a_byte(value: int) -> None:
    """Nothing wraps around: the change stays below the distance of values in a coset."""
    rng = np.random.default_rng(value)
    bases = np.repeat(np.array([1, 2, 5, 13, MAX_BASE], np.uint8), 200)
    digits, bits = message(bases, rng)
    samples = np.full(len(bases), value, np.uint8)
    change = quantize(samples, bases, digits, bits).astype(int) - value
    assert np.all(np.abs(change) < 4 * bases.astype(int))


def test_the_syndrome_is_what_falls_out_of_a_register() -> None:
    """The definition, sample by sample."""
    levels = np.random.default_rng(0).integers(0, 256, 2 * SEGMENT + 9, dtype=np.uint8)
    expected, register = [], 0
    for i, level in enumerate(levels.tolist()):
        if i % SEGMENT == 0:
            register = 0
        register ^= COLUMNS[0] * (level & 1) ^ COLUMNS[1] * (level >> 1 & 1)
        expected.append(register & 1)
        register >>= 1
    assert extract_syndrome(levels).tolist() == expected


@pytest.mark.parametrize("base", [1, 2, 3, 5, 8, MAX_BASE])
def test_error_is_as_expected(base: int) -> None:
    rng = np.random.default_rng(base)
    samples = rng.integers(100, 156, 8 * SEGMENT, dtype=np.uint8)
    bases = np.full(len(samples), base, np.uint8)
    error = squared_error(quantize(samples, bases, *message(bases, rng)), samples)
    assert error == pytest.approx(float(expected_mse(np.array(base))), rel=0.04)


def test_error_is_a_decibel_below_that_of_plain_digits() -> None:
    """With base 5 a sample carries as many bits as a plain digit of base 10."""
    rng = np.random.default_rng(5)
    samples = rng.integers(64, 192, 16 * SEGMENT, dtype=np.uint8)
    bases = np.full(len(samples), 5, np.uint8)
    error = squared_error(quantize(samples, bases, *message(bases, rng)), samples)
    plain = np.mean(np.square(np.arange(-5, 5.0) + 0.5)) + 1 / 4
    assert 10 * np.log10(plain / error) > 1.1


def test_no_message_of_another_path_is_nearer() -> None:
    """The search finds the nearest sequence: compared with all of a short one."""
    rng = np.random.default_rng(3)
    bases = np.full(6, 2, np.uint8)
    for _ in range(5):
        samples = rng.integers(20, 200, 6, dtype=np.uint8)
        digits, bits = message(bases, rng)
        found = squared_error(quantize(samples, bases, digits, bits), samples)
        choices = np.stack(np.meshgrid(*[np.arange(-4, 4)] * 6), -1).reshape(-1, 6)
        values = (samples.astype(int) // 2 + choices) * 2 + digits
        errors = np.mean(np.square(values - samples), axis=1)
        for i in np.argsort(errors):
            if np.array_equal(extract_syndrome((values[i] // 2).astype(np.uint8)), bits):
                break
        assert found == pytest.approx(errors[i])
