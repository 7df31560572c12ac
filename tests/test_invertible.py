"""The invertible 1x1 convolution."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iicnet_cli.network.invertible import InvertibleConv1x1
from tests.networks import (
    assert_close,
    assert_inverts,
    batch_sizes,
    even_sizes,
    few_examples,
    random,
    randomise,
)


@few_examples
@given(height=even_sizes, width=even_sizes, batch=batch_sizes, channels=st.integers(1, 20))
@pytest.mark.parametrize("init", ["identity", "orthogonal"])
def test_conv1x1_inverts(init: str, height: int, width: int, batch: int, channels: int) -> None:
    fresh = InvertibleConv1x1(channels, init).double()
    x = random(batch, channels, height, width)
    assert_inverts(fresh, x, x)
    if init == "identity":
        assert_close(fresh(x), x)
    assert_inverts(randomise(fresh), x, random(*x.shape))
