"""The contract between a task and the converter."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iicnet_cli.pictures.group import Group
from iicnet_cli.tasks.task import (
    GroupReader,
    PictureSource,
    SourceDescription,
    in_time,
    reference_first,
)

GROUPS = [Group(np.full((2, 16, 16, 3), i, np.uint8), 2) for i in range(3)]
DESCRIPTION = SourceDescription(frames=6)


class ThreeGroups(PictureSource):
    """A source of three groups that knows when it is closed."""

    def __init__(self) -> None:
        self.closed = 0

    def _read(self) -> Generator[Group, None, SourceDescription]:
        try:
            yield from GROUPS
        finally:
            self.closed += 1
        return DESCRIPTION


def test_a_source_is_described_after_all_its_groups_were_read() -> None:
    reader = ThreeGroups().groups()
    for _ in GROUPS:
        with pytest.raises(RuntimeError, match="after all its groups"):
            _ = reader.description
        next(reader)
    # The end must have been seen: it is then that the source knows all.
    with pytest.raises(RuntimeError):
        _ = reader.description
    assert next(reader, None) is None
    assert reader.description is DESCRIPTION
    # It stays so.
    assert next(reader, None) is None
    assert reader.description is DESCRIPTION


def test_each_call_reads_the_groups_anew() -> None:
    source = ThreeGroups()
    assert list(source.groups()) == list(source.groups()) == GROUPS


def test_closing_a_reader_closes_the_source() -> None:
    source = ThreeGroups()
    reader = source.groups()
    next(reader)
    reader.close()
    assert source.closed == 1
    with pytest.raises(RuntimeError):
        _ = reader.description
    assert isinstance(reader, GroupReader)


@given(st.integers(1, 16))
def test_the_middle_frame_is_the_reference(images: int) -> None:
    order = reference_first(images)
    assert order[0] == images // 2
    assert order[1:] == sorted(order[1:])
    assert [order[i] for i in in_time(images)] == list(range(images))
