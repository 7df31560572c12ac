"""The quality of a codec at which a file has a certain size.

Files of stills are quick to make, so the search ends at the very best quality. Where a file takes
seconds, `contents/quantizer_search.py` and `engines/network/level_search.py` are content with one
that nearly fills its room, by rules of their own.
"""

from __future__ import annotations

import math
from collections.abc import Callable

_LOG_SIZE_RANGE = 4.5
"""The best quality makes about exp(4.5) times as many bytes as the worst."""


def best_quality(size_at: Callable[[int], int], max_size: int, count: int, guess: int) -> int:
    """The best of the qualities 0 to ``count - 1`` whose file fits; -1 if none does.

    The search starts at a guess. Because the logarithm of the size is about linear in the quality,
    each step is the one that should lead to the wanted size, made longer every time; a step that
    would leave the known bracket goes to its middle instead.

    Args:
        size_at: bytes, above 0, at a quality; never fewer at a better one.
        max_size: bytes that are available.
        count: number of qualities.
        guess: a quality to start from.
    """
    fits, fails = -1, count
    quality, stride = guess, count / _LOG_SIZE_RANGE
    while fails - fits > 1:
        if not fits < quality < fails:
            quality = (fits + fails) // 2
        size = size_at(quality)
        step = math.floor(stride * math.log(max(max_size, 1) / size))
        stride *= 2
        if size <= max_size:
            fits = quality
            quality += max(1, step)
        else:
            fails = quality
            quality += min(-1, step)
    return fits
