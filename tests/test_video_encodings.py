"""Encoder settings of clip files."""

from __future__ import annotations

import re

import pytest

from iicnet_cli.media.video_encodings import ENCODINGS, encoding_for, time_expression


def evaluate(expression: str, frame: int) -> int:
    """Return the value of nested ``if(lt(N,a),b,c)`` for a frame number."""
    while match := re.fullmatch(r"if\(lt\(N,(\d+)\),(.*)\)", expression):
        # The comma outside of all parentheses separates the two branches.
        branches = match[2]
        heads = (branches[:at] for at, letter in enumerate(branches) if letter == ",")
        first = next(head for head in heads if head.count("(") == head.count(")"))
        expression = first if frame < int(match[1]) else branches[len(first) + 1 :]
    return int(expression)


@pytest.mark.parametrize("count", [1, 2, 7, 100])
def test_the_time_expression_gives_each_frame_its_time(count: int) -> None:
    times = [3 + i * 0.04 + (i % 3) * 0.01 for i in range(count)]
    expression = time_expression(times)
    expected = [round((time - 3) * 90_000) for time in times]
    assert [evaluate(expression, frame) for frame in range(count)] == expected


def test_the_time_expression_of_a_long_clip_is_not_deep() -> None:
    expression = time_expression([i / 25 for i in range(10_000)])
    depth = deepest = 0
    for letter in expression:
        depth += {"(": 1, ")": -1}.get(letter, 0)
        deepest = max(deepest, depth)
    assert deepest <= 16


def test_no_times_are_one_time() -> None:
    assert time_expression([]) == "0"


def test_odd_sizes_need_full_chroma_in_h264_only() -> None:
    for suffix in ENCODINGS:
        even, odd = encoding_for(suffix), encoding_for(suffix, odd_size=True)
        if suffix in (".mp4", ".mov", ".m4v"):
            assert "yuv420p" in even.filters and "yuv444p" in odd.filters
            assert even.options == odd.options
        else:
            assert even == odd
