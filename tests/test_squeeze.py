"""The channel squeeze layer, equation (8)."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from iicnet_cli.network.squeeze import ChannelSqueeze
from tests.networks import assert_close, batch_sizes, few_examples, random


@few_examples
@given(batch=batch_sizes, copies=st.integers(1, 9), squeezed=st.sampled_from((1, 3, 12)))
def test_squeeze_is_a_projection(batch: int, copies: int, squeezed: int) -> None:
    module = ChannelSqueeze(copies * squeezed, squeezed)
    e = random(batch, squeezed, 4, 6)
    assert_close(module(module.inverse(e)), e)
    x = random(batch, copies * squeezed, 4, 6)
    assert_close(module(x), torch.stack(x.split(squeezed, dim=1)).mean(dim=0))  # (8)
    assert_close(module(module.inverse(module(x))), module(x))


def test_channels_that_are_no_multiple_are_refused() -> None:
    with pytest.raises(ValueError, match="no multiple"):
        ChannelSqueeze(10, 3)
