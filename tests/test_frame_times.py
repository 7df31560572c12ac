"""Times, selections and rates of frames."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iicnet_cli.errors import UsageError
from iicnet_cli.media.frame_times import (
    STILLS_RATE,
    FrameSelection,
    exact_rate,
    is_uneven,
    parse_time,
    rate_from_duration,
    separate_times,
    simple_rate,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("83.5", 83.5), ("1:23.5", 83.5), ("0:01:23.5", 83.5), (".5", 0.5), ("2:00:00", 7200.0)],
)
def test_times_are_parsed(text: str, seconds: float) -> None:
    assert parse_time(text) == seconds


@pytest.mark.parametrize("text", ["", "-1", "nan", "inf", "1:60", "1:2:3:4", "1e3", "x", "1:", "٣"])
def test_nonsense_is_no_time(text: str) -> None:
    with pytest.raises(UsageError, match="not a time"):
        parse_time(text)


@given(st.integers(0, 99), st.integers(0, 59), st.integers(0, 59999))
@settings(max_examples=50)
def test_times_add_up(hours: int, minutes: int, milliseconds: int) -> None:
    text = f"{hours}:{minutes:02}:{milliseconds // 1000:02}.{milliseconds % 1000:03}"
    assert parse_time(text) == pytest.approx(hours * 3600 + minutes * 60 + milliseconds / 1000)


@pytest.mark.parametrize(
    ("selection", "chosen"),
    [
        (FrameSelection(), range(10)),
        (FrameSelection(start=0.2, end=0.5), (2, 3, 4)),
        (FrameSelection(start=0.15, step=3), (2, 5, 8)),
        (FrameSelection(step=4, frames=2), (0, 4)),
        (FrameSelection(start=0.2000005, end=0.5000005), (2, 3, 4)),
        (FrameSelection(start=2.0), ()),
    ],
)
def test_frames_are_selected_by_time(selection: FrameSelection, chosen: tuple[int, ...]) -> None:
    assert selection.indices([i / 10 for i in range(10)]) == list(chosen)


@pytest.mark.parametrize(
    ("start", "end", "words"),
    [
        (-1.0, None, "0 seconds or more"),
        (math.nan, None, "0 seconds or more"),
        (None, math.inf, "0 seconds or more"),
        (2.0, 1.0, "must come after"),
        (None, 0.0, "must come after"),
        (3.0, None, r"lasts 3\.000 s"),
    ],
)
def test_senseless_spans_are_refused(start: float | None, end: float | None, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        FrameSelection(start, end).check(3.0)


def test_a_span_of_unknown_duration_is_accepted() -> None:
    FrameSelection(start=1e6).check(None)
    FrameSelection(end=9.0).check(3.0)


def test_step_and_number_of_frames_are_positive() -> None:
    with pytest.raises(UsageError, match="step and frames"):
        FrameSelection(step=0)
    with pytest.raises(UsageError, match="step and frames"):
        FrameSelection(frames=0)


def test_uneven_times_are_told_from_rounded_ones() -> None:
    rounded = [round(i / 30, 3) for i in range(40)]
    assert not is_uneven(rounded, 0.001)
    assert not is_uneven([0.0, 0.5], 0.001)
    assert is_uneven([*rounded, rounded[-1] + 0.1], 0.001)
    assert not is_uneven([0.0, 0.02, 0.03], 0.01)


@pytest.mark.parametrize(
    ("printed", "measured", "expected"),
    [
        ("29.97", "29.970", Fraction(30000, 1001)),
        ("25", None, Fraction(25)),
        ("17", "17", Fraction(17)),
        ("16.67", "50/3", Fraction(50, 3)),
        ("13.37", None, Fraction(1337, 100)),
        (None, "12.5", Fraction(25, 2)),
        (None, None, STILLS_RATE),
        ("25", "2.5", Fraction(5, 2)),  # thinned
        ("2.75", "2.5", Fraction(5, 2)),
        (None, "1/7200", Fraction(1, 7200)),
    ],
)
def test_rates_are_made_exact(
    printed: str | None, measured: str | None, expected: Fraction
) -> None:
    rates = (None if rate is None else Fraction(rate) for rate in (printed, measured))
    assert exact_rate(*rates) == expected


def test_a_standard_rate_is_found_from_a_rounded_duration() -> None:
    assert rate_from_duration(7, 0.28, 0.001) == 25
    assert rate_from_duration(300, 10.01, 0.001) == Fraction(30000, 1001)
    assert rate_from_duration(4, 0.3, 0.001) == Fraction(40, 3)


def test_times_are_separated() -> None:
    assert separate_times([0.0, 0.1, 0.2]) == [0.0, 0.1, 0.2]
    times = separate_times([0.0, 0.1, 0.1, 0.05, 1.0, 0.9])
    ticks = [round(time * 90_000) for time in times]
    assert ticks == sorted(set(ticks))
    assert times == pytest.approx([0, 0.1, 0.1, 0.1, 1.0, 1.0], abs=1e-4)
    assert separate_times([]) == []


def test_rates_of_any_size_are_simple_fractions() -> None:
    assert simple_rate(1 / 28_800) == Fraction(1, 28_800)
    assert simple_rate(Fraction(30000, 1001)) == Fraction(30000, 1001)
    assert simple_rate(1e-12) == Fraction(1, 1_000_000) and simple_rate(1e12) == 1_000_000
